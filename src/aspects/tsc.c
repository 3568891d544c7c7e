/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* May the thread read the time stamp counter (man 2 PR_SET_TSC)? Strict seccomp forbids it, too. */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	(void)t;
	ask->data = batch_space(b, sizeof(int));
	batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_GET_TSC, ask->data);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	(void)op;
	if (batch_result(b, ask->first) == 0 && *(const int *)batch_at(b, ask->data) == PR_TSC_SIGSEGV) {
		t->core->thread_core->has_firn_tsc = true;
		t->core->thread_core->firn_tsc = PR_TSC_SIGSEGV;
	}
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	const ThreadCoreEntry *m = t->core->thread_core;

	if (m->has_firn_tsc && m->firn_tsc != PR_TSC_ENABLE && m->firn_tsc != PR_TSC_SIGSEGV)
		return aspect_damaged(op, t, "an unknown state of the time stamp counter");
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const ThreadCoreEntry *m = t->core->thread_core;
	int r = aspect_room(op, b, 1, 0);

	if (r == 0 && m->has_firn_tsc)
		batch_call(b, 0, __NR_prctl, PR_SET_TSC, m->firn_tsc);
	return r;
}

const struct aspect tsc_aspect = {
	.name = "time stamp counter",
	.ask = ask,
	.answer = answer,
	.decode = decode,
	.apply = apply,
};
