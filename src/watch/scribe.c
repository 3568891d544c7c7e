/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/scribe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "watch/patience.h"
#include "watch/ring.h"

#define SCRIBE_CHUNK (64u * 1024)
#define CLEAR_LINE "\r\033[K"
/* While records keep coming they are written together, this often. */
#define SCRIBE_DOZE_MS 20
#define SCRIBE_LOOK_MS 1000
/* A record that is begun and not finished after so many milliseconds has lost its writer. */
#define SCRIBE_DEAD_ROUNDS 5

struct scribe_thread {
	pthread_t thread;
	int fd;
	bool clear;
};

static atomic_bool front_gone;

static void note_front_gone(int signo)
{
	(void)signo;
	atomic_store(&front_gone, true);
}

static void write_log(int fd, const char *buf, size_t len)
{
	while (len && fd >= 0) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			atomic_store(&recorder->log_errno, n < 0 ? errno : EIO);
			return;
		}
		buf += n;
		len -= (size_t)n;
	}
}

/* Nobody will come any more: the front is gone and so is the engine. */
static bool abandoned(int engine_pidfd)
{
	struct pollfd p = { .fd = engine_pidfd, .events = POLLIN };

	return atomic_load(&front_gone) && (engine_pidfd < 0 || poll(&p, 1, 0) == 1);
}

/*
 * @fd -1: the records are thrown away, so that the engine never waits for room. The first wait is for any record;
 * after a record came the scribe dozes, so that a stream of records costs the engine no wake-ups.
 */
static void scribe_loop(int fd, int engine_pidfd, char *buf, bool clear)
{
	int stuck = 0;
	bool came = false;

	for (;;) {
		bool stop = atomic_load(&recorder->log_stop);
		size_t len = ring_take(recorder, buf, SCRIBE_CHUNK, stuck >= SCRIBE_DEAD_ROUNDS);

		if (len) {
			if (clear)
				write_log(fd, CLEAR_LINE, strlen(CLEAR_LINE));
			write_log(fd, buf, len);
			came = true;
			stuck = 0;
			continue;
		}
		if (!ring_empty(recorder)) {
			/* Somebody is in the middle of a record, or died there. */
			struct timespec ms = { 0, 1000000 };

			stuck++;
			(void)nanosleep(&ms, NULL);
			continue;
		}
		if (stop || abandoned(engine_pidfd))
			return;
		/* A process looks once a second whether the front is still there: the signal that tells it so may
		 * come just before the wait. */
		ring_wait(recorder, came ? RING_DOZE : RING_ALERT,
			  came		      ? SCRIBE_DOZE_MS
			  : engine_pidfd >= 0 ? SCRIBE_LOOK_MS
					      : -1);
		came = false;
	}
}

static void *thread_main(void *arg)
{
	struct scribe_thread *t = arg;
	char *buf = malloc(SCRIBE_CHUNK);

	if (buf)
		scribe_loop(t->fd, -1, buf, t->clear);
	free(buf);
	return NULL;
}

static int start_thread(struct scribe *s, int fd)
{
	struct scribe_thread *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->fd = fd;
	t->clear = s->clear;
	r = pthread_create(&t->thread, NULL, thread_main, t);
	if (r) {
		free(t);
		return -r;
	}
	s->thread = t;
	return 0;
}

/* The process's body. It holds nothing of the caller's: standard streams that it kept open would keep the caller's
 * pipes open for as long as a dead file system holds it. */
static _Noreturn void process_main(const char *path, int engine_pidfd, pid_t front)
{
	static char buf[SCRIBE_CHUNK];
	struct sigaction on_front_gone = { .sa_handler = note_front_gone };
	sigset_t set;
	int fd;

	sigaction(SIGUSR2, &on_front_gone, NULL);
	prctl(PR_SET_PDEATHSIG, SIGUSR2);
	sigfillset(&set);
	sigdelset(&set, SIGUSR2);
	sigprocmask(SIG_SETMASK, &set, NULL);
	if (getppid() != front)
		atomic_store(&front_gone, true);
	prctl(PR_SET_NAME, "firn-scribe");
	if (engine_pidfd >= 0 && engine_pidfd != 3 && dup3(engine_pidfd, 3, O_CLOEXEC) == 3)
		engine_pidfd = 3;
	(void)close_range(0, 2, 0);
	if (engine_pidfd == 3)
		(void)close_range(4, ~0u, 0);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		atomic_store(&recorder->log_errno, errno);
	scribe_loop(fd, engine_pidfd, buf, false);
	_exit(0);
}

int scribe_start(struct scribe *s, const char *path, int engine_pidfd)
{
	pid_t front = getpid();

	s->pid = 0;
	s->pidfd = -1;
	s->thread = NULL;
	if (!path)
		return start_thread(s, STDERR_FILENO);
	if (strcmp(path, "-") == 0)
		return start_thread(s, STDOUT_FILENO);
	s->pid = fork();
	if (s->pid < 0) {
		s->pid = 0;
		return -errno;
	}
	if (s->pid == 0)
		process_main(path, engine_pidfd, front);
	s->pidfd = pidfd_open(s->pid, 0);
	return 0;
}

static bool join_until(pthread_t thread, int timeout_ms)
{
	struct patience patience = patience_begin((unsigned)timeout_ms);
	struct timespec until;

	do {
		until = patience_pause_end();
		if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) == 0)
			return true;
	} while (!patience_is_over(&patience));
	return false;
}

static bool ends_until(int pidfd, int timeout_ms)
{
	struct patience patience = patience_begin((unsigned)timeout_ms);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	do {
		if (poll(&p, 1, PATIENCE_PAUSE_MS) == 1)
			return true;
	} while (!patience_is_over(&patience));
	return false;
}

bool scribe_finish(struct scribe *s, int timeout_ms)
{
	bool ended = true;

	atomic_store(&recorder->log_stop, true);
	ring_wake(recorder);
	if (s->thread) {
		ended = join_until(s->thread->thread, timeout_ms);
		if (ended)
			free(s->thread);
		else
			pthread_detach(s->thread->thread);
	} else if (s->pid) {
		ended = s->pidfd >= 0 && ends_until(s->pidfd, timeout_ms);
		if (!ended)
			kill(s->pid, SIGKILL);
		(void)waitpid(s->pid, NULL, ended ? 0 : WNOHANG);
		if (s->pidfd >= 0)
			close(s->pidfd);
	}
	s->pid = 0;
	s->pidfd = -1;
	s->thread = NULL;
	return ended;
}
