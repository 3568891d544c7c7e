/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What firn refuses of a thread as a whole. */
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "aspects/common.h"
#include "watch/recorder.h"

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62 /* Linux 5.14 */
#define PR_SCHED_CORE_GET 0
#endif
#define ARCH_GET_UNTAG_MASK 0x4001		/* Linux 6.4 */
#define GET_SYSCALL_USER_DISPATCH_CONFIG 0x4210 /* PTRACE_…, Linux 6.4 */

/* Before the freeze. A thread may run 32-bit code in a 64-bit program as well: that is seen in its registers alone. */
static int check(struct operation *op, struct thread *t)
{
	if (!is_leader(t))
		return 0;
	recorder_step(t->task->pid, t->task->comm, "read", "/proc/%d/auxv", t->task->pid);
	if (read_proc_auxv_32bit(t->task->proc_fd))
		return aspect_refuse(op, t, "runs 32-bit code, which firn does not carry yet");
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
enum { ASK_CORE_SCHED, ASK_LDT, ASK_UNTAG_MASK };

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	ask->data = batch_space(b, 48);
	batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, ask->data);
	if (is_leader(t)) {
		batch_call(b, CALL_MAY_FAIL, __NR_modify_ldt, 0, ask->data + 16, 16);
		batch_call(b, CALL_MAY_FAIL, __NR_arch_prctl, ARCH_GET_UNTAG_MASK, ask->data + 32);
	}
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	if (is_leader(t) && batch_result(b, ask->first + ASK_LDT) > 0)
		return aspect_refuse(op, t, "has a local descriptor table (modify_ldt), which firn does not carry yet");
	if (is_leader(t) && batch_result(b, ask->first + ASK_UNTAG_MASK) == 0 &&
	    *(const uint64_t *)batch_at(b, ask->data + 32) != UINT64_MAX)
		return aspect_refuse(op, t,
				     "uses tags in addresses (ARCH_ENABLE_TAGGED_ADDR), which firn does not carry yet");
	if (batch_result(b, ask->first + ASK_CORE_SCHED) == 0 && *(const uint64_t *)batch_at(b, ask->data) != 0)
		return aspect_refuse(op, t,
				     "has a core scheduling cookie (PR_SCHED_CORE), which firn does not carry yet");
	return 0;
}

const struct aspect unsupported_aspect = {
	.name = "what is not carried",
	.check = check,
	.peek = peek,
	.ask = ask,
	.answer = answer,
};
