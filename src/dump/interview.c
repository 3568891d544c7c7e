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
	int r;

	for (size_t i = 0; i < t->n_threads; i++)
		t->threads[i].puppet.area = area;
	r = aspects_ask(op, t);
	for (size_t i = 0; i < t->n_threads && r == 0; i++)
		r = registers_peek(op, &t->threads[i]);
	return r;
}

static void choose_park_signals(struct task *t)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		struct thread *th = &t->threads[i];

		th->puppet.park_signal = park_signal_choose(th->status.sig_caught, th->status.sig_ignored, th->puppet.sigmask,
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
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++)
		if (op->tree.tasks[i]->mm_owner == first && op->tree.tasks[i]->state != TASK_ZOMBIE)
			r = interview_task(op, op->tree.tasks[i], p->area);
	if (p->area) {
		struct error ignored = { 0 };
		int undo = area_unmap(&gate, p, r < 0 ? &ignored : op->error);

		if (r == 0)
			r = undo;
	}
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
