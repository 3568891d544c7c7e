/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What firn refuses of a thread as a whole. */
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "aspects/common.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66 /* Linux 6.3 */
#endif
#define GET_SYSCALL_USER_DISPATCH_CONFIG 0x4210 /* PTRACE_…, Linux 6.4 */

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
	uint64_t dispatch[4] = { 0 }; /* mode, selector, offset, length: include/uapi/linux/ptrace.h */

	if (t->puppet.regs.cs != 0x33) /* __USER_CS of 64-bit code */
		return aspect_refuse(op, t, "runs 32-bit code, which firn does not carry yet");
	/* It would catch firn's own calls in the task, too. */
	if (ptrace(GET_SYSCALL_USER_DISPATCH_CONFIG, t->tid, sizeof(dispatch), dispatch) == 0 && dispatch[0] != 0)
		return aspect_refuse(op, t, "uses syscall user dispatch (prctl), which firn does not carry yet");
	return 0;
}

/* The first is each thread's own, the others are the address space's: the leader is asked for all. */
enum { ASK_TSC, ASK_LDT, ASK_MDWE };

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	ask->data = batch_space(b, 32);
	batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_GET_TSC, ask->data);
	if (is_leader(t)) {
		batch_call(b, CALL_MAY_FAIL, __NR_modify_ldt, 0, ask->data + 16, 16);
		batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_GET_MDWE);
	}
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	if (is_leader(t) && batch_result(b, ask->first + ASK_LDT) > 0)
		return aspect_refuse(op, t, "has a local descriptor table (modify_ldt), which firn does not carry yet");
	if (is_leader(t) && batch_result(b, ask->first + ASK_MDWE) > 0)
		return aspect_refuse(
			op, t,
			"denies itself memory that is written and run (PR_SET_MDWE), which firn does not carry yet");
	if (batch_result(b, ask->first + ASK_TSC) == 0 && *(const int *)batch_at(b, ask->data) == PR_TSC_SIGSEGV)
		return aspect_refuse(op, t,
				     "may not read the time stamp counter (PR_SET_TSC), which firn does not carry yet");
	return 0;
}

const struct aspect unsupported_aspect = {
	.name = "what is not carried",
	.check = check,
	.peek = peek,
	.ask = ask,
	.answer = answer,
};
