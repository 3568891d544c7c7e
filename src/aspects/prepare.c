/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "aspects/common.h"

/*
 * The messages of a thread, with every required field and submessage in place, so that an aspect only fills in what it
 * knows and a message can be packed at any time.
 */

#define NEW(op, type, init)                                              \
	({                                                               \
		type *m_ = arena_alloc(&(op)->arena, sizeof(*m_));       \
		if (m_)                                                  \
			init(m_);                                        \
		m_;                                                      \
	})

static char empty[] = "";

static ThreadInfoX86 *new_thread_info(struct operation *op)
{
	ThreadInfoX86 *ti = NEW(op, ThreadInfoX86, thread_info_x86__init);

	if (!ti)
		return NULL;
	ti->gpregs = NEW(op, UserX86RegsEntry, user_x86_regs_entry__init);
	ti->fpregs = NEW(op, UserX86FpregsEntry, user_x86_fpregs_entry__init);
	return ti->gpregs && ti->fpregs ? ti : NULL;
}

static ThreadCoreEntry *new_thread_core(struct operation *op)
{
	ThreadCoreEntry *tc = NEW(op, ThreadCoreEntry, thread_core_entry__init);

	if (!tc)
		return NULL;
	tc->sas = NEW(op, ThreadSasEntry, thread_sas_entry__init);
	tc->creds = NEW(op, CredsEntry, creds_entry__init);
	tc->signals_p = NEW(op, SignalQueueEntry, signal_queue_entry__init);
	return tc->sas && tc->creds && tc->signals_p ? tc : NULL;
}

static TaskTimersEntry *new_timers(struct operation *op)
{
	TaskTimersEntry *m = NEW(op, TaskTimersEntry, task_timers_entry__init);

	if (!m)
		return NULL;
	m->real = NEW(op, ItimerEntry, itimer_entry__init);
	m->virt = NEW(op, ItimerEntry, itimer_entry__init);
	m->prof = NEW(op, ItimerEntry, itimer_entry__init);
	return m->real && m->virt && m->prof ? m : NULL;
}

static TaskCoreEntry *new_task_core(struct operation *op, const struct task *t)
{
	TaskCoreEntry *tc = NEW(op, TaskCoreEntry, task_core_entry__init);

	if (!tc)
		return NULL;
	tc->task_state = t->state;
	tc->exit_code = (uint32_t)t->exit_code;
	tc->flags = t->stat.flags;
	tc->comm = empty;
	if (t->state == TASK_STOPPED && t->n_threads > 0) {
		tc->has_stop_signo = true;
		tc->stop_signo = (uint32_t)t->threads[0].puppet.stop_signal;
	}
	return tc;
}

static CoreEntry *new_core(struct operation *op)
{
	CoreEntry *c = NEW(op, CoreEntry, core_entry__init);

	if (c)
		c->mtype = CORE_ENTRY__MARCH__X86_64;
	return c;
}

int aspects_prepare(struct operation *op, struct thread *t)
{
	CoreEntry *c = new_core(op);

	if (!c)
		return aspect_no_memory(op, t);
	c->thread_info = new_thread_info(op);
	c->thread_core = new_thread_core(op);
	if (!c->thread_info || !c->thread_core)
		return aspect_no_memory(op, t);
	if (is_leader(t)) {
		c->tc = new_task_core(op, t->task);
		if (!c->tc)
			return aspect_no_memory(op, t);
		c->tc->timers = new_timers(op);
		c->tc->rlimits = NEW(op, TaskRlimitsEntry, task_rlimits_entry__init);
		c->tc->signals_s = NEW(op, SignalQueueEntry, signal_queue_entry__init);
		if (!c->tc->timers || !c->tc->rlimits || !c->tc->signals_s)
			return aspect_no_memory(op, t);
		t->task->core = c;
	}
	t->core = c;
	return 0;
}

/* A zombie's user is in its SIGCHLD and in the answer of waitid(2). */
static int zombie_creds(struct operation *op, struct task *t)
{
	struct proc_status s;
	CredsEntry *m;
	int r = read_proc_status(t->proc_fd, &op->arena, &s);

	if (r < 0)
		return error_raise_call(op->error, -r, "read", "pid %d (%s), /proc/%d/status", t->pid, t->comm, t->pid);
	t->core->thread_core = new_thread_core(op);
	if (!t->core->thread_core)
		return error_raise(op->error, ENOMEM, "pid %d (%s): no memory", t->pid, t->comm);
	m = t->core->thread_core->creds;
	m->uid = s.uid[0];
	m->euid = s.uid[1];
	m->suid = s.uid[2];
	m->fsuid = s.uid[3];
	m->gid = s.gid[0];
	m->egid = s.gid[1];
	m->sgid = s.gid[2];
	m->fsgid = s.gid[3];
	return 0;
}

int aspects_prepare_zombie(struct operation *op, struct task *t)
{
	CoreEntry *c = new_core(op);

	if (c)
		c->tc = new_task_core(op, t);
	if (!c || !c->tc)
		return error_raise(op->error, ENOMEM, "pid %d (%s): no memory", t->pid, t->comm);
	c->tc->comm = arena_strdup(&op->arena, t->comm);
	if (!c->tc->comm)
		return error_raise(op->error, ENOMEM, "pid %d (%s): no memory", t->pid, t->comm);
	t->core = c;
	return zombie_creds(op, t);
}
