/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>

#include "base/error.h"

/* ptrace as firn uses it (man 2 ptrace). All calls belong to the tracer thread. */

/* -errno, raised with the request's name, or the request's own value. */
long trace(enum __ptrace_request request, const char *name, pid_t pid, pid_t tid, void *addr, void *data,
	   struct error *e);
#define TRACE(request, pid, tid, addr, data, e) \
	trace((request), #request, (pid), (tid), (void *)(addr), (void *)(data), (e))

/*
 * Waits for the next event of one traced thread: 0 and the status. Blocks until it comes; a cancelled operation
 * ends it with -ECANCELED, raised. The caller has named what it waits for with recorder_step(). A thread that ended
 * gives -ESRCH without raising.
 */
int trace_wait(pid_t pid, pid_t tid, int *ret_status, struct error *e);

/* Is this the trap of PTRACE_INTERRUPT or a group-stop (man 2 ptrace, "Group-stop")? */
static inline int status_is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}
