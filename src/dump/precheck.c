/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dump/precheck.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "aspects/aspect.h"
#include "base/cleanup.h"
#include "kernel/frozen_group.h"
#include "kinds/kind.h"
#include "memory/memory.h"
#include "namespaces/time.h"
#include "tree/tree.h"
#include "watch/recorder.h"

#define VFORK_NS 500000000ull

/*
 * A task in a frozen control group can be stopped (version 2) or not (version 1), and makes no call until it is thawed. Where
 * the group cannot be seen, as from another cgroup namespace, the one sign that belongs to the task is where it sleeps:
 * __refrigerator() with version 1 before Linux 6.1 and do_freezer_trap(), mostly inlined into get_signal(), with version 2. A
 * task that is stopped is in do_signal_stop() and in state T.
 */
static int check_thawed(struct operation *op, const struct task *t, struct group_mounts *mounts)
{
	static const char *const frozen_in[] = { "__refrigerator", "do_freezer_trap", "get_signal" };
	char where[64], folder[PATH_MAX];
	const char *in = NULL;

	recorder_step(t->pid, t->comm, "read", "/proc/%d/cgroup", t->pid);
	if (frozen_group_of(t->proc_fd, mounts, &op->arena, folder, sizeof(folder)) > 0)
		in = folder;
	recorder_step(t->pid, t->comm, "read", "/proc/%d/wchan", t->pid);
	if (!in && t->stat.state != 'T' && t->stat.state != 't' &&
	    read_proc_wchan(t->proc_fd, where, sizeof(where)) == 0)
		for (size_t i = 0; i < ARRAY_SIZE(frozen_in); i++)
			in = strcmp(where, frozen_in[i]) == 0 ? "seen by where it sleeps" : in;
	if (!in)
		return 0;
	(void)error_raise(op->error, EOPNOTSUPP,
			  "pid %d (%s) is in a frozen control group (%s), where it cannot answer", t->pid, t->comm, in);
	error_hint(op->error, "Thaw the group for the dump (cgroup.freeze, freezer.state).");
	return -EOPNOTSUPP;
}

static bool in_vfork(const struct thread *t)
{
	/* The waiting is inlined into the call; _do_fork() before Linux 5.10. */
	static const char *const waits_in[] = { "kernel_clone", "_do_fork", "wait_for_vfork_done" };
	struct proc_stat stat;
	char where[64];

	if (read_proc_stat(t->proc_fd, &stat) < 0 || stat.state != 'D' ||
	    read_proc_wchan(t->proc_fd, where, sizeof(where)) < 0)
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
	recorder_step(t->task->pid, t->task->comm, "read", "/proc/%d/task/%d/wchan, until its vfork() is done",
		      t->task->pid, t->tid);
	while (in_vfork(t) && !recorder_cancelled()) {
		const struct timespec pause = { 0, 2000000 };

		if (monotonic_ns() >= until) {
			(void)error_raise(
				op->error, EOPNOTSUPP,
				"pid %d (%s), thread %d waits for its child of a vfork(), and cannot be stopped until "
				"that calls exec() or ends",
				t->task->pid, t->task->comm, t->tid);
			error_hint(op->error,
				   "Try again when the child has called exec(); it is one of the processes below %d.",
				   t->task->pid);
			return -EOPNOTSUPP;
		}
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

/* Only one may trace a task. Asked for the sake of explaining alone: a dump finds it out when it stops the task. */
static int check_untraced(struct operation *op, const struct task *t)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		const struct proc_status *s = &t->threads[i].status;
		struct proc_stat tracer = { 0 };
		AUTOCLOSE int fd = -1;

		if (s->tracer <= 0)
			continue;
		fd = procfs_open(s->tracer);
		if (fd >= 0)
			(void)read_proc_stat(fd, &tracer);
		(void)error_raise(op->error, EOPNOTSUPP, "pid %d (%s), thread %d is traced by pid %d (%s) already",
				  t->pid, t->comm, t->threads[i].tid, s->tracer, tracer.comm);
		error_hint(op->error, "End the tracer (strace, gdb, another checkpoint) first.");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int check_task(struct operation *op, struct task *t, struct group_mounts *mounts)
{
	int r = refusal_note(op, check_thawed(op, t, mounts));

	for (size_t i = 0; i < t->n_threads && r == 0; i++)
		r = refusal_note(op, check_vfork(op, &t->threads[i]));
	return r == 0 ? aspects_check(op, t) : r;
}

/* What the aspects see from outside goes into messages; only their refusals matter here. */
static int check_aspects(struct operation *op, struct task *t)
{
	int r = 0;

	for (size_t i = 0; i < t->n_threads && r == 0; i++)
		r = aspects_prepare(op, &t->threads[i]);
	if (r == 0 && t->n_threads > 0)
		t->core = t->threads[0].core;
	return r == 0 ? aspects_collect(op, t) : r;
}

static int estimate_all(struct operation *op, struct look *ret)
{
	int r = 0;

	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->state == TASK_ZOMBIE)
			continue;
		r = refusal_note(op, check_untraced(op, t));
		if (r == 0)
			r = check_aspects(op, t);
		if (r == 0 && t->mm_owner == t)
			r = memory_collect(op, t);
	}
	if (r == 0)
		r = memory_check_all(op);
	return r == 0 ? memory_estimate(op, &ret->page_bytes) : r;
}

