/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signals of the engine. SIGTERM, which it also gets when the front dies (PR_SET_PDEATHSIG), cancels the operation;
 * SIGUSR1 from the front interrupts whatever the tracer thread waits in. When the front is gone nobody sends
 * SIGUSR1, so a timer of the engine's own does the same, and after ENGINE_GRACE_TICKS ends the engine: the kernel then
 * lets go every task it traces.
 */
#include "watch/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "watch/recorder.h"

#define ENGINE_GRACE_TICKS 40

/* For the handlers, which get no argument. */
static volatile pid_t engine_front;
static volatile sig_atomic_t engine_ticks;

static void on_interrupt(int signo)
{
	(void)signo;
}

static void on_cancel(int signo)
{
	const struct itimerval every = { { 0, 100000 }, { 0, 100000 } };

	(void)signo;
	atomic_store(&recorder->cancelled, true);
	(void)setitimer(ITIMER_REAL, &every, NULL);
}

static void on_tick(int signo)
{
	(void)signo;
	if (getppid() == engine_front)
		return;
	engine_ticks++;
	if (engine_ticks > ENGINE_GRACE_TICKS / 2)
		atomic_store(&recorder->hurry, true);
	if (engine_ticks > ENGINE_GRACE_TICKS)
		_exit(1);
}

static void set_handler(int signo, void (*handler)(int), int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&sa.sa_mask);
	(void)sigaction(signo, &sa, NULL);
}

static void prepare_signals(pid_t front)
{
	/* What a terminal sends to the whole process group is the front's to answer. Handlers and not SIG_IGN: those
	 * would be inherited by whatever the engine executes. */
	static const int fronts[] = { SIGINT, SIGQUIT, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE };
	sigset_t none;

	engine_front = front;
	for (int signo = 1; signo < NSIG; signo++)
		set_handler(signo, SIG_DFL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(fronts); i++)
		set_handler(fronts[i], on_interrupt, SA_RESTART);
	set_handler(SIGUSR1, on_interrupt, 0);
	set_handler(SIGALRM, on_tick, 0);
	set_handler(SIGTERM, on_cancel, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != front)
		on_cancel(SIGTERM);
}

/*
 * An engine that cannot be ended must not keep the caller's pipes open. A shell job is restored with the terminal
 * that the engine was given.
 */
static bool is_inherited(const struct options *o, int fd)
{
	for (size_t i = 0; i < o->n_inherit; i++)
		if (atoi(o->inherit[i] + strlen("fd[")) == fd)
			return true;
	return false;
}

static void prepare_streams(enum front_role role, const struct options *o)
{
	bool keep_error = o->verbosity >= LOG_TRACE;
	int fd;

#ifdef __SANITIZE_ADDRESS__
	keep_error = true;
#endif
	if (role == FRONT_RESTORE && o->shell_job)
		return;
	fd = open("/dev/null", O_RDWR);
	if (fd < 0)
		return;
	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
		if (!is_inherited(o, i) && !(i == STDERR_FILENO && keep_error))
			(void)dup2(fd, i);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* Statistics, the pid file and a stall report would be missed when it is too late. */
static int check_work_folder(const struct options *o, struct error *e)
{
	AUTOCLOSE int fd = -1;

	if (!o->work_path)
		return 0;
	recorder_step(0, NULL, "open", "work folder %s", o->work_path);
	fd = open(o->work_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return 0;
	(void)error_raise_call(e, errno, "open", "work folder %s", o->work_path);
	error_hint(e, "The folder must exist: correct --work-dir or create it (mkdir -p).");
	return -e->number;
}

void engine_process(enum front_role role, const struct options *o, engine_fn engine, void *arg, pid_t front,
		    int done_fd)
{
	const uint64_t one = 1;
	int r;

	recorder->engine_tracer_tid = getpid();
	recorder_step(0, NULL, "start", "the engine's process");
	prctl(PR_SET_NAME, "firn-engine");
	prepare_signals(front);
	prepare_streams(role, o);
	r = check_work_folder(o, &recorder->error);
	if (r == 0)
		r = engine(o, arg);
	if (r != 0)
		(void)error_raise(&recorder->error, r < 0 ? -r : EINVAL, "failed in stage %s: %s",
				  stage_name(recorder->step.stage), strerror(r < 0 ? -r : EINVAL));
	atomic_store(&recorder->engine_result, r > 0 ? -EINVAL : r);
	(void)!write(done_fd, &one, sizeof(one));
	_exit(r ? 1 : 0);
}
