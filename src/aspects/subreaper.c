/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether orphans below the process become its children (man 2 PR_SET_CHILD_SUBREAPER). */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	if (!is_leader(t))
		return 0;
	ask->data = batch_space(b, sizeof(int));
	batch_call(b, 0, __NR_prctl, PR_GET_CHILD_SUBREAPER, ask->data);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	(void)op;
	t->core->tc->has_child_subreaper = true;
	t->core->tc->child_subreaper = *(const int *)batch_at(b, ask->data) != 0;
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	int r = aspect_room(op, b, 1, 0);

	/* Also when it is off: growing the tree may have needed it. */
	if (r == 0 && is_leader(t))
		batch_call(b, 0, __NR_prctl, PR_SET_CHILD_SUBREAPER, t->core->tc->child_subreaper);
	return r;
}

const struct aspect subreaper_aspect = {
	.name = "sub-reaper",
	.ask = ask,
	.answer = answer,
	.apply = apply,
};
