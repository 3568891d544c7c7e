// SPDX-License-Identifier: LGPL-2.1-or-later
/* syscalls FOLDER KIND…: threads that are inside system calls. Each call goes on as if nothing had happened: no EINTR that
 * the program did not ask for, no lost data, no wait that ends early. */
#include "check.h"

#include <dirent.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/sem.h>
#include <pthread.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/un.h>

static int pipe_read[2], pipe_poll[2], pipe_select[2], pipe_full[2], pair[2], pair_msg[2];
static uint32_t word, word_timed;
static _Atomic int inside;
static pid_t waited;
static int sem = -1;
static double base_time;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void *do_read(void *arg)
{
	char buf[8] = "";

	(void)arg;
	inside++;
	CHECK_EQ(read(pipe_read[0], buf, sizeof(buf)), 5, "read from a pipe");
	CHECK(!memcmp(buf, "hello", 5), "read %s", buf);
	return NULL;
}

static void *do_write(void *arg)
{
	static char buf[4000];

	(void)arg;
	inside++;
	CHECK_EQ(write(pipe_full[1], buf, sizeof(buf)), sizeof(buf), "write to a full pipe");
	return NULL;
}

static void *do_poll(void *arg)
{
	struct pollfd p = { pipe_poll[0], POLLIN, 0 };

	(void)arg;
	inside++;
	CHECK_EQ(poll(&p, 1, -1), 1, "poll");
	CHECK_EQ(p.revents, POLLIN, "poll's events");
	return NULL;
}

static void *do_ppoll(void *arg)
{
	struct pollfd p = { pipe_poll[0], POLLIN, 0 };
	sigset_t mask;

	(void)arg;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGRTMIN + 2);
	inside++;
	CHECK_EQ(ppoll(&p, 1, NULL, &mask), 1, "ppoll");
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	CHECK(!sigismember(&mask, SIGUSR1), "ppoll's mask stayed");
	return NULL;
}

static void *do_select(void *arg)
{
	fd_set set;

	(void)arg;
	FD_ZERO(&set);
	FD_SET(pipe_select[0], &set);
	inside++;
	CHECK_EQ(select(pipe_select[0] + 1, &set, NULL, NULL, NULL), 1, "select");
	return NULL;
}

static void *do_futex(void *arg)
{
	(void)arg;
	inside++;
	while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0) {
		long r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);

		CHECK(r == 0 || errno == EAGAIN, "futex: %s", strerror(errno));
	}
	return NULL;
}

static void *do_recv(void *arg)
{
	char buf[8] = "";

	(void)arg;
	inside++;
	CHECK_EQ(recv(pair[0], buf, 8, 0), 3, "recv");
	return NULL;
}

static void *do_recvmsg(void *arg)
{
	char buf[8] = "";
	struct iovec iov = { buf, 8 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	(void)arg;
	inside++;
	CHECK_EQ(recvmsg(pair_msg[0], &m, 0), 4, "recvmsg");
	return NULL;
}

static void *do_wait(void *arg)
{
	int status;

	(void)arg;
	inside++;
	CHECK_EQ(waitpid(waited, &status, 0), waited, "waitpid");
	CHECK_EQ(status, 0x500, "status");
	return NULL;
}

static void *do_sigwait(void *arg)
{
	sigset_t set;
	siginfo_t si;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 2);
	inside++;
	CHECK_EQ(sigwaitinfo(&set, &si), SIGRTMIN + 2, "sigwaitinfo");
	return NULL;
}

static void *do_epoll(void *arg)
{
	struct epoll_event e = { .events = EPOLLIN }, got;
	int ep = (int)MUST(epoll_create1(0));

	(void)arg;
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, pipe_poll[0], &e));
	inside++;
	CHECK_EQ(epoll_wait(ep, &got, 1, -1), 1, "epoll_wait");
	return NULL;
}

static void *do_semop(void *arg)
{
	struct sembuf down = { 0, -1, 0 };

	(void)arg;
	inside++;
	CHECK_EQ(semop(sem, &down, 1), 0, "semop");
	MUST(semctl(sem, 0, IPC_RMID));
	return NULL;
}

static void *do_clock_abs(void *arg)
{
	double until = base_time + 1.5;
	struct timespec ts = { (time_t)until, (long)((until - (double)(time_t)until) * 1e9) };

	(void)arg;
	inside++;
	CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL), 0, "clock_nanosleep to an absolute time");
	CHECK(now() >= until - 0.001, "clock_nanosleep ended %.3f s early", until - now());
	return NULL;
}

