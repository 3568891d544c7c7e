/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <string.h>

#include "base/cleanup.h"
#include "kernel/system.h"
#include "tree/refusals.h"
#include "tree/tree.h"
#include "watch/recorder.h"

static int raise_proc(struct operation *op, const struct task *t, int number, const char *what)
{
	return error_raise_call(op->error, number, "read", "pid %d (%s), /proc/%d/%s", t->pid, t->comm, t->pid, what);
}

static int collect_thread(struct operation *op, struct task *t, struct thread *th)
{
	int r;

	th->proc_fd = th->tid == t->pid ? t->proc_fd : procfs_open_thread(t->pid, th->tid);
	if (th->proc_fd < 0)
		return raise_proc(op, t, -th->proc_fd, "task/TID");
	recorder_step(t->pid, t->comm, "read", "/proc/%d/task/%d/status", t->pid, th->tid);
	r = read_proc_status(th->proc_fd, &op->arena, &th->status);
	if (r < 0)
		return raise_proc(op, t, -r, "task/TID/status");
	comm_copy(th->puppet.comm, th->status.name);
	return 0;
}

static int collect_task(struct operation *op, struct task *t)
{
	int r;

	recorder_step(t->pid, t->comm, "read", "/proc/%d/stat", t->pid);
	r = read_proc_stat(t->proc_fd, &t->stat);
	if (r < 0)
		return raise_proc(op, t, -r, "stat");
	comm_copy(t->comm, t->stat.comm);
	t->ppid = t->stat.ppid;
	t->pgid = t->stat.pgid;
	t->sid = t->stat.sid;
	t->exit_code = t->stat.exit_code;
	if (t->leader_exited) {
		t->stat.exit_signal = t->leader_exit_signal;
		comm_copy(t->comm, t->leader_comm);
	}
	for (size_t i = 0; i < t->n_threads; i++) {
		r = collect_thread(op, t, &t->threads[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

int tree_collect(struct operation *op)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		int r = collect_task(op, op->tree.tasks[i]);

		if (r < 0)
			return r;
	}
	return tree_order(op);
}

/* Tasks sorted by the kernel's own order of one kind of object, so that sharing is found in n log n kcmp calls. */
struct sharing {
	int type;
	struct task **sorted;
	size_t n;
};

/* The task that shares the object with @t, or NULL after @t was put in its place; -errno. */
static int sharing_find(struct sharing *s, struct task *t, struct task **ret)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int r = sys_kcmp(task_living(s->sorted[mid]), task_living(t), s->type, 0, 0);

		if (r < 0)
			return r;
		if (r == 0) {
			*ret = s->sorted[mid];
			return 0;
		}
		/* 1: the first is less; 2: greater; 3: not comparable, man 2 kcmp. */
		if (r == 1)
			low = mid + 1;
		else
			high = mid;
	}
	memmove(&s->sorted[low + 1], &s->sorted[low], (s->n - low) * sizeof(s->sorted[0]));
	s->sorted[low] = t;
	s->n++;
	*ret = NULL;
	return 0;
}

/* A thread may have left its process's descriptor table or fs by unshare(2). */
static int check_threads(struct operation *op, struct task *t)
{
	static const struct {
		int type;
		const char *what;
	} shared[] = { { KCMP_FILES, "descriptor table" }, { KCMP_FS, "working directory and root" } };

	int r = 0;

	for (size_t i = 1; i < t->n_threads && r == 0; i++)
		for (size_t k = 0; k < 2 && r == 0; k++)
			if (sys_kcmp(task_living(t), t->threads[i].tid, shared[k].type, 0, 0) > 0) {
				r = error_raise(op->error, EOPNOTSUPP,
						"pid %d (%s): thread %d has a %s of its own (unshare), which firn "
						"does not carry yet",
						t->pid, t->comm, t->threads[i].tid, shared[k].what);
				r = refusal_note(op, r);
			}
	return r;
}

