/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/show.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/exit_codes.h"
#include "cli/commands.h"
#include "cli/options.h"

static void usage(void)
{
	fputs("usage: firn show [--json] DIR\n"
	      "\n"
	      "Prints the checkpoint in the images folder DIR: its tasks with their commands, memory, threads and\n"
	      "descriptors. Reads CRIU's images too.\n"
	      "\n"
	      "  -D, --images-dir DIR   the same as DIR\n"
	      "      --json             for programs\n"
	      "  -h, --help             this text\n"
	      "\n"
	      "Exit status: 0 printed; 1 the folder cannot be read; 2 wrong usage; 6 damaged or incomplete images.\n"
	      "See firn-show(8).\n",
	      stdout);
}

struct show_options {
	const char *path;
	bool json, help;
};

/* @c: what getopt_long() gave for @word. */
static int raise_wrong_option(int c, const char *word)
{
	static const char *const names[] = { "json", "images-dir", "help" };
	const char *near = NULL;

	if (c == ':') {
		fprintf(stderr, "firn: show: %s needs a value\n", word);
		return -EINVAL;
	}
	if (strncmp(word, "--", 2) == 0)
		near = nearest_name(word + 2, names, ARRAY_SIZE(names));
	fprintf(stderr, "firn: show: there is no option %s.%s%s%s\n", word, near ? " Did you mean --" : "",
		near ? near : "", near ? "?" : "");
	return -EINVAL;
}

static int parse(int argc, char **argv, struct show_options *o)
{
	static const struct option options[] = {
		{ "images-dir", required_argument, NULL, 'D' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":D:h", options, NULL)) != -1) {
		if (c == 'D')
			o->path = optarg;
		else if (c == 'j')
			o->json = true;
		else if (c == 'h')
			o->help = true;
		else
			return raise_wrong_option(c, argv[optind - 1]);
	}
	if (o->help)
		return 0;
	if (!o->path && optind < argc)
		o->path = argv[optind++];
	if (!o->path || optind < argc) {
		fprintf(stderr, "firn: show: %s See firn show --help.\n",
			o->path ? "one images folder, not several." : "which images folder?");
		return -EINVAL;
	}
	return 0;
}

int cmd_show(int argc, char **argv)
{
	struct show_options o = { 0 };
	struct error error = { 0 };
	struct show *s;
	int r;

	if (parse(argc, argv, &o) < 0) {
		return EXIT_USAGE;
	}
	if (o.help) {
		usage();
		return 0;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return EXIT_FAILED;
	r = show_load(s, o.path, &error);
	if (r == 0 && o.json)
		show_print_json(s, stdout);
	else if (r == 0)
		show_print_text(s, stdout);
	if (r == 0 && (fflush(stdout) == EOF || ferror(stdout)))
		r = error_raise_call(&error, errno, "write", "standard output");
	show_release(s);
	free(s);
	if (r == 0)
		return 0;
	fputs("firn: show: ", stderr);
	put_text(stderr, error.sentence, false);
	fputs(error.hint[0] ? ". " : ".", stderr);
	put_text(stderr, error.hint, false);
	fputc('\n', stderr);
	return r == -EBADMSG ? EXIT_BAD_IMAGES : EXIT_FAILED;
}
