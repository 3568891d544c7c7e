/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * firn bisect -- dump …: with how few options, and of how few tasks, does a failing dump fail? Options are left out one
 * at a time for as long as it fails as before; then the same is tried with each child's subtree in place of the tree.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/exit_codes.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/trial.h"
#include "kernel/procfs.h"

#define UNITS_MAX 200

/* An option of the failing dump with its value. */
struct unit {
	char *words[2];
	int n;
	bool left_out;
	bool needed; /* without it, it does not fail so */
};

struct bisection {
	struct unit units[UNITS_MAX];
	size_t n_units;
	char tree[16];
	char folder[4096];
	struct trial first;
	unsigned tries;
};

static int print_help(void)
{
	puts("usage: firn bisect -- dump -t PID [options of firn dump]\n"
	     "\n"
	     "Finds out with how few of these options, and of how few tasks of the tree, the dump fails as it does.\n"
	     "Whatever `firn explain` refuses is looked for without stopping anything. Otherwise each try is a dump\n"
	     "with --leave-running into a folder that is removed again ($TMPDIR or /tmp): the tasks run on, and stand\n"
	     "still for a moment each time. Options that say where images, logs and reports go are replaced.\n"
	     "\n"
	     "exit status: that of the failing dump; 0 it does not fail; 1 also when it could not be tried; 2 wrong\n"
	     "command line. See firn-bisect(8).");
	return EXIT_DONE;
}

static int wrong(const char *what)
{
	(void)fprintf(stderr, "firn: bisect: %s. See firn bisect --help.\n", what);
	return EXIT_USAGE;
}

static bool is_option(const char *word, const char *name, char letter)
{
	size_t len = strlen(name);

	if (word[0] == '-' && word[1] == letter && letter)
		return true;
	return strncmp(word, "--", 2) == 0 && strncmp(word + 2, name, len) == 0 &&
	       (word[2 + len] == '\0' || word[2 + len] == '=');
}

/* Where things go and how much is told is the bisection's own. */
static bool is_replaced(const char *word)
{
	return is_option(word, "images-dir", 'D') || is_option(word, "work-dir", 'W') ||
	       is_option(word, "log-file", 'o') || is_option(word, "verbosity", 'v') ||
	       is_option(word, "leave-running", 'R') || is_option(word, "leave-stopped", 's') ||
	       is_option(word, "display-stats", 0) || is_option(word, "status-fd", 0) || is_option(word, "report", 0) ||
	       is_option(word, "trace", 0);
}

/* The value of an option: behind "=", behind the letter, or the next word. */
static const char *value_of(const struct unit *u)
{
	const char *equals = strchr(u->words[0], '=');

	if (u->n == 2)
		return u->words[1];
	if (equals)
		return equals + 1;
	return u->words[0][1] != '-' ? u->words[0] + 2 : "";
}

/* @words: "dump", "-t", … */
static int take_words(struct bisection *b, int argc, char **words)
{
	for (int i = 1, span; i < argc; i += span) {
		struct unit *u = &b->units[b->n_units];

		if (b->n_units == UNITS_MAX)
			return wrong("too many options");
		if (words[i][0] != '-')
			return wrong("an option of firn dump is expected where there is none");
		span = option_span(argc, words, i);
		*u = (struct unit){ .words = { words[i], span > 1 ? words[i + 1] : NULL }, .n = span };
		if (is_option(words[i], "tree", 't'))
			(void)snprintf(b->tree, sizeof(b->tree), "%s", value_of(u));
		else if (!is_replaced(words[i]))
			b->n_units++;
	}
	return b->tree[0] ? EXIT_DONE : wrong("the dump needs --tree PID");
}

static void try_it(struct bisection *b, const char *tree, bool dry, struct trial *ret)
{
	char *words[2 * UNITS_MAX + 3];
	size_t n = 0;
	char option[] = "-t";

	words[n++] = option;
	words[n++] = (char *)tree;
	for (size_t i = 0; i < b->n_units; i++)
		for (int k = 0; k < b->units[i].n && !b->units[i].left_out; k++)
			words[n++] = b->units[i].words[k];
	words[n] = NULL;
	b->tries++;
	trial_run(dry, words, b->folder, ret);
}

static bool fails_so(struct bisection *b, const char *tree)
{
	AUTOFREE struct trial *t = malloc(sizeof(*t));

	if (!t)
		return false;
	try_it(b, tree, b->first.dry, t);
	return trial_same(&b->first, t);
}

