/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/system.h"
#include "puppet/seize.h"
#include "puppet/trace.h"
#include "tree/refusals.h"
#include "tree/tree.h"
#include "watch/recorder.h"

#define PF_KTHREAD 0x00200000u
#define OTHERS_END_NS 200000000ull
#define VDSO_BYTES 8192u /* two pages since it exists on x86_64 */
#define VDSO_TRIES 30
#define VDSO_TREE_NS 50000000ull /* for all threads of the tree: those that stand still already wait for it */
#define VDSO_MOMENT_NS 20000	 /* at first; ten times that in the end, for one that finds no processor */
#define PIDFD_THREAD_FLAG O_EXCL /* PIDFD_THREAD, Linux 6.9 */

/* firn must not stop itself or whoever waits for it. */
static int check_not_ancestor(struct operation *op, const struct proc_stat *root)
{
	pid_t pid = getpid();

	for (int depth = 0; pid > 0 && depth < 65536; depth++) {
		struct proc_stat stat;
		int fd;

		if (pid == root->pid) {
			(void)error_raise(op->error, EINVAL, "pid %d (%s) is firn itself or one of its ancestors",
					  root->pid, root->comm);
			error_hint(op->error,
				   "A dump would freeze the one who asks for it. Run firn from outside of the tree, "
				   "for instance with setsid from another shell.");
			return -EINVAL;
		}
		fd = procfs_open(pid);
		if (fd < 0 || read_proc_stat(fd, &stat) < 0)
			stat.ppid = 0;
		if (fd >= 0)
			close(fd);
		pid = stat.ppid;
	}
	return 0;
}

/* /proc/TID is there for every thread too, although no listing shows it: man 5 proc. */
static int check_not_thread(struct operation *op, int proc_fd, const struct proc_stat *stat)
{
	struct proc_status status;
	int r = read_proc_status(proc_fd, &op->arena, &status);

	if (r < 0 || status.tgid == stat->pid)
		return r;
	(void)error_raise(op->error, EINVAL, "pid %d (%s) is a thread of process %d, not a process", stat->pid,
			  stat->comm, status.tgid);
	error_hint(op->error, "Give the process: --tree %d.", status.tgid);
	return -EINVAL;
}

int tree_check_root(struct operation *op)
{
	pid_t pid = op->options->tree;
	AUTOCLOSE int fd = -1;
	struct proc_stat stat;
	int r;

	recorder_step(pid, NULL, "open", "/proc/%d", pid);
	fd = procfs_open(pid);
	r = fd < 0 ? fd : read_proc_stat(fd, &stat);
	if (r == 0)
		r = check_not_thread(op, fd, &stat);
	if (error_is_set(op->error))
		return r;
	if (r < 0 && r != -ENOENT && r != -ESRCH)
		return error_raise_call(op->error, -r, "read", "pid %d: /proc/%d", pid, pid);
	if (r < 0) {
		(void)error_raise(op->error, ESRCH, "pid %d: no such process", pid);
		error_hint(op->error, "Give the pid of a running process with --tree, as seen from where firn runs.");
		return -op->error->number;
	}
	if (stat.pid != pid)
		return error_raise(op->error, EINVAL, "pid %d: /proc belongs to another pid namespace", pid);
	if (stat.flags & PF_KTHREAD)
		return error_raise(op->error, EINVAL, "pid %d (%s) is a kernel thread, which cannot be dumped", pid,
				   stat.comm);
	/* A first thread that has ended before others looks the same but for their number. */
	if ((stat.state == 'Z' && stat.num_threads <= 1) || stat.state == 'X')
		return error_raise(op->error, EINVAL, "pid %d (%s) has ended already and only waits for its parent",
				   pid, stat.comm);
	return check_not_ancestor(op, &stat);
}

static bool has_thread(const struct task *t, pid_t tid)
{
	for (size_t i = 0; i < t->n_threads; i++)
		if (t->threads[i].tid == tid)
			return true;
	return false;
}

