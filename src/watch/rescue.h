/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "watch/crowd.h"
#include "watch/freezer.h"

/* Ends a stuck checkpointer and sets free what it held. */

#define RESCUE_TREES 16

/* What its command line says it works on. */
struct aims {
	pid_t trees[RESCUE_TREES]; /* -t PID, --tree PID; never init, below which all are */
	size_t n;
	const char *freezer; /* --freeze-cgroup PATH; points into the arguments; NULL = none */
};
void aims_of_arguments(char *const *argv, struct aims *ret);

/* How things were before it began; all empty when that is not known (firn watch -p). */
struct before {
	struct freezers frozen;
	struct person *stopped; /* in state T; in the arena */
	size_t n_stopped;
};

/* The groups frozen now that hold a task it traces, a task of the trees it works on, or that it was told to freeze. */
void rescue_freezers(const struct crowd *c, const struct aims *aims, struct freezers *ret);

/*
 * Ends every process of the watched tree except those that it traces and those below them: SIGTERM, a second later
 * SIGKILL, and 5 s for them to be gone. Thaws the groups of rescue_freezers() that were not frozen before. Then looks, 3 s
 * long, until each thread that was traced has no tracer, is not stopped (SIGCONT for one that was not stopped before) and
 * has run since. Writes what was done and a table to @out, one thread a line. True when all are free and run on, where
 * firn can tell, on code of their own.
 */
bool rescue(const struct crowd *c, const struct aims *aims, const struct before *before, struct arena *a, FILE *out);
