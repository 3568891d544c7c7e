/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/* The tree of a dump: found, stopped, described, let go. See task.h for what it is made of. 0 or -errno, raised, unless
 * said otherwise. */

/* Refuses a root that cannot be dumped: gone, firn itself or an ancestor, a kernel thread. Touches nothing. */
int tree_check_root(struct operation *op);

/* Finds the tree as it is now without stopping anyone: good enough to tell beforehand what a dump would refuse. */
int tree_walk(struct operation *op);

/*
 * Stops every thread of every task from the root down. Tasks may fork, exit and start threads meanwhile: it repeats
 * until a whole pass finds nothing new. Tracer thread; blocks until every task has stopped.
 */
int tree_seize(struct operation *op);

/* Reads what /proc tells of every task: parents, groups, sessions, exit codes, sharing. Worker thread. */
int tree_collect(struct operation *op);
/* Part of it: who shares memory, descriptors, fs and handlers with whom (kcmp), and that namespaces are firn's own. */
int tree_collect_sharing(struct operation *op);

enum tree_fate { FATE_RUN, FATE_STOP, FATE_KILL };

/* What is refused for a task as a whole: namespaces of its own, a terminal's job without --shell-job. */
int tree_check(struct operation *op);

/* Closes what is held of the tasks (/proc and pidfd descriptors). */
void tree_close(struct operation *op);

/* Lets every task go. Tracer thread. Goes on past failures and raises the first. */
int tree_release(struct operation *op, enum tree_fate fate);

/* Used on both sides: allocates a task or thread in the arena and appends it; NULL when memory is out. */
struct task *tree_add_task(struct operation *op, pid_t pid);
struct thread *task_add_thread(struct operation *op, struct task *t, pid_t tid);
/* Orders tasks so that parents come before children and sets task->parent from ppid. -EINVAL raised when a task hangs
 * in the air or descends from itself. */
int tree_order(struct operation *op);
