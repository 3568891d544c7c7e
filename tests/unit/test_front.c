/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The front with engines that fail in every way an engine can. Each case runs front_run() in a process of its own,
 * with its standard streams on pipes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/exit_codes.h"
#include "watch/front.h"
#include "watch/glance.h"
#include "watch/recorder.h"
#include "watch/worker.h"

struct run {
	enum front_role role;
	struct options options;
	engine_fn engine;
	void *arg;
	void (*prepare)(struct run *r); /* in the front's process, before front_run() */
	bool stderr_full;		/* standard error is a pipe that is full and never read */

	char dir[64];
	pid_t pid;
	int out_fd, err_fd;
	int code;
	char out[8192], err[32768], log[65536], report[32768];
	uint64_t took_ns;
};

static int setup(void **state)
{
	struct run *r = calloc(1, sizeof(*r));

	strcpy(r->dir, "/tmp/firn-test-front-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	r->options.images_path = r->dir;
	r->options.log_path = "log";
	r->options.status_fd = -1;
	r->options.verbosity = LOG_DEBUG;
	r->options.tree = 1;
	r->options.deadline_ms = 20000;
	r->options.stall_ms = 5000;
	r->options.seize_ms = 5000;
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct run *r = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", r->dir);
	(void)!system(command);
	free(r);
	return 0;
}

static void fill_pipe(int fd)
{
	char buf[4096] = { 0 };

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (write(fd, buf, sizeof(buf)) > 0)
		;
	fcntl(fd, F_SETFL, 0);
}

static void begin(struct run *r)
{
	int out[2], err[2];

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC), 0);
	if (r->stderr_full)
		fill_pipe(err[1]);
	r->took_ns = monotonic_ns();
	r->pid = fork();
	if (r->pid == 0) {
		dup2(out[1], 1);
		dup2(err[1], 2);
		close(out[0]);
		close(out[1]);
		close(err[0]);
		close(err[1]);
		if (r->prepare)
			r->prepare(r);
		_exit(front_run(r->role, &r->options, r->engine, r->arg));
	}
	close(out[1]);
	close(err[1]);
	r->out_fd = out[0];
	r->err_fd = err[0];
}

static void slurp(int fd, char *buf, size_t size)
{
	size_t used = 0;
	ssize_t n;

	while (used < size - 1 && (n = read(fd, buf + used, size - 1 - used)) > 0)
		used += (size_t)n;
	buf[used] = '\0';
	close(fd);
}

static void slurp_file(const struct run *r, const char *name, char *buf, size_t size)
{
	char path[128];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	buf[0] = '\0';
	if (stat(path, &st) || !S_ISREG(st.st_mode))
		return;
	fd = open(path, O_RDONLY);
	slurp(fd, buf, size);
}

static void end(struct run *r)
{
	int status;

	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	r->took_ns = monotonic_ns() - r->took_ns;
	assert_true(WIFEXITED(status));
	r->code = WEXITSTATUS(status);
	/* Reading to the end proves that nobody keeps the caller's pipes open. */
	slurp(r->out_fd, r->out, sizeof(r->out));
	if (r->stderr_full)
		close(r->err_fd);
	else
		slurp(r->err_fd, r->err, sizeof(r->err));
	slurp_file(r, "log", r->log, sizeof(r->log));
	slurp_file(r, "stall-report.txt", r->report, sizeof(r->report));
}

static void whole(struct run *r)
{
	begin(r);
	end(r);
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in:\n%s", part, text);
}

/* ---- engines ---- */

static int engine_fine(const struct options *o, void *arg)
{
	(void)o;
	(void)arg;
	recorder_stage(STAGE_MEMORY);
	atomic_store(&recorder->tasks, 2);
	atomic_store(&recorder->threads, 3);
	recorder->frozen_ns = 1200000;
	recorder->wrote_bytes = 2048;
	log_warn(5, "a warning");
	return 0;
}

static int engine_error(const struct options *o, void *arg)
{
	int number = *(int *)arg;

	(void)o;
	error_raise_call(&recorder->error, number, "statx", "pid 126 (redis-server), fd 14 → /mnt/x");
	error_hint(&recorder->error, "Look at the mount");
	return -number;
}

static int read_job(void *arg)
{
	char c;

	recorder_step(getpid(), "firn-engine", "read", "pipe %d", *(int *)arg);
	return (int)read(*(int *)arg, &c, 1);
}

