// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * epoll: fd_epoll FOLDER CASE.
 *   basic      level-triggered targets, 64 bits of data, later MOD and DEL by number
 *   numbers    one file under several numbers; numbers closed and used again while the file lives on
 *   shared     duplicated and inherited descriptors, a set that only a child still has the numbers of
 *   modes      EPOLLET told and not told, EPOLLONESHOT armed and fired, EPOLLEXCLUSIVE, EPOLLWAKEUP
 *   nested     epolls in epolls
 *   signalfd   signals told through an epoll
 *   many       hundreds of targets
 *   lost       a target that no descriptor stands for any more
 */
#include "check.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define MARK 0xfedcba9876543210ull

static void add(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = { .events = events, .data.u64 = data };

	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The set as the kernel tells it, without inodes, in an order that does not depend on addresses. */
static char *set_of(int ep)
{
	char path[64], *lines[4096], *all, *to, *text;
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ep);
	text = slurp(path);
	for (char *p = strtok(text, "\n"); p && n < 4096; p = strtok(NULL, "\n")) {
		if (strncmp(p, "tfd:", 4) != 0)
			continue;
		*strstr(p, " pos:") = 0;
		lines[n++] = p;
	}
	qsort(lines, n, sizeof(*lines), compare_lines);
	to = all = calloc(n + 1, 80);
	for (size_t i = 0; i < n; i++)
		to += sprintf(to, "%s\n", lines[i]);
	free(text);
	return all;
}

static void check_set(int ep, const char *before)
{
	char *now = set_of(ep);

	CHECK(!strcmp(now, before), "the set of fd %d is\n%sinstead of\n%s", ep, now, before);
	free(now);
}

/* One event, with this data; 0: none. */
static void expect(int ep, uint64_t data, uint32_t events, const char *what)
{
	struct epoll_event e[4] = { 0 };
	int n = epoll_wait(ep, e, 4, data ? 2000 : 0);

	if (!data) {
		CHECK(n == 0, "%s: %d events, data %lx, events %x", what, n, e[0].data.u64, e[0].events);
		return;
	}
	CHECK(n == 1 && e[0].data.u64 == data && e[0].events == events, "%s: %d events, data %lx, events %x", what, n,
	      e[0].data.u64, e[0].events);
}

static int event(eventfd_t value)
{
	return (int)MUST(eventfd((unsigned)value, EFD_NONBLOCK));
}

static void drain(int fd)
{
	eventfd_t v;

	CHECK(!eventfd_read(fd, &v), "read of fd %d: %s", fd, strerror(errno));
}

static int basic(void)
{
	int ep = (int)MUST(epoll_create1(EPOLL_CLOEXEC)), empty = (int)MUST(epoll_create1(0));
	int e = event(0), ready = event(1), timer = (int)MUST(timerfd_create(CLOCK_MONOTONIC, 0)), sk[2];
	struct epoll_event change = { .events = EPOLLOUT, .data.u64 = 77 };
	char *before;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sk));
	add(ep, e, EPOLLIN | EPOLLPRI, MARK);
	add(ep, ready, EPOLLIN, MARK + 1);
	add(ep, sk[0], EPOLLIN | EPOLLRDHUP, MARK + 2);
	add(ep, timer, 0, MARK + 3);
	before = set_of(ep);
	check_ready();
	check_set(ep, before);
	check_set(empty, "");
	expect(ep, MARK + 1, EPOLLIN, "the one that was ready");
	expect(ep, MARK + 1, EPOLLIN, "it is told again");
	drain(ready);
	expect(ep, 0, 0, "none is ready");
	MUST(eventfd_write(e, 1));
	expect(ep, MARK, EPOLLIN, "an eventfd");
	drain(e);
	MUST(write(sk[1], "x", 1));
	expect(ep, MARK + 2, EPOLLIN, "a socket");
	CHECK(!epoll_ctl(ep, EPOLL_CTL_DEL, sk[0], NULL), "EPOLL_CTL_DEL: %s", strerror(errno));
	CHECK(!epoll_ctl(ep, EPOLL_CTL_MOD, e, &change), "EPOLL_CTL_MOD: %s", strerror(errno));
	expect(ep, 77, EPOLLOUT, "what was changed");
	close(e);
	expect(ep, 0, 0, "closed, it is gone");
	CHECK_EQ(fcntl(ep, F_GETFD), FD_CLOEXEC, "close-on-exec");
	CHECK_EQ(fcntl(empty, F_GETFD), 0, "close-on-exec");
	return check_end();
}

