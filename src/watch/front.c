/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The front's one loop waits for four things at once: the engine's end (a pidfd, and an eventfd on which the engine
 * says that it has its result), signals (a signalfd), and the next moment at which a limit may have passed. What is
 * written goes through the scribe (the log) and the console (standard streams), so nothing here can hang on a file.
 */
#include "watch/front.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/exit_codes.h"
#include "watch/console.h"
#include "watch/engine.h"
#include "watch/front_report.h"
#include "watch/progress.h"
#include "watch/recorder.h"
#include "watch/rollback.h"

#define PULSE_MS 100	       /* how often a cancelled engine is interrupted */
#define HURRY_NS 1000000000ull /* from the cancelling until rolling back is cut short */
#define GRACE_NS 2000000000ull /* from the cancelling to SIGKILL */
#define LAST_NS 1000000000ull  /* how long a killed engine, or one that has its result, is waited for */
#define LOOK_MS 500	       /* how long the facts of a stall report may take */
#define REDRAW_MS 100
#define BUSY_SHARE 10 /* processor time of the engine that counts as one of silence */
#define PROVE_MS 1000
#define FLUSH_MS 2000

static int millis_until(uint64_t at, uint64_t now)
{
	return at > now ? (int)((at - now + 999999) / 1000000) : 0;
}

