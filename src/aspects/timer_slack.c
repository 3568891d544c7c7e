/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* By how much the timers of each thread may be late, in ns (man 2 PR_SET_TIMERSLACK). */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	(void)t;
	(void)ask;
	batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_GET_TIMERSLACK);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	int64_t slack = batch_result(b, ask->first);

	(void)op;
	/* 0 is what a real-time thread has; it cannot be set (0 means the default there) and follows from its policy. */
	if (slack > 0) {
		t->core->thread_core->has_firn_timer_slack = true;
		t->core->thread_core->firn_timer_slack = (uint64_t)slack;
	}
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	int r = aspect_room(op, b, 1, 0);

	if (r == 0 && t->core->thread_core->has_firn_timer_slack)
		batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_SET_TIMERSLACK, t->core->thread_core->firn_timer_slack);
	return r;
}

const struct aspect timer_slack_aspect = {
	.name = "timer slack",
	.ask = ask,
	.answer = answer,
	.apply = apply,
};
