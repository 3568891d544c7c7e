/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The signal a thread gets when its parent ends (man 2 PR_SET_PDEATHSIG). A change of credentials clears it. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"
#include "watch/recorder.h"

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	(void)t;
	ask->data = batch_space(b, sizeof(int));
	batch_call(b, 0, __NR_prctl, PR_GET_PDEATHSIG, ask->data);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	int signal = *(const int *)batch_at(b, ask->data);

	/* The kernel sends it at the end of the thread that made the child: in a restore, of the first. */
	if (signal != 0 && t->task->parent && t->task->parent->leader_exited)
		return aspect_refuse(op, t,
				     "has a parent death signal, and the first thread of its parent has ended before others, which "
				     "firn does not carry together");
	t->core->thread_core->has_pdeath_sig = signal != 0;
	t->core->thread_core->pdeath_sig = (uint32_t)signal;
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	if (t->core->thread_core->pdeath_sig > 64)
		return aspect_damaged(op, t, "a parent death signal %u", t->core->thread_core->pdeath_sig);
	return 0;
}

static bool is_ignored(const TaskCoreEntry *tc, uint32_t signal)
{
	/* The actions are in the order of the signals, without SIGKILL and SIGSTOP. */
	size_t i = signal - 1 - (signal > SIGKILL) - (signal > SIGSTOP);
	uint64_t action =
		signal == SIGKILL || signal == SIGSTOP || i >= tc->n_sigactions ? 0 : tc->sigactions[i]->sigaction;

	if (action == (uintptr_t)SIG_DFL)
		return signal == SIGCHLD || signal == SIGURG || signal == SIGWINCH || signal == SIGCONT;
	return action == (uintptr_t)SIG_IGN;
}

/* The parent of a detached root is firn, which ends at once: the signal would come for nothing, and may be deadly. */
static bool would_come(const struct operation *op, const struct thread *t)
{
	return op->options->restore_detached && t->task == op->tree.tasks[0] &&
	       !is_ignored(t->task->threads[0].core->tc, t->core->thread_core->pdeath_sig);
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	int r = aspect_room(op, b, 1, 0);

	if (r == 0 && t->core->thread_core->pdeath_sig && would_come(op, t))
		log_warn(t->task->pid,
			 "thread %d is left without its parent death signal, %u: its parent is now firn, which ends",
			 t->tid, t->core->thread_core->pdeath_sig);
	else if (r == 0 && t->core->thread_core->pdeath_sig)
		batch_call(b, 0, __NR_prctl, PR_SET_PDEATHSIG, t->core->thread_core->pdeath_sig);
	return r;
}

const struct aspect parent_death_aspect = {
	.name = "parent death signal",
	.ask = ask,
	.answer = answer,
	.decode = decode,
	.apply = apply,
};