static int numbers(void)
{
	int ep = (int)MUST(epoll_create1(0)), one = event(0), two = event(0), three, closed, other;
	char *before;

	/* One file, three numbers. */
	three = (int)MUST(dup(one));
	closed = (int)MUST(fcntl(one, F_DUPFD, 40));
	add(ep, one, EPOLLIN, 1);
	add(ep, three, EPOLLIN | EPOLLET, 2);
	add(ep, closed, EPOLLIN, 3);
	/* A number that is closed, one that has been used for two files of the set, and one taken by a file that is not. */
	add(ep, two, EPOLLIN, 4);
	MUST(dup2(two, 50));
	MUST(dup2(two, 51));
	add(ep, 50, EPOLLIN, 5);
	add(ep, 51, EPOLLIN, 6);
	close(closed);
	MUST(dup2(one, 50));
	add(ep, 50, EPOLLIN, 7);
	other = event(1);
	MUST(dup2(other, 51));
	/* The number of the epoll itself, and low ones that firn may use. */
	MUST(dup2(ep, 60));
	close(ep);
	MUST(dup2(two, ep));
	add(60, ep, EPOLLIN, 8);
	close(ep);
	before = set_of(60);
	check_ready();
	check_set(60, before);
	expect(60, 0, 0, "none is ready");
	MUST(eventfd_write(two, 1));
	{
		struct epoll_event e[16];
		uint64_t seen = 0;
		int n = epoll_wait(60, e, 16, 0);

		for (int i = 0; i < n; i++)
			seen |= 1ull << e[i].data.u64;
		CHECK_EQ(seen, 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8, "the entries of the second file");
		drain(two);
		MUST(eventfd_write(one, 1));
		n = epoll_wait(60, e, 16, 0);
		seen = 0;
		for (int i = 0; i < n; i++)
			seen |= 1ull << e[i].data.u64;
		CHECK_EQ(seen, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 7, "the entries of the first file");
	}
	/* By its old number an entry can be named again. */
	MUST(dup2(one, closed));
	CHECK(!epoll_ctl(60, EPOLL_CTL_DEL, closed, NULL), "EPOLL_CTL_DEL of an old number: %s", strerror(errno));
	MUST(dup2(two, 51));
	CHECK(!epoll_ctl(60, EPOLL_CTL_DEL, 51, NULL), "EPOLL_CTL_DEL of a number that was taken: %s", strerror(errno));
	return check_end();
}

struct shared {
	int ep, copy, only_child, mine;
	char *before;
};

static int shared_child(void *arg)
{
	struct shared *s = arg;

	/* The number in the set is that of the parent, where it is closed; the child's own table has it. */
	close(s->ep);
	check_wait_trigger();
	check_set(s->copy, s->before);
	MUST(eventfd_write(s->only_child, 1));
	WAIT_FOR(access("seen", F_OK) == 0);
	return 0;
}

static int shared(void)
{
	struct shared s = { .ep = (int)MUST(epoll_create1(0)), .only_child = event(0), .mine = event(0) };
	struct epoll_event e;
	char path[64];
	pid_t pid;

	s.copy = (int)MUST(dup(s.ep));
	add(s.ep, s.only_child, EPOLLIN, MARK);
	add(s.copy, s.mine, EPOLLIN, MARK + 1);
	s.before = set_of(s.ep);
	pid = check_fork(shared_child, &s);
	close(s.only_child);
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, s.ep);
	WAIT_FOR(access(path, F_OK) != 0);
	check_ready();
	expect(s.ep, MARK, EPOLLIN, "what the child wrote");
	close((int)MUST(creat("seen", 0600)));
	check_child(pid);
	expect(s.ep, 0, 0, "the child has gone, and its file with it");
	MUST(eventfd_write(s.mine, 1));
	expect(s.copy, MARK + 1, EPOLLIN, "the other descriptor");
	CHECK(!epoll_ctl(s.copy, EPOLL_CTL_DEL, s.mine, &e), "EPOLL_CTL_DEL: %s", strerror(errno));
	expect(s.ep, 0, 0, "gone from both");
	return check_end();
}

