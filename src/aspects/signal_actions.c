/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signal actions: sigactions in the image, in the order of the signals, without SIGKILL and SIGSTOP.
 *
 * Tasks that share their handlers (CLONE_SIGHAND) each carry them in the image; only the first one gets them back.
 * Signals that the restore itself caused (SIGCHLD of children that became zombies) are dropped before: ignoring a
 * signal empties its queues (POSIX, signal actions).
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "aspects/common.h"

#define N_SIGNALS 64
#define N_ACTIONS (N_SIGNALS - 2)
#define SIGSET_BYTES 8

/* As rt_sigaction(2) takes it on x86-64. */
struct kernel_action {
	uint64_t handler, flags, restorer, mask;
};

/* man 2 sigaction; SA_UNSUPPORTED is never stored, SA_RESTORER and SA_EXPOSE_TAGBITS are. */
#define FLAGS_KNOWN                                                                                       \
	((uint32_t)(SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER |     \
		    SA_RESETHAND) | 0x04000000u /* SA_RESTORER */ | 0x00000800u /* SA_EXPOSE_TAGBITS */)

static bool has_action(int signo)
{
	return signo != SIGKILL && signo != SIGSTOP;
}

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	if (!is_leader(t))
		return 0;
	ask->data = batch_space(b, N_ACTIONS * sizeof(struct kernel_action));
	for (int signo = 1; signo <= N_SIGNALS; signo++) {
		if (!has_action(signo))
			continue;
		batch_call(b, 0, __NR_rt_sigaction, (uint64_t)signo, 0,
			   ask->data + ask->count * sizeof(struct kernel_action), SIGSET_BYTES);
		ask->count++;
	}
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	const struct kernel_action *k = batch_at(b, ask->data);
	SaEntry **list = arena_array(&op->arena, ask->count, sizeof(*list));
	SaEntry *m = arena_array(&op->arena, ask->count, sizeof(*m));

	if (!list || !m)
		return aspect_no_memory(op, t);
	for (size_t i = 0; i < ask->count; i++) {
		sa_entry__init(&m[i]);
		m[i].sigaction = k[i].handler;
		m[i].flags = k[i].flags;
		m[i].restorer = k[i].restorer;
		m[i].mask = k[i].mask;
		m[i].has_compat_sigaction = true;
		list[i] = &m[i];
	}
	t->core->tc->sigactions = list;
	t->core->tc->n_sigactions = ask->count;
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	const TaskCoreEntry *tc = t->core->tc;

	if (!is_leader(t))
		return 0;
	if (tc->n_sigactions != N_ACTIONS)
		return aspect_damaged(op, t, "%zu signal actions, expected %d", tc->n_sigactions, N_ACTIONS);
	for (size_t i = 0; i < tc->n_sigactions; i++) {
		const SaEntry *m = tc->sigactions[i];

		if (m->has_compat_sigaction && m->compat_sigaction)
			return error_raise(op->error, EOPNOTSUPP, "core-%d.img: signal actions of a 32-bit program", t->tid);
		if (m->flags & ~(uint64_t)FLAGS_KNOWN)
			return aspect_damaged(op, t, "signal action %zu has unknown flags %#llx", i,
					      (unsigned long long)m->flags);
	}
	return 0;
}

static void set_action(struct batch *b, int signo, const struct kernel_action *k)
{
	batch_call(b, 0, __NR_rt_sigaction, (uint64_t)signo, batch_data(b, k, sizeof(*k)), 0, SIGSET_BYTES);
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	static const struct kernel_action ignore = { .handler = 1 /* SIG_IGN */ };
	size_t i = 0;
	int r;

	if (!is_leader(t) || (t->task->sighand_owner && t->task->sighand_owner != t->task))
		return 0;
	r = aspect_room(op, b, N_ACTIONS + 1, (N_ACTIONS + 1) * sizeof(struct kernel_action));
	if (r < 0)
		return r;
	set_action(b, SIGCHLD, &ignore);
	for (int signo = 1; signo <= N_SIGNALS; signo++) {
		const SaEntry *m;

		if (!has_action(signo))
			continue;
		m = t->core->tc->sigactions[i++];
		set_action(b, signo, &(struct kernel_action){ m->sigaction, m->flags, m->restorer, m->mask });
	}
	return 0;
}

const struct aspect signal_actions_aspect = {
	.name = "signal actions",
	.ask = ask,
	.answer = answer,
	.decode = decode,
	.apply = apply,
};
