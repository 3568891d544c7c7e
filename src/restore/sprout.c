/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "restore/sprout.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kernel/system.h"
#include "puppet/trace.h"
#include "restore/pid_taken.h"
#include "tree/tree.h"
#include "watch/recorder.h"

/*
 * Adds the clone3() to a batch. CLONE_PTRACE makes the child a tracee of the same tracer, with the same options, and
 * stops it before its first instruction (kernel/ptrace.c, ptrace_init_task()): no event stop in the maker is needed.
 */
static size_t add_clone(struct batch *b, uint64_t flags, pid_t pid, uint64_t exit_signal)
{
	struct system_clone_args args = {
		.flags = flags | CLONE_PTRACE,
		.exit_signal = exit_signal,
		.set_tid = pid ? batch_data(b, &pid, sizeof(pid)) : 0,
		.set_tid_size = pid ? 1 : 0,
	};

	return batch_call(b, CALL_MAY_FAIL, __NR_clone3, batch_data(b, &args, sizeof(args)), sizeof(args));
}

static int clone_failed(struct operation *op, const struct task *maker, pid_t pid, const char *comm, int number)
{
	if (number == EEXIST)
		return raise_pid_taken(op, pid);
	return error_raise_call(op->error, number, "clone3", "pid %d (%s): making pid %d (%s)", maker->pid, maker->comm, pid,
				comm);
}

/* Takes the first stop of a new puppet; it starts with its maker's registers. */
static int adopt(struct operation *op, const struct puppet *maker, struct puppet *p)
{
	int status, r;

	recorder_step(p->pid, p->comm, "waitpid", "the new task %d to stop", p->tid);
	recorder_target_add(p->pid, p->tid);
	r = trace_wait(p->pid, p->tid, &status, op->error);
	if (r == -ESRCH)
		return error_raise(op->error, ESRCH, "pid %d (%s), thread %d ended as soon as it was made", p->pid, p->comm,
				   p->tid);
	if (r < 0)
		return r;
	p->area = maker->area;
	p->park_signal = maker->park_signal;
	p->regs = maker->regs;
	p->regs_known = maker->regs_known;
	p->sigmask = maker->sigmask;
	return 0;
}

/* What the child shares with its maker, by the numbers in the images. */
static uint64_t sharing_flags(const struct task *maker, const struct task *t)
{
	uint64_t flags = 0;

	if (t->state == TASK_ZOMBIE || maker->state == TASK_ZOMBIE)
		return 0;
	if (t->mm_owner == maker->mm_owner)
		flags |= CLONE_VM;
	if (t->files_owner == maker->files_owner)
		flags |= CLONE_FILES;
	if (t->fs_owner == maker->fs_owner)
		flags |= CLONE_FS;
	if (t->sighand_owner == maker->sighand_owner)
		flags |= CLONE_SIGHAND;
	return flags;
}

/* Returns the new pid, which is @pid unless that is 0. */
static pid_t make(struct operation *op, struct task *maker, uint64_t flags, pid_t pid, const char *comm,
		  uint64_t exit_signal)
{
	struct batch b;
	size_t call;
	int r = batch_begin(&b, &maker->threads[0].puppet, op->error);

	if (r < 0)
		return r;
	call = add_clone(&b, flags, pid, exit_signal);
	r = puppet_run(&b, op->error);
	if (r == 0 && batch_result(&b, call) < 0)
		r = clone_failed(op, maker, pid, comm, (int)-batch_result(&b, call));
	if (r == 0)
		r = (int)batch_result(&b, call);
	batch_end(&b);
	return r;
}

int sprout_task(struct operation *op, struct task *maker, struct task *t, bool sibling)
{
	int r;

	/* A zombie-to-be has no thread of its own in the images, but needs one to live until then. */
	if (t->n_threads == 0 && !task_add_thread(op, t, t->pid))
		return error_raise(op->error, ENOMEM, "pid %d: no memory for its thread", t->pid);
	r = make(op, maker, sharing_flags(maker, t) | (sibling ? CLONE_PARENT : 0), t->pid, t->comm, sibling ? 0 : SIGCHLD);
	if (r > 0)
		r = adopt(op, &maker->threads[0].puppet, &t->threads[0].puppet);
	if (r < 0)
		return r;
	t->threads[0].seized = true;
	t->made = true;
	t->session_now = maker->session_now;
	log_debug(t->pid, "made by pid %d in session %d", maker->pid, t->session_now);
	atomic_fetch_add(&recorder->tasks, 1);
	return 0;
}

struct task *sprout_helper(struct operation *op, struct task *maker, pid_t pid)
{
	struct task *h = arena_alloc(&op->arena, sizeof(*h));

	if (h)
		h->threads = arena_alloc(&op->arena, sizeof(*h->threads));
	if (!h || !h->threads) {
		(void)error_raise(op->error, ENOMEM, "no memory for a helper");
		return NULL;
	}
	pid = make(op, maker, 0, pid, "a group or session leader that ended", 0);
	if (pid < 0)
		return NULL;
	h->pid = pid;
	h->n_threads = 1;
	h->threads[0] = (struct thread){ .task = h, .tid = pid, .puppet = { .pid = pid, .tid = pid, .comm = "helper" } };
	memcpy(h->comm, "helper", 7);
	if (adopt(op, &maker->threads[0].puppet, &h->threads[0].puppet) < 0)
		return NULL;
	h->session_now = maker->session_now;
	return h;
}

int helper_end(struct operation *op, struct task *helper, struct task *parent)
{
	struct batch b;
	int status, r;

	r = batch_begin(&b, &helper->threads[0].puppet, op->error);
	if (r < 0)
		return r;
	batch_call(&b, 0, __NR_exit_group, (uint64_t)WEXITSTATUS(helper->exit_code));
	r = puppet_start(&b, op->error);
	batch_end(&b);
	if (r < 0)
		return r;
	recorder_step(helper->pid, "helper", "waitpid", "the helper to end");
	r = trace_wait(helper->pid, helper->pid, &status, op->error);
	recorder_target_remove(helper->pid);
	if (r != -ESRCH)
		return r < 0 ? r : error_raise(op->error, EIO, "pid %d: a helper did not end", helper->pid);
	/* __WALL: a child without an exit signal is a "clone child", man 2 wait. */
	return call_in(op, parent, __NR_wait4, (uint64_t[6]){ (uint64_t)helper->pid, 0, __WALL, 0 }, NULL);
}

int call_in(struct operation *op, struct task *t, long nr, const uint64_t args[6], int64_t *ret)
{
	struct batch b;
	int r = batch_begin(&b, &t->threads[0].puppet, op->error);

	if (r < 0)
		return r;
	batch_add(&b, 0, nr, args);
	r = puppet_run(&b, op->error);
	if (r == 0 && ret)
		*ret = batch_result(&b, 0);
	batch_end(&b);
	return r;
}