static int sooner(int a, int b)
{
	return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

/* ---- signals ---- */

static int signals_begin(struct front *f)
{
	static const int wanted[] = { SIGINT, SIGTERM, SIGHUP, SIGCHLD };
	struct sigaction sa, dfl = { .sa_handler = SIG_DFL }, ignore = { .sa_handler = SIG_IGN };
	sigset_t blocked;

	sigemptyset(&f->signals);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		/* nohup and shells without job control ignore these for their children on purpose. */
		if ((wanted[i] == SIGHUP || wanted[i] == SIGINT) && sigaction(wanted[i], NULL, &sa) == 0 &&
		    sa.sa_handler == SIG_IGN)
			continue;
		sigaddset(&f->signals, wanted[i]);
	}
	/* A caller may ignore SIGCHLD (children would vanish unwaited) or have blocked every signal. */
	sigaction(SIGCHLD, &dfl, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	blocked = f->signals;
	if (sigprocmask(SIG_SETMASK, &blocked, &f->mask_before))
		return -errno;
	f->signal_fd = signalfd(-1, &f->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return f->signal_fd < 0 ? -errno : 0;
}

/* The next signal that asks for an end, 0 when there is none. */
static int signals_take(struct front *f)
{
	struct signalfd_siginfo si;

	while (read(f->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo != SIGCHLD)
			return (int)si.ssi_signo;
	return 0;
}

/* ---- the engine ---- */

static int engine_begin(struct front *f, engine_fn engine, void *arg)
{
	pid_t self = getpid();

	f->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->done_fd < 0)
		return -errno;
	f->engine = fork();
	if (f->engine < 0)
		return -errno;
	if (f->engine == 0) {
		close(f->signal_fd);
		engine_process(f->role, f->options, engine, arg, self, f->done_fd);
	}
	f->engine_pidfd = pidfd_open(f->engine, 0);
	return f->engine_pidfd < 0 ? -errno : 0;
}

static void engine_interrupt(struct front *f)
{
	pid_t tid = recorder->engine_tracer_tid ? recorder->engine_tracer_tid : f->engine;

	(void)tgkill(f->engine, tid, SIGUSR1);
}

static void cancel(struct front *f, enum front_end why, uint64_t now)
{
	if (f->why != END_NONE)
		return;
	f->why = why;
	f->cancel_ns = now;
	f->facts = stall_new();
	if (f->facts)
		stall_gather(f->facts);
	if (f->facts && why == END_LIMIT)
		stall_look(f->facts, f->engine, LOOK_MS);
	atomic_store(&recorder->cancelled, true);
	engine_interrupt(f);
	front_report_cancel(f);
}

/*
 * On a machine without processor time to spare the engine's silence means nothing, nor does that of a machine that stood
 * still itself (a paused guest), which the front sees by waking up late. The deadline goes on all the same. Only the time
 * that a thread had a processor is counted while it waits for one: its run delay is told when it gets one at last. And of
 * that time only a tenth: a processor of a guest may itself be kept waiting by its host, which a guest need not be told,
 * and a thread that runs is held by no object.
 */
static void forgive_starvation(struct front *f, uint64_t now)
{
	pid_t tid = recorder->step.tid ? recorder->step.tid : f->engine;
	uint64_t late = f->due_ns && now > f->due_ns ? now - f->due_ns : 0, starved = 0, ran = 0, counted;
	bool ready = glance_ready(f->engine, tid, &ran);

	counted = (ran - f->ran_ns) / BUSY_SHARE;
	if (ready && tid == f->ready_tid && now - f->looked_ns > counted)
		starved = now - f->looked_ns - counted;
	f->ready_tid = ready ? tid : 0;
	f->ran_ns = ran;
	f->looked_ns = now;
	deadlines_forgive(&f->deadlines, now, late > starved ? late : starved);
}

static void check_limits(struct front *f, uint64_t now)
{
	enum verdict v;

	forgive_starvation(f, now);
	v = deadlines_check(&f->deadlines, now, atomic_load(&recorder->progress), recorder->step.stage);
	f->verdict = v;
	if (v != VERDICT_GO_ON)
		cancel(f, END_LIMIT, now);
}

/* What is due by time alone; returns the milliseconds until the next such thing. -1 = give the engine up. */
static int tick(struct front *f, uint64_t now)
{
	uint64_t last;

	if (atomic_load(&recorder->engine_result) != RECORDER_RUNNING && !f->result_ns)
		f->result_ns = now;
	if (!f->result_ns && f->why == END_NONE)
		check_limits(f, now);
	if (f->result_ns || f->killed) {
		last = f->result_ns ? f->result_ns : f->cancel_ns + GRACE_NS;
		return now - last >= LAST_NS ? -1 : millis_until(last + LAST_NS, now);
	}
	if (f->why == END_NONE)
		return f->draw ? sooner(deadlines_next(&f->deadlines, now), REDRAW_MS)
			       : deadlines_next(&f->deadlines, now);
	if (now - f->cancel_ns >= GRACE_NS) {
		log_error(0, "the engine did not end by itself: it is killed");
		(void)kill(f->engine, SIGKILL);
		f->killed = true;
		return millis_until(f->cancel_ns + GRACE_NS + LAST_NS, now);
	}
	if (now - f->cancel_ns >= HURRY_NS)
		atomic_store(&recorder->hurry, true);
	engine_interrupt(f);
	return PULSE_MS;
}

/* Bytes of a progress line that fit into a row of the terminal, its control characters and the NUL included: a line that
 * wraps cannot be drawn over. At most @size. */
static size_t columns(size_t size)
{
	struct winsize w = { 0 };
	size_t room;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col < 10)
		return size;
	room = w.ws_col + strlen("\r\033[K");
	return room < size ? room : size;
}

static void draw_progress(struct front *f, uint64_t now)
{
	char line[256];

	if (!f->draw || f->why != END_NONE || now - f->drawn_ns < REDRAW_MS * 1000000ull)
		return;
	if (f->drawn_ns)
		console_write(&f->console, STDERR_FILENO, line,
			      progress_line(f->name, recorder, now - recorder->start_ns, line, columns(sizeof(line))));
	f->drawn_ns = now;
}

/* Runs until the engine is gone or given up. */
static void supervise(struct front *f)
{
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = f->engine_pidfd, .events = POLLIN },
			{ .fd = f->signal_fd, .events = POLLIN },
			{ .fd = f->result_ns ? -1 : f->done_fd, .events = POLLIN },
		};
		uint64_t now = monotonic_ns();
		int timeout = tick(f, now), limited = !f->result_ns && !f->killed, signo;

		if (timeout < 0 && !limited)
			return;
		draw_progress(f, now);
		f->due_ns = timeout < 0 ? 0 : now + (uint64_t)timeout * 1000000;
		if (poll(fds, ARRAY_SIZE(fds), timeout) < 0 && errno != EINTR)
			return;
		if (fds[1].revents & POLLIN && (signo = signals_take(f)) && f->why == END_NONE) {
			f->signo = signo;
			cancel(f, END_SIGNAL, monotonic_ns());
		}
		if (fds[0].revents & POLLIN) {
			f->engine_gone = true;
			(void)waitpid(f->engine, &f->engine_status, __WALL);
			return;
		}
	}
}

/* ---- after the engine ---- */

/*
 * Ctrl-Z has stopped a restored shell job. The shell knows the front, not the job: the front takes the terminal back, stops
 * as the job did, and when the shell continues it (fg, bg) hands the terminal on and continues the job.
 */
static void stop_with_job(pid_t root)
{
	AUTOCLOSE int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	pid_t job = getpgid(root);
	sigset_t ttou, old;

	if (tty < 0 || job <= 0 || job == getpgrp())
		return;
	/* From the background tcsetpgrp() stops its caller by SIGTTOU, unless that is blocked. */
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	(void)sigprocmask(SIG_BLOCK, &ttou, &old);
	if (tcgetpgrp(tty) == job)
		(void)tcsetpgrp(tty, getpgrp());
	(void)kill(getpid(), SIGSTOP);
	if (tcgetpgrp(tty) == getpgrp())
		(void)tcsetpgrp(tty, job);
	(void)kill(-job, SIGCONT);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
}