static void count(const struct operation *op, struct look *ret)
{
	ret->tasks = op->tree.n_tasks;
	ret->threads = op->tree.n_threads;
	ret->files = op->files ? op->files->n_files : 0;
}

int precheck_look(struct operation *op, bool estimate, struct look *ret)
{
	uint64_t since = monotonic_ns();
	struct group_mounts mounts = { 0 };
	int r = tree_walk(op);

	if (r == 0)
		r = tree_collect(op);
	if (r == 0)
		r = tree_check(op);
	if (r == 0)
		r = time_namespace_check(op);
	if (r == 0)
		r = tree_collect_sharing(op);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++)
		r = check_task(op, op->tree.tasks[i], &mounts);
	if (r == 0)
		r = files_collect(op);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->state != TASK_ZOMBIE)
			r = memory_check(op, t);
	}
	count(op, ret);
	if (r == 0 && estimate)
		r = estimate_all(op, ret);
	ret->look_ns = monotonic_ns() - since;
	return r;
}

void precheck_end(struct operation *op)
{
	files_release(op);
	memory_release(op);
	tree_close(op);
}

/* The first, and how many more there are. */
static int raise_first(const struct refusals *found, struct error *e)
{
	const struct refusal *first = found->first;
	size_t len;

	*e = (struct error){ 0 };
	(void)error_raise(e, EOPNOTSUPP, "%s", first->sentence);
	error_hint(e, "%s", first->hint);
	if (found->n == 1)
		return -EOPNOTSUPP;
	len = strlen(e->hint);
	(void)snprintf(e->hint + len, sizeof(e->hint) - len,
		       "%s%zu more thing%s would be refused: firn explain lists them all.",
		       len == 0			 ? ""
		       : e->hint[len - 1] == '.' ? " "
						 : ". ",
		       found->n - 1, found->n == 2 ? "" : "s");
	return -EOPNOTSUPP;
}

/* A task may end or change under our eyes: only refusals count here, whatever else fails is looked at again. */
int precheck_tree(const struct operation *dump)
{
	struct refusals found = { 0 };
	struct error error = { 0 };
	struct operation op = { .error = &error,
				.refusals = &found,
				.options = dump->options,
				.features = dump->features,
				.images = { .fd = -1 } };
	struct look look = { 0 };
	int r;

	(void)precheck_look(&op, false, &look);
	r = found.n ? raise_first(&found, dump->error) : 0;
	precheck_end(&op);
	arena_release(&op.arena);
	return r;
}
