/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memory/plan.h"

int memory_estimate(struct operation *op, uint64_t *ret_bytes)
{
	uint64_t total = 0;
	int r = 0;

	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (!t->mm_plan)
			continue;
		r = scan_task(op, t);
		total += t->mm_plan->runs.bytes;
		page_runs_release(&t->mm_plan->runs);
	}
	for (struct shared_object *s = op->memory ? op->memory->shared : NULL; s && r == 0; s = s->next) {
		r = shared_scan(op, s);
		total += s->runs.bytes;
		page_runs_release(&s->runs);
	}
	if (r == 0)
		*ret_bytes = total;
	return r;
}