/* Waits until the restored root task has ended, reaping whatever ends meanwhile. */
static int wait_for_root(struct front *f)
{
	pid_t root = atomic_load(&recorder->restored_root);
	struct pollfd p = { .fd = f->signal_fd, .events = POLLIN };
	int signo;

	while (root > 0) {
		siginfo_t si = { 0 };

		while (waitid(P_ALL, 0, &si, WEXITED | WSTOPPED | WNOHANG | __WALL) == 0 && si.si_pid) {
			if (si.si_code == CLD_STOPPED && si.si_pid == root && f->options->shell_job)
				stop_with_job(root);
			else if (si.si_code != CLD_STOPPED && si.si_pid == root)
				return EXIT_DONE;
			si.si_pid = 0;
		}
		if (waitid(P_PID, (id_t)root, &si, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0)
			return EXIT_DONE; /* it is somebody else's child by now */
		(void)poll(&p, 1, -1);
		signo = signals_take(f);
		/* ctrl-C is for the restored shell job, which gets it too. */
		if (signo && signo != SIGINT)
			return EXIT_INTERRUPTED;
	}
	return EXIT_DONE;
}

/* What the engine wrote, whole: it has ended. */
static int print_answer(struct front *f)
{
	AUTOFREE char *text = NULL;
	struct stat st;

	if (fstat(recorder->answer_fd, &st) < 0 || !(text = malloc((size_t)st.st_size + 1)) ||
	    pread(recorder->answer_fd, text, (size_t)st.st_size, 0) != st.st_size) {
		console_printf(&f->console, STDERR_FILENO, "firn: %s: no memory for the answer\n", f->name);
		return EXIT_FAILED;
	}
	console_write(&f->console, STDOUT_FILENO, text, (size_t)st.st_size);
	return recorder->refused ? EXIT_REFUSED : EXIT_DONE;
}

static int succeed(struct front *f)
{
	bool dump = f->role == FRONT_DUMP;
	uint64_t elapsed = monotonic_ns() - recorder->start_ns;
	char line[256], stats[512];
	size_t len;

	(void)rollback_await_guard(PROVE_MS);
	len = totals_line(dump, recorder, elapsed, line, sizeof(line));

	if (f->drawn_ns && f->draw)
		console_printf(&f->console, STDERR_FILENO, "\r\033[K");
	if (f->role == FRONT_EXPLAIN)
		return print_answer(f);
	log_info(0, "%.*s", (int)len - 1, line);
	console_write(&f->console, STDOUT_FILENO, line, len);
	if (f->options->display_stats)
		console_write(&f->console, STDOUT_FILENO, stats,
			      stats_lines(dump, recorder, elapsed, stats, sizeof(stats)));
	if (f->options->status_fd >= 0)
		console_write(&f->console, f->options->status_fd, "\0", 1);
	if (dump || f->options->restore_detached)
		return EXIT_DONE;
	(void)scribe_finish(&f->scribe, FLUSH_MS);
	return wait_for_root(f);
}

static int fail(struct front *f)
{
	pid_t keep[] = { f->engine_gone ? 0 : f->engine, f->scribe.pid };

	if (f->role == FRONT_RESTORE && !atomic_load(&recorder->restore_released)) {
		f->left = rollback_end_restored(keep, ARRAY_SIZE(keep), f->had_children, PROVE_MS);
		rollback_remove_segments();
		rollback_remove_names(PROVE_MS);
	} else {
		rollback_prove(f->engine, PROVE_MS, &f->proof);
		if (f->engine_gone)
			rollback_remove_names(PROVE_MS);
	}
	if (!rollback_await_guard(PROVE_MS))
		console_printf(&f->console, STDERR_FILENO,
			       "firn: %s: warning: TCP connections are still held by process %d\n", f->name,
			       atomic_load(&recorder->guard));
	return front_report_failure(f);
}

static int finish(struct front *f)
{
	bool ok = atomic_load(&recorder->engine_result) == 0;
	int code = ok ? succeed(f) : fail(f);
	/* What stalled the operation may well hold the log too. */
	bool written = scribe_finish(&f->scribe, f->why == END_LIMIT ? FLUSH_MS / 4 : FLUSH_MS);
	int log_errno = atomic_load(&recorder->log_errno);
	unsigned long dropped = (unsigned long)atomic_load(&recorder->ring_dropped);

	if (log_errno && f->options->log_path)
		console_printf(&f->console, STDERR_FILENO, "firn: %s: warning: the log %s could not be written: %s\n",
			       f->name, f->log_path, strerror(log_errno));
	else if (!written || dropped)
		console_printf(&f->console, STDERR_FILENO,
			       "firn: %s: warning: the log is incomplete: %s%lu lines dropped\n", f->name,
			       written ? "" : "it was not taken in time, ", dropped);
	front_report_end(f);
	console_close(&f->console, FLUSH_MS);
	return code;
}

/* ---- the whole ---- */

/* What was given for the restore is the engine's: a pipe that the front kept open would never end. */
static void close_inherited(const struct options *o)
{
	for (size_t i = 0; i < o->n_inherit; i++) {
		int fd = atoi(o->inherit[i] + strlen("fd["));

		if (fd > STDERR_FILENO)
			close(fd);
	}
}

static void release(struct front *f)
{
	const int fds[] = { f->signal_fd, f->done_fd, f->engine_pidfd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	stall_free(f->facts);
	free(f->log_path);
	(void)sigprocmask(SIG_SETMASK, &f->mask_before, NULL);
}

static int no_start(struct front *f, int r, const char *what)
{
	console_printf(&f->console, STDERR_FILENO, "firn: %s: %s: %s. Nothing was changed.\n", f->name, what,
		       strerror(-r));
	if (f->engine > 0) {
		(void)kill(f->engine, SIGKILL);
		(void)waitpid(f->engine, NULL, __WALL);
	}
	console_close(&f->console, FLUSH_MS);
	release(f);
	return EXIT_FAILED;
}

static int run(struct front *f, engine_fn engine, void *arg)
{
	int r = signals_begin(f);

	if (r)
		return no_start(f, r, "the signals cannot be set up");
	f->had_children = f->role == FRONT_RESTORE && rollback_have_children();
	/* Detached or not: what a failed engine leaves behind becomes a child of the front, which can end it. */
	if (f->role == FRONT_RESTORE && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return no_start(f, -errno, "the front cannot become the reaper of what it restores");
	r = engine_begin(f, engine, arg);
	if (r)
		return no_start(f, r, "the engine's process cannot be started");
	f->ready_tid = f->engine;
	f->looked_ns = monotonic_ns();
	close_inherited(f->options);
	/* Only now: the fork above must not copy a process with threads. The log's first line is in the ring. */
	f->scribe.clear = f->draw;
	r = scribe_start(&f->scribe, f->log_path, f->engine_pidfd);
	if (r)
		console_printf(&f->console, STDERR_FILENO, "firn: %s: warning: no log: %s\n", f->name, strerror(-r));
	supervise(f);
	r = finish(f);
	release(f);
	return r;
}

int front_run(enum front_role role, const struct options *o, engine_fn engine, void *arg)
{
	static const char *const names[] = { "dump", "restore", "explain" };
	struct front f = {
		.role = role,
		.name = names[role],
		.options = o,
		.signal_fd = -1,
		.done_fd = -1,
		.engine_pidfd = -1,
		.scribe.pidfd = -1,
		/* Where log lines come to the same terminal they are progress enough. */
		.draw = isatty(STDERR_FILENO) && (o->log_path || o->verbosity <= LOG_WARN),
		.deadlines = { .deadline_ms = o->deadline_ms, .stall_ms = o->stall_ms, .seize_ms = o->seize_ms },
	};
	int r;

	sigprocmask(SIG_SETMASK, NULL, &f.mask_before);
	log_verbosity = o->verbosity;
	r = recorder_init();
	if (r)
		return no_start(&f, r, "no memory for the recorder");
	recorder->answer_fd = role == FRONT_EXPLAIN ? memfd_create("firn answer", MFD_CLOEXEC) : -1;
	if (role == FRONT_EXPLAIN && recorder->answer_fd < 0)
		return no_start(&f, -errno, "no memory for the answer");
	f.log_path = front_path(o, o->log_path);
	/* A log file is never empty; standard error stays silent unless more is asked for. */
	if (role == FRONT_EXPLAIN)
		log_write(o->log_path ? LOG_MSG : LOG_INFO, 0, "firn " FIRN_VERSION ", %s of task %d", f.name, o->tree);
	else
		log_write(o->log_path ? LOG_MSG : LOG_INFO, 0, "firn " FIRN_VERSION ", %s, %s %s", f.name,
			  role == FRONT_DUMP ? "images to" : "images from", o->images_path ? o->images_path : ".");
	deadlines_begin(&f.deadlines, recorder->start_ns);
	return run(&f, engine, arg);
}
