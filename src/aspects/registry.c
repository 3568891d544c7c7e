/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "aspects/common.h"
#include "tree/refusals.h"
#include "tree/registers.h"
#include "watch/recorder.h"

/*
 * The order of all calls. For a restore it matters:
 *  - signal actions before the queues: giving an action empties a queue;
 *  - queues and timers before the limits, of which RLIMIT_SIGPENDING counts them;
 *  - everything that needs privileges before the credentials;
 *  - what a change of credentials resets (parent death signal, dumpable) after them.
 */
const struct aspect *const aspects[] = {
	&seccomp_aspect,
	&tsc_aspect,
	&unsupported_aspect,
	&file_locks_aspect,
	&signal_actions_aspect,
	&signal_queues_aspect,
	&alternate_stack_aspect,
	&interval_timers_aspect,
	&posix_timers_aspect,
	&membarrier_aspect,
	&robust_list_aspect,
	&clear_child_tid_aspect,
	&rseq_aspect,
	&comm_aspect,
	&personality_aspect,
	&huge_pages_aspect,
	&memory_settings_aspect,
	&thread_settings_aspect,
	&timer_slack_aspect,
	&subreaper_aspect,
	&loginuid_aspect,
	&rlimits_aspect,
	&credentials_aspect,
	&parent_death_aspect,
	&dumpable_aspect,
	&scheduling_aspect,
	&io_priority_aspect,
	&oom_score_aspect,
	&coredump_filter_aspect,
	&affinity_aspect,
	&autogroup_aspect,
};
const size_t n_aspects = sizeof(aspects) / sizeof(aspects[0]);
#define N_ASPECTS (sizeof(aspects) / sizeof(aspects[0]))

int aspects_check(struct operation *op, struct task *t)
{
	for (size_t i = 0; i < t->n_threads; i++)
		for (size_t k = 0; k < N_ASPECTS; k++) {
			int r = aspects[k]->check ? refusal_note(op, aspects[k]->check(op, &t->threads[i])) : 0;

			if (r < 0)
				return r;
		}
	return 0;
}

int aspects_collect(struct operation *op, struct task *t)
{
	int r = 0;

	for (size_t k = 0; k < N_ASPECTS && r == 0; k++) {
		if (aspects[k]->collect_task && t->n_threads > 0)
			r = refusal_note(op, aspects[k]->collect_task(op, t));
		for (size_t i = 0; i < t->n_threads && r == 0; i++)
			if (aspects[k]->collect_thread)
				r = refusal_note(op, aspects[k]->collect_thread(op, &t->threads[i]));
	}
	return r;
}

int aspects_peek(struct operation *op, struct task *t)
{
	for (size_t i = 0; i < t->n_threads; i++)
		for (size_t k = 0; k < N_ASPECTS; k++) {
			int r = aspects[k]->peek ? aspects[k]->peek(op, &t->threads[i]) : 0;

			if (r < 0)
				return r;
		}
	return 0;
}

/* The questions of one thread: which aspects have asked in the batch and wait for their answers. */
struct interview {
	struct operation *op;
	struct thread *thread;
	struct batch batch;
	struct ask asks[N_ASPECTS];
	bool waits[N_ASPECTS];
};

static int interview_run(struct interview *v)
{
	int r = 0;

	if (v->batch.n_calls)
		r = puppet_run(&v->batch, v->op->error);
	for (size_t k = 0; k < N_ASPECTS && r == 0; k++)
		if (v->waits[k]) {
			v->waits[k] = false;
			r = aspects[k]->answer(v->op, v->thread, &v->batch, &v->asks[k]);
			v->asks[k].done += v->asks[k].count;
		}
	batch_reset(&v->batch);
	return r;
}

/* One aspect asks; what does not fit is asked again in a batch of its own. */
static int interview_aspect(struct interview *v, size_t k)
{
	struct batch *b = &v->batch;

	for (;;) {
		size_t calls = b->n_calls, data = b->data_len;
		int r;

		v->asks[k].first = calls;
		v->asks[k].count = 0;
		r = aspects[k]->ask(v->op, v->thread, b, &v->asks[k]);
		if (r < 0)
			return r;
		if (b->overflow) {
			if (!calls)
				return error_raise(v->op->error, E2BIG, "pid %d (%s): the questions of '%s' do not fit",
						   v->thread->task->pid, v->thread->task->comm, aspects[k]->name);
			b->n_calls = calls;
			b->data_len = data;
			b->overflow = false;
			r = ASK_MORE;
		} else {
			v->waits[k] = b->n_calls > calls;
		}
		if (r != ASK_MORE)
			return 0;
		r = interview_run(v);
		if (r < 0)
			return r;
	}
}

int aspects_ask_thread(struct operation *op, struct thread *t)
{
	struct interview v = { .op = op, .thread = t };
	int r = batch_begin(&v.batch, &t->puppet, op->error);

	for (size_t k = 0; k < N_ASPECTS && r == 0; k++)
		if (aspects[k]->ask)
			r = interview_aspect(&v, k);
	if (r == 0)
		r = interview_run(&v);
	batch_end(&v.batch);
	return r;
}

int aspects_decode(struct operation *op, struct task *t)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		struct thread *th = &t->threads[i];
		int r;

		if (!th->core || !th->core->thread_core || !th->core->thread_info || (is_leader(th) && !th->core->tc))
			return aspect_damaged(op, th, "not a complete thread");
		if (!th->core->thread_info->gpregs || !th->core->thread_info->fpregs)
			return aspect_damaged(op, th, "no registers");
		r = registers_decode(op, th);
		if (r < 0)
			return r;
		for (size_t k = 0; k < N_ASPECTS; k++) {
			r = aspects[k]->decode ? aspects[k]->decode(op, th) : 0;
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int aspect_room(struct operation *op, struct batch *b, size_t calls, size_t bytes)
{
	int r;

	if (batch_has_room(b, calls, bytes))
		return 0;
	r = puppet_run(b, op->error);
	batch_reset(b);
	return r;
}

int aspects_apply(struct operation *op, struct thread *t)
{
	struct batch b;
	int r;

	/* The first one that is given its state: the leader comes last. */
	if (t == &t->task->threads[t->task->n_threads - 1])
		signal_queues_choose_park(t->task);
	r = batch_begin(&b, &t->puppet, op->error);
	for (size_t k = 0; k < N_ASPECTS && r == 0; k++)
		if (aspects[k]->apply)
			r = aspects[k]->apply(op, t, &b);
	if (r == 0 && b.n_calls)
		r = puppet_run(&b, op->error);
	batch_end(&b);
	return r;
}

int aspects_poke(struct operation *op, struct thread *t)
{
	for (size_t k = 0; k < N_ASPECTS; k++) {
		int r = aspects[k]->poke ? aspects[k]->poke(op, t) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}
