/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The alternate signal stack (man 2 sigaltstack) of each thread. SS_ONSTACK is no setting: the kernel derives it from
 * the stack pointer of the moment, which is the stub's while it is asked.
 */
#include <signal.h>
#include <sys/syscall.h>

#include "aspects/common.h"

#define AUTODISARM 0x80000000u          /* SS_AUTODISARM, Linux 4.7 */

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	(void)t;
	ask->data = batch_space(b, sizeof(stack_t));
	batch_call(b, 0, __NR_sigaltstack, 0, ask->data);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	const stack_t *s = batch_at(b, ask->data);
	ThreadSasEntry *m = t->core->thread_core->sas;

	(void)op;
	m->ss_sp = (uint64_t)(uintptr_t)s->ss_sp;
	m->ss_size = s->ss_size;
	m->ss_flags = (uint32_t)s->ss_flags & ~(uint32_t)SS_ONSTACK;
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	const ThreadSasEntry *m = t->core->thread_core->sas;

	if (m && m->ss_flags & ~(uint32_t)(SS_ONSTACK | SS_DISABLE | AUTODISARM))
		return aspect_damaged(op, t, "alternate signal stack with flags %#x", m->ss_flags);
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const ThreadSasEntry *m = t->core->thread_core->sas;
	stack_t s = { .ss_flags = SS_DISABLE };
	int r;

	if (m && !(m->ss_flags & SS_DISABLE)) {
		s.ss_sp = (void *)(uintptr_t)m->ss_sp;
		s.ss_size = m->ss_size;
		s.ss_flags = (int)(m->ss_flags & AUTODISARM);
	}
	r = aspect_room(op, b, 1, sizeof(s));
	if (r < 0)
		return r;
	batch_call(b, 0, __NR_sigaltstack, batch_data(b, &s, sizeof(s)), 0);
	return 0;
}

const struct aspect alternate_stack_aspect = {
	.name = "alternate signal stack",
	.ask = ask,
	.answer = answer,
	.decode = decode,
	.apply = apply,
};
