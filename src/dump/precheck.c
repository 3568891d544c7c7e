/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dump/precheck.h"

#include <errno.h>

#include "aspects/aspect.h"
#include "kinds/kind.h"
#include "memory/memory.h"
#include "tree/tree.h"

/* A task may end or change under our eyes: only a refusal counts here, whatever else fails is looked at again. */
static bool is_refusal(int r)
{
	return r == -EOPNOTSUPP;
}

static int check_all(struct operation *op)
{
	int r = tree_walk(op);

	if (r == 0)
		r = tree_collect(op);
	if (r == 0)
		r = tree_check(op);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++)
		r = aspects_check(op, op->tree.tasks[i]);
	if (r == 0)
		r = files_collect(op);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->state != TASK_ZOMBIE)
			r = memory_check(op, t);
	}
	files_release(op);
	return r;
}

int precheck_tree(const struct operation *dump)
{
	struct error error = { 0 };
	struct operation op = { .error = &error, .options = dump->options, .features = dump->features, .images = { .fd = -1 } };
	int r = check_all(&op);

	if (is_refusal(r))
		*dump->error = error;
	tree_close(&op);
	arena_release(&op.arena);
	return is_refusal(r) ? r : 0;
}
