/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * One look at a task through those files of /proc that need neither its memory nor its mmap lock: status and wchan; syscall
 * and stack, for which a lock is taken that a task has during execve() (exec_update_lock: it closes files with it, and a file
 * server may not answer that).
 */
struct glance {
	pid_t pid, tid;
	bool gone;              /* there is no such task */
	char name[32];
	char state;             /* R S D T t Z X, '?' when unknown */
	pid_t ppid, tracer;
	char wchan[64];         /* "" when unknown or running */
	long syscall;           /* -1 when unknown or not inside one */
	uint64_t args[6];       /* of that system call */
	char arguments[768];    /* the same for people: "7 → /mnt/x, path at 0x7f12…, 0x1000"; "" when there are none */
	char stack[1024];       /* kernel functions, " ← " between; "" when not readable */
};

/* May block as said above: in a process that can be left behind (watch/stall.h). */
void glance(pid_t pid, pid_t tid, struct glance *ret);

/* The fields up to wchan alone. Never blocks. */
void glance_status(pid_t pid, pid_t tid, struct glance *ret);

/* The first descriptor among the arguments of the system call; -1 when there is none. */
int glance_descriptor(const struct glance *g);

/* Is the thread ready to run or running (state R)? Then *ret is for how many nanoseconds it has had a processor since its
 * start (/proc/PID/task/TID/schedstat). False as well when the kernel does not tell. */
bool glance_ready(pid_t pid, pid_t tid, uint64_t *ret);

/* Word for a state letter: "sleeping", "uninterruptible sleep" … */
const char *glance_state(char state);