/* Relative times: the call must neither fail nor end before its time has passed since it was made. */
static void *do_nanosleep(void *arg)
{
	struct timespec ts = { 1, 500000000 };
	double begin = now();

	(void)arg;
	inside++;
	CHECK(nanosleep(&ts, NULL) == 0, "nanosleep: %s", strerror(errno));
	CHECK(now() - begin >= 1.499, "nanosleep took %.3f s", now() - begin);
	return NULL;
}

static void *do_poll_timed(void *arg)
{
	double begin = now();
	int r;

	(void)arg;
	inside++;
	r = poll(NULL, 0, 1500);
	CHECK(r == 0, "poll with a time: %s", strerror(errno));
	CHECK(now() - begin >= 1.499, "poll took %.3f s", now() - begin);
	return NULL;
}

static void *do_futex_timed(void *arg)
{
	struct timespec ts = { 1, 500000000 };
	double begin = now();
	long r;

	(void)arg;
	inside++;
	r = syscall(SYS_futex, &word_timed, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0);
	CHECK(r == -1 && errno == ETIMEDOUT, "futex with a time: %ld, %s", r, strerror(errno));
	CHECK(now() - begin >= 1.499, "futex took %.3f s", now() - begin);
	return NULL;
}

/* Every thread but this one sleeps: its call has begun (/proc/…/syscall tells the number of the call it sleeps in). */
static bool all_asleep(int want)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d))) {
		char path[300], *line, *p;

		if (atoi(e->d_name) <= 0 || atoi(e->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/stat", e->d_name);
		line = slurp(path);
		p = strrchr(line, ')');
		n += p && p[2] == 'S';
		free(line);
	}
	if (d)
		closedir(d);
	return n == want;
}

static int child(void *arg)
{
	(void)arg;
	check_wait_trigger();
	sleep_ms(20);
	_exit(5);
}

int main(int argc, char **argv)
{
	static void *(*const untimed[])(void *) = { do_read, do_write, do_poll, do_ppoll, do_select, do_futex,
						    do_recv, do_recvmsg, do_wait, do_clock_abs };
	/* the kernel itself makes these fail with EINTR when a task is stopped and goes on, man 7 signal */
	static void *(*const sigwait[])(void *) = { do_sigwait, do_epoll, do_semop };
	static void *(*const timed[])(void *) = { do_nanosleep, do_poll_timed, do_futex_timed };
	const char *kind = argc > 2 ? argv[2] : "untimed";
	void *(*const *calls)(void *) = !strcmp(kind, "timed") ? timed : !strcmp(kind, "sigwait") ? sigwait : untimed;
	size_t n = calls == timed ? sizeof(timed) / sizeof(*timed) : calls == sigwait ? sizeof(sigwait) / sizeof(*sigwait) : sizeof(untimed) / sizeof(*untimed);
	pthread_t t[16];
	char buf[70000];
	ssize_t got = 0;
	struct sembuf up = { 0, 1, 0 };
	sigset_t set;

	check_begin(argc, argv);
	MUST(pipe(pipe_read));
	MUST(pipe(pipe_poll));
	MUST(pipe(pipe_select));
	MUST(pipe(pipe_full));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair_msg));
	if (calls == sigwait)
		sem = (int)MUST(semget(IPC_PRIVATE, 1, 0600));
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (calls == untimed)
		waited = check_fork(child, NULL);
	pattern_fill(buf, 65536, 1);
	MUST(write(pipe_full[1], buf, 65536));
	base_time = now();
	for (size_t i = 0; i < n; i++)
		pthread_create(&t[i], NULL, calls[i], NULL);
	WAIT_FOR(inside == (int)n);
	WAIT_FOR(all_asleep((int)n));
	check_ready();
	if (calls == sigwait) {
		MUST(kill(getpid(), SIGRTMIN + 2));
		MUST(write(pipe_poll[1], "x", 1));
		MUST(semop(sem, &up, 1));
	}
	if (calls == untimed) {
		MUST(write(pipe_read[1], "hello", 5));
		MUST(write(pipe_poll[1], "x", 1));
		MUST(write(pipe_select[1], "x", 1));
		__atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
		MUST(send(pair[1], "abc", 3, 0));
		MUST(send(pair_msg[1], "abcd", 4, 0));
		while (got < 69536) {
			ssize_t r = read(pipe_full[0], buf, sizeof(buf));

			if (r <= 0) {
				FAIL("read of the full pipe: %s", strerror(errno));
				break;
			}
			got += r;
		}
	}
	for (size_t i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	return check_end();
}
