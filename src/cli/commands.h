/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* A subcommand: one file, one row in the table of commands.c. */
struct command {
	const char *name;
	const char *summary;            /* for firn --help */
	/* argv[0] is the subcommand's name. Returns an enum exit_code. */
	int (*run)(int argc, char **argv);
};

extern const struct command commands[];
extern const size_t n_commands;

int cmd_bisect(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_watch(int argc, char **argv);

/* The exit codes, for --help. */
void print_exit_status(void);

/* The whole program behind main(): finds the subcommand and runs it. */
int commands_main(int argc, char **argv);