static int engine_stuck_worker(const struct options *o, void *arg)
{
	int fds[2];

	(void)o;
	(void)arg;
	if (pipe(fds))
		return -errno;
	recorder_stage(STAGE_FILES);
	return worker_call(read_job, &fds[0], &recorder->error);
}

/* Holds a task and waits without ever looking whether it was cancelled. */
static int engine_deaf(const struct options *o, void *arg)
{
	(void)arg;
	recorder_stage(STAGE_SEIZE);
	recorder_target_add(o->tree, o->tree);
	recorder_step(o->tree, "victim", "ptrace(PTRACE_SEIZE)", "the task");
	if (ptrace(PTRACE_SEIZE, o->tree, 0, 0) || ptrace(PTRACE_INTERRUPT, o->tree, 0, 0))
		return -errno;
	waitpid(o->tree, NULL, __WALL);
	recorder_step(o->tree, "victim", "pause", "nothing");
	for (;;)
		pause();
}

/* The same, and dies. */
static int engine_dies(const struct options *o, void *arg)
{
	(void)arg;
	recorder_stage(STAGE_SEIZE);
	recorder_target_add(o->tree, o->tree);
	if (ptrace(PTRACE_SEIZE, o->tree, 0, 0) || ptrace(PTRACE_INTERRUPT, o->tree, 0, 0))
		return -errno;
	waitpid(o->tree, NULL, __WALL);
	recorder_step(o->tree, "victim", "statx", "fd 3 → /x");
	raise(SIGKILL);
	return 0;
}

/* The same, and waits as it should. */
static int engine_polite(const struct options *o, void *arg)
{
	(void)arg;
	recorder_stage(STAGE_SEIZE);
	recorder_target_add(o->tree, o->tree);
	if (ptrace(PTRACE_SEIZE, o->tree, 0, 0) || ptrace(PTRACE_INTERRUPT, o->tree, 0, 0))
		return -errno;
	waitpid(o->tree, NULL, __WALL);
	while (!recorder_cancelled())
		pause();
	ptrace(PTRACE_DETACH, o->tree, 0, 0);
	recorder_target_remove(o->tree);
	return -ECANCELED;
}

/* A restore that leaves a tree of three behind. */
static int engine_leaves(const struct options *o, void *arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_NAME, strrchr(o->images_path, '-') + 1);
		if (fork() == 0 && fork() == 0)
			setsid();
		for (;;)
			pause();
	}
	atomic_store(&recorder->restored_root, pid);
	*(_Atomic pid_t *)arg = pid;
	return error_raise(&recorder->error, EBADMSG, "%s/core-5.img is damaged", o->images_path);
}

/* A restore that works: its root lives for a moment. */
static int engine_restores(const struct options *o, void *arg)
{
	pid_t pid = fork();

	(void)o;
	(void)arg;
	if (pid == 0) {
		usleep(1000000);
		_exit(7);
	}
	atomic_store(&recorder->restored_root, pid);
	atomic_store(&recorder->restore_released, true);
	return 0;
}

/* Writes a lot into the log. */
static int engine_talks(const struct options *o, void *arg)
{
	(void)o;
	for (int i = 0; i < *(int *)arg; i++)
		log_debug(i, "line %d of a long, long log that fills the ring sooner or later", i);
	return 0;
}

/* ---- a task to hold ---- */

