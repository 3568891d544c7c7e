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
	{ "show", "print a checkpoint for a person or, with --json, for a program", cmd_show },
	{ "check", "tell what this kernel, these privileges and this machine allow", cmd_check },
	{ "version", "print the version", cmd_version },
};

const size_t n_commands = ARRAY_SIZE(commands);

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
	puts("\nSee firn(8).");
	return EXIT_DONE;
}

int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	puts("firn " FIRN_VERSION);
	return EXIT_DONE;
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

int commands_main(int argc, char **argv)
{
	const struct command *c;
	int at = 1;

	fill_standard_streams();
	while (at < argc && argv[at][0] == '-' && argv[at][1]) {
		if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
			return print_help();
		if (strcmp(argv[at], "--version") == 0 || strcmp(argv[at], "-V") == 0)
			return cmd_version(argc, argv);
		at += option_span(argc, argv, at);
	}
	if (at >= argc) {
		fputs("firn: which command? See firn --help.\n", stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[at], "help") == 0)
		return print_help();
	c = find_command(argv[at]);
	if (!c)
		return unknown_command(argv[at]);
	move_command_first(argv, at);
	return c->run(argc - 1, argv + 1);
}
