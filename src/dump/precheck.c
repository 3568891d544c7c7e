/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dump/precheck.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "aspects/aspect.h"
#include "base/cleanup.h"
#include "kinds/kind.h"
#include "memory/memory.h"
#include "tree/tree.h"
#include "watch/recorder.h"

#define VFORK_NS 500000000ull

/* A task may end or change under our eyes: only a refusal counts here, whatever else fails is looked at again. */
static bool is_refusal(int r)
{
	return r == -EOPNOTSUPP;
}

/*
 * A task in a frozen control group can be stopped (version 2) but makes no call until it is thawed. Where it sleeps is
 * the one sign of it that belongs to the task: __refrigerator() with version 1 and do_freezer_trap(), mostly inlined into
 * get_signal(), with version 2. A task that is stopped is in do_signal_stop() and in state T.
 */
static int check_thawed(struct operation *op, const struct task *t)
{
	static const char *const frozen_in[] = { "__refrigerator", "do_freezer_trap", "get_signal" };
	char where[64];

	recorder_step(t->pid, t->comm, "read", "/proc/%d/wchan", t->pid);
	if (read_proc_wchan(t->proc_fd, where, sizeof(where)) < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(frozen_in); i++)
		if (strcmp(where, frozen_in[i]) == 0 && t->stat.state != 'T' && t->stat.state != 't') {
			(void)error_raise(op->error, EOPNOTSUPP,
					  "pid %d (%s) is in a frozen control group, where it cannot answer", t->pid,
					  t->comm);
			error_hint(op->error, "Thaw the group for the dump (cgroup.freeze, freezer.state).");
			return -EOPNOTSUPP;
		}
	return 0;
}

static bool in_vfork(const struct thread *t)
{
	/* The waiting is inlined into the call; _do_fork() before Linux 5.10. */
	static const char *const waits_in[] = { "kernel_clone", "_do_fork", "wait_for_vfork_done" };
	struct proc_stat stat;
	char where[64];

	if (read_proc_stat(t->proc_fd, &stat) < 0 || stat.state != 'D' || read_proc_wchan(t->proc_fd, where, sizeof(where)) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(waits_in); i++)
		if (strcmp(where, waits_in[i]) == 0)
			return true;
	return false;
}

/*
 * A thread in vfork() cannot be stopped before its child calls exec() or ends. That takes a moment in nearly every program;
 * where it takes longer the dump would stall.
 */
static int check_vfork(struct operation *op, const struct thread *t)
{
	const uint64_t until = monotonic_ns() + VFORK_NS;

	if (t->status.state != 'D')
		return 0;
	recorder_step(t->task->pid, t->task->comm, "read", "/proc/%d/task/%d/wchan, until its vfork() is done", t->task->pid,
		      t->tid);
	while (in_vfork(t) && !recorder_cancelled()) {
		const struct timespec pause = { 0, 2000000 };

		if (monotonic_ns() >= until) {
			(void)error_raise(op->error, EOPNOTSUPP,
					  "pid %d (%s), thread %d waits for its child of a vfork(), and cannot be stopped until "
					  "that calls exec() or ends",
					  t->task->pid, t->task->comm, t->tid);
			error_hint(op->error, "Try again when the child has called exec(); it is one of the processes below %d.",
				   t->task->pid);
			return -EOPNOTSUPP;
		}
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

static int check_all(struct operation *op)
{
	int r = tree_walk(op);

	if (r == 0)
		r = tree_collect(op);
	if (r == 0)
		r = tree_check(op);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++)
		r = check_thawed(op, op->tree.tasks[i]);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++)
		for (size_t k = 0; k < op->tree.tasks[i]->n_threads && r == 0; k++)
			r = check_vfork(op, &op->tree.tasks[i]->threads[k]);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++)
		r = aspects_check(op, op->tree.tasks[i]);
	if (r == 0)
		r = files_collect(op);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->state != TASK_ZOMBIE)
			r = memory_check(op, t);
	}
	files_release(op);
	return r;
}

int precheck_tree(const struct operation *dump)
{
	struct error error = { 0 };
	struct operation op = {
		.error = &error, .options = dump->options, .features = dump->features, .images = { .fd = -1 }
	};
	int r = check_all(&op);

	if (is_refusal(r))
		*dump->error = error;
	tree_close(&op);
	arena_release(&op.arena);
	return is_refusal(r) ? r : 0;
}
