/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether others may trace the process and a core may be written (man 2 PR_SET_DUMPABLE). A change of credentials resets
 * it, so it comes after them; 2 ("readable by root") cannot be set, only got by such a change.
 */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	(void)ask;
	if (is_leader(t) && t->task->mm)
		batch_call(b, 0, __NR_prctl, PR_GET_DUMPABLE);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	(void)op;
	t->task->mm->has_dumpable = true;
	t->task->mm->dumpable = (int32_t)batch_result(b, ask->first);
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const MmEntry *mm = is_leader(t) ? t->task->mm : NULL;
	int r = aspect_room(op, b, 1, 0);

	if (r == 0 && mm && mm->has_dumpable && (mm->dumpable == 0 || mm->dumpable == 1))
		batch_call(b, 0, __NR_prctl, PR_SET_DUMPABLE, (uint64_t)mm->dumpable);
	return r;
}

const struct aspect dumpable_aspect = {
	.name = "dumpable",
	.ask = ask,
	.answer = answer,
	.apply = apply,
};
