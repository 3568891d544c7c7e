/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/* How one puppet makes another task: clone3() with the wanted number. Tracer thread; waits for the new task's first
 * stop. 0 or -errno, raised. Tasks lie in the arena. */

/* @maker makes @t, as its own child or, with @sibling, as a child of its parent. @t is stopped and ready for batches. */
int sprout_task(struct operation *op, struct task *maker, struct task *t, bool sibling);

/*
 * A helper is a task that lives only while the tree grows: a session or process-group leader that had ended before the
 * dump. It gives its parent no signal when it ends. @pid 0: any number. NULL, raised, on failure.
 */
struct task *sprout_helper(struct operation *op, struct task *maker, pid_t pid);
int helper_end(struct operation *op, struct task *helper, struct task *parent);

/* A batch of a single call. */
int call_in(struct operation *op, struct task *t, long nr, const uint64_t args[6], int64_t *ret);
