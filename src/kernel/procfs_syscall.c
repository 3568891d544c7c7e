/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * /proc/PID/syscall, man 5 proc: "running", "-1 SP PC" outside of a call, or the number, six arguments, SP and PC. To read it
 * takes a lock that a task has during execve() (exec_update_lock), and there it may wait for a file server.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/text.h"
#include "kernel/procfs.h"

int parse_proc_syscall(const char *text, size_t len, struct proc_syscall *ret)
{
	struct text t = text_of(text, len);
	uint64_t nr;

	memset(ret, 0, sizeof(*ret));
	ret->nr = -1;
	if (text_literal(&t, "running") || text_literal(&t, "-1 "))
		return 0;
	if (!text_unsigned(&t, 10, INT_MAX, &nr))
		return -EINVAL;
	for (int i = 0; i < 6; i++)
		if (!text_literal(&t, " 0x") || !text_u64(&t, 16, &ret->args[i]))
			return -EINVAL;
	ret->nr = (long)nr;
	return 0;
}
