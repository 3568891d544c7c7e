/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"

/* All processes of /proc at one moment, and which of them belong to a checkpointer that is watched. */

struct person {
	pid_t pid, ppid;
	pid_t tracer; /* of its first thread, or of any other when that one is not traced; 0 = none */
	char name[64];
	char state;
	unsigned long long start_time; /* in ticks since boot: with the pid it tells a process from a later one */
	bool ours;		       /* in the watched tree */
	bool held;		       /* traced by the watched tree */
	unsigned depth;		       /* in the watched tree, from 0 */
};

struct crowd {
	struct person *people; /* ascending by pid; in the arena */
	size_t n;
};

/*
 * Looks at every process. @root: the watched tree is that process and all below it; with @below only those below it.
 * Reads stat and status alone: never blocks. 0 or -errno, nothing raised.
 */
int crowd_look(pid_t root, bool below, struct arena *a, struct crowd *ret);

struct person *crowd_find(const struct crowd *c, pid_t pid);

/* What moves in the tree of the crowd. */
struct pulse {
	uint64_t cpu_ns; /* processor time of all threads */
	uint64_t io;	 /* bytes read and written, plus the positions of all open files */
	uint64_t people; /* changes when somebody comes or goes */
};
/* False when some of it does not answer, which is no movement. Blocks for a second at most. */
bool crowd_pulse(const struct crowd *c, struct pulse *ret);
