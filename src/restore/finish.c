/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "restore/finish.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "aspects/aspect.h"
#include "base/cleanup.h"
#include "puppet/area.h"
#include "puppet/seize.h"
#include "puppet/trace.h"
#include "restore/sprout.h"
#include "tree/registers.h"
#include "vma.pb-c.h"
#include "watch/recorder.h"

#define AREA_VDSO (1u << 3) /* VmaEntry.status */
#define LEADER_END_NS 1000000000ull

/* The stub cannot unmap itself: the call is made from the SYSCALL instruction of the task's own vdso. */
static int find_syscall(struct operation *op, struct task *t, uint64_t *ret)
{
	const MmEntry *mm = t->mm_owner->mm;
	uint8_t code[16 * 1024];

	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *m = mm->vmas[i];
		size_t size = m->end - m->start;
		struct iovec local = { code, size }, remote = { (void *)m->start, size };

		if (!(m->status & AREA_VDSO) || size > sizeof(code))
			continue;
		if (process_vm_readv(t->pid, &local, 1, &remote, 1, 0) != (ssize_t)size)
			return error_raise_call(op->error, errno, "process_vm_readv", "pid %d (%s), vdso", t->pid,
						t->comm);
		for (size_t k = 0; k + 1 < size; k++) {
			if (code[k] == 0x0f && code[k + 1] == 0x05) {
				*ret = m->start + k;
				return 0;
			}
		}
	}
	return error_raise(op->error, EOPNOTSUPP, "pid %d (%s): no vdso in its image, which firn needs at the end",
			   t->pid, t->comm);
}

static int unmap_island(struct operation *op, struct task *t)
{
	struct puppet *p = &t->threads[0].puppet;
	uint64_t at;
	int64_t ret;
	int r = find_syscall(op, t, &at);

	if (r < 0)
		return r;
	recorder_step(t->pid, t->comm, "munmap", "the puppets' area");
	r = puppet_single_call(p, at, __NR_munmap, (uint64_t[6]){ op->island, AREA_SIZE }, &ret, op->error);
	if (r == 0 && ret < 0)
		r = error_raise_call(op->error, (int)-ret, "munmap", "pid %d (%s): the puppets' area", t->pid, t->comm);
	return r;
}

static int finish_task(struct operation *op, struct task *t, struct channel *c)
{
	int r = 0;

	if (t->files_owner == t)
		r = call_in(op, t, __NR_close, (uint64_t[6]){ (uint64_t)c->number }, NULL);
	if (r == 0 && t->mm_owner == t)
		r = unmap_island(op, t);
	return r;
}

bool has_exited_leader(const struct task *t)
{
	return t->state != TASK_ZOMBIE && t->n_threads > 1 && t->core->tc->firn_leader_exited;
}

/* Its registers are for a call of exit() from the vdso of the dump; this kernel's may have its SYSCALL elsewhere. */
static int let_leader_exit(struct operation *op, struct task *t)
{
	UserX86RegsEntry *regs = t->threads[0].core->thread_info->gpregs;

	regs->ax = __NR_exit;
	return find_syscall(op, t, &regs->ip);
}

/* The first threads that had ended: each is let go before all others, so that nobody sees it live. */
static void end_leaders(const struct operation *op)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		const uint64_t until = monotonic_ns() + LEADER_END_NS;
		struct proc_stat stat = { 0 };
		AUTOCLOSE int fd = -1;

		if (!has_exited_leader(t))
			continue;
		recorder_step(t->pid, t->comm, "read", "/proc/%d/stat, until its first thread has ended", t->pid);
		fd = procfs_open(t->pid);
		(void)seize_release(&t->threads[0].puppet);
		while (fd >= 0 && read_proc_stat(fd, &stat) == 0 && stat.state != 'Z' && monotonic_ns() < until) {
			const struct timespec pause = { 0, 200000 };

			(void)nanosleep(&pause, NULL);
		}
		if (stat.state != 'Z')
			log_warn(t->pid, "its first thread, which had ended, has not ended again yet");
	}
}

int finish_tree(struct operation *op, struct channel *c)
{
	/* Those who share an owner's memory have no island once the owner has unmapped it: last comes first. */
	for (size_t i = op->tree.n_tasks; i-- > 0;) {
		struct task *t = op->tree.tasks[i];
		int r = t->state == TASK_ZOMBIE ? 0 : finish_task(op, t, c);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];

		for (size_t k = 0; k < t->n_threads; k++) {
			int r = aspects_poke(op, &t->threads[k]);

			if (r == 0 && k == 0 && has_exited_leader(t))
				r = let_leader_exit(op, t);
			if (r == 0)
				r = registers_poke(op, &t->threads[k]);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* An orphaned group is not stopped by a terminal's signals: man 3 setpgid, kernel/exit.c. */
static bool orphaned_group(const struct operation *op, const struct task *t)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *member = op->tree.tasks[i];

		if (member->pgid == t->pgid && member->parent && member->parent->state != TASK_ZOMBIE &&
		    member->parent->pgid != t->pgid && member->parent->sid == t->sid)
			return false;
	}
	return true;
}

/* The signal that had stopped the task, so that its parent learns the right one; one that would not stop it now (it is
 * blocked, caught or ignored, or comes from no terminal any more) is replaced by SIGSTOP. */
static int stop_signal(const struct operation *op, const struct task *t)
{
	const TaskCoreEntry *tc = t->core->tc;
	int signo = tc->has_stop_signo ? (int)tc->stop_signo : SIGSTOP;

	if (t->state != TASK_STOPPED || (signo != SIGTSTP && signo != SIGTTIN && signo != SIGTTOU))
		return SIGSTOP;
	/* The actions lie in the order of the signals, without SIGKILL and SIGSTOP. */
	if (registers_sigmask(&t->threads[0]) >> (signo - 1) & 1 || (size_t)signo - 3 >= tc->n_sigactions ||
	    tc->sigactions[signo - 3]->sigaction != 0 || orphaned_group(op, t))
		return SIGSTOP;
	return signo;
}

int release_tree(struct operation *op)
{
	int r = 0;

	end_leaders(op);
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];

		/* Queued while the task is still held: it stops before it runs. */
		if (t->state == TASK_STOPPED || (op->options->leave_stopped && t->state != TASK_ZOMBIE))
			(void)kill(t->pid, stop_signal(op, t));
	}
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];

		for (size_t k = has_exited_leader(t); k < t->n_threads; k++) {
			int e = -seize_release(&t->threads[k].puppet);

			/* It was killed already, by another of the tree or somebody else. */
			if (e == ESRCH)
				log_warn(t->pid, "thread %d could not be detached: it has ended", t->threads[k].tid);
			else if (e)
				r = error_raise_call(op->error, e, "ptrace(PTRACE_DETACH)", "pid %d (%s), thread %d",
						     t->pid, t->comm, t->threads[k].tid);
		}
	}
	return r;
}
