/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CRIU's syntax is getopt_long()'s with three liberties: "-v" takes what directly follows it ("-vvv", "-v4"),
 * most flags can be negated as --no-NAME, and --verbosity takes its number also as the next word. Written out here
 * because getopt keeps its state in globals and cannot name the nearest option.
 */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "watch/recorder.h"

#define NAMES_MAX 128

static const struct option_spec *by_letter(char letter)
{
	for (size_t i = 0; i < n_option_table; i++)
		if (option_table[i].letter && option_table[i].letter == letter)
			return &option_table[i];
	return NULL;
}

static const struct option_spec *by_exact_name(const char *name)
{
	for (size_t i = 0; i < n_option_table; i++)
		if (strcmp(option_table[i].name, name) == 0)
			return &option_table[i];
	return NULL;
}

/* The one option of @command that begins with @name; several are an error that names two of them. */
static int by_beginning(const char *name, unsigned command, const struct option_spec **ret, struct error *e)
{
	const struct option_spec *found = NULL;
	size_t len = strlen(name);

	*ret = NULL;
	for (size_t i = 0; len && i < n_option_table; i++) {
		if (strncmp(option_table[i].name, name, len) != 0 || !(option_table[i].commands & command))
			continue;
		if (found)
			return error_raise(e, EINVAL, "--%s may mean --%s or --%s", name, found->name,
					   option_table[i].name);
		found = &option_table[i];
	}
	*ret = found;
	return 0;
}

static int raise_unknown(const char *name, unsigned command, struct error *e)
{
	const char *names[NAMES_MAX], *near;
	size_t n = 0;

	names[n++] = "help";
	for (size_t i = 0; i < n_option_table && n < NAMES_MAX; i++)
		if (option_table[i].commands & command)
			names[n++] = option_table[i].name;
	near = nearest_name(name, names, n);
	error_raise(e, EINVAL, "there is no option --%s", name);
	if (near)
		error_hint(e, "Did you mean --%s?", near);
	return -EINVAL;
}

static int find_long(const char *name, unsigned command, const struct option_spec **ret, bool *ret_negated,
		     struct error *e)
{
	const struct option_spec *spec = by_exact_name(name);
	int r = 0;

	*ret_negated = false;
	if (!spec && strncmp(name, "no-", 3) == 0) {
		spec = by_exact_name(name + 3);
		if (spec && spec->value != VALUE_NONE)
			return error_raise(e, EINVAL, "--%s: only a flag can be negated", name);
		*ret_negated = spec != NULL;
	}
	if (!spec)
		r = by_beginning(name, command, &spec, e);
	if (r)
		return r;
	if (!spec)
		return raise_unknown(name, command, e);
	*ret = spec;
	return 0;
}

static int apply(const struct option_spec *spec, const char *value, unsigned command, struct command_line *c,
		 struct error *e)
{
	/* Callers hand one set of options to both commands, as CRIU lets them. */
	if (!(spec->commands & command))
		return 0;
	if (!spec->apply) {
		error_raise(e, EOPNOTSUPP, "--%s is not supported yet", spec->name);
		error_hint(e, "Leave the option out if the tree does not depend on it.");
		return -EOPNOTSUPP;
	}
	return spec->apply(&c->options, value, e);
}

static bool is_number(const char *s)
{
	return s && *s && s[strspn(s, "0123456789")] == '\0';
}

/* "--name", "--name=value", "--name value". *i moves on when the next word is taken. */
static int parse_long(int argc, char **argv, int *i, unsigned command, struct command_line *c, struct error *e)
{
	const char *word = argv[*i] + 2, *equals = strchr(word, '='), *value = equals ? equals + 1 : NULL;
	const struct option_spec *spec;
	char name[64];
	bool negated;
	int r;

	(void)snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - word) : (int)strlen(word), word);
	if (strcmp(name, "help") == 0) {
		c->help = true;
		return 0;
	}
	r = find_long(name, command, &spec, &negated, e);
	if (r)
		return r;
	if (value && spec->value == VALUE_NONE)
		return error_raise(e, EINVAL, "--%s takes no value", spec->name);
	if (!value && *i + 1 < argc &&
	    (spec->value == VALUE_REQUIRED || (spec->letter == 'v' && is_number(argv[*i + 1]))))
		value = argv[++*i];
	if (!value && spec->value == VALUE_REQUIRED)
		return error_raise(e, EINVAL, "--%s needs a value: --%s %s", spec->name, spec->name,
				   spec->metavar ? spec->metavar : "VALUE");
	return apply(spec, negated ? "no" : value, command, c, e);
}

