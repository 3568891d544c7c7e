/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * One look at a task through those files of /proc that need neither its memory nor its mmap lock, so that the front
 * may read them whatever state the task is in: status, wchan, syscall, stack. Never blocks.
 */
struct glance {
	pid_t pid, tid;
	bool gone;              /* there is no such task */
	char name[32];
	char state;             /* R S D T t Z X, '?' when unknown */
	pid_t ppid, tracer;
	char wchan[64];         /* "" when unknown or running */
	long syscall;           /* -1 when unknown or not inside one */
	char args[160];         /* the rest of /proc/PID/syscall */
	char stack[1024];       /* kernel functions, " ← " between; "" when not readable */
};

void glance(pid_t pid, pid_t tid, struct glance *ret);

/* Is the thread ready to run or running (state R)? Then *ret is for how many nanoseconds it has had a processor since its
 * start (/proc/PID/task/TID/schedstat). False as well when the kernel does not tell. */
bool glance_ready(pid_t pid, pid_t tid, uint64_t *ret);

/* The mount that @path lies on, from the text of a mountinfo file: its type and mount point. False when none is found
 * (a path that is not absolute). Nothing is called on the path. */
bool mount_of_path(const char *mountinfo, const char *path, char *ret_type, size_t type_size, char *ret_point,
		   size_t point_size);

/* Word for a state letter: "sleeping", "uninterruptible sleep" … */
const char *glance_state(char state);
/* Name of a system call that may block; NULL when it is none of those the table knows. */
const char *glance_syscall(long nr);
