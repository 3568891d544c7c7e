/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The area for restartable sequences of each thread (man 2 rseq). PTRACE_GET_RSEQ_CONFIGURATION is Linux 5.13. What is done
 * about a thread that was stopped inside a sequence: tree/registers.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "aspects/common.h"
#include "kernel/features.h"
#include "puppet/trace.h"

#define GET_RSEQ_CONFIGURATION 0x420f

struct rseq_configuration {
	uint64_t pointer;
	uint32_t size, signature, flags, pad;
};

static int peek(struct operation *op, struct thread *t)
{
	struct rseq_configuration c;
	RseqEntry *m;

	if (!op->features->ptrace_rseq)
		return aspect_refuse(op, t, "may use restartable sequences, which this kernel does not tell (Linux 5.13 does)");
	if (ptrace((enum __ptrace_request)GET_RSEQ_CONFIGURATION, t->tid, sizeof(c), &c) < 0)
		return aspect_raise_call(op, t, errno, "ptrace(PTRACE_GET_RSEQ_CONFIGURATION)", "restartable sequences");
	if (!c.pointer)
		return 0;
	m = arena_alloc(&op->arena, sizeof(*m));
	if (!m)
		return aspect_no_memory(op, t);
	rseq_entry__init(m);
	m->rseq_abi_pointer = c.pointer;
	m->rseq_abi_size = c.size;
	m->signature = c.signature;
	t->core->thread_core->rseq_entry = m;
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const RseqEntry *m = t->core->thread_core->rseq_entry;
	int r = aspect_room(op, b, 1, 0);

	if (r == 0 && m && m->rseq_abi_pointer)
		batch_call(b, 0, __NR_rseq, m->rseq_abi_pointer, m->rseq_abi_size, 0, m->signature);
	return r;
}

const struct aspect rseq_aspect = {
	.name = "restartable sequences",
	.peek = peek,
	.apply = apply,
};
