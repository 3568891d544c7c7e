/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/dead.h"

#include <errno.h>

#include "restore/grow.h"
#include "restore/sprout.h"

static bool number_is_free(const struct operation *op, pid_t pid)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *t = op->tree.tasks[i];

		for (size_t k = 0; k == 0 || k < t->n_threads; k++) {
			if (pid == (k == 0 ? t->pid : t->threads[k].tid))
				return false;
		}
	}
	return true;
}

int grow_dead(struct operation *op)
{
	for (struct dead_task *d = op->files->dead; d; d = d->next) {
		if (d->pid != 0 && !number_is_free(op, d->pid))
			return error_raise(op->error, EOPNOTSUPP,
					   "a file in /proc of the dead task %d cannot be opened: a task of the tree "
					   "has that number now",
					   d->pid);
		d->helper = sprout_helper(op, op->tree.tasks[0], d->pid);
		if (!d->helper)
			return -op->error->number;
		d->helper->exit_code = d->exit_code;
	}
	return 0;
}

int bury_dead(struct operation *op)
{
	int r = 0;

	for (struct dead_task *d = op->files->dead; d && r == 0; d = d->next)
		r = helper_end(op, d->helper, op->tree.tasks[0]);
	return r;
}
