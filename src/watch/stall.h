/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "watch/deadline.h"
#include "watch/glance.h"

/* The stall report: what held the operation, in words that a person can act on. */

/* How many frozen tasks are listed one by one. */
#define STALL_TASKS 32

struct stall_facts {
	const char *operation;          /* "dump of task 126" */
	enum verdict verdict;
	unsigned limit_ms;              /* the limit that passed */
	uint64_t elapsed_ns;            /* since the operation began */
	uint64_t step_ns;               /* since the step began */
	struct recorder_step step;
	struct glance engine;           /* the engine's thread that made the step */
	struct glance tracer;           /* the engine's tracer thread */
	struct glance task;             /* the task concerned; pid 0 = none */
	struct glance tasks[STALL_TASKS];
	size_t n_tasks;                 /* filled in tasks[] */
	size_t held;                    /* threads held in all */
	char fs_type[32];               /* of the mount that a path in the object lies on; "" = none */
	char mount_point[256];
};

/* Reads the recorder and /proc. @engine is the engine's pid. Never blocks. */
void stall_gather(struct stall_facts *f, pid_t engine);

/* The cause and what to do about it. Pure. */
struct stall_cause {
	const char *cause, *advice;
};
struct stall_cause stall_explain(const struct stall_facts *f);

/* One sentence without full stop: "nothing moved for 5.0 s in stage files: pid 126 (redis-server), statx, fd 14 → /x" */
void stall_sentence(const struct stall_facts *f, char *buf, size_t size);

/* The whole report, whole lines. Pure. @outcome: what firn did about it. Returns the length. */
size_t stall_compose(const struct stall_facts *f, const char *outcome, char *buf, size_t size);

/* "pid 126 (redis-server), statx, fd 14 → /x"; "" when the step says nothing. */
void step_describe(const struct recorder_step *s, char *buf, size_t size);
