/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The signal a thread gets when its parent ends (man 2 PR_SET_PDEATHSIG). A change of credentials clears it. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	(void)t;
	ask->data = batch_space(b, sizeof(int));
	batch_call(b, 0, __NR_prctl, PR_GET_PDEATHSIG, ask->data);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	int signal = *(const int *)batch_at(b, ask->data);

	(void)op;
	t->core->thread_core->has_pdeath_sig = signal != 0;
	t->core->thread_core->pdeath_sig = (uint32_t)signal;
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	if (t->core->thread_core->pdeath_sig > 64)
		return aspect_damaged(op, t, "a parent death signal %u", t->core->thread_core->pdeath_sig);
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	int r = aspect_room(op, b, 1, 0);

	if (r == 0 && t->core->thread_core->pdeath_sig)
		batch_call(b, 0, __NR_prctl, PR_SET_PDEATHSIG, t->core->thread_core->pdeath_sig);
	return r;
}

const struct aspect parent_death_aspect = {
	.name = "parent death signal",
	.ask = ask,
	.answer = answer,
	.decode = decode,
	.apply = apply,
};
