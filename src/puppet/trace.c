/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "puppet/trace.h"

#include <errno.h>
#include <sys/wait.h>

#include "watch/recorder.h"

long trace(enum __ptrace_request request, const char *name, pid_t pid, pid_t tid, void *addr, void *data,
	   struct error *e)
{
	long r;

	errno = 0;
	r = ptrace(request, tid, addr, data);
	if (r == -1 && errno != 0) {
		if (errno == ESRCH)
			return error_raise(e, ESRCH, "pid %d, thread %d: the task ended or was let go while firn held it (%s)",
					   pid, tid, name);
		return error_raise_call(e, errno, name, "pid %d, thread %d", pid, tid);
	}
	return r;
}

int trace_wait(pid_t pid, pid_t tid, int *ret_status, struct error *e)
{
	int status;
	pid_t r;

	for (;;) {
		if (recorder_cancelled())
			return error_raise(e, ECANCELED, "pid %d, thread %d: cancelled while waiting for the task", pid, tid);
		r = waitpid(tid, &status, __WALL);
		if (r == tid)
			break;
		if (r < 0 && errno == ECHILD)
			return -ESRCH;
		if (r < 0 && errno != EINTR)
			return error_raise_call(e, errno, "waitpid", "pid %d, thread %d", pid, tid);
	}
	if (WIFEXITED(status) || WIFSIGNALED(status))
		return -ESRCH;
	*ret_status = status;
	return 0;
}