static void drop_thread(struct operation *op, struct task *t, size_t i)
{
	if (t->threads[i].proc_fd >= 0)
		close(t->threads[i].proc_fd);
	memmove(&t->threads[i], &t->threads[i + 1], (t->n_threads - i - 1) * sizeof(t->threads[0]));
	t->n_threads--;
	op->tree.n_threads--;
}

/*
 * A thread that stands inside the vdso cannot be restored where the vdso has other code (memory/vdso.c). It takes a moment
 * to get out, so it is given some; who does nothing but read clocks may be met inside each time, and is taken as it stands. The
 * auxiliary vector tells the place without a lock of the task; it is another for a task that came from another kernel.
 */
static int leave_vdso(struct operation *op, struct task *t, struct thread *th, int r)
{
	uint64_t *auxv;
	size_t n;

	if (t->vdso == 0 && read_proc_auxv(t->proc_fd, &op->arena, &auxv, &n) == 0)
		for (size_t i = 0; i + 1 < n; i += 2)
			if (auxv[i] == AT_SYSINFO_EHDR)
				t->vdso = auxv[i + 1];
	for (int i = 0; i < VDSO_TRIES && r == SEIZE_STOPPED && !recorder_cancelled(); i++) {
		const struct user_regs_struct *regs = &th->puppet.regs;

		if (t->vdso == 0 || regs->rip < t->vdso || regs->rip - t->vdso >= VDSO_BYTES ||
		    (int64_t)regs->orig_rax >= 0)
			break;
		if (!op->tree.vdso_until)
			op->tree.vdso_until = monotonic_ns() + VDSO_TREE_NS;
		if (monotonic_ns() >= op->tree.vdso_until)
			break;
		r = seize_again(&th->puppet, VDSO_MOMENT_NS + 200L * i * i, op->error);
	}
	return r;
}

/* Waits for the threads from @first on; those that ended meanwhile are dropped. */
static int finish_threads(struct operation *op, struct task *t, size_t first)
{
	for (size_t i = first; i < t->n_threads;) {
		struct thread *th = &t->threads[i];
		int r = leave_vdso(op, t, th, seize_finish(&th->puppet, op->error));

		if (r < 0)
			return r;
		if (r == SEIZE_GONE) {
			drop_thread(op, t, i);
			continue;
		}
		if (r == SEIZE_GROUP_STOPPED)
			t->state = TASK_STOPPED;
		th->seized = true;
		i++;
	}
	return 0;
}

/* Stops the threads of @t that are not stopped yet, until a look finds no new one. *ret_new: found any. */
static int seize_threads(struct operation *op, struct task *t, bool *ret_new)
{
	for (;;) {
		size_t first = t->n_threads, n;
		pid_t *tids;
		int r = read_proc_tasks(t->proc_fd, &op->arena, &tids, &n);

		if (r == -ESRCH || r == -ENOENT)
			return 0;
		if (r < 0)
			return error_raise_call(op->error, -r, "getdents", "pid %d (%s), /proc/%d/task", t->pid,
						t->comm, t->pid);
		for (size_t i = 0; i < n; i++) {
			struct thread *th;

			if (has_thread(t, tids[i]))
				continue;
			th = task_add_thread(op, t, tids[i]);
			if (!th)
				return error_raise(op->error, ENOMEM, "pid %d: no memory for its threads", t->pid);
			r = seize_begin(&th->puppet, PTRACE_O_TRACESYSGOOD, op->error);
			if (r < 0)
				return r;
			if (r == SEIZE_GONE)
				drop_thread(op, t, t->n_threads - 1);
		}
		if (t->n_threads == first)
			return 0;
		*ret_new = true;
		r = finish_threads(op, t, first);
		if (r < 0)
			return r;
	}
}

/*
 * A process that exits shows its first thread as a zombie while the others still end. Only when they are there for longer is
 * it the first thread alone that has ended (pthread_exit() in main()).
 */
