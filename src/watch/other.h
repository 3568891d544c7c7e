/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Another checkpointer under the same watch: firn watch. */

struct other_options {
	char **argv; /* the command; NULL: a look at @pid */
	pid_t pid;
	unsigned stall_ms, deadline_ms; /* 0 = none; with @pid the stall time is how long is looked */
	bool rescue;
	const char *log, *work_dir; /* the report goes there as well; NULL = nowhere else */
};

/*
 * Runs the command, passes signals on, and reports on standard error each time nothing in its process tree has moved for
 * the stall time, or the deadline has passed. Returns the command's exit code, 128 and the signal's number when one ended
 * it, 126 or 127 when it cannot be executed; with @rescue, after a stall, EXIT_STALLED when all was set free, else
 * EXIT_FAILED. With @pid: EXIT_DONE when it moves, EXIT_STALLED when it is stuck (and, with @rescue, all is free),
 * EXIT_FAILED. See firn-watch(8).
 */
int other_watch(const struct other_options *o);
