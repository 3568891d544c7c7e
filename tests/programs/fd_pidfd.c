// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_pidfd FOLDER living|dead|code|threads|queued: pidfds. living: of the program itself, a child (twice, one not blocking), by the child
 * of its parent, with an epoll on it. dead: of children that were reaped (one with two pidfds, one ended by a signal) and
 * of a zombie. code: the exit code that the kernel keeps too. threads: PIDFD_THREAD of another thread and of the first.
 * queued: one in the queue of a socket. */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define THREAD O_EXCL

static int pidfd_open_(pid_t pid, unsigned flags)
{
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

static long pid_of(int fd)
{
	char path[64], *line;
	long pid;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	line = proc_line(path, "Pid:\t");
	pid = *line ? strtol(line, NULL, 10) : -2;
	free(line);
	return pid;
}

static int send_nothing(int fd)
{
	return (int)syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0);
}

static bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

static int parent_fd;

static int child_main(void *arg)
{
	(void)arg;
	parent_fd = (int)MUST(pidfd_open_(getppid(), 0));
	close((int)MUST(open("child", O_CREAT | O_WRONLY, 0600)));
	check_wait_trigger();
	CHECK_EQ(pid_of(parent_fd), getppid(), "the parent's pidfd");
	CHECK_EQ(send_nothing(parent_fd), 0, "a signal to the parent");
	return 0;
}

static void living(void)
{
	int self = (int)MUST(pidfd_open_(getpid(), 0)), child_fd, second, ep;
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 77 };
	siginfo_t info = { 0 };
	pid_t child = check_fork(child_main, NULL);

	WAIT_FOR(access("child", F_OK) == 0);
	child_fd = (int)MUST(pidfd_open_(child, 0));
	second = (int)MUST(pidfd_open_(child, O_NONBLOCK));
	ep = (int)MUST(epoll_create1(0));
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, child_fd, &e));
	check_ready();
	CHECK_EQ(pid_of(self), getpid(), "its own pidfd");
	CHECK_EQ(send_nothing(self), 0, "a signal to itself");
	CHECK_EQ(pid_of(child_fd), child, "the child's pidfd");
	CHECK_EQ(pid_of(second), child, "the child's second pidfd");
	CHECK_EQ(fcntl(child_fd, F_GETFD), FD_CLOEXEC, "close on exec");
	CHECK_EQ(fcntl(child_fd, F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK of the first");
	CHECK_EQ(fcntl(second, F_GETFL) & O_NONBLOCK, O_NONBLOCK, "O_NONBLOCK of the second");
	CHECK_EQ(waitid(P_PIDFD, (id_t)child_fd, &info, WEXITED | WNOWAIT), 0, "waitid");
	CHECK_EQ(epoll_wait(ep, &e, 1, 5000), 1, "epoll");
	CHECK_EQ(e.data.u64, 77, "data of the epoll");
	CHECK(is_readable(second), "the child's end is not told");
	CHECK_EQ(waitid(P_PIDFD, (id_t)second, &info, WEXITED), 0, "waitid, non-blocking");
	CHECK_EQ(info.si_pid, child, "the child that ended");
	CHECK_EQ(info.si_status, 0, "its exit code");
	CHECK_EQ(send_nothing(child_fd), -1, "a signal to the dead child");
	CHECK_EQ(pid_of(child_fd), -1, "the pid of the dead child");
}

/* linux/pidfd.h, since Linux 6.13; the exit code since 6.15 */
struct info {
	uint64_t mask, cgroup;
	uint32_t pid, tgid, ppid, ids[8];
	int32_t exit_code;
};

static int exit_code(int fd)
{
	struct info info = { .mask = 8 };

	return syscall(SYS_ioctl, fd, 0xc040ff0b, &info) == 0 && (info.mask & 8) ? info.exit_code : -1;
}

static int end_with(void *arg)
{
	pause();
	return *(int *)arg;
}

static void dead(bool code_too)
{
	int code = 0, gone, again, other, zombie_fd, before;
	pid_t a = check_fork(end_with, &code), b, zombie;
	struct stat st, st2;
	siginfo_t info;

	gone = (int)MUST(pidfd_open_(a, 0));
	again = (int)MUST(pidfd_open_(a, O_NONBLOCK));
	MUST(kill(a, SIGKILL));
	MUST(waitpid(a, NULL, 0));
	b = (pid_t)MUST(fork());
	if (b == 0)
		_exit(7);
	other = (int)MUST(pidfd_open_(b, 0));
	MUST(waitpid(b, NULL, 0));
	before = exit_code(other);
	zombie = (pid_t)MUST(fork());
	if (zombie == 0)
		_exit(9);
	zombie_fd = (int)MUST(pidfd_open_(zombie, 0));
	MUST(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT));
	check_ready();
	CHECK_EQ(pid_of(gone), -1, "pid of a dead task");
	CHECK_EQ(pid_of(again), -1, "pid of a dead task");
	CHECK_EQ(pid_of(other), -1, "pid of the other dead task");
	CHECK(is_readable(gone) && is_readable(again) && is_readable(other), "a dead task's pidfd is not readable");
	CHECK(send_nothing(gone) == -1 && errno == ESRCH, "a signal to a dead task: %s", strerror(errno));
	MUST(fstat(gone, &st));
	MUST(fstat(again, &st2));
	CHECK(st.st_ino == st2.st_ino, "two pidfds of one task differ");
	MUST(fstat(other, &st2));
	CHECK(st.st_ino != st2.st_ino, "pidfds of two tasks are the same");
	CHECK_EQ(fcntl(again, F_GETFL) & O_NONBLOCK, O_NONBLOCK, "O_NONBLOCK");
	if (code_too)
		CHECK_EQ(exit_code(other), before, "exit code");
	CHECK(is_readable(zombie_fd), "the zombie's pidfd is not readable");
	CHECK_EQ(waitid(P_PIDFD, (id_t)zombie_fd, &info, WEXITED), 0, "waitid of the zombie");
	CHECK_EQ(info.si_status, 9, "exit code of the zombie");
	CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD, "a child is left");
}

