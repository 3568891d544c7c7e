/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POSIX timers (man 2 timer_create). /proc/PID/timers lists them, the task itself tells the time that is left and the
 * overruns. The overrun count is kept in the image for the reader: no call sets it.
 *
 * A program knows its timers by their numbers, so they come back with the same ones. Since Linux 6.15 the kernel takes
 * the number wanted (PR_TIMER_CREATE_RESTORE_IDS); before, it hands out ascending numbers from 0 in a new process:
 * timers are created and deleted until the right one comes, up to PROBES_MAX.
 *
 * The time that is left goes on after the restore, also for a timer that was set to an absolute time: the kernel does
 * not tell which it was.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "aspects/common.h"
#include "kernel/features.h"

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#define PR_TIMER_CREATE_RESTORE_IDS_OFF 0
#define PR_TIMER_CREATE_RESTORE_IDS_ON 1
#endif

enum { CLOCK_PROCESS_CPU = 2, CLOCK_THREAD_CPU = 3, PROBES_MAX = 100000 };

/* struct sigevent as the kernel has it. */
struct kernel_sigevent {
	uint64_t value;
	int32_t signo, notify, tid;
	int32_t pad[11];
};
_Static_assert(sizeof(struct kernel_sigevent) == 64, "SIGEV_MAX_SIZE");

/* ---- dump ------------------------------------------------------------------------------------------------------ */

static int check_clock(struct operation *op, struct thread *t, int clock, int id)
{
	if (clock == CLOCK_THREAD_CPU && t->task->n_threads > 1) {
		aspect_refuse(op, t, "has POSIX timer %d on the CPU time of the thread that created it", id);
		error_hint(op->error, "the kernel does not tell which of %zu threads that is; pthread_getcpuclockid() would",
			   t->task->n_threads);
		return -EOPNOTSUPP;
	}
	return 0;
}

static bool has_thread(const struct task *task, pid_t tid)
{
	for (size_t i = 0; i < task->n_threads; i++)
		if (task->threads[i].tid == tid)
			return true;
	return false;
}

static int collect_task(struct operation *op, struct task *task)
{
	struct thread *t = task->threads;
	TaskTimersEntry *timers = t->core->tc->timers;
	struct proc_timer *p = NULL;
	PosixTimerEntry *m;
	size_t n = 0;
	int r = read_proc_timers(task->proc_fd, &op->arena, &p, &n);

	if (r < 0) {
		aspect_raise_call(op, t, -r, "read", "/proc/%d/timers", task->pid);
		if (r == -ENOENT)
			error_hint(op->error, "the kernel needs CONFIG_CHECKPOINT_RESTORE and CONFIG_POSIX_TIMERS");
		return r;
	}
	timers->posix = arena_array(&op->arena, n + 1, sizeof(*timers->posix));
	m = arena_array(&op->arena, n + 1, sizeof(*m));
	if (!timers->posix || !m)
		return aspect_no_memory(op, t);
	for (size_t i = 0; i < n; i++) {
		r = check_clock(op, t, p[i].clockid, p[i].id);
		if (r < 0)
			return r;
		posix_timer_entry__init(&m[i]);
		m[i].it_id = (uint32_t)p[i].id;
		m[i].clock_id = (uint32_t)p[i].clockid;
		m[i].si_signo = (uint32_t)p[i].signo;
		m[i].it_sigev_notify = (uint32_t)p[i].notify;
		m[i].sival_ptr = p[i].sigval;
		if (p[i].target_is_thread && has_thread(task, p[i].target)) {
			m[i].has_notify_thread_id = true;
			m[i].notify_thread_id = p[i].target;
		} else if (p[i].target_is_thread) {
			/* The thread has ended: the timer runs and tells nobody. */
			m[i].it_sigev_notify = SIGEV_NONE;
		}
		timers->posix[i] = &m[i];
	}
	timers->n_posix = n;
	return 0;
}

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	const TaskTimersEntry *timers;
	size_t fit;

	(void)op;
	if (!is_leader(t))
		return 0;
	timers = t->core->tc->timers;
	for (fit = 0; ask->done + fit < timers->n_posix; fit++)
		if (!batch_has_room(b, 2 * (fit + 1), (fit + 1) * sizeof(struct itimerspec)))
			break;
	ask->count = fit;
	if (!fit)
		return ask->done < timers->n_posix ? ASK_MORE : 0;
	ask->data = batch_space(b, fit * sizeof(struct itimerspec));
	for (size_t i = 0; i < fit; i++) {
		uint64_t id = timers->posix[ask->done + i]->it_id;

		batch_call(b, 0, __NR_timer_gettime, id, ask->data + i * sizeof(struct itimerspec));
		batch_call(b, 0, __NR_timer_getoverrun, id);
	}
	return ask->done + fit < timers->n_posix ? ASK_MORE : 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	const struct itimerspec *v = batch_at(b, ask->data);

	(void)op;
	for (size_t i = 0; i < ask->count; i++) {
		PosixTimerEntry *m = t->core->tc->timers->posix[ask->done + i];

		m->isec = (uint64_t)v[i].it_interval.tv_sec;
		m->insec = (uint64_t)v[i].it_interval.tv_nsec;
		m->vsec = (uint64_t)v[i].it_value.tv_sec;
		m->vnsec = (uint64_t)v[i].it_value.tv_nsec;
		m->overrun = (uint32_t)batch_result(b, ask->first + 2 * i + 1);
	}
	return 0;
}

