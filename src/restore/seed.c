/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The seed: the first task of a restored tree. It is a fork of the engine that waits to be seized, and is then made to
 * unmap all it has from the engine except the island, so that the tasks it makes are small.
 */
#include "restore/seed.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/system.h"
#include "puppet/area.h"
#include "puppet/seize.h"
#include "puppet/trace.h"
#include "restore/grow.h"
#include "restore/pid_taken.h"
#include "watch/recorder.h"

#define TASK_SIZE_MAX \
	0x7ffffffff000ull /* end of user space with 4-level page tables: also with 5, where mmap() stays
					  * below it unless asked */

/* Ends with the engine: nobody is left to free this task when the engine dies before it was seized. */
static void __attribute__((noreturn)) wait_to_be_seized(const struct channel *c)
{
	char byte;

	close(c->engine);
	while (read(c->number, &byte, 1) < 0 && errno == EINTR)
		;
	_exit(1);
}

/* Added to the error number in the middle process's exit code when it is setns(2)'s; those of clone3(2) are smaller. */
#define NOT_ENTERED 128

/*
 * In the middle process: makes the root and leaves it an orphan. Its exit code tells how that went. The time namespace is
 * entered here, since whoever does must have one thread and memory of his own.
 */
static void __attribute__((noreturn)) make_orphan(const struct operation *op, pid_t tid, const struct channel *c)
{
	struct system_clone_args args = {
		.flags = CLONE_CLEAR_SIGHAND,
		.exit_signal = SIGCHLD,
		.set_tid = (uint64_t)&tid,
		.set_tid_size = 1,
	};
	pid_t pid;

	if (op->clocks.made && setns(op->clocks.fd, CLONE_NEWTIME) < 0)
		_exit(NOT_ENTERED + errno);
	pid = sys_clone3(&args, sizeof(args));
	if (pid == 0)
		wait_to_be_seized(c);
	_exit(pid < 0 ? -pid : 0);
}

/*
 * The root is no child of the engine, which ends soon, but of whom it is to be left to: the nearest sub-reaper (the front
 * while it waits for the tree) or init. So a parent death signal of the root means what it meant.
 */
static int clone_seed(struct operation *op, struct task *root, const struct channel *c)
{
	struct system_clone_args args = { .exit_signal = 0 };
	sigset_t all, old;
	int status = 0;
	pid_t middle;

	recorder_step(root->pid, root->comm, "clone3", "the root task");
	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &old);
	middle = sys_clone3(&args, sizeof(args));
	if (middle == 0)
		make_orphan(op, root->pid, c);
	if (middle > 0)
		while (waitpid(middle, &status, __WALL) < 0 && errno == EINTR)
			;
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	if (middle < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		int number = middle < 0 ? -middle : WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;

		if (number >= NOT_ENTERED)
			return error_raise_call(op->error, number - NOT_ENTERED, "setns",
						"pid %d (%s): the time namespace of the root task", root->pid,
						root->comm);
		if (number == EEXIST)
			return raise_pid_taken(op, root->pid);
		(void)error_raise_call(op->error, number, "clone3", "pid %d (%s): the root task", root->pid,
				       root->comm);
		if (number == EPERM)
			error_hint(op->error, "Choosing a pid needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN.");
		return -op->error->number;
	}
	atomic_store(&recorder->restored_root, root->pid);
	atomic_fetch_add(&recorder->tasks, 1);
	return 0;
}

/* Leaves only the island and the channel. */
static int strip_seed(struct operation *op, struct puppet *p, struct channel *c)
{
	uint64_t end = op->island + AREA_SIZE;
	struct batch b;
	int r = batch_begin(&b, p, op->error);

	if (r < 0)
		return r;
	/* The C library's registration for restartable sequences goes before the memory it points to does: the kernel
	 * writes there at a return to user space and would kill the task. */
	if (__rseq_size > 0)
		batch_call(&b, CALL_MAY_FAIL, __NR_rseq, (uint64_t)__builtin_thread_pointer() + (uint64_t)__rseq_offset,
			   32, 1 /* RSEQ_FLAG_UNREGISTER */, RSEQ_SIG);
	batch_call(&b, 0, __NR_munmap, 0, op->island);
	batch_call(&b, 0, __NR_munmap, end, TASK_SIZE_MAX - end);
	if (c->number > 0)
		batch_call(&b, 0, __NR_close_range, 0, (uint64_t)c->number - 1, 0);
	batch_call(&b, 0, __NR_close_range, (uint64_t)c->number + 1, ~0u, 0);
	r = puppet_run(&b, op->error);
	batch_end(&b);
	return r;
}

int seed_root(struct operation *op, struct channel *c)
{
	struct task *root = op->tree.tasks[0];
	struct puppet *p = &root->threads[0].puppet;
	struct puppet_area *area = arena_alloc(&op->arena, sizeof(*area));
	int r;

	if (!area)
		return error_raise(op->error, ENOMEM, "no memory for the puppets' area");
	*area = (struct puppet_area){ .code = op->island, .scratch = op->island + 4096, .scratch_size = AREA_SCRATCH };
	r = area_make_island(op->island, op->error);
	if (r == 0)
		r = clone_seed(op, root, c);
	if (r == 0)
		r = seize_begin(p, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD, op->error);
	if (r == SEIZE_GONE)
		r = error_raise(op->error, ESRCH, "pid %d (%s): the root task ended at once", root->pid, root->comm);
	if (r == 0)
		r = seize_finish(p, op->error);
	if (r == SEIZE_GONE)
		r = error_raise(op->error, ESRCH, "pid %d (%s): the root task ended at once", root->pid, root->comm);
	if (r < 0)
		return r;
	root->threads[0].seized = true;
	p->area = area;
	p->park_signal = SIGURG;
	/* The stub has no stack; sigaltstack(2) refuses a stack that the stack pointer is on. */
	p->regs.rsp = op->island + AREA_SIZE;
	p->sigmask = ~0ull;
	return strip_seed(op, p, c);
}
