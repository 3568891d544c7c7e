/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/*
 * General and extended registers of a thread between ptrace and the image (thread_info of the core message). All
 * functions are the tracer thread's and need the thread in a ptrace stop; none of them blocks.
 */

/*
 * dump: fills core->thread_info from t->puppet.regs and NT_X86_XSTATE. Call it after aspects_ask_thread(): whether an
 * interrupted system call is made again depends on the pending signals and their actions.
 */
int registers_peek(struct operation *op, struct thread *t);

/*
 * dump: a thread that was stopped inside a restartable sequence goes on at the sequence's abort handler, as after any
 * preemption (t->puppet.regs is changed, in the image and for the task that runs on alike). Call it as soon as the
 * registers are known, before the first call is made in the thread: once the kernel sees the instruction pointer
 * outside of the sequence, it forgets the sequence. -errno only for a kernel that refuses what it must not.
 */
int registers_leave_rseq(struct operation *op, struct thread *t);

/* restore: refuses a hostile or foreign core message (registers only). Worker thread. */
int registers_decode(struct operation *op, struct thread *t);

/* restore: gives the thread general and extended registers, the segments of the thread and the signal mask. It is the
 * last thing done to it: after that no batch may run. */
int registers_poke(struct operation *op, struct thread *t);

/* The signal mask that the image has for a thread. */
uint64_t registers_sigmask(const struct thread *t);

/* What the image says for an interrupted system call (see registers_x86_64.c). For the unit tests. */
struct restart_facts {
	bool handler_waits;     /* a pending signal with a handler will be delivered first */
	bool handler_restarts;  /* … and its action has SA_RESTART */
	long mov_number;        /* call number in the instruction before SYSCALL, -1 if there is none */
};
void registers_settle_restart(struct user_regs_struct *regs, const struct restart_facts *f);