/* ---- restore --------------------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
	const PosixTimerEntry *x = *(PosixTimerEntry *const *)a, *y = *(PosixTimerEntry *const *)b;

	return x->it_id < y->it_id ? -1 : x->it_id > y->it_id;
}

static int decode_timer(struct operation *op, struct thread *t, const PosixTimerEntry *m)
{
	if (m->it_id > INT32_MAX)
		return aspect_damaged(op, t, "POSIX timer %u", m->it_id);
	if (m->insec >= 1000000000 || m->vnsec >= 1000000000 || m->isec > INT64_MAX || m->vsec > INT64_MAX)
		return aspect_damaged(op, t, "the times of POSIX timer %u", m->it_id);
	if (m->it_sigev_notify > SIGEV_THREAD && m->it_sigev_notify != SIGEV_THREAD_ID)
		return aspect_damaged(op, t, "POSIX timer %u notifies in way %u", m->it_id, m->it_sigev_notify);
	if (m->si_signo > 64 || (!m->si_signo && m->it_sigev_notify != SIGEV_NONE))
		return aspect_damaged(op, t, "POSIX timer %u sends signal %u", m->it_id, m->si_signo);
	if (m->it_sigev_notify == SIGEV_THREAD_ID && !has_thread(t->task, m->notify_thread_id))
		return aspect_damaged(op, t, "POSIX timer %u notifies thread %d, which is none of the task", m->it_id,
				      m->notify_thread_id);
	return check_clock(op, t, (int)m->clock_id, (int)m->it_id);
}

static int decode(struct operation *op, struct thread *t)
{
	TaskTimersEntry *timers = t->core->tc ? t->core->tc->timers : NULL;

	if (!is_leader(t) || !timers)
		return 0;
	if (timers->n_posix > 0)
		qsort(timers->posix, timers->n_posix, sizeof(*timers->posix), by_id);
	for (size_t i = 0; i < timers->n_posix; i++) {
		int r = decode_timer(op, t, timers->posix[i]);

		if (r < 0)
			return r;
		if (i > 0 && timers->posix[i]->it_id == timers->posix[i - 1]->it_id)
			return aspect_damaged(op, t, "POSIX timer %u twice", timers->posix[i]->it_id);
	}
	return 0;
}

static void add_create(struct batch *b, const PosixTimerEntry *m)
{
	struct kernel_sigevent event = {
		.value = m->sival_ptr,
		.signo = (int32_t)m->si_signo,
		.notify = (int32_t)m->it_sigev_notify,
		.tid = m->it_sigev_notify == SIGEV_THREAD_ID ? m->notify_thread_id : 0,
	};
	int32_t id = (int32_t)m->it_id;
	uint64_t remote_event = batch_data(b, &event, sizeof(event));

	batch_call(b, 0, __NR_timer_create, (uint64_t)(int64_t)(int32_t)m->clock_id, remote_event,
		   batch_data(b, &id, sizeof(id)));
}

/* The fallback: uses up the numbers from @from on below the wanted one. */
static int skip_ids(struct operation *op, struct thread *t, struct batch *b, uint32_t from, uint32_t wanted)
{
	static const struct kernel_sigevent silent = { .notify = SIGEV_NONE };

	if (wanted > PROBES_MAX) {
		aspect_refuse(op, t, "needs POSIX timer number %u", wanted);
		error_hint(op->error, "only Linux 6.15 or newer can create one with such a number");
		return -EOPNOTSUPP;
	}
	for (uint32_t id = from; id < wanted; id++) {
		int r = aspect_room(op, b, 2, 128);
		uint64_t event;

		if (r < 0)
			return r;
		event = batch_data(b, &silent, sizeof(silent));
		batch_call(b, 0, __NR_timer_create, CLOCK_MONOTONIC, event, batch_space(b, sizeof(int32_t)));
		batch_call(b, 0, __NR_timer_delete, id);
	}
	return 0;
}

static void add_settime(struct batch *b, const PosixTimerEntry *m)
{
	struct itimerspec v = {
		.it_interval = { (time_t)m->isec, (long)m->insec },
		.it_value = { (time_t)m->vsec, (long)m->vnsec },
	};

	/* Fails for a number that timer_create() did not give, so a wrong one cannot pass unseen. */
	batch_call(b, 0, __NR_timer_settime, m->it_id, 0, batch_data(b, &v, sizeof(v)), 0);
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const TaskTimersEntry *timers = t->core->tc ? t->core->tc->timers : NULL;
	bool takes_ids;
	uint32_t next = 0;
	int r;

	if (!is_leader(t) || !timers || !timers->n_posix)
		return 0;
	takes_ids = op->features->timer_restore_ids;
	r = aspect_room(op, b, 2, 0);
	if (r < 0)
		return r;
	if (takes_ids)
		batch_call(b, 0, __NR_prctl, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON, 0, 0, 0);
	for (size_t i = 0; i < timers->n_posix; i++) {
		const PosixTimerEntry *m = timers->posix[i];

		r = takes_ids ? 0 : skip_ids(op, t, b, next, m->it_id);
		if (r == 0)
			r = aspect_room(op, b, 3, 256);
		if (r < 0)
			return r;
		add_create(b, m);
		add_settime(b, m);
		next = m->it_id + 1;
	}
	if (takes_ids) {
		r = aspect_room(op, b, 1, 0);
		if (r < 0)
			return r;
		batch_call(b, 0, __NR_prctl, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_OFF, 0, 0, 0);
	}
	return 0;
}

const struct aspect posix_timers_aspect = {
	.name = "POSIX timers",
	.collect_task = collect_task,
	.ask = ask,
	.answer = answer,
	.decode = decode,
	.apply = apply,
};
