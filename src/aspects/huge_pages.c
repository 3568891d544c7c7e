/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Transparent huge pages switched off for the process (man 2 PR_SET_THP_DISABLE); its flags are Linux 6.18. */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"

#define EXCEPT_ADVISED 2                 /* PR_THP_DISABLE_EXCEPT_ADVISED, as the flags argument has it */

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	(void)ask;
	if (is_leader(t) && t->task->mm)
		batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_GET_THP_DISABLE);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	int64_t value = batch_result(b, ask->first);
	MmEntry *mm = t->task->mm;

	(void)op;
	mm->has_thp_disabled = true;
	mm->thp_disabled = value > 0;
	mm->has_firn_thp_flags = value > 1;
	mm->firn_thp_flags = value > 1 ? (uint32_t)value & EXCEPT_ADVISED : 0;
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const MmEntry *mm = is_leader(t) ? t->task->mm : NULL;
	int r = aspect_room(op, b, 1, 0);

	/* Off as well: firn's own setting was inherited. */
	if (r == 0 && mm && mm->has_thp_disabled && mm->thp_disabled)
		batch_call(b, 0, __NR_prctl, PR_SET_THP_DISABLE, 1, mm->firn_thp_flags & EXCEPT_ADVISED);
	else if (r == 0 && mm && mm->has_thp_disabled)
		batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_SET_THP_DISABLE, 0);
	return r;
}

const struct aspect huge_pages_aspect = {
	.name = "transparent huge pages",
	.ask = ask,
	.answer = answer,
	.apply = apply,
};