static int check_namespaces(struct operation *op, struct task *t)
{
	static const char *const names[] = { "ns/mnt", "ns/pid", "ns/net", "ns/user", "ns/ipc", "ns/uts", "ns/cgroup" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char mine[64] = "", theirs[64] = "", self[32];

		(void)snprintf(self, sizeof(self), "/proc/self/%s", names[i]);
		if (readlink(self, mine, sizeof(mine) - 1) < 0)
			continue; /* a kernel without this namespace */
		if (readlinkat(t->proc_fd, names[i], theirs, sizeof(theirs) - 1) < 0)
			return raise_proc(op, t, errno, names[i]);
		if (strcmp(mine, theirs) != 0) {
			int r;

			(void)error_raise(
				op->error, EOPNOTSUPP,
				"pid %d (%s) is in a %s namespace of its own (%s), which firn does not carry yet",
				t->pid, t->comm, names[i] + 3, theirs);
			error_hint(op->error, "Dump it from inside of its namespaces.");
			r = refusal_note(op, -EOPNOTSUPP);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* Whoever is in a session or group led from outside can only come back into those of the caller. */
static int check_session(struct operation *op, struct task *t)
{
	bool outside = !tree_find(&op->tree, t->sid) && t->sid == op->tree.tasks[0]->sid &&
		       op->tree.tasks[0]->sid != op->tree.tasks[0]->pid;

	if (!outside || op->options->shell_job)
		return 0;
	(void)error_raise(op->error, EOPNOTSUPP,
			  "pid %d (%s) belongs to session %d, whose leader is outside of the tree", t->pid, t->comm,
			  t->sid);
	error_hint(op->error, "It is a job of a shell: add --shell-job to dump and restore, or start it with setsid.");
	return -EOPNOTSUPP;
}

/* clone() chooses the signal; wait() without __WCLONE or __WALL passes over children with another. */
static int check_exit_signal(struct operation *op, const struct task *t)
{
	if (!t->parent || t->stat.exit_signal == SIGCHLD)
		return 0;
	return error_raise(op->error, EOPNOTSUPP,
			   "pid %d (%s) tells its parent of its end by signal %d instead of SIGCHLD, which firn does "
			   "not carry yet",
			   t->pid, t->comm, t->stat.exit_signal);
}

int tree_check(struct operation *op)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		int r;

		if (t->state == TASK_ZOMBIE)
			continue;
		recorder_step(t->pid, t->comm, "readlink", "/proc/%d/ns", t->pid);
		r = check_namespaces(op, t);
		if (r == 0)
			r = refusal_note(op, check_session(op, t));
		if (r == 0)
			r = refusal_note(op, check_exit_signal(op, t));
		if (r < 0)
			return r;
	}
	return 0;
}

void tree_close(struct operation *op)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];

		for (size_t k = 0; k < t->n_threads; k++)
			if (t->threads[k].proc_fd >= 0 && t->threads[k].proc_fd != t->proc_fd)
				close(t->threads[k].proc_fd);
		if (t->proc_fd >= 0)
			close(t->proc_fd);
		if (t->pidfd >= 0)
			close(t->pidfd);
	}
	op->tree = (struct tree){ 0 };
}

int tree_collect_sharing(struct operation *op)
{
	struct sharing kinds[4] = {
		{ .type = KCMP_VM }, { .type = KCMP_FILES }, { .type = KCMP_FS }, { .type = KCMP_SIGHAND }
	};
	struct tree *tree = &op->tree;

	for (size_t k = 0; k < 4; k++) {
		kinds[k].sorted = arena_array(&op->arena, tree->n_tasks + 1, sizeof(struct task *));
		if (!kinds[k].sorted)
			return error_raise(op->error, ENOMEM, "no memory to compare tasks");
	}
	for (size_t i = 0; i < tree->n_tasks; i++) {
		struct task *t = tree->tasks[i];
		struct task **owners[4] = { &t->mm_owner, &t->files_owner, &t->fs_owner, &t->sighand_owner };
		int r;

		if (t->state == TASK_ZOMBIE)
			continue;
		recorder_step(t->pid, t->comm, "kcmp", "the task");
		r = check_threads(op, t);
		if (r < 0)
			return r;
		for (size_t k = 0; k < 4; k++) {
			struct task *other;

			r = sharing_find(&kinds[k], t, &other);
			if (r < 0) {
				(void)error_raise_call(op->error, -r, "kcmp", "pid %d (%s)", t->pid, t->comm);
				error_hint(op->error, "The kernel needs CONFIG_KCMP.");
				return r;
			}
			if (other)
				*owners[k] = other;
		}
	}
	return 0;
}
