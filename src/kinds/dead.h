/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/kind.h"

/*
 * restore: a task that was dead before the dump and that an open file still stands for (a pidfd, a file of /proc/PID).
 * A helper takes its place for as long as it takes to open that: see restore/grow.h.
 */
struct dead_task {
	struct dead_task *next;
	pid_t pid;	     /* wanted; 0: any */
	uint64_t key;	     /* with pid 0: what makes two pidfds those of one task */
	int exit_code;	     /* as wait() gives it, 0 unknown */
	struct task *helper; /* once it lives */
};

/* Finds or adds it. NULL: no memory, raised. */
struct dead_task *dead_task_of(struct operation *op, pid_t pid, uint64_t key);
