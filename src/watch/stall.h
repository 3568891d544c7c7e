/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "watch/deadline.h"
#include "watch/glance.h"
#include "watch/stall_object.h"

/* The stall report: what held the operation, in words that a person can act on, and the same for programs. */

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
	struct stall_object object;     /* what the call is about */
	char unfinished[96];            /* what was looked at when the time for looking was over; "" = all was seen */
};

/* Room for the facts, zeroed, which a child shares; NULL when there is no memory. */
struct stall_facts *stall_new(void);
void stall_free(struct stall_facts *f); /* NULL is fine */

/* What the recorder says: step and times. Never blocks. */
void stall_gather(struct stall_facts *f);
/*
 * After stall_gather(): looks at the engine (its pid), the tasks and the object. A process of its own does it, since some
 * files of /proc may not answer (watch/glance.h); after @timeout_ms it is killed and left behind, and f->unfinished says
 * what it was looking at. Waits at most so long.
 */
void stall_look(struct stall_facts *f, pid_t engine, int timeout_ms);

/* The cause and what to do about it. Pure. */
struct stall_cause {
	const char *cause, *advice;
};
struct stall_cause stall_explain(const struct stall_facts *f);
/* The advice with what is known about the object put in. Pure. */
void stall_advice(const struct stall_facts *f, char *buf, size_t size);

/* One sentence without full stop: "nothing moved for 5.0 s in stage files: pid 126 (redis-server), statx, fd 14 → /x" */
void stall_sentence(const struct stall_facts *f, char *buf, size_t size);

/* The whole report, whole lines. Pure. @outcome: what firn did about it. Returns the length. */
size_t stall_compose(const struct stall_facts *f, const char *outcome, char *buf, size_t size);
/* The same as one line of JSON, described in docs/hangs.md. Malloc'd, NULL when there is no memory. */
char *stall_compose_json(const struct stall_facts *f, const char *outcome, size_t *ret_len);

/* "pid 126 (redis-server), statx, fd 14 → /x"; "" when the step says nothing. */
void step_describe(const struct recorder_step *s, char *buf, size_t size);
