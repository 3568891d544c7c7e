// SPDX-License-Identifier: LGPL-2.1-or-later
/* F_SETOWN, F_SETSIG and O_ASYNC: who is told of input, and by which signal. */
#include "check.h"

#include <poll.h>
#include <sys/socket.h>

static volatile int got_fd = -1;

static void on_input(int sig, siginfo_t *si, void *c)
{
	(void)sig;
	(void)c;
	got_fd = si->si_fd;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_input, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct f_owner_ex owner = { 0 };
	int p[2], sk[2];

	check_begin(argc, argv);
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