static bool others_end(struct operation *op, const struct task *t)
{
	const uint64_t until = monotonic_ns() + OTHERS_END_NS;

	recorder_step(t->pid, t->comm, "getdents", "/proc/%d/task, until its threads have ended", t->pid);
	for (;;) {
		const struct timespec pause = { 0, 1000000 };
		pid_t *tids;
		size_t n;

		if (read_proc_tasks(t->proc_fd, &op->arena, &tids, &n) < 0 || n <= 1)
			return true;
		if (monotonic_ns() >= until || recorder_cancelled())
			return false;
		(void)nanosleep(&pause, NULL);
	}
}

/* The kernel keeps what is the process's with the threads that live: man 2 pidfd_open, PIDFD_THREAD. */
static int stand_in(struct operation *op, struct task *t)
{
	pid_t living = t->n_threads > 0 ? t->threads[0].tid : 0;
	int proc_fd = living ? procfs_open(living) : -1,
	    pidfd = living ? sys_pidfd_open(living, PIDFD_THREAD_FLAG) : -1;

	if (proc_fd < 0 || pidfd < 0) {
		if (proc_fd >= 0)
			close(proc_fd);
		return error_raise(
			op->error, EOPNOTSUPP,
			"pid %d (%s): its first thread has ended while others run, which firn carries with Linux "
			"6.9 or newer only",
			t->pid, t->comm);
	}
	t->leader_exited = true;
	t->leader_exit_code = t->stat.exit_code;
	t->leader_exit_signal = t->stat.exit_signal;
	comm_copy(t->leader_comm, t->stat.comm);
	close(t->proc_fd);
	if (t->pidfd >= 0)
		close(t->pidfd);
	t->proc_fd = proc_fd;
	t->pidfd = pidfd;
	log_debug(t->pid, "its first thread has ended, thread %d stands for it", living);
	return 0;
}

/* A task that ended while it was being seized becomes a zombie of the tree, or vanishes. */
static int settle_task(struct operation *op, struct task *t)
{
	if (read_proc_stat(t->proc_fd, &t->stat) < 0)
		t->stat.state = 'X';
	if (t->stat.state == 'Z' && others_end(op, t)) {
		while (t->n_threads > 0)
			drop_thread(op, t, t->n_threads - 1);
		t->state = TASK_ZOMBIE;
		return 0;
	}
	if (t->stat.state == 'Z' && !t->leader_exited) {
		int r = stand_in(op, t);

		if (r < 0)
			return r;
	}
	if (t->state == 0)
		t->state = t->n_threads == 0 ? TASK_GONE : TASK_ALIVE;
	return 0;
}

static int open_task(struct operation *op, struct task *t)
{
	t->proc_fd = procfs_open(t->pid);
	if (t->proc_fd < 0 || read_proc_stat(t->proc_fd, &t->stat) < 0) {
		t->state = TASK_GONE;
		return 0;
	}
	comm_copy(t->comm, t->stat.comm);
	if (t->stat.state == 'Z' || t->stat.state == 'X')
		return 0;
	recorder_step(t->pid, t->comm, "pidfd_open", "the task");
	t->pidfd = sys_pidfd_open(t->pid, 0);
	if (t->pidfd < 0 && t->pidfd != -ESRCH)
		return error_raise_call(op->error, -t->pidfd, "pidfd_open", "pid %d (%s)", t->pid, t->comm);
	return 0;
}

