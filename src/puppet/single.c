/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One system call in a puppet, from an instruction that is there already. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "puppet/call_log.h"
#include "puppet/puppet.h"
#include "puppet/trace.h"

/* Resumes with @request until the next system-call stop, or with @want_event until the event stop. */
static int step(struct puppet *p, enum __ptrace_request request, bool want_event, struct error *e)
{
	int status, r;

	for (;;) {
		r = (int)trace(request, "PTRACE_SYSCALL", p->pid, p->tid, NULL, NULL, e);
		if (r < 0)
			return r;
		r = trace_wait(p->pid, p->tid, &status, e);
		if (r == -ESRCH)
			return error_raise(e, ESRCH, "pid %d (%s), thread %d ended while firn worked in it", p->pid,
					   p->comm, p->tid);
		if (r < 0)
			return r;
		if (want_event ? status_is_event_stop(status) : WSTOPSIG(status) == (SIGTRAP | 0x80))
			return 0;
		/* Only SIGSTOP gets through the mask; it is asked for again when the task is let go. */
		if (!status_is_event_stop(status) && WSTOPSIG(status) == SIGSTOP)
			p->stop_again = true;
	}
}

int puppet_enter(struct puppet *p, const struct user_regs_struct *regs, uint64_t mask, struct error *e)
{
	if (TRACE(PTRACE_SETREGS, p->pid, p->tid, 0, regs, e) < 0)
		return -e->number;
	p->running = true;
	return (int)TRACE(PTRACE_SETSIGMASK, p->pid, p->tid, sizeof(mask), &mask, e);
}

int puppet_give_back(struct puppet *p, struct error *e)
{
	if (TRACE(PTRACE_SETSIGMASK, p->pid, p->tid, sizeof(p->sigmask), &p->sigmask, e) < 0 ||
	    TRACE(PTRACE_SETREGS, p->pid, p->tid, 0, &p->regs, e) < 0)
		return -e->number;
	p->running = false;
	return 0;
}

int puppet_single_call(struct puppet *p, uint64_t at, long nr, const uint64_t args[6], int64_t *ret, struct error *e)
{
	struct user_regs_struct regs = p->regs;
	uint64_t start_ns = call_log_start();
	int r;

	regs.rip = at;
	regs.orig_rax = (unsigned long long)-1;
	regs.rax = (unsigned long long)nr;
	regs.rdi = args[0];
	regs.rsi = args[1];
	regs.rdx = args[2];
	regs.r10 = args[3];
	regs.r8 = args[4];
	regs.r9 = args[5];
	regs.eflags &= ~0x100ull; /* TF */
	r = puppet_enter(p, &regs, ~0ull, e);
	if (r == 0)
		r = step(p, PTRACE_SYSCALL, false, e);
	if (r == 0)
		r = step(p, PTRACE_SYSCALL, false, e);
	if (r == 0)
		r = (int)TRACE(PTRACE_GETREGS, p->pid, p->tid, 0, &regs, e);
	/*
	 * From a system-call stop a task returns straight to user space; only from a stop for a signal does the kernel
	 * look whether the interrupted call in its registers has to be made again. So go to such a stop first.
	 */
	if (r == 0)
		r = (int)TRACE(PTRACE_INTERRUPT, p->pid, p->tid, 0, 0, e);
	if (r == 0)
		r = step(p, PTRACE_CONT, true, e);
	if (r == 0)
		r = puppet_give_back(p, e);
	if (r < 0)
		return r;
	*ret = (int64_t)regs.rax;
	call_log_single(p, nr, args, *ret, start_ns);
	return 0;
}