static pid_t victim_start(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

static void victim_check_and_end(pid_t pid)
{
	struct glance g;

	glance(pid, pid, &g);
	assert_false(g.gone);
	assert_int_equal(g.tracer, 0);
	assert_true(g.state == 'S' || g.state == 'R');
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- cases ---- */

static void test_success(void **state)
{
	struct run *r = *state;

	r->engine = engine_fine;
	whole(r);
	assert_int_equal(r->code, EXIT_DONE);
	assert_has(r->out, "dumped 2 tasks, 3 threads: frozen for 1.2 ms, wrote 2.0 KiB, took ");
	assert_string_equal(r->err, "");
	assert_has(r->log, "Note  - start: firn " FIRN_VERSION ", dump");
	assert_has(r->log, "Warn  5 memory: a warning\n");
	print_message("took %.2f ms\n", (double)r->took_ns / 1e6);
}

static void test_log_on_stderr(void **state)
{
	struct run *r = *state;

	r->options.log_path = NULL;
	r->options.verbosity = LOG_WARN;
	r->engine = engine_fine;
	whole(r);
	assert_int_equal(r->code, EXIT_DONE);
	assert_has(r->err, "Warn  5 memory: a warning\n");
	assert_null(strstr(r->err, "firn " FIRN_VERSION));
}

static void test_error(void **state)
{
	static const struct {
		int number, code;
	} cases[] = { { EIO, EXIT_FAILED }, { EOPNOTSUPP, EXIT_REFUSED }, { EBADMSG, EXIT_BAD_IMAGES } };
	struct run *r = *state;

	for (size_t i = 0; i < 3; i++) {
		int number = cases[i].number;

		r->engine = engine_error;
		r->arg = &number;
		whole(r);
		assert_int_equal(r->code, cases[i].code);
		assert_has(r->err, "firn: dump: pid 126 (redis-server), fd 14 → /mnt/x: statx: ");
		assert_has(r->err, ". Nothing was changed. Look at the mount.\n");
		assert_has(r->log, "Error - start: pid 126 (redis-server)");
		assert_string_equal(r->out, "");
	}
}

static void test_stall(void **state)
{
	struct run *r = *state;

	r->engine = engine_stuck_worker;
	r->options.stall_ms = 300;
	whole(r);
	assert_int_equal(r->code, EXIT_STALLED);
	assert_has(r->err, "nothing moved for 0.3 s in stage files: pid ");
	assert_has(r->err, "read, pipe ");
	assert_has(r->err, "a pipe is empty and its writer sends nothing");
	assert_has(r->err, "Nothing was changed. Likely cause: ");
	assert_has(r->report, "stall report: firn dump of task 1\n");
	assert_has(r->report, "call         read, for 0.3 s now");
	assert_has(r->report, "system call 0 (read)");
	assert_has(r->log, "likely cause a pipe is empty");
	assert_in_range(r->took_ns / 1000000, 300, 3000);
}

static void test_deadline(void **state)
{
	struct run *r = *state;

	r->engine = engine_stuck_worker;
	r->options.deadline_ms = 250;
	whole(r);
	assert_int_equal(r->code, EXIT_STALLED);
	assert_has(r->err, "firn: dump: not done within its deadline of 0.2 s in stage files");
}

static void test_deaf_engine(void **state)
{
	struct run *r = *state;
	pid_t victim = victim_start();

	r->engine = engine_deaf;
	r->options.tree = victim;
	r->options.seize_ms = 200;
	r->options.stall_ms = 0;
	whole(r);
	assert_int_equal(r->code, EXIT_STALLED);
	assert_has(r->err, "the tree was not stopped within 0.2 s (--timeout) in stage seize");
	assert_has(r->err, ". Nothing was changed.");
	assert_has(r->log, "it is killed");
	assert_in_range(r->took_ns / 1000000, 2200, 6000);
	victim_check_and_end(victim);
}

static void test_engine_killed(void **state)
{
	struct run *r = *state;
	pid_t victim = victim_start();

	r->engine = engine_dies;
	r->options.tree = victim;
	whole(r);
	assert_int_equal(r->code, EXIT_FAILED);
	assert_has(r->err, "firn: dump: the engine was killed by signal SIGKILL in stage seize, at pid ");
	assert_has(r->err, "(victim), statx, fd 3 → /x. Nothing was changed.");
	victim_check_and_end(victim);
}

static void wait_until_held(pid_t victim)
{
	struct glance g = { 0 };

	for (int i = 0; i < 2000 && g.state != 't'; i++) {
		usleep(1000);
		glance(victim, victim, &g);
	}
	assert_int_equal(g.state, 't');
}

static void test_signal(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct run *r = *state;

	for (size_t i = 0; i < 3; i++) {
		pid_t victim = victim_start();

		r->engine = engine_polite;
		r->options.tree = victim;
		begin(r);
		wait_until_held(victim);
		kill(r->pid, signals[i]);
		end(r);
		assert_int_equal(r->code, EXIT_INTERRUPTED);
		assert_has(r->err, "ended by signal SIG");
		assert_has(r->err, ". Nothing was changed.");
		victim_check_and_end(victim);
	}
}

static void test_front_killed(void **state)
{
	struct run *r = *state;
	pid_t victim = victim_start();
	struct glance g = { .tracer = 1 };

	r->engine = engine_polite;
	r->options.tree = victim;
	begin(r);
	wait_until_held(victim);
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	for (int i = 0; i < 2000 && g.tracer; i++) {
		usleep(1000);
		glance(victim, victim, &g);
	}
	victim_check_and_end(victim);
	slurp(r->out_fd, r->out, sizeof(r->out));
	slurp(r->err_fd, r->err, sizeof(r->err));
}

/* The log is a FIFO that nobody reads, and nobody reads standard error either. */
static void test_full_pipes(void **state)
{
	struct run *r = *state;
	int number = EIO;
	char path[128];

	snprintf(path, sizeof(path), "%s/log", r->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	r->engine = engine_error;
	r->arg = &number;
	r->stderr_full = true;
	whole(r);
	assert_int_equal(r->code, EXIT_FAILED);
	assert_in_range(r->took_ns / 1000000, 0, 9000);
}

static void test_long_log(void **state)
{
	struct run *r = *state;
	int lines = 100000;
	FILE *f;
	char path[128], line[256];
	int n = 0;

	r->engine = engine_talks;
	r->arg = &lines;
	whole(r);
	assert_int_equal(r->code, EXIT_DONE);
	snprintf(path, sizeof(path), "%s/log", r->dir);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n++;
	fclose(f);
	/* The first line, the engine's first step, these, and the totals. */
	assert_int_equal(n, lines + 3);
}

static void test_no_log_folder(void **state)
{
	struct run *r = *state;

	r->options.log_path = "no/such/folder/log";
	r->engine = engine_fine;
	whole(r);
	assert_int_equal(r->code, EXIT_DONE);
	assert_has(r->err, "warning: the log");
	assert_has(r->err, "No such file or directory");
}

static void hostile_signals(struct run *r)
{
	sigset_t all;

	(void)r;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGCHLD, SIG_IGN);
}

static void test_hostile_signals(void **state)
{
	struct run *r = *state;
	pid_t victim = victim_start();

	r->prepare = hostile_signals;
	r->engine = engine_polite;
	r->options.tree = victim;
	r->options.stall_ms = 300;
	whole(r);
	assert_int_equal(r->code, EXIT_STALLED);
	assert_in_range(r->took_ns / 1000000, 300, 3000);
	victim_check_and_end(victim);
}

static void test_restore_leaves_nothing(void **state)
{
	struct run *r = *state;
	char out[64] = "", command[64];
	FILE *f;

	r->role = FRONT_RESTORE;
	r->engine = engine_leaves;
	r->arg = malloc(sizeof(_Atomic pid_t));
	whole(r);
	free(r->arg);
	assert_int_equal(r->code, EXIT_BAD_IMAGES);
	assert_has(r->err, "core-5.img is damaged. Nothing was left behind.");
	/* What the engine forked took the end of the folder's name as its own. */
	snprintf(command, sizeof(command), "pgrep -x %s", strrchr(r->dir, '-') + 1);
	f = popen(command, "r");
	(void)!fgets(out, sizeof(out), f);
	pclose(f);
	assert_string_equal(out, "");
}

static void test_restore_waits(void **state)
{
	struct run *r = *state;

	r->role = FRONT_RESTORE;
	r->engine = engine_restores;
	whole(r);
	assert_int_equal(r->code, EXIT_DONE);
	assert_in_range(r->took_ns / 1000000, 1000, 5000);
	r->options.restore_detached = true;
	whole(r);
	assert_int_equal(r->code, EXIT_DONE);
	assert_in_range(r->took_ns / 1000000, 0, 950);
}

static void test_status_fd(void **state)
{
	struct run *r = *state;
	int fds[2];
	char c = 'x';

	assert_int_equal(pipe(fds), 0);
	r->options.status_fd = fds[1];
	r->engine = engine_fine;
	whole(r);
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(c, '\0');
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_success),	    CASE(test_log_on_stderr),
		CASE(test_error),	    CASE(test_stall),
		CASE(test_deadline),	    CASE(test_deaf_engine),
		CASE(test_engine_killed),   CASE(test_signal),
		CASE(test_front_killed),    CASE(test_full_pipes),
		CASE(test_long_log),	    CASE(test_no_log_folder),
		CASE(test_hostile_signals), CASE(test_restore_leaves_nothing),
		CASE(test_restore_waits),   CASE(test_status_fd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
