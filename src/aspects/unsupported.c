/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What firn refuses of a thread as a whole. */
#include "aspects/common.h"

static int check(struct operation *op, struct thread *t)
{
	if (t->status.seccomp != 0) {
		(void)aspect_refuse(op, t, "is confined by seccomp (%s), which firn does not carry yet",
				    t->status.seccomp == 1 ? "strict mode" : "filter");
		error_hint(op->error, "Start it without the filter.");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int peek(struct operation *op, struct thread *t)
{
	if (t->puppet.regs.cs != 0x33) /* __USER_CS of 64-bit code */
		return aspect_refuse(op, t, "runs 32-bit code, which firn does not carry yet");
	return 0;
}

const struct aspect unsupported_aspect = {
	.name = "what is not carried",
	.check = check,
	.peek = peek,
};
