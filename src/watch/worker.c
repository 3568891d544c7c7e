/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One persistent thread takes jobs through one futex word. The tracer thread waits on the same word, in a plain
 * FUTEX_WAIT that a signal interrupts: cancelling sends SIGUSR1 until the engine ends, and the timeout below is only
 * a net for a signal that came just before the wait.
 */
#include "watch/worker.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "watch/patience.h"
#include "watch/recorder.h"

/* How long a cancelled operation waits for its job to see that and end by itself. */
#define POLITE_MS 300
/* The longest job that undoing may need. */
#define ROLLBACK_MS 1000

enum { WORKER_IDLE, WORKER_JOB, WORKER_DONE };

/* The process's one worker: like the recorder a thing of the process, not of the operation. */
static struct {
	bool started;
	bool stuck;  /* it was left behind in a job that never ended */
	pid_t owner; /* process it was started in: threads do not survive a fork */
	atomic_uint state;
	worker_fn fn;
	void *arg;
	int result;
} worker;

static long futex(atomic_uint *word, int op, unsigned value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

static void *worker_main(void *unused)
{
	(void)unused;
	for (;;) {
		unsigned state = atomic_load(&worker.state);

		if (state != WORKER_JOB) {
			(void)futex(&worker.state, FUTEX_WAIT, state, NULL);
			continue;
		}
		worker.result = worker.fn(worker.arg);
		atomic_store(&worker.state, WORKER_DONE);
		(void)futex(&worker.state, FUTEX_WAKE, INT_MAX, NULL);
	}
	return NULL;
}

static int worker_start(struct error *e)
{
	sigset_t all, before;
	pthread_t thread;
	int r;

	worker.stuck = false;
	atomic_store(&worker.state, WORKER_IDLE);
	/* Signals are the tracer thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, NULL, worker_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return error_raise_call(e, r, "pthread_create", "the engine's helper thread cannot be started");
	pthread_detach(thread);
	worker.started = true;
	worker.owner = getpid();
	return 0;
}

/* Waits for the end of the job; -ECANCELED when the operation was cancelled and the job did not end soon after. */
static int worker_wait(bool rolling_back)
{
	const struct timespec net = { 0, PATIENCE_PAUSE_MS * 1000000L };
	struct patience patience = patience_begin(ROLLBACK_MS);
	bool limited = rolling_back;

	while (atomic_load(&worker.state) != WORKER_DONE) {
		(void)futex(&worker.state, FUTEX_WAIT, WORKER_JOB, &net);
		if (!limited && recorder_cancelled()) {
			limited = true;
			patience = patience_begin(POLITE_MS);
		}
		if (limited && patience_is_over(&patience) && atomic_load(&worker.state) != WORKER_DONE)
			return -ECANCELED;
	}
	return 0;
}

int worker_call(worker_fn fn, void *arg, struct error *e)
{
	/* While things are undone the operation is cancelled already, and the job is part of undoing them. */
	bool rolling_back = recorder && recorder->step.stage == STAGE_ROLLBACK;
	int r;

	if (!rolling_back && recorder_cancelled())
		return error_raise(e, ECANCELED, "the operation was cancelled");
	if (worker.started && worker.owner == getpid() && worker.stuck)
		return error_raise(e, EBUSY, "the engine's helper thread is still held by an earlier job");
	if (!worker.started || worker.owner != getpid()) {
		r = worker_start(e);
		if (r)
			return r;
	}
	worker.fn = fn;
	worker.arg = arg;
	atomic_store(&worker.state, WORKER_JOB);
	(void)futex(&worker.state, FUTEX_WAKE, INT_MAX, NULL);
	r = worker_wait(rolling_back);
	if (r) {
		worker.stuck = true;
		return error_raise(e, ECANCELED, "the operation was cancelled");
	}
	return worker.result;
}