static pid_t tid;

static void *thread_main(void *arg)
{
	(void)arg;
	tid = (pid_t)syscall(SYS_gettid);
	check_wait_trigger();
	while (access("end", F_OK))
		sleep_ms(1);
	return NULL;
}

static void threads(void)
{
	int fd, first;
	pthread_t t;

	pthread_create(&t, NULL, thread_main, NULL);
	WAIT_FOR(__atomic_load_n(&tid, __ATOMIC_SEQ_CST) != 0);
	fd = pidfd_open_(tid, THREAD);
	if (fd < 0)
		check_skip("PIDFD_THREAD: %s", strerror(errno));
	first = (int)MUST(pidfd_open_(getpid(), THREAD | O_NONBLOCK));
	check_ready();
	CHECK_EQ(pid_of(fd), tid, "the thread's pidfd");
	CHECK_EQ(pid_of(first), getpid(), "the first thread's pidfd");
	CHECK_EQ(fcntl(fd, F_GETFL) & (O_EXCL | O_NONBLOCK), O_EXCL, "flags");
	CHECK_EQ(fcntl(first, F_GETFL) & (O_EXCL | O_NONBLOCK), O_EXCL | O_NONBLOCK, "flags of the first");
	CHECK(!is_readable(fd), "the thread is said to have ended");
	close((int)MUST(open("end", O_CREAT | O_WRONLY, 0600)));
	pthread_join(t, NULL);
	WAIT_FOR(is_readable(fd)); /* the kernel wakes pthread_join() before it tells pidfds of the end */
}

static void queued(void)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	int pair[2], fd = (int)MUST(pidfd_open_(getpid(), 0));
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(int));
	MUST(sendmsg(pair[0], &m, 0));
	close(fd);
	check_ready();
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "living";

	check_begin(argc, argv);
	if (!strcmp(kind, "dead"))
		dead(false);
	else if (!strcmp(kind, "code"))
		dead(true);
	else if (!strcmp(kind, "queued"))
		queued();
	else if (!strcmp(kind, "threads"))
		threads();
	else
		living();
	return check_end();
}
