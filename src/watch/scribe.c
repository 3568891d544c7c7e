/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/scribe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
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
#define SCRIBE_DOZE_MS 5
#define SCRIBE_LOOK_MS 1000
/* A record that is begun and not finished after so many milliseconds has lost its writer: when the engine is gone, and while
 * it is there. On a busy machine a writer may be kept waiting in the middle of one. */
#define SCRIBE_DEAD_ROUNDS 100
#define SCRIBE_LOST_ROUNDS 1000
#define SCRIBE_ALONE_S 10

static atomic_bool front_gone;

static void note_front_gone(int signo)
{
	(void)signo;
	atomic_store(&front_gone, true);
	/* The engine ends within some seconds. Then nobody waits for a log that is not taken. */
	(void)alarm(SCRIBE_ALONE_S);
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

static bool engine_gone(int engine_pidfd)
{
	struct pollfd p = { .fd = engine_pidfd, .events = POLLIN };

	return engine_pidfd < 0 || poll(&p, 1, 0) == 1;
}

/* Nobody will come any more: the front is gone and so is the engine. */
static bool abandoned(int engine_pidfd)
{
	return atomic_load(&front_gone) && engine_gone(engine_pidfd);
}

static bool writer_lost(int rounds, int engine_pidfd)
{
	return rounds >= SCRIBE_LOST_ROUNDS || (rounds >= SCRIBE_DEAD_ROUNDS && engine_gone(engine_pidfd));
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
		size_t len = ring_take(recorder, buf, SCRIBE_CHUNK, writer_lost(stuck, engine_pidfd));

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
		/* It looks once a second whether the front is still there: the signal that tells it so may
		 * come just before the wait. */
		ring_wait(recorder, came ? RING_DOZE : RING_ALERT, came ? SCRIBE_DOZE_MS : SCRIBE_LOOK_MS);
		came = false;
	}
}

/* Of the caller's descriptors it keeps the one it writes to: others would keep the caller's pipes open for as long as a dead
 * file system holds it. Returns where the log goes, -1 for a file that is not open yet. */
static int keep_descriptors(const char *path, int *engine_pidfd)
{
	int keep = !path ? STDERR_FILENO : strcmp(path, "-") == 0 ? STDOUT_FILENO : -1;

	if (*engine_pidfd >= 0 && *engine_pidfd != 3 && dup3(*engine_pidfd, 3, O_CLOEXEC) == 3)
		*engine_pidfd = 3;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fd != keep)
			(void)close(fd);
	if (*engine_pidfd <= 3)
		(void)close_range(*engine_pidfd == 3 ? 4 : 3, ~0u, 0);
	return keep;
}

/* The process's body. In a session of its own, so that what ends the front's process group leaves it its work. */
static _Noreturn void process_main(const char *path, int engine_pidfd, pid_t front, bool clear)
{
	static char buf[SCRIBE_CHUNK];
	struct sigaction on_front_gone = { .sa_handler = note_front_gone }, dfl = { .sa_handler = SIG_DFL };
	sigset_t set;
	int fd;

	sigaction(SIGUSR2, &on_front_gone, NULL);
	sigaction(SIGALRM, &dfl, NULL);
	prctl(PR_SET_PDEATHSIG, SIGUSR2);
	sigfillset(&set);
	sigdelset(&set, SIGUSR2);
	sigdelset(&set, SIGALRM);
	sigprocmask(SIG_SETMASK, &set, NULL);
	(void)setsid();
	if (getppid() != front)
		note_front_gone(SIGUSR2);
	prctl(PR_SET_NAME, "firn-scribe");
	fd = keep_descriptors(path, &engine_pidfd);
	if (fd < 0) {
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
		if (fd < 0)
			atomic_store(&recorder->log_errno, errno);
	}
	scribe_loop(fd, engine_pidfd, buf, clear);
	_exit(0);
}

int scribe_start(struct scribe *s, const char *path, int engine_pidfd)
{
	pid_t front = getpid();

	s->pidfd = -1;
	s->pid = fork();
	if (s->pid < 0) {
		s->pid = 0;
		return -errno;
	}
	if (s->pid == 0)
		process_main(path, engine_pidfd, front, s->clear);
	s->pidfd = pidfd_open(s->pid, 0);
	return 0;
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
	if (s->pid) {
		ended = s->pidfd >= 0 && ends_until(s->pidfd, timeout_ms);
		if (!ended)
			kill(s->pid, SIGKILL);
		(void)waitpid(s->pid, NULL, ended ? 0 : WNOHANG);
		if (s->pidfd >= 0)
			close(s->pidfd);
	}
	s->pid = 0;
	s->pidfd = -1;
	return ended;
}
