/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/bounded.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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
		/* One that is left behind keeps nobody's pipe open, and does not outlive this process when it can end at all. */
		(void)close_range(0, ~0u, 0);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)prctl(PR_SET_NAME, BOUNDED_NAME);
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

struct look {
	pid_t pid, tid;
	struct glance found;
};

static void look(void *arg)
{
	struct look *l = arg;

	glance(l->pid, l->tid, &l->found);
}

bool bounded_glance(pid_t pid, pid_t tid, int timeout_ms, struct glance *ret)
{
	struct look *l = bounded_memory(sizeof(*l));
	bool whole = false;

	if (l) {
		l->pid = pid;
		l->tid = tid;
		whole = bounded_run(look, l, timeout_ms);
	}
	if (whole)
		*ret = l->found;
	else
		glance_status(pid, tid, ret);
	if (l)
		(void)munmap(l, sizeof(*l));
	return whole;
}