static int modes(void)
{
	int told = (int)MUST(epoll_create1(0)), untold = (int)MUST(epoll_create1(0)),
	    once = (int)MUST(epoll_create1(0));
	int more = (int)MUST(epoll_create1(0)), e[6], sk[2];
	struct epoll_event rearm = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 9 };
	char *before[4];

	for (int i = 0; i < 6; i++)
		e[i] = event(i < 4);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sk));
	MUST(write(sk[1], "data", 4));
	add(told, e[0], EPOLLIN | EPOLLET, 1);
	expect(told, 1, EPOLLIN, "told");
	add(told, sk[0], EPOLLIN | EPOLLOUT | EPOLLET, 2);
	expect(told, 2, EPOLLIN | EPOLLOUT, "told");
	add(told, e[4], EPOLLIN | EPOLLET, 3);
	add(untold, e[1], EPOLLIN | EPOLLET, 4);
	add(once, e[2], EPOLLIN | EPOLLONESHOT, 5);
	expect(once, 5, EPOLLIN, "once");
	add(once, sk[0], EPOLLOUT | EPOLLONESHOT | EPOLLET, 8);
	expect(once, 8, EPOLLOUT, "once");
	add(once, e[5], EPOLLIN | EPOLLONESHOT, 6);
	add(more, e[5], EPOLLIN | EPOLLEXCLUSIVE, 7);
	add(more, e[4], EPOLLIN | EPOLLWAKEUP, 10);
	before[0] = set_of(told);
	before[1] = set_of(untold);
	before[2] = set_of(once);
	before[3] = set_of(more);
	check_ready();
	check_set(told, before[0]);
	check_set(untold, before[1]);
	check_set(once, before[2]);
	check_set(more, before[3]);
	expect(told, 0, 0, "edges that were told");
	MUST(eventfd_write(e[0], 1));
	expect(told, 1, EPOLLIN, "the next edge");
	MUST(write(sk[1], "more", 4));
	expect(told, 2, EPOLLIN | EPOLLOUT, "more data");
	expect(untold, 4, EPOLLIN, "an edge that was not told");
	expect(untold, 0, 0, "it is told once");
	expect(once, 0, 0, "EPOLLONESHOT that had fired");
	CHECK(!epoll_ctl(once, EPOLL_CTL_MOD, e[2], &rearm), "EPOLL_CTL_MOD: %s", strerror(errno));
	expect(once, 9, EPOLLIN, "armed again");
	close(sk[1]);
	expect(once, 0, 0, "the far end has closed, and EPOLLONESHOT had fired");
	MUST(eventfd_write(e[5], 1));
	expect(once, 6, EPOLLIN, "EPOLLONESHOT that was armed");
	expect(once, 0, 0, "it is told once");
	expect(more, 7, EPOLLIN, "EPOLLEXCLUSIVE");
	return check_end();
}

static int nested(void)
{
	int inner = (int)MUST(epoll_create1(0)), middle = (int)MUST(epoll_create1(0)),
	    outer = (int)MUST(epoll_create1(0));
	int e = event(0), own = event(0);
	char *before[2];

	add(outer, middle, EPOLLIN, 2);
	add(outer, own, EPOLLIN, 3);
	add(middle, inner, EPOLLIN | EPOLLET, 1);
	add(inner, e, EPOLLIN, MARK);
	before[0] = set_of(outer);
	before[1] = set_of(middle);
	check_ready();
	check_set(outer, before[0]);
	check_set(middle, before[1]);
	expect(outer, 0, 0, "none is ready");
	MUST(eventfd_write(e, 1));
	expect(outer, 2, EPOLLIN, "the outer one");
	expect(middle, 1, EPOLLIN, "the middle one");
	expect(inner, MARK, EPOLLIN, "the inner one");
	return check_end();
}

