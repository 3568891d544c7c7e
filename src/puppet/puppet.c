/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "puppet/puppet.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kernel/syscalls.h"
#include "puppet/area.h"
#include "puppet/call_log.h"
#include "puppet/stub.h"
#include "puppet/trace.h"
#include "watch/recorder.h"

#define PARKED(area) ((area)->code + (uint64_t)(stub_parked - stub_begin))
#define ENTRY(area) ((area)->code + (uint64_t)(stub_entry - stub_begin))

/* Moves header, calls and data to or from the scratch area. */
static int transfer(const struct batch *b, struct stub_header *h, bool write, struct error *e)
{
	const struct puppet *p = b->puppet;
	struct iovec local[3] = {
		{ h, sizeof(*h) },
		{ b->calls, b->n_calls * sizeof(*b->calls) },
		{ b->data, b->data_len },
	};
	struct iovec remote[3] = {
		{ (void *)p->area->scratch, sizeof(*h) },
		{ (void *)(p->area->scratch + STUB_CALLS), local[1].iov_len },
		{ (void *)b->data_addr, local[2].iov_len },
	};
	ssize_t want = (ssize_t)(local[0].iov_len + local[1].iov_len + local[2].iov_len), n;

	if (write)
		n = process_vm_writev(p->tid, local, 3, remote, 3, 0);
	else
		n = process_vm_readv(p->tid, local, 3, remote, 3, 0);
	if (n == want)
		return 0;
	return error_raise_call(e, n < 0 ? errno : EFAULT, write ? "process_vm_writev" : "process_vm_readv",
				"pid %d (%s), thread %d, scratch area", p->pid, p->comm, p->tid);
}

/* From its first call, or its next stop, on to where it parks: without a park signal, by stops at system calls. */
static int let_run(const struct puppet *p, struct error *e)
{
	return (int)(p->park_signal ? TRACE(PTRACE_CONT, p->pid, p->tid, 0, 0, e)
				    : TRACE(PTRACE_SYSCALL, p->pid, p->tid, 0, 0, e));
}

int puppet_start(struct batch *b, struct error *e)
{
	struct puppet *p = b->puppet;
	struct user_regs_struct regs = p->regs;
	struct stub_header h = {
		.n_calls = b->n_calls,
		.pid = (uint64_t)p->pid,
		.tid = (uint64_t)p->tid,
		.park_signal = (uint64_t)p->park_signal,
		.flags_stack = p->area->scratch + p->area->scratch_size,
	};
	uint64_t mask = p->park_signal ? ~(1ull << (p->park_signal - 1)) : ~0ull;
	int r;

	if (b->overflow)
		return error_raise(e, E2BIG, "pid %d (%s): a batch of calls is too long", p->pid, p->comm);
	saved_from_regs(&h.saved, &p->regs, p->sigmask);
	r = transfer(b, &h, true, e);
	if (r < 0)
		return r;
	regs.rip = ENTRY(p->area);
	regs.orig_rax = (unsigned long long)-1;
	regs.eflags &= ~0x500ull; /* TF, DF */
	b->start_ns = call_log_start();
	if (puppet_enter(p, &regs, mask, e) < 0 || let_run(p, e) < 0)
		return -e->number;
	return 0;
}

/* What a stop says about how far the stub is. */
enum progress { STUB_WORKS, STUB_PARKED, STUB_BROKEN };

static enum progress judge_stop(struct puppet *p, int status, const struct user_regs_struct *regs)
{
	int signal = WSTOPSIG(status);

	if (status_is_event_stop(status))
		return STUB_WORKS;
	/* At the entry of a system call the instruction pointer is behind it too, but no result is there yet. */
	if (regs->rip == PARKED(p->area) && !(signal == (SIGTRAP | 0x80) && (long)regs->rax == -ENOSYS))
		return STUB_PARKED;
	if (signal == SIGSTOP)
		p->stop_again = true;
	return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL ? STUB_BROKEN : STUB_WORKS;
}

static int wait_stop(struct puppet *p, int *ret_status, struct error *e)
{
	int r = trace_wait(p->pid, p->tid, ret_status, e);

	if (r == -ESRCH)
		return error_raise(e, ESRCH, "pid %d (%s), thread %d ended while firn worked in it", p->pid, p->comm,
				   p->tid);
	return r;
}

/* Without a park signal the stub was stepped from system call to system call: see puppet_single_call() for why the task
 * must go on to a stop of another sort. */
static int leave_syscall_stop(struct puppet *p, struct error *e)
{
	int status, r;

	if (TRACE(PTRACE_INTERRUPT, p->pid, p->tid, 0, 0, e) < 0)
		return -e->number;
	do {
		if (TRACE(PTRACE_CONT, p->pid, p->tid, 0, 0, e) < 0)
			return -e->number;
		r = wait_stop(p, &status, e);
	} while (r == 0 && !status_is_event_stop(status));
	return r;
}

/* Waits until the stub is behind its last system call. */
static int wait_parked(struct puppet *p, struct error *e)
{
	struct user_regs_struct regs;

	for (;;) {
		int status, r = wait_stop(p, &status, e);

		if (r == 0)
			r = (int)TRACE(PTRACE_GETREGS, p->pid, p->tid, 0, &regs, e);
		if (r < 0)
			return r;
		switch (judge_stop(p, status, &regs)) {
		case STUB_PARKED:
			return p->park_signal ? 0 : leave_syscall_stop(p, e);
		case STUB_BROKEN:
			(void)error_raise(e, EFAULT, "pid %d (%s), thread %d: signal %d in the stub at %#llx", p->pid,
					  p->comm, p->tid, WSTOPSIG(status), regs.rip);
			(void)puppet_give_back(p, e);
			return -EFAULT;
		case STUB_WORKS:
			break;
		}
		if (let_run(p, e) < 0)
			return -e->number;
	}
}

int puppet_finish(struct batch *b, struct error *e)
{
	struct puppet *p = b->puppet;
	struct stub_header h;
	int r;

	recorder_step(p->pid, p->comm, b->n_calls ? syscall_name(b->calls[0].nr) : "nothing",
		      "thread %d: a batch of %zu calls in the task", p->tid, b->n_calls);
	r = wait_parked(p, e);
	if (r < 0) {
		call_log_unfinished(b, b->start_ns);
		return r;
	}
	r = transfer(b, &h, false, e);
	if (puppet_give_back(p, e) < 0 || r < 0)
		return -e->number;
	b->failed = h.done;
	call_log_batch(b, b->start_ns);
	if (b->failed < b->n_calls) {
		const struct puppet_call *c = &b->calls[b->failed];

		return error_raise(e, (int)-c->ret, "pid %d (%s), thread %d: %s in the task: %s", p->pid, p->comm,
				   p->tid, syscall_name(c->nr), strerror((int)-c->ret));
	}
	return 0;
}

int puppet_run(struct batch *b, struct error *e)
{
	int r = puppet_start(b, e);

	return r < 0 ? r : puppet_finish(b, e);
}
