/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/*
 * What a dump refuses. A rule raises the sentence and returns -EOPNOTSUPP; where several things are looked at one after
 * the other, the result of each goes through refusal_note(): with op->refusals set it is kept and the look goes on, without
 * it ends at the first. So the rules that a dump obeys and those that `firn explain` lists are the same ones.
 */

struct refusal {
	struct refusal *next;
	struct refusal *next_same; /* with the same hash */
	pid_t pid;		   /* the task concerned; 0 = not known */
	const char *object;	   /* "pid 7 (x), fd 3 → /mnt/x" */
	const char *reason;	   /* the sentence without the object */
	const char *sentence, *hint;
	const char *option; /* "--file-locks": the option that the hint names; NULL = none does */
};

#define REFUSAL_BUCKETS 4096u

struct refusals {
	struct refusal *buckets[REFUSAL_BUCKETS]; /* by sentence */
	struct refusal *first, **last;
	size_t n;
};

/*
 * @r is what a rule returned. A refusal is kept in op->refusals (in the arena), op->error is empty again, and 0 is returned;
 * everything else is returned as it is. Two equal sentences are kept once.
 */
int refusal_note(struct operation *op, int r);
/* The same where the sentence is known to begin with @object: a path in it may look like the end of it. */
int refusal_note_about(struct operation *op, const char *object, int r);