static int signal_child(void *arg)
{
	int *fds = arg, own = (int)MUST(epoll_create1(0));
	struct signalfd_siginfo si;

	add(own, fds[1], EPOLLIN, 5);
	close((int)MUST(creat("child", 0600)));
	check_wait_trigger();
	MUST(raise(SIGUSR2));
	expect(own, 5, EPOLLIN, "the child's own epoll");
	CHECK_EQ(read(fds[1], &si, sizeof(si)), sizeof(si), "read in the child");
	return 0;
}

static int signals(void)
{
	int ep = (int)MUST(epoll_create1(0)), e = event(0), fds[2];
	struct signalfd_siginfo si;
	sigset_t set;
	char *before;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	MUST(sigprocmask(SIG_BLOCK, &set, NULL));
	fds[0] = ep;
	fds[1] = (int)MUST(signalfd(-1, &set, SFD_NONBLOCK));
	add(ep, fds[1], EPOLLIN, MARK);
	/* Numbers that are closed, and used for another file. */
	MUST(dup2(fds[1], 30));
	MUST(dup2(fds[1], 31));
	add(ep, 30, EPOLLIN | EPOLLET, MARK + 1);
	add(ep, 31, EPOLLIN | EPOLLET, MARK + 2);
	close(30);
	MUST(dup3(e, 31, O_CLOEXEC));
	add(ep, e, EPOLLIN, 1);
	before = set_of(ep);
	pid = check_fork(signal_child, fds);
	WAIT_FOR(access("child", F_OK) == 0);
	check_ready();
	check_set(ep, before);
	CHECK_EQ(fcntl(31, F_GETFD), FD_CLOEXEC, "close-on-exec of what stands at an old number");
	CHECK(fcntl(30, F_GETFD) < 0, "a closed number is open");
	expect(ep, 0, 0, "no signal");
	/* The wait must be woken by the signal, not find it afterwards. */
	{
		struct epoll_event got[4] = { 0 };
		pid_t helper = fork();
		int n;

		if (helper == 0) {
			sleep_ms(50);
			_exit(kill(getppid(), SIGUSR1) != 0);
		}
		n = epoll_wait(ep, got, 4, 5000);
		CHECK(n >= 1, "the signal wakes nobody: %d", n);
		waitpid(helper, NULL, 0);
	}
	CHECK_EQ(read(fds[1], &si, sizeof(si)), sizeof(si), "read");
	check_child(pid);
	return check_end();
}

static int many(void)
{
	enum { N = 900 };
	int ep = (int)MUST(epoll_create1(0)), e[N];
	char *before;

	for (int i = 0; i < N; i++) {
		e[i] = event(0);
		add(ep, e[i], EPOLLIN | (i % 2 ? EPOLLET : 0), MARK + (uint64_t)i);
	}
	/* The last fifty live on at other numbers. */
	for (int i = N - 50; i < N; i++) {
		int moved = (int)MUST(dup(e[i]));

		MUST(dup2(e[i - N + 50], e[i]));
		e[i] = moved;
	}
	before = set_of(ep);
	check_ready();
	check_set(ep, before);
	for (int i = 0; i < N; i++) {
		MUST(eventfd_write(e[i], 1));
		expect(ep, MARK + (uint64_t)i, EPOLLIN, "one of many");
		drain(e[i]);
	}
	return check_end();
}

/* The only descriptor of the target lies in the queue of a socket. */
static int lost(void)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int ep = (int)MUST(epoll_create1(0)), e = event(0), sk[2];

	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, sk));
	add(ep, e, EPOLLIN, MARK);
	control.h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
				      .cmsg_level = SOL_SOCKET,
				      .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.h), &e, sizeof(e));
	MUST(sendmsg(sk[0], &m, 0));
	MUST(eventfd_write(e, 1));
	close(e);
	check_ready();
	expect(ep, MARK, EPOLLIN, "the target in the queue");
	return check_end();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} cases[] = { { "basic", basic },   { "numbers", numbers },  { "shared", shared }, { "modes", modes },
		      { "nested", nested }, { "signalfd", signals }, { "many", many },	   { "lost", lost } };

	check_begin(argc, argv);
	for (size_t i = 0; argc > 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!strcmp(argv[2], cases[i].name))
			return cases[i].run();
	}
	DIE("no such case");
}
