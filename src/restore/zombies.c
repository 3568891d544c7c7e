/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "puppet/trace.h"
#include "restore/grow.h"
#include "watch/recorder.h"

/* Whose task it was: images of CRIU do not tell, then it was most likely its parent's. */
static void add_user(struct batch *b, const struct task *t)
{
	const CredsEntry *m = t->core->thread_core ? t->core->thread_core->creds : NULL;

	if (!m && t->parent)
		m = t->parent->core->thread_core ? t->parent->core->thread_core->creds : NULL;
	if (!m)
		return;
	batch_call(b, 0, __NR_setresgid, m->gid, m->egid, m->sgid);
	batch_call(b, 0, __NR_setresuid, m->uid, m->euid, m->suid);
}

/* Name and user are all that a zombie still shows; a signal that dumps core must not do so here. */
static int prepare(struct operation *op, struct task *t)
{
	struct rlimit none = { 0, 0 };
	struct batch b;
	int r = batch_begin(&b, &t->threads[0].puppet, op->error);

	if (r < 0)
		return r;
	batch_call(&b, 0, __NR_prctl, PR_SET_NAME, batch_string(&b, t->comm));
	batch_call(&b, 0, __NR_setrlimit, RLIMIT_CORE, batch_data(&b, &none, sizeof(none)));
	add_user(&b, t);
	if (!WIFSIGNALED(t->exit_code)) {
		batch_call(&b, 0, __NR_exit_group, (uint64_t)WEXITSTATUS(t->exit_code));
		r = puppet_start(&b, op->error);
	} else {
		r = puppet_run(&b, op->error);
	}
	batch_end(&b);
	return r;
}

/* A puppet rests in the stop for its park signal: another signal given in its place is delivered as if it had come. */
static int end_zombie(struct operation *op, struct task *t)
{
	uint64_t none = 0;
	int status, r;

	r = prepare(op, t);
	if (r == 0 && WIFSIGNALED(t->exit_code) &&
	    (TRACE(PTRACE_SETSIGMASK, t->pid, t->pid, sizeof(none), &none, op->error) < 0 ||
	     TRACE(PTRACE_CONT, t->pid, t->pid, 0, (unsigned long)WTERMSIG(t->exit_code), op->error) < 0))
		r = -op->error->number;
	if (r < 0)
		return r;
	recorder_step(t->pid, t->comm, "waitpid", "the zombie to end");
	r = trace_wait(t->pid, t->pid, &status, op->error);
	recorder_target_remove(t->pid);
	if (r == -ESRCH) {
		t->n_threads = 0;
		return 0;
	}
	return r < 0 ? r
		     : error_raise(op->error, EIO, "pid %d (%s): it did not end as the image says", t->pid, t->comm);
}

/* SIGCHLD of the deaths above; what was pending at the dump is put back later. */
static int take_child_signal(struct operation *op, struct task *t)
{
	uint64_t set = 1ull << (SIGCHLD - 1);
	struct timespec now = { 0, 0 };
	struct batch b;
	int r = batch_begin(&b, &t->threads[0].puppet, op->error);

	if (r < 0)
		return r;
	batch_call(&b, CALL_MAY_FAIL, __NR_rt_sigtimedwait, batch_data(&b, &set, sizeof(set)), 0,
		   batch_data(&b, &now, sizeof(now)), sizeof(set));
	r = puppet_run(&b, op->error);
	batch_end(&b);
	return r;
}

int grow_zombies(struct operation *op)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		int r;

		if (t->state != TASK_ZOMBIE)
			continue;
		r = end_zombie(op, t);
		if (r == 0 && t->parent)
			r = take_child_signal(op, t->parent);
		if (r < 0)
			return r;
	}
	return 0;
}

void grow_kill(struct operation *op)
{
	int interrupted = 0, status;

	recorder_step(0, NULL, "waitpid", "the killed tasks to end");
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->made || (i == 0 && atomic_load(&recorder->restored_root) == t->pid))
			(void)kill(t->pid, SIGKILL);
	}
	/* Helpers and half-made tasks are not in the tree: the recorder has all that is held. */
	for (size_t i = 0; i < RECORDER_TARGETS; i++)
		if (atomic_load(&recorder->targets[i].tid) > 0)
			(void)kill(atomic_load(&recorder->targets[i].pid), SIGKILL);
	/* A killed task ends at once unless the kernel holds it; the front interrupts this wait every 100 ms once the
	 * operation was cancelled. */
	while (interrupted < 20) {
		pid_t pid = waitpid(-1, &status, __WALL);

		/* A task whose maker failed before it told the number stops as all new ones do. */
		if (pid > 0 && WIFSTOPPED(status))
			(void)kill(pid, SIGKILL);
		else if (pid > 0)
			recorder_target_remove(pid);
		else if (errno == EINTR)
			interrupted++;
		else
			break;
	}
}
