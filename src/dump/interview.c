/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dump/interview.h"

#include <errno.h>
#include <string.h>

#include "aspects/aspect.h"
#include "memory/memory.h"
#include "puppet/area.h"
#include "tree/registers.h"
#include "watch/recorder.h"

static const struct proc_map *find_vdso(const struct task *t)
{
	for (size_t i = 0; i < t->n_maps; i++)
		if (strcmp(t->maps[i].path, "[vdso]") == 0)
			return &t->maps[i];
	return NULL;
}

/* Each thread in turn: an area serves one batch at a time. Tasks that share the memory share the area. */
static int interview_task(struct operation *op, struct task *t, struct puppet_area *area)
{
	int r = 0;

	for (size_t i = 0; i < t->n_threads; i++)
		t->threads[i].puppet.area = area;
	for (size_t i = 0; i < t->n_threads && r == 0; i++) {
		r = recorder_end_asked() ? error_raise(op->error, ECANCELED, "cancelled while the tasks were asked")
					 : aspects_ask_thread(op, &t->threads[i]);
		if (r == 0)
			r = registers_peek(op, &t->threads[i]);
	}
	return r;
}

/* A thread whose calls were cut short still needs the area: it finishes them there, and heals. */
static bool area_in_use(const struct operation *op, const struct task *first)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *t = op->tree.tasks[i];

		for (size_t k = 0; k < t->n_threads; k++)
			if (t->mm_owner == first && t->threads[k].puppet.running)
				return true;
	}
	return false;
}

/* Best effort after an error, which is the one to be told. */
static int leave_space(struct operation *op, struct gate *g, struct task *first, int r)
{
	struct puppet *p = &first->threads[0].puppet;
	struct error ignored = { 0 };
	struct error *e = r < 0 ? &ignored : op->error;

	if (!p->area)
		return r;
	if (area_in_use(op, first))
		(void)error_raise(&ignored, EBUSY, "a call in it did not end");
	else if (area_unmap(g, p, e) == 0)
		return r;
	log_warn(first->pid, "firn's area is left in the task: %s", (error_is_set(&ignored) ? &ignored : e)->sentence);
	atomic_store(&recorder->area_left, first->pid);
	return r < 0 ? r : -op->error->number;
}

static void choose_park_signals(struct task *t)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		struct thread *th = &t->threads[i];

		th->puppet.park_signal =
			park_signal_choose(th->status.sig_caught, th->status.sig_ignored, th->puppet.sigmask,
					   th->status.sig_pending | th->status.shared_pending);
	}
}

/* Only the task itself can tell where its heap ends. */
static int ask_brk(struct operation *op, struct task *t)
{
	struct batch b;
	size_t call;
	int r = batch_begin(&b, &t->threads[0].puppet, op->error);

	if (r < 0)
		return r;
	call = memory_ask_brk(&b);
	r = puppet_run(&b, op->error);
	if (r == 0)
		r = memory_answer_brk(op, t, &b, call);
	batch_end(&b);
	return r;
}

/* One address space: the first task maps the area, everyone who lives there is asked, the first unmaps it. */
static int interview_space(struct operation *op, struct task *first)
{
	struct puppet *p = &first->threads[0].puppet;
	const struct proc_map *vdso = find_vdso(first);
	struct gate gate;
	int r;

	r = gate_open(&gate, p, vdso ? vdso->start : 0, vdso ? vdso->end : 0, op->error);
	if (r == 0)
		r = area_map(&gate, p, &op->arena, op->error);
	if (r == 0)
		r = ask_brk(op, first);
	if (r == 0)
		r = aio_ask(op, first);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++)
		if (op->tree.tasks[i]->mm_owner == first && op->tree.tasks[i]->state != TASK_ZOMBIE)
			r = interview_task(op, op->tree.tasks[i], p->area);
	r = leave_space(op, &gate, first, r);
	gate_close(&gate);
	return r;
}

int interview_tree(struct operation *op)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++)
		choose_park_signals(op->tree.tasks[i]);
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->state == TASK_ZOMBIE)
			continue;
		if (t->mm_owner == t) {
			int r = interview_space(op, t);

			if (r < 0)
				return r;
		}
		recorder_moved(0);
	}
	return 0;
}