static void drop_options(struct bisection *b)
{
	for (size_t i = 0; i < b->n_units; i++) {
		b->units[i].left_out = true;
		if (fails_so(b, b->tree))
			continue;
		b->units[i].left_out = false;
		b->units[i].needed = true;
	}
}

/* Downwards as long as one child's subtree fails as the whole did. */
static void descend(struct bisection *b)
{
	struct arena a = { 0 };

	for (bool found = true; found;) {
		pid_t pid = (pid_t)strtol(b->tree, NULL, 10), *tids, *children = NULL;
		size_t n_tids, n = 0;
		AUTOCLOSE int fd = procfs_open(pid);

		found = false;
		if (fd < 0 || read_proc_tasks(fd, &a, &tids, &n_tids) < 0 ||
		    read_proc_children(pid, tids, n_tids, &a, &children, &n) < 0)
			break;
		for (size_t i = 0; i < n && !found; i++) {
			char tree[16];

			(void)snprintf(tree, sizeof(tree), "%d", children[i]);
			found = fails_so(b, tree);
			if (found)
				memcpy(b->tree, tree, sizeof(tree));
		}
	}
	arena_release(&a);
}

static void print_options(const struct bisection *b, bool needed)
{
	for (size_t i = 0; i < b->n_units; i++)
		if (b->units[i].needed == needed)
			printf(" %s%s%s", b->units[i].words[0], b->units[i].n > 1 ? " " : "",
			       b->units[i].n > 1 ? b->units[i].words[1] : "");
}

static void print_result(const struct bisection *b, const char *tree_given)
{
	AUTOFREE char *sentence = trial_sentence(&b->first);
	size_t needed = 0;

	for (size_t i = 0; i < b->n_units; i++)
		needed += b->units[i].needed;
	printf("it fails:   %s\n", sentence ? sentence : "(it said nothing)");
	printf("smallest:   firn dump -t %s", b->tree);
	print_options(b, true);
	printf("\noptions:    %zu of %zu are part of it", needed, b->n_units);
	if (needed < b->n_units) {
		printf("; it fails as well without");
		print_options(b, false);
	}
	printf("\ntasks:      %s\n", strcmp(b->tree, tree_given) == 0
					     ? "the whole tree: no child's subtree fails so by itself"
					     : "the subtree of the smallest command fails so by itself");
	printf("tried:      %u times, %s\n", b->tries,
	       b->first.dry ? "with firn explain: nothing was stopped" : "with --leave-running: the tasks run on");
}

static int bisect(struct bisection *b)
{
	char given[sizeof(b->tree)];

	memcpy(given, b->tree, sizeof(given));
	try_it(b, b->tree, true, &b->first);
	if (b->first.code != EXIT_REFUSED)
		try_it(b, b->tree, false, &b->first);
	if (b->first.code == EXIT_DONE) {
		puts("it does not fail: the dump was made, with --leave-running, and removed again");
		return EXIT_DONE;
	}
	if (b->first.code == EXIT_USAGE || b->first.code < 0) {
		(void)fputs(b->first.text, stderr);
		return b->first.code < 0 ? EXIT_FAILED : EXIT_USAGE;
	}
	drop_options(b);
	descend(b);
	print_result(b, given);
	return b->first.code;
}

int cmd_bisect(int argc, char **argv)
{
	AUTOFREE struct bisection *b = calloc(1, sizeof(*b));
	const char *tmp = getenv("TMPDIR");
	int r;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		return print_help();
	if (argc < 3 || strcmp(argv[1], "--") != 0 || strcmp(argv[2], "dump") != 0)
		return wrong("-- and the failing command are needed, as in firn bisect -- dump -t PID");
	if (!b)
		return EXIT_FAILED;
	r = take_words(b, argc - 2, argv + 2);
	if (r)
		return r;
	if ((size_t)snprintf(b->folder, sizeof(b->folder), "%s/firn-bisect-XXXXXX", tmp ? tmp : "/tmp") >=
		    sizeof(b->folder) ||
	    !mkdtemp(b->folder)) {
		(void)fprintf(stderr, "firn: bisect: mkdtemp %s: %s\n", b->folder, strerror(errno));
		return EXIT_FAILED;
	}
	r = bisect(b);
	(void)rmdir(b->folder);
	return r;
}
