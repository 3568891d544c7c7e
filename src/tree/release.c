/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "kernel/system.h"
#include "puppet/seize.h"
#include "tree/tree.h"
#include "watch/recorder.h"

static void signal_task(const struct task *t, int signal)
{
	int r = t->pidfd >= 0 ? sys_pidfd_send_signal(t->pidfd, signal, NULL) : 0;

	if (r < 0 && r != -ESRCH)
		log_warn(t->pid, "signal %d could not be sent: %s", signal, strerror(-r));
}

static void let_go(struct task *t, enum tree_fate fate)
{
	bool stop = fate == FATE_STOP;

	for (size_t i = 0; i < t->n_threads; i++)
		stop |= t->threads[i].puppet.stop_again;
	if (stop)
		signal_task(t, SIGSTOP);
	for (size_t i = 0; i < t->n_threads; i++) {
		struct thread *th = &t->threads[i];
		int r;

		/* Its stop was not taken: it may be for a signal, which PTRACE_DETACH without it would drop. The kernel
		 * lets the thread go, with the signal, when the engine ends. */
		if (!th->seized || th->puppet.running)
			continue;
		r = seize_release(&th->puppet);

		if (r < 0 && r != -ESRCH)
			log_warn(t->pid, "thread %d could not be detached: %s", th->tid, strerror(-r));
		th->seized = false;
	}
}

/* The parents of killed tasks learn of it only when the tracer has taken the status of every thread. */
static int reap(struct operation *op)
{
	recorder_step(op->options->tree, NULL, "waitpid", "the killed tasks to end");
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0 && errno == ECHILD)
			return 0;
		if (pid < 0 && errno != EINTR)
			return error_raise_call(op->error, errno, "waitpid", "the killed tasks");
		if (pid < 0 && recorder_cancelled())
			return error_raise(op->error, ECANCELED, "cancelled while the killed tasks were ending");
		if (pid > 0 && (WIFEXITED(status) || WIFSIGNALED(status)))
			recorder_target_remove(pid);
	}
}

int tree_release(struct operation *op, enum tree_fate fate)
{
	struct tree *tree = &op->tree;

	for (size_t i = 0; i < tree->n_tasks; i++) {
		struct task *t = tree->tasks[i];

		if (fate == FATE_KILL)
			signal_task(t, SIGKILL);
		else
			let_go(t, fate);
	}
	return fate == FATE_KILL ? reap(op) : 0;
}
