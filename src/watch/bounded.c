/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/bounded.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/system.h"

void *bounded_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

bool bounded_run(void (*fn)(void *arg), void *arg, int timeout_ms)
{
	pid_t pid = fork();
	AUTOCLOSE int pidfd = -1;
	struct pollfd p;

	if (pid == 0) {
		fn(arg);
		_exit(0);
	}
	if (pid < 0)
		return false;
	pidfd = sys_pidfd_open(pid, 0);
	p = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	if (pidfd >= 0 && poll(&p, 1, timeout_ms) == 1) {
		(void)waitpid(pid, NULL, 0);
		return true;
	}
	(void)kill(pid, SIGKILL);
	if (pidfd >= 0 && poll(&p, 1, 50) == 1)
		(void)waitpid(pid, NULL, 0);
	return false;
}
