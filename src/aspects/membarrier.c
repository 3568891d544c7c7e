/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which expedited barriers the process has registered for (man 2 membarrier); MEMBARRIER_CMD_GET_REGISTRATIONS is Linux
 * 6.3, before it nothing can be told and nothing is carried: the first use then fails with EPERM and programs register. */
#include <sys/syscall.h>

#include "aspects/common.h"

#define GET_REGISTRATIONS (1u << 9)
/* REGISTER_GLOBAL_EXPEDITED, and REGISTER_PRIVATE_EXPEDITED plain, SYNC_CORE and RSEQ */
#define REGISTRATIONS (1u << 2 | 1u << 4 | 1u << 6 | 1u << 8)

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	(void)ask;
	if (is_leader(t))
		batch_call(b, CALL_MAY_FAIL, __NR_membarrier, GET_REGISTRATIONS);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	int64_t mask = batch_result(b, ask->first);

	(void)op;
	if (mask > 0) {
		t->core->tc->has_membarrier_registration_mask = true;
		t->core->tc->membarrier_registration_mask = (uint32_t)mask & REGISTRATIONS;
	}
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	if (is_leader(t) && t->core->tc->membarrier_registration_mask & ~REGISTRATIONS)
		return aspect_damaged(op, t, "unknown membarrier registrations %#x", t->core->tc->membarrier_registration_mask);
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	uint32_t mask = is_leader(t) ? t->core->tc->membarrier_registration_mask : 0;
	int r = aspect_room(op, b, 4, 0);

	for (uint32_t bit = 1; bit < GET_REGISTRATIONS && r == 0; bit <<= 1)
		if (mask & bit)
			batch_call(b, 0, __NR_membarrier, bit);
	return r;
}

const struct aspect membarrier_aspect = {
	.name = "membarrier registrations",
	.ask = ask,
	.answer = answer,
	.decode = decode,
	.apply = apply,
};
