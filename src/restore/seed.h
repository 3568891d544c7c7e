/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/placement.h"
#include "tree/operation.h"

/* Makes the root task and empties it: only the island and the channel's descriptor stay. Tracer thread; waits for
 * its stops. 0 or -errno, raised. */
int seed_root(struct operation *op, struct channel *c);

/* Names who holds @pid, for a clone3() that failed with EEXIST or for the check before. Returns -EEXIST, raised. */
int raise_pid_taken(struct operation *op, pid_t pid);
/* Waits, two seconds at most, while @pid is that of a task that has ended and that nobody has reaped yet: who kills a tree
 * and restores it at once gets here before its parent's wait(). True when the number is free. */
bool pid_becomes_free(pid_t pid);
