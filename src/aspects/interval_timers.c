/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The three interval timers of a process (man 2 setitimer): the time that was left goes on after the restore.
 *
 * ITIMER_REAL with an interval and no time left has gone off, and its SIGALRM is still pending: the kernel starts it again
 * when the signal is delivered (kernel/signal.c, dequeue_signal()). No call makes such a timer, so the restored one is
 * started at once.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "aspects/common.h"

#define N_TIMERS 3

static ItimerEntry *timer_of(const struct thread *t, int which)
{
	const TaskTimersEntry *m = t->core->tc->timers;

	switch (which) {
	case ITIMER_REAL: return m->real;
	case ITIMER_VIRTUAL: return m->virt;
	default: return m->prof;
	}
}

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	if (!is_leader(t))
		return 0;
	ask->data = batch_space(b, N_TIMERS * sizeof(struct itimerval));
	for (int i = 0; i < N_TIMERS; i++)
		batch_call(b, 0, __NR_getitimer, (uint64_t)i, ask->data + (uint64_t)i * sizeof(struct itimerval));
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	const struct itimerval *v = batch_at(b, ask->data);

	(void)op;
	for (int i = 0; i < N_TIMERS; i++) {
		ItimerEntry *m = timer_of(t, i);

		m->isec = (uint64_t)v[i].it_interval.tv_sec;
		m->iusec = (uint64_t)v[i].it_interval.tv_usec;
		m->vsec = (uint64_t)v[i].it_value.tv_sec;
		m->vusec = (uint64_t)v[i].it_value.tv_usec;
	}
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	if (!is_leader(t) || !t->core->tc->timers)
		return 0;
	for (int i = 0; i < N_TIMERS; i++) {
		const ItimerEntry *m = timer_of(t, i);

		if (m->iusec >= 1000000 || m->vusec >= 1000000 || m->isec > INT64_MAX || m->vsec > INT64_MAX)
			return aspect_damaged(op, t, "interval timer %d", i);
	}
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	int r;

	if (!is_leader(t) || !t->core->tc->timers)
		return 0;
	r = aspect_room(op, b, N_TIMERS, N_TIMERS * 48);
	if (r < 0)
		return r;
	for (int i = 0; i < N_TIMERS; i++) {
		const ItimerEntry *m = timer_of(t, i);
		struct itimerval v = {
			.it_interval = { (time_t)m->isec, (suseconds_t)m->iusec },
			.it_value = { (time_t)m->vsec, (suseconds_t)m->vusec },
		};

		if (i == ITIMER_REAL && !m->vsec && !m->vusec)
			v.it_value = v.it_interval;
		/* A new process has none running. */
		if (v.it_value.tv_sec || v.it_value.tv_usec)
			batch_call(b, 0, __NR_setitimer, (uint64_t)i, batch_data(b, &v, sizeof(v)), 0);
	}
	return 0;
}

const struct aspect interval_timers_aspect = {
	.name = "interval timers",
	.ask = ask,
	.answer = answer,
	.decode = decode,
	.apply = apply,
};