static int add_children(struct operation *op, struct task *t, bool *ret_new)
{
	AUTOFREE pid_t *tids = NULL;
	pid_t *children;
	size_t n;
	int r;

	if (t->n_threads == 0)
		return 0;
	tids = calloc(t->n_threads, sizeof(*tids));
	if (!tids)
		return error_raise(op->error, ENOMEM, "pid %d: no memory for its children", t->pid);
	for (size_t i = 0; i < t->n_threads; i++)
		tids[i] = t->threads[i].tid;
	r = read_proc_children(t->pid, tids, t->n_threads, &op->arena, &children, &n);
	if (r < 0)
		return error_raise_call(op->error, -r, "read", "pid %d (%s), /proc/%d/task/*/children", t->pid, t->comm,
					t->pid);
	for (size_t i = 0; i < n; i++) {
		struct task *child;

		if (tree_find(&op->tree, children[i]))
			continue;
		child = tree_add_task(op, children[i]);
		if (!child)
			return error_raise(op->error, ENOMEM, "no memory for the tree");
		child->ppid = t->pid;
		r = open_task(op, child);
		if (r < 0)
			return r;
		*ret_new = true;
	}
	return 0;
}

static void drop_dead(struct tree *tree)
{
	size_t kept = 0;

	for (size_t i = 0; i < tree->n_tasks; i++) {
		struct task *t = tree->tasks[i];

		if (t->state != TASK_GONE) {
			tree->tasks[kept++] = t;
			continue;
		}
		if (t->proc_fd >= 0)
			close(t->proc_fd);
		if (t->pidfd >= 0)
			close(t->pidfd);
	}
	tree->n_tasks = kept;
}

/* As seize_threads(), without stopping anyone. */
static int list_threads(struct operation *op, struct task *t)
{
	pid_t *tids;
	size_t n;
	int r = read_proc_tasks(t->proc_fd, &op->arena, &tids, &n);

	for (size_t i = 0; i < n && r == 0; i++)
		if ((tids[i] != t->pid || t->stat.state != 'Z') && !task_add_thread(op, t, tids[i]))
			return error_raise(op->error, ENOMEM, "pid %d: no memory for its threads", t->pid);
	return 0; /* a task that just ended has none */
}

int tree_walk(struct operation *op)
{
	struct task *root = tree_add_task(op, op->options->tree);
	bool found_new;
	int r = root ? open_task(op, root) : error_raise(op->error, ENOMEM, "no memory for the tree");

	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->state != TASK_GONE)
			r = list_threads(op, t);
		if (r == 0)
			r = refusal_note(op, settle_task(op, t));
		if (r == 0)
			r = add_children(op, t, &found_new);
		/* Refused as a whole: it is not looked into. */
		if (r == 0 && t->state == 0)
			t->state = TASK_ZOMBIE;
	}
	if (r == 0)
		drop_dead(&op->tree);
	return r;
}

/* One pass over all tasks known so far and those it finds. */
static int seize_pass(struct operation *op, bool *ret_new)
{
	struct tree *tree = &op->tree;
	int r = 0;

	*ret_new = false;
	for (size_t i = 0; i < tree->n_tasks && r == 0; i++) {
		struct task *t = tree->tasks[i];

		if (t->state == TASK_GONE)
			continue;
		if (t->state != TASK_ZOMBIE)
			r = seize_threads(op, t, ret_new);
		if (r == 0)
			r = settle_task(op, t);
		if (r == 0)
			r = add_children(op, t, ret_new);
		atomic_store(&recorder->tasks, i + 1);
	}
	return r;
}

int tree_seize(struct operation *op)
{
	struct task *root = tree_add_task(op, op->options->tree);
	bool found_new;
	int r;

	if (!root)
		return error_raise(op->error, ENOMEM, "no memory for the tree");
	r = open_task(op, root);
	do {
		if (r == 0)
			r = seize_pass(op, &found_new);
		if (r < 0)
			return r;
	} while (found_new);
	drop_dead(&op->tree);
	if (op->tree.n_tasks == 0 || op->tree.tasks[0] != root || root->state == TASK_ZOMBIE)
		return error_raise(op->error, ESRCH, "pid %d ended while it was being stopped", op->options->tree);
	atomic_store(&recorder->tasks, op->tree.n_tasks);
	atomic_store(&recorder->threads, op->tree.n_threads);
	log_info(0, "stopped %zu tasks with %zu threads", op->tree.n_tasks, op->tree.n_threads);
	return 0;
}
