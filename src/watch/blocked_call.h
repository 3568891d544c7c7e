/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/arena.h"
#include "watch/crowd.h"
#include "watch/glance.h"
#include "watch/open_files.h"

/*
 * The system call that a task is in, and the object behind it, from its registers (/proc/PID/syscall), descriptors, and
 * /proc/locks. What must be read from the task's memory (a path) is read by a process of its own, 0.2 s long. The
 * processor's calls: x86-64.
 */
struct blocked_call {
	const char *call;	    /* "flock(3 → /x/lock, LOCK_EX)"; "" when it is in none, or none is known */
	const char *cause, *advice; /* where the call itself tells; NULL when it does not */
	const char *object;	    /* what it waits for, one line or several with newlines between; "" when unknown */
};

/* @files: the open files of the task; @c: everybody, for children, tracees and those at other ends. Strings in the arena,
 * never NULL. Foreign text as it is. */
void blocked_call_look(const struct glance *g, const struct open_file *files, size_t n_files, const struct crowd *c,
		       struct arena *a, struct blocked_call *ret);
