/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "puppet/seize.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "kernel/procfs.h"
#include "puppet/stub.h"
#include "puppet/trace.h"
#include "watch/recorder.h"

/* PTRACE_SEIZE says EPERM both for "already traced" and for "not allowed": find out which. */
static int raise_refused(struct puppet *p, int number, struct error *e)
{
	struct arena arena = { 0 };
	struct proc_status status;
	struct proc_stat stat;
	int fd = procfs_open_thread(p->pid, p->tid);
	int r = number;

	if (fd < 0)
		return SEIZE_GONE;
	if (read_proc_stat(fd, &stat) == 0 && (stat.state == 'Z' || stat.state == 'X')) {
		r = 0;
	} else if (read_proc_status(fd, &arena, &status) == 0 && status.tracer > 0) {
		struct proc_stat tracer = { 0 };
		int tracer_fd = procfs_open(status.tracer);

		if (tracer_fd >= 0) {
			(void)read_proc_stat(tracer_fd, &tracer);
			close(tracer_fd);
		}
		(void)error_raise(e, EBUSY, "pid %d (%s), thread %d is traced by pid %d (%s) already", p->pid, p->comm,
				  p->tid, status.tracer, tracer.comm);
		error_hint(e, "End the tracer (strace, gdb, another checkpoint) first.");
	} else {
		(void)error_raise_call(e, number, "ptrace(PTRACE_SEIZE)", "pid %d (%s), thread %d", p->pid, p->comm,
				       p->tid);
		error_hint(e, "firn needs CAP_SYS_PTRACE, or the same user and no Yama restriction.");
	}
	arena_release(&arena);
	close(fd);
	return r == 0 ? SEIZE_GONE : -e->number;
}

int seize_begin(struct puppet *p, unsigned long options, struct error *e)
{
	recorder_step(p->pid, p->comm, "ptrace(PTRACE_SEIZE)", "thread %d", p->tid);
	recorder_target_add(p->pid, p->tid);
	if (ptrace(PTRACE_SEIZE, p->tid, 0, options) < 0) {
		int number = errno;

		recorder_target_remove(p->tid);
		return number == ESRCH ? SEIZE_GONE : raise_refused(p, number, e);
	}
	if (ptrace(PTRACE_INTERRUPT, p->tid, 0, 0) < 0 && errno != ESRCH)
		return error_raise_call(e, errno, "ptrace(PTRACE_INTERRUPT)", "pid %d (%s), thread %d", p->pid, p->comm,
					p->tid);
	return 0;
}

/* A signal that was on its way: the task gets it first, and stops right after. */
static int deliver(struct puppet *p, int signal, struct error *e)
{
	log_debug(p->pid, "thread %d: signal %d is delivered before the stop", p->tid, signal);
	return (int)TRACE(PTRACE_CONT, p->pid, p->tid, 0, (unsigned long)signal, e);
}

static int read_state(struct puppet *p, struct error *e)
{
	long r;

	r = TRACE(PTRACE_GETREGS, p->pid, p->tid, 0, &p->regs, e);
	if (r < 0)
		return (int)r;
	/* At once, so that it holds for a thread that is let go whatever becomes of the dump. */
	if (regs_resume_wait(&p->regs)) {
		r = TRACE(PTRACE_SETREGS, p->pid, p->tid, 0, &p->regs, e);
		if (r < 0)
			return (int)r;
	}
	r = TRACE(PTRACE_GETSIGMASK, p->pid, p->tid, sizeof(p->sigmask), &p->sigmask, e);
	if (r < 0)
		return (int)r;
	p->regs_known = true;
	return 0;
}

int seize_finish(struct puppet *p, struct error *e)
{
	int status, r;

	recorder_step(p->pid, p->comm, "waitpid", "thread %d to stop", p->tid);
	for (;;) {
		r = trace_wait(p->pid, p->tid, &status, e);
		if (r == -ESRCH) {
			recorder_target_remove(p->tid);
			return SEIZE_GONE;
		}
		if (r < 0)
			return r;
		if (status_is_event_stop(status))
			break;
		r = deliver(p, WSTOPSIG(status), e);
		if (r < 0)
			return r;
	}
	r = read_state(p, e);
	if (r < 0)
		return r;
	if (WSTOPSIG(status) == SIGTRAP)
		return SEIZE_STOPPED;
	p->stop_signal = WSTOPSIG(status);
	return SEIZE_GROUP_STOPPED;
}

int seize_again(struct puppet *p, long ns, struct error *e)
{
	const struct timespec moment = { 0, ns };

	/* ESRCH: it dies; its end is what comes next. */
	if (ptrace(PTRACE_CONT, p->tid, 0, 0) < 0 && errno != ESRCH)
		return error_raise_call(e, errno, "PTRACE_CONT", "pid %d, thread %d", p->pid, p->tid);
	(void)nanosleep(&moment, NULL);
	/* ESRCH: it has stopped for a signal already, or ended. The first is sent on, and the stop comes after it. */
	if (ptrace(PTRACE_INTERRUPT, p->tid, 0, 0) < 0 && errno != ESRCH)
		return error_raise_call(e, errno, "ptrace(PTRACE_INTERRUPT)", "pid %d (%s), thread %d", p->pid, p->comm,
					p->tid);
	return seize_finish(p, e);
}

int seize_release(struct puppet *p)
{
	int r = 0;

	if (ptrace(PTRACE_DETACH, p->tid, 0, 0) < 0)
		r = -errno;
	recorder_target_remove(p->tid);
	return r;
}