/* "-jR", "-t 5", "-t5", "-vvv", "-v4". */
static int parse_short(int argc, char **argv, int *i, unsigned command, struct command_line *c, struct error *e)
{
	const char *at = argv[*i] + 1;

	while (*at) {
		const struct option_spec *spec = by_letter(*at);
		const char *value = NULL;
		int r;

		if (*at == 'h') {
			c->help = true;
			return 0;
		}
		if (!spec)
			return error_raise(e, EINVAL, "there is no option -%c", *at);
		at++;
		if (spec->letter == 'v') {
			size_t len = isdigit((unsigned char)*at) ? strspn(at, "0123456789") : strspn(at, "v");
			char level[16];

			(void)snprintf(level, sizeof(level), "%.*s", (int)len, at);
			at += len;
			r = apply(spec, len ? level : NULL, command, c, e);
		} else {
			if (spec->value == VALUE_REQUIRED) {
				value = *at ? at : *i + 1 < argc ? argv[++*i] : NULL;
				at = "";
				if (!value)
					return error_raise(e, EINVAL, "-%c needs a value: --%s %s", spec->letter,
							   spec->name, spec->metavar ? spec->metavar : "VALUE");
			}
			r = apply(spec, value, command, c, e);
		}
		if (r)
			return r;
	}
	return 0;
}

static void set_defaults(struct options *o)
{
	memset(o, 0, sizeof(*o));
	o->images_path = ".";
	o->verbosity = LOG_WARN;
	o->status_fd = -1;
	o->ghost_limit = 1ull << 20;
	o->network_lock = NETWORK_LOCK_NFTABLES;
	o->deadline_ms = 600000;
	o->stall_ms = 5000;
	o->seize_ms = 10000;
}

int options_parse(int argc, char **argv, unsigned command, struct command_line *ret, struct error *e)
{
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	set_defaults(&ret->options);
	ret->values = calloc((size_t)argc * 4 + 4, sizeof(*ret->values));
	if (!ret->values)
		return error_raise(e, ENOMEM, "no memory for the command line");
	ret->options.skip_mnt = ret->values;
	ret->options.external = ret->values + argc + 1;
	ret->options.inherit = ret->values + 2 * (argc + 1);
	ret->options.irmap_scan_path = ret->values + 3 * (argc + 1);
	for (int i = 1; i < argc && !r && !ret->help; i++) {
		if (strncmp(argv[i], "--", 2) == 0 && argv[i][2])
			r = parse_long(argc, argv, &i, command, ret, e);
		else if (argv[i][0] == '-' && argv[i][1] && argv[i][1] != '-')
			r = parse_short(argc, argv, &i, command, ret, e);
		else if (strcmp(argv[i], "--") != 0)
			r = error_raise(e, EINVAL, "'%s' is neither an option nor the value of one", argv[i]);
	}
	return r;
}

void options_release(struct command_line *c)
{
	free(c->values);
	c->values = NULL;
}

int option_span(int argc, char **argv, int i)
{
	const struct option_spec *spec = NULL;
	const char *word = argv[i];
	bool negated;
	struct error e = { 0 };

	if (i + 1 >= argc || strchr(word, '='))
		return 1;
	if (word[1] == '-') {
		if (find_long(word + 2, FOR_BOTH, &spec, &negated, &e) || negated)
			return 1;
	} else {
		/* The last letter of "-jt" is the one that may take the next word. */
		for (const char *at = word + 1; *at; at++) {
			spec = by_letter(*at);
			if (spec && spec->value == VALUE_REQUIRED && at[1])
				return 1;
		}
	}
	if (spec && spec->value == VALUE_REQUIRED)
		return 2;
	return spec && spec->letter == 'v' && word[1] == '-' && is_number(argv[i + 1]) ? 2 : 1;
}

/* ---- what is not carried yet ---- */

static int refuse(struct error *e, const char *what, const char *hint)
{
	error_raise(e, EOPNOTSUPP, "%s is not supported yet", what);
	error_hint(e, "%s", hint);
	return -EOPNOTSUPP;
}

