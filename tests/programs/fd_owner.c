// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_owner FOLDER [thread]: F_SETOWN, F_SETSIG and O_ASYNC: who is told of input, and by which signal. thread: a thread is. */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

static volatile int got_fd = -1;

static void on_input(int sig, siginfo_t *si, void *c)
{
	(void)sig;
	(void)c;
	got_fd = si->si_fd;
}

static pid_t tid, told;

static void on_signal(int sig)
{
	(void)sig;
	told = (pid_t)syscall(SYS_gettid);
}

static void *thread_main(void *arg)
{
	(void)arg;
	tid = (pid_t)syscall(SYS_gettid);
	check_wait_trigger();
	for (int i = 0; i < 5000 && !__atomic_load_n(&told, __ATOMIC_SEQ_CST); i++)
		sleep_ms(1);
	return NULL;
}

static int of_thread(void)
{
	struct f_owner_ex owner = { .type = F_OWNER_TID };
	pthread_t t;
	int p[2];

	signal(SIGRTMIN + 2, on_signal);
	pthread_create(&t, NULL, thread_main, NULL);
	WAIT_FOR(__atomic_load_n(&tid, __ATOMIC_SEQ_CST) != 0);
	MUST(pipe(p));
	owner.pid = tid;
	MUST(fcntl(p[0], F_SETOWN_EX, &owner));
	MUST(fcntl(p[0], F_SETSIG, SIGRTMIN + 2));
	MUST(fcntl(p[0], F_SETFL, O_ASYNC));
	check_ready();
	MUST(fcntl(p[0], F_GETOWN_EX, &owner));
	CHECK(owner.pid == tid && owner.type == F_OWNER_TID, "owner %d type %d", owner.pid, owner.type);
	MUST(write(p[1], "x", 1));
	pthread_join(t, NULL);
	CHECK_EQ(told, tid, "the thread that was told");
	return check_end();
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_input, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct f_owner_ex owner = { 0 };
	int p[2], sk[2];

	check_begin(argc, argv);
	if (argc > 2)
		return of_thread();
	sigaction(SIGRTMIN + 1, &sa, NULL);
	MUST(pipe(p));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sk));
	MUST(fcntl(p[0], F_SETOWN, getpid()));
	MUST(fcntl(p[0], F_SETSIG, SIGRTMIN + 1));
	MUST(fcntl(p[0], F_SETFL, O_ASYNC));
	MUST(fcntl(sk[0], F_SETOWN, -getpgrp()));
	check_ready();
	CHECK_EQ(fcntl(p[0], F_GETSIG), SIGRTMIN + 1, "F_GETSIG");
	MUST(fcntl(p[0], F_GETOWN_EX, &owner));
	CHECK(owner.pid == getpid() && owner.type == F_OWNER_PID, "owner %d type %d", owner.pid, owner.type);
	MUST(fcntl(sk[0], F_GETOWN_EX, &owner));
	CHECK(owner.pid == getpgrp() && owner.type == F_OWNER_PGRP, "owner of the socket %d type %d", owner.pid, owner.type);
	CHECK(fcntl(p[0], F_GETFL) & O_ASYNC, "O_ASYNC");
	MUST(write(p[1], "x", 1));
	for (int i = 0; i < 1000 && got_fd < 0; i++)
		sleep_ms(1);
	CHECK_EQ(got_fd, p[0], "the descriptor in the signal");
	return check_end();
}
