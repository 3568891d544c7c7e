/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the kernel writes 0 when the thread ends (man 2 set_tid_address); PR_GET_TID_ADDRESS needs CONFIG_CHECKPOINT_RESTORE. */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	(void)t;
	ask->data = batch_space(b, sizeof(uint64_t));
	batch_call(b, 0, __NR_prctl, PR_GET_TID_ADDRESS, ask->data);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	(void)op;
	t->core->thread_info->clear_tid_addr = *(const uint64_t *)batch_at(b, ask->data);
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	int r = aspect_room(op, b, 1, 0);

	if (r == 0)
		batch_call(b, 0, __NR_set_tid_address, t->core->thread_info->clear_tid_addr);
	return r;
}

const struct aspect clear_child_tid_aspect = {
	.name = "clear_child_tid",
	.ask = ask,
	.answer = answer,
	.apply = apply,
};
