/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pending signals with their siginfo, the process's (tc.signals_s) and each thread's (thread_core.signals_p), and the
 * signal masks.
 *
 * PTRACE_PEEKSIGINFO shows the queues; a signal that found no room in them (RLIMIT_SIGPENDING) is pending as a bit
 * alone and gets the siginfo with which the kernel would deliver it: SI_USER from nobody. At restore the task queues
 * its signals to itself, which is the only way to give them any si_code (man 2 rt_sigqueueinfo), while its puppet
 * blocks all of them. SIGSTOP cannot be blocked, so it is sent from outside at the end.
 *
 * The mask of the image is the one that PTRACE_GETSIGMASK shows: in a task that waits in sigsuspend(2) or ppoll(2)
 * that is the mask of before the call, and the call, made again, sets its own. registers_poke() puts it back.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "aspects/common.h"
#include "puppet/area.h"
#include "watch/recorder.h"

#define SIGINFO_BYTES 128u      /* of the kernel's siginfo_t, with its padding */
#define QUEUED_MAX (1u << 20)   /* a queue longer than that is damage: RLIMIT_SIGPENDING is far below */
#define PEEK_AT_ONCE 32

_Static_assert(sizeof(siginfo_t) == SIGINFO_BYTES, "siginfo_t has the kernel's size");

static int queue_add(struct operation *op, SignalQueueEntry *q, size_t *room, const siginfo_t *info)
{
	SiginfoEntry *m;

	if (q->n_signals == *room) {
		size_t more = *room ? *room * 2 : 8;
		void *list = arena_grow(&op->arena, q->signals, q->n_signals, more, sizeof(*q->signals));

		if (!list)
			return -ENOMEM;
		q->signals = list;
		*room = more;
	}
	m = arena_alloc(&op->arena, sizeof(*m));
	if (!m)
		return -ENOMEM;
	siginfo_entry__init(m);
	m->siginfo.len = SIGINFO_BYTES;
	m->siginfo.data = arena_memdup(&op->arena, info, SIGINFO_BYTES);
	if (!m->siginfo.data)
		return -ENOMEM;
	q->signals[q->n_signals++] = m;
	return 0;
}

/* @pending: the signals that /proc/PID/status shows. */
static int peek_queue(struct operation *op, struct thread *t, SignalQueueEntry *q, unsigned flags, uint64_t pending)
{
	siginfo_t infos[PEEK_AT_ONCE];
	struct __ptrace_peeksiginfo_args args = { .flags = flags, .nr = PEEK_AT_ONCE };
	size_t room = 0;
	long n;

	q->n_signals = 0;
	/* What arrives after the look at the status is late for the image, as it would be a moment later. */
	if (!pending)
		return 0;
	do {
		n = syscall(__NR_ptrace, PTRACE_PEEKSIGINFO, t->tid, &args, infos);
		if (n < 0)
			return aspect_raise_call(op, t, errno, "ptrace(PTRACE_PEEKSIGINFO)", "pending signals");
		for (long i = 0; i < n; i++) {
			if (infos[i].si_signo >= 1 && infos[i].si_signo <= 64)
				pending &= ~(1ull << (infos[i].si_signo - 1));
			if (queue_add(op, q, &room, &infos[i]) < 0)
				return aspect_no_memory(op, t);
		}
		args.off += (uint64_t)n;
	} while (n == PEEK_AT_ONCE);

	for (int signo = 1; signo <= 64; signo++) {
		siginfo_t info;

		if (!(pending >> (signo - 1) & 1) || signo == SIGKILL)
			continue;
		memset(&info, 0, sizeof(info));
		info.si_signo = signo;
		if (queue_add(op, q, &room, &info) < 0)
			return aspect_no_memory(op, t);
	}
	return 0;
}

static int peek(struct operation *op, struct thread *t)
{
	CoreEntry *c = t->core;
	uint64_t mask = t->puppet.regs_known ? t->puppet.sigmask : t->status.sig_blocked;
	int r = peek_queue(op, t, c->thread_core->signals_p, 0, t->status.sig_pending);

	if (r < 0)
		return r;
	if (is_leader(t)) {
		c->tc->blk_sigset = mask;
		return peek_queue(op, t, c->tc->signals_s, PTRACE_PEEKSIGINFO_SHARED, t->status.shared_pending);
	}
	c->thread_core->has_blk_sigset = true;
	c->thread_core->blk_sigset = mask;
	return 0;
}

