/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kernel/system.h"
#include "puppet/trace.h"
#include "restore/grow.h"
#include "restore/pid_taken.h"
#include "watch/recorder.h"

#define THREAD_FLAGS \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PTRACE)

/* Threads [first, first + n) in one batch of the leader. */
static int clone_batch(struct operation *op, struct task *t, struct batch *b, size_t *first)
{
	size_t begin = *first, i;
	int r;

	batch_reset(b);
	for (i = begin; i < t->n_threads && batch_has_room(b, 1, sizeof(struct system_clone_args) + 64); i++) {
		pid_t tid = t->threads[i].tid;
		struct system_clone_args args = {
			.flags = THREAD_FLAGS,
			.set_tid = batch_data(b, &tid, sizeof(tid)),
			.set_tid_size = 1,
		};

		batch_call(b, CALL_MAY_FAIL, __NR_clone3, batch_data(b, &args, sizeof(args)), sizeof(args));
	}
	r = puppet_run(b, op->error);
	for (size_t k = begin; k < i && r == 0; k++) {
		int64_t ret = batch_result(b, k - begin);

		if (ret == -EEXIST)
			r = raise_pid_taken(op, t->threads[k].tid);
		else if (ret < 0)
			r = error_raise_call(op->error, (int)-ret, "clone3", "pid %d (%s): making thread %d", t->pid, t->comm,
					     t->threads[k].tid);
	}
	*first = i;
	return r;
}

/* CLONE_PTRACE stops each before its first instruction. */
static int adopt_threads(struct operation *op, struct task *t)
{
	const struct puppet *leader = &t->threads[0].puppet;

	for (size_t i = 1; i < t->n_threads; i++) {
		struct puppet *p = &t->threads[i].puppet;
		int status, r;

		recorder_step(t->pid, t->comm, "waitpid", "the new thread %d to stop", p->tid);
		recorder_target_add(t->pid, p->tid);
		r = trace_wait(t->pid, p->tid, &status, op->error);
		if (r == -ESRCH)
			return error_raise(op->error, ESRCH, "pid %d (%s), thread %d ended as soon as it was made", t->pid,
					   t->comm, p->tid);
		if (r < 0)
			return r;
		p->area = leader->area;
		p->park_signal = leader->park_signal;
		p->regs = leader->regs;
		p->regs_known = true;
		p->sigmask = leader->sigmask;
		t->threads[i].seized = true;
	}
	return 0;
}

int grow_threads(struct operation *op)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		struct batch b;
		size_t next = 1;
		int r;

		if (t->n_threads < 2)
			continue;
		r = batch_begin(&b, &t->threads[0].puppet, op->error);
		while (next < t->n_threads && r == 0)
			r = clone_batch(op, t, &b, &next);
		batch_end(&b);
		if (r == 0)
			r = adopt_threads(op, t);
		if (r < 0)
			return r;
	}
	return 0;
}
