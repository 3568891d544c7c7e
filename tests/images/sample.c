/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The program whose checkpoint lies in criu-4.1/: three tasks (one stopped, one a zombie), two threads, and one of
 * most kinds of descriptors, with data in pipe and socket. See README.md for how the images were made.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *rest(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void open_kinds(void)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 42 };
	int pair[2], memory, ghost, poll, counter;

	if (pipe(pair) < 0 || write(pair[1], "in the pipe", 11) != 11)
		_exit(1);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || write(pair[0], "in the socket", 13) != 13)
		_exit(1);
	counter = eventfd(7, EFD_CLOEXEC);
	poll = epoll_create1(0);
	epoll_ctl(poll, EPOLL_CTL_ADD, counter, &event);
	memory = memfd_create("sample", MFD_ALLOW_SEALING);
	ghost = open("/tmp/firn-sample-ghost", O_RDWR | O_CREAT | O_TRUNC, 0600);
	unlink("/tmp/firn-sample-ghost");
	if (write(memory, "in the memfd", 12) != 12 || write(ghost, "in the ghost", 12) != 12)
		_exit(1);
}

int main(void)
{
	struct itimerspec when = { .it_value.tv_sec = 100000 };
	pthread_t thread;
	timer_t timer;
	sigset_t set;
	char *shared;

	close_range(3, ~0u, 0);
	clearenv();
	shared = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	strcpy(shared, "shared memory");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	open_kinds();
	timer_create(CLOCK_MONOTONIC, NULL, &timer);
	timer_settime(timer, 0, &when, NULL);
	pthread_create(&thread, NULL, rest, NULL);
	if (fork() == 0)
		_exit(3);
	if (fork() == 0) {
		strcpy(shared + 4096, "seen by both");
		raise(SIGSTOP);
		for (;;)
			pause();
	}
	kill(getpid(), SIGUSR1);
	for (;;)
		pause();
}