static int32_t signal_of(const SiginfoEntry *m)
{
	int32_t signo;

	memcpy(&signo, m->siginfo.data, sizeof(signo));
	return signo;
}

static int decode_queue(struct operation *op, struct thread *t, const SignalQueueEntry *q)
{
	if (!q)
		return 0;
	if (q->n_signals > QUEUED_MAX)
		return aspect_damaged(op, t, "%zu pending signals", q->n_signals);
	for (size_t i = 0; i < q->n_signals; i++) {
		const SiginfoEntry *m = q->signals[i];

		if (m->siginfo.len != SIGINFO_BYTES)
			return aspect_damaged(op, t, "a pending signal of %zu bytes", m->siginfo.len);
		if (signal_of(m) < 1 || signal_of(m) > 64 || signal_of(m) == SIGKILL)
			return aspect_damaged(op, t, "pending signal %d", signal_of(m));
	}
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	int r = decode_queue(op, t, t->core->thread_core->signals_p);

	if (r == 0 && is_leader(t))
		r = decode_queue(op, t, t->core->tc->signals_s);
	return r;
}

static int apply_queue(struct operation *op, struct thread *t, struct batch *b, const SignalQueueEntry *q, bool shared)
{
	for (size_t i = 0; q && i < q->n_signals; i++) {
		const SiginfoEntry *m = q->signals[i];
		uint64_t signo = (uint64_t)signal_of(m);
		int r;

		if (signo == SIGSTOP)
			continue;
		r = aspect_room(op, b, 1, SIGINFO_BYTES);
		if (r < 0)
			return r;
		if (shared)
			batch_call(b, 0, __NR_rt_sigqueueinfo, (uint64_t)t->task->pid, signo,
				   batch_data(b, m->siginfo.data, SIGINFO_BYTES));
		else
			batch_call(b, 0, __NR_rt_tgsigqueueinfo, (uint64_t)t->task->pid, (uint64_t)t->tid, signo,
				   batch_data(b, m->siginfo.data, SIGINFO_BYTES));
	}
	return 0;
}

static uint64_t queue_set(const SignalQueueEntry *q)
{
	uint64_t set = 0;

	for (size_t i = 0; q && i < q->n_signals; i++)
		set |= 1ull << (signal_of(q->signals[i]) - 1);
	return set;
}

void signal_queues_choose_park(struct task *t)
{
	uint64_t pending = queue_set(t->threads[0].core->tc->signals_s);
	int signal;

	for (size_t i = 0; i < t->n_threads; i++)
		pending |= queue_set(t->threads[i].core->thread_core->signals_p);
	/* A puppet has no handlers, and blocks all signals but this. */
	signal = park_signal_choose(0, 0, 0, pending);
	for (size_t i = 0; i < t->n_threads; i++)
		t->threads[i].puppet.park_signal = signal;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	int r = apply_queue(op, t, b, t->core->thread_core->signals_p, false);

	if (r == 0 && is_leader(t))
		r = apply_queue(op, t, b, t->core->tc->signals_s, true);
	return r;
}

static int poke(struct operation *op, struct thread *t)
{
	uint64_t stop = 1ull << (SIGSTOP - 1);
	bool own = queue_set(t->core->thread_core->signals_p) & stop;
	bool shared = is_leader(t) && queue_set(t->core->tc->signals_s) & stop;

	if ((own && syscall(__NR_tgkill, t->task->pid, t->tid, SIGSTOP) < 0) ||
	    (shared && syscall(__NR_kill, t->task->pid, SIGSTOP) < 0))
		return aspect_raise_call(op, t, errno, "kill(SIGSTOP)", "a pending stop");
	return 0;
}

const struct aspect signal_queues_aspect = {
	.name = "pending signals",
	.peek = peek,
	.decode = decode,
	.apply = apply,
	.poke = poke,
};
