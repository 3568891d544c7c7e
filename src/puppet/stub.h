/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/user.h>

/* What the assembly in stub_x86_64.S lays out; the numbers there and the structures here must agree. */

/* What healing puts back; also the target of its last jump. */
struct puppet_saved {
	uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, sp, ip, mask, flags;
};

/* The first page of the area holds the stub, the scratch begins with this header, calls follow at STUB_CALLS. */
struct stub_header {
	uint64_t n_calls;
	uint64_t done;                  /* index of the call that ended the batch, or n_calls */
	uint64_t pid, tid;              /* as the task itself sees them */
	uint64_t park_signal;           /* 0: none; the engine then steps from system call to system call */
	uint64_t flags_stack;           /* an address with 8 bytes of room below it */
	struct puppet_saved saved;
};

#define STUB_PAGE 4096u
#define STUB_CALLS 256u                 /* offset of the calls in the scratch area */
#define STUB_MAGIC "firn stub 1"

extern const char gate_begin[], gate_syscall_done[], gate_saved[], gate_end[];
extern const char stub_begin[], stub_entry[], stub_parked[], stub_end[];

/* Registers of a thread that was stopped in a wait without end, which the kernel would fail with EINTR for that: makes it
 * go on unless a handler runs. True when it changed them. Pure. */
bool regs_resume_wait(struct user_regs_struct *regs);
/* What the task would go on with if nobody traced it: an interrupted system call is made again, as the kernel would. */
void saved_from_regs(struct puppet_saved *s, const struct user_regs_struct *regs, uint64_t mask);