/* Is every word of a list separated by commas one of the two? */
static bool only(const char *list, const char *a, const char *b)
{
	while (*list) {
		size_t len = strcspn(list, ",");

		if (!(len == strlen(a) && strncmp(list, a, len) == 0) &&
		    !(len == strlen(b) && strncmp(list, b, len) == 0))
			return false;
		list += len + (list[len] == ',');
	}
	return true;
}

static int check_external(const struct options *o, struct error *e)
{
	static const char *const types[] = { "tty[", "file[", "unix[" };

	for (size_t i = 0; i < o->n_external; i++) {
		char what[128];
		bool known = false;

		for (size_t k = 0; k < ARRAY_SIZE(types); k++)
			known = known || strncmp(o->external[i], types[k], strlen(types[k])) == 0;
		(void)snprintf(what, sizeof(what), "--external %s", o->external[i]);
		if (!known)
			return refuse(e, what, "Leave the option out if the tree does not use that resource.");
	}
	return 0;
}

/* fd[N]:KEY, with N open. */
static int check_inherit(const struct options *o, struct error *e)
{
	for (size_t i = 0; i < o->n_inherit; i++) {
		const char *given = o->inherit[i];
		char *end;
		long fd;

		errno = 0;
		fd = strncmp(given, "fd[", 3) == 0 && isdigit((unsigned char)given[3]) ? strtol(given + 3, &end, 10) : -1;
		if (fd < 0 || fd > INT_MAX || errno || strncmp(end, "]:", 2) != 0 || end[2] == '\0') {
			error_raise(e, EINVAL, "--inherit-fd %s: it is not of the form fd[N]:KEY", given);
			error_hint(e, "For example: --inherit-fd 'fd[7]:pipe:[123456]'");
			return -EINVAL;
		}
		if (fcntl((int)fd, F_GETFD) < 0)
			return error_raise(e, EINVAL, "--inherit-fd %s: no such descriptor is open", given);
	}
	return 0;
}

int options_check(const struct options *o, unsigned command, struct error *e)
{
	int r;

	if (o->action_script)
		return refuse(e, "--action-script", "Run what the script does before and after firn.");
	if (o->restore_sibling)
		return refuse(e, "--restore-sibling",
			      "Use --restore-detached and a sub-reaper (PR_SET_CHILD_SUBREAPER).");
	if (o->root)
		return refuse(e, "--root", "Mount namespaces cannot be restored yet.");
	r = check_external(o, e);
	if (r == 0)
		r = check_inherit(o, e);
	if (r < 0)
		return r;
	if (o->manage_cgroups && (!o->manage_cgroups[0] || !only(o->manage_cgroups, "none", "ignore")))
		return refuse(e, "--manage-cgroups with a mode other than none and ignore",
			      "With --manage-cgroups=ignore the tasks stay in, or are restored into, firn's own "
			      "control group.");
	if (o->cpu_cap && (!o->cpu_cap[0] || !only(o->cpu_cap, "none", "fpu")))
		return refuse(e, "--cpu-cap with capabilities other than none and fpu",
			      "Leave it out: fpu is the default.");
	if (o->status_fd >= 0 && fcntl(o->status_fd, F_GETFD) < 0)
		return error_raise(e, EINVAL, "--status-fd %d: no such descriptor is open", o->status_fd);
	if ((command & FOR_DUMP) && o->leave_running && o->leave_stopped)
		return error_raise(e, EINVAL, "--leave-running and --leave-stopped exclude each other");
	if ((command & FOR_DUMP) && !o->tree) {
		error_raise(e, EINVAL, "which process tree? -t PID is missing");
		error_hint(e, command & FOR_EXPLAIN ? "For example: firn explain -t 1234" :
							      "For example: firn dump -t 1234 -D /tmp/images");
		return -EINVAL;
	}
	return 0;
}

void options_help(unsigned command)
{
	for (size_t i = 0; i < n_option_table; i++) {
		const struct option_spec *s = &option_table[i];
		char left[64], letter[8] = "    ";

		if (!s->help || !(s->commands & command))
			continue;
		if (s->letter)
			(void)snprintf(letter, sizeof(letter), "-%c, ", s->letter);
		if (!s->metavar)
			(void)snprintf(left, sizeof(left), "%s--%s", letter, s->name);
		else
			(void)snprintf(left, sizeof(left), s->value == VALUE_OPTIONAL ? "%s--%s[=%s]" : "%s--%s %s",
				       letter, s->name, s->metavar);
		printf("  %-32s %s\n", left, s->help);
	}
	printf("  %-32s %s\n", "-h, --help", "this text");
}
