/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/other.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/exit_codes.h"
#include "cli/commands.h"
#include "cli/options.h"

static const char *const names[] = { "stall-timeout", "deadline", "rescue", "log-file", "work-dir", "pid", "help" };

static int print_help(void)
{
	puts("usage: firn watch [options] -- COMMAND …\n"
	     "       firn watch [options] -p PID\n"
	     "\n"
	     "Runs another checkpointer, or looks at one that runs, and tells where it is stuck: its processes, their\n"
	     "calls, what these wait for, their open files, and the tasks and control groups that it holds.\n"
	     "\n"
	     "  -p, --pid PID           look at this process and all below it\n"
	     "      --stall-timeout S   stuck when nothing moved for so many seconds (5; with -p alone 1)\n"
	     "      --deadline S        report as well when the command takes longer\n"
	     "      --rescue            end the stuck one and set free what it holds\n"
	     "  -o, --log-file FILE     add the report to this file too\n"
	     "  -W, --work-dir DIR      add the report to DIR/stall-report.txt too\n"
	     "  -h, --help\n"
	     "\n"
	     "exit status: that of COMMAND (128 and the number of a signal that ended it; 126 or 127 when it cannot "
	     "be\n"
	     "executed). With -p: 0 it moves, 4 it is stuck, 1 there is no such process. After a rescue: 4 all is "
	     "free\n"
	     "again, 1 it is not. 2 wrong command line. See firn-watch(8).");
	return EXIT_DONE;
}

static int wrong(const char *what, const char *word)
{
	(void)fprintf(stderr, "firn: watch: %s%s. See firn watch --help.\n", word, what);
	return EXIT_USAGE;
}

static int unknown(const char *word)
{
	const char *near = strncmp(word, "--", 2) == 0 ? nearest_name(word + 2, names, ARRAY_SIZE(names)) : NULL;

	(void)fprintf(stderr, "firn: watch: there is no option %s.%s%s%s\n", word, near ? " Did you mean --" : "",
		      near ? near : "", near ? "?" : " A command stands behind --.");
	return EXIT_USAGE;
}

/* "--name VALUE", "--name=VALUE", "-n VALUE": moves *i to the last word used; NULL when it is another option or has no
 * value. */
static const char *value_of(int argc, char **argv, int *i, const char *name, const char *letter)
{
	size_t len = strlen(name);

	if (strncmp(argv[*i], name, len) == 0 && argv[*i][len] == '=')
		return argv[*i] + len + 1;
	if ((strcmp(argv[*i], name) == 0 || (letter && strcmp(argv[*i], letter) == 0)) && *i + 1 < argc)
		return argv[++*i];
	return NULL;
}

int cmd_watch(int argc, char **argv)
{
	struct other_options o = { 0 };
	bool stall_given = false;
	const char *value;
	long pid;
	int i;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0)
			break;
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return print_help();
		if (strcmp(argv[i], "--rescue") == 0) {
			o.rescue = true;
		} else if ((value = value_of(argc, argv, &i, "--stall-timeout", NULL))) {
			if (parse_seconds(value, &o.stall_ms))
				return wrong(": not a number of seconds", value);
			stall_given = true;
		} else if ((value = value_of(argc, argv, &i, "--deadline", NULL))) {
			if (parse_seconds(value, &o.deadline_ms))
				return wrong(": not a number of seconds", value);
		} else if ((value = value_of(argc, argv, &i, "--log-file", "-o"))) {
			o.log = value;
		} else if ((value = value_of(argc, argv, &i, "--work-dir", "-W"))) {
			o.work_dir = value;
		} else if ((value = value_of(argc, argv, &i, "--pid", "-p"))) {
			if (parse_number(value, 1, INT_MAX, &pid))
				return wrong(": not a pid", value);
			o.pid = (pid_t)pid;
		} else {
			return unknown(argv[i]);
		}
	}
	o.argv = i + 1 < argc ? argv + i + 1 : NULL;
	if (!o.argv == !o.pid)
		return wrong("either -p PID or -- COMMAND is needed", "");
	if (!stall_given)
		o.stall_ms = o.argv || o.rescue ? 5000 : 1000;
	return other_watch(&o);
}
