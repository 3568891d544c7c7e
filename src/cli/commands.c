/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/exit_codes.h"
#include "cli/options.h"

const struct command commands[] = {
	{ "dump", "freeze a process tree and write it to a folder of images", cmd_dump },
	{ "restore", "bring a process tree back from its images", cmd_restore },
	{ "explain", "tell what a dump would refuse, all at once, without touching anything", cmd_explain },
	{ "show", "print a checkpoint for a person or, with --json, for a program", cmd_show },
	{ "check", "tell what this kernel, these privileges and this machine allow", cmd_check },
	{ "watch", "run another checkpointer, or look at one that hangs, and tell where it is stuck", cmd_watch },
	{ "bisect", "find the smallest set of options and of tasks with which a dump fails", cmd_bisect },
	{ "version", "print the version", cmd_version },
};

const size_t n_commands = ARRAY_SIZE(commands);

void print_exit_status(void)
{
	puts("\n"
	     "exit status: 0 done; 1 failed, and nothing was changed or left behind; 2 wrong command line; 3 something "
	     "is\n"
	     "not supported; 4 stalled or a deadline passed; 5 ended by a signal; 6 damaged or incomplete images.\n"
	     "See firn(8).");
}

static int print_help(void)
{
	puts("firn: checkpoint and restore process trees\n"
	     "\n"
	     "usage: firn dump -t PID [-D DIR] [options]\n"
	     "       firn restore [-D DIR] [options]\n"
	     "       firn COMMAND --help\n"
	     "\n"
	     "commands:");
	for (size_t i = 0; i < n_commands; i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].summary);
	print_exit_status();
	return EXIT_DONE;
}

static int print_version(void)
{
	puts("firn " FIRN_VERSION);
	return EXIT_DONE;
}

int cmd_version(int argc, char **argv)
{
	static const char *const names[] = { "help" };

	/* Whatever else callers add ("criu --version -v4") changes nothing, but an unknown word is not passed over. */
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			puts("usage: firn version\n\nPrints the version.");
			return EXIT_DONE;
		}
		if (argv[i][0] == '-' && argv[i][1] != '-')
			continue;
		if (strncmp(argv[i], "--", 2) != 0)
			fprintf(stderr, "firn: version: '%s' is not an option.\n", argv[i]);
		else
			fprintf(stderr, "firn: version: there is no option %s.%s\n", argv[i],
				nearest_name(argv[i] + 2, names, ARRAY_SIZE(names)) ? " Did you mean --help?" : "");
		return EXIT_USAGE;
	}
	return print_version();
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < n_commands; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int unknown_command(const char *word)
{
	const char *names[16], *near;
	size_t n = 0;

	for (; n < n_commands && n < ARRAY_SIZE(names); n++)
		names[n] = commands[n].name;
	near = nearest_name(word, names, n);
	if (near)
		fprintf(stderr, "firn: there is no command %s. Did you mean %s?\n", word, near);
	else
		fprintf(stderr, "firn: there is no command %s. See firn --help.\n", word);
	return EXIT_USAGE;
}

/* A descriptor 0, 1 or 2 that the caller closed would be taken by the next open(): /dev/null takes its place. */
static void fill_standard_streams(void)
{
	int fd;

	for (int i = 0; i < 3; i++) {
		if (fcntl(i, F_GETFD) >= 0 || errno != EBADF)
			continue;
		fd = open("/dev/null", O_RDWR);
		if (fd >= 0 && fd != i) {
			(void)dup2(fd, i);
			close(fd);
		}
	}
}

/* Options may stand before the subcommand, as in `criu -v4 dump`: it is moved to the front. */
static void move_command_first(char **argv, int at)
{
	char *command = argv[at];

	memmove(&argv[2], &argv[1], (size_t)(at - 1) * sizeof(*argv));
	argv[1] = command;
}

static int run_command(int argc, char **argv)
{
	const struct command *c;
	int at = 1;

	while (at < argc && argv[at][0] == '-' && argv[at][1]) {
		if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
			return print_help();
		if (strcmp(argv[at], "--version") == 0 || strcmp(argv[at], "-V") == 0)
			return print_version();
		at += option_span(argc, argv, at);
	}
	if (at >= argc) {
		fputs("firn: which command? See firn --help.\n", stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[at], "help") == 0 && at + 1 == argc)
		return print_help();
	if (strcmp(argv[at], "help") == 0) {
		/* "firn help dump" is "firn dump --help" */
		char help[] = "--help", *words[] = { argv[at + 1], help, NULL };

		c = find_command(words[0]);
		return c ? c->run(2, words) : unknown_command(words[0]);
	}
	c = find_command(argv[at]);
	if (!c)
		return unknown_command(argv[at]);
	move_command_first(argv, at);
	return c->run(argc - 1, argv + 1);
}

int commands_main(int argc, char **argv)
{
	int r;

	fill_standard_streams();
	r = run_command(argc, argv);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return r;
	(void)fprintf(stderr, "firn: standard output: write: %s\n", strerror(errno));
	return r == EXIT_DONE ? EXIT_FAILED : r;
}
