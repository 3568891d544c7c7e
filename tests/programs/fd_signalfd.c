// SPDX-License-Identifier: LGPL-2.1-or-later
/* signalfd: mask, flags, pending signals read through it, sharing with a child. */
#include "check.h"

#include <poll.h>
#include <sys/signalfd.h>

static int both;

static int child(void *arg)
{
	struct signalfd_siginfo si = { 0 };

	(void)arg;
	check_wait_trigger();
	CHECK_EQ(read(both, &si, sizeof(si)), -1, "the parent's signals are not the child's");
	MUST(raise(SIGUSR2));
	CHECK_EQ(read(both, &si, sizeof(si)), sizeof(si), "read in the child");
	CHECK(si.ssi_signo == SIGUSR2 && (pid_t)si.ssi_pid == getpid(), "signal %u of %u", si.ssi_signo, si.ssi_pid);
	return 0;
}

int main(int argc, char **argv)
{
	struct signalfd_siginfo si = { 0 };
	union sigval value = { .sival_int = 4711 };
	sigset_t set, high, all;
	struct pollfd p;
	int rt, blocking;
	pid_t pid;

	check_begin(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigemptyset(&high);
	sigaddset(&high, SIGRTMAX);
	sigfillset(&all);
	MUST(sigprocmask(SIG_BLOCK, &set, NULL));
	MUST(sigprocmask(SIG_BLOCK, &high, NULL));
	both = (int)MUST(signalfd(-1, &set, SFD_NONBLOCK));
	rt = (int)MUST(signalfd(-1, &high, SFD_NONBLOCK | SFD_CLOEXEC));
	blocking = (int)MUST(signalfd(-1, &all, 0));
	char *mask = proc_line("/proc/self/fdinfo/5", "sigmask:");
	pid = check_fork(child, NULL);
	MUST(raise(SIGUSR1));
	MUST(sigqueue(getpid(), SIGRTMAX, value));
	check_ready();
	check_child(pid);
	CHECK_EQ(blocking, 5, "the number of the third");
	CHECK(!strcmp(mask, proc_line("/proc/self/fdinfo/5", "sigmask:")), "mask %s instead of %s",
	      proc_line("/proc/self/fdinfo/5", "sigmask:"), mask);
	p = (struct pollfd){ .fd = both, .events = POLLIN };
	CHECK_EQ(poll(&p, 1, 0), 1, "poll");
	CHECK_EQ(read(both, &si, sizeof(si)), sizeof(si), "read");
	CHECK(si.ssi_signo == SIGUSR1 && (pid_t)si.ssi_pid == getpid(), "signal %u of %u", si.ssi_signo, si.ssi_pid);
	CHECK(read(both, &si, sizeof(si)) < 0 && errno == EAGAIN, "one is left: %s", strerror(errno));
	CHECK_EQ(read(rt, &si, sizeof(si)), sizeof(si), "read of the real-time signal");
	CHECK(si.ssi_signo == (unsigned)SIGRTMAX && si.ssi_int == 4711, "signal %u, value %d", si.ssi_signo,
	      si.ssi_int);
	CHECK_EQ(fcntl(both, F_GETFD), 0, "close-on-exec");
	CHECK_EQ(fcntl(rt, F_GETFD), FD_CLOEXEC, "close-on-exec");
	CHECK_EQ(fcntl(blocking, F_GETFL) & O_NONBLOCK, 0, "a blocking one");
	return check_end();
}
