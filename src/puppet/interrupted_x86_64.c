/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/syscall.h>

#include "puppet/stub.h"

#define ERESTARTNOHAND 514 /* include/linux/errno.h */

/*
 * Calls that wait and that the kernel itself fails with EINTR when a task is stopped and goes on, though no handler ran
 * (man 7 signal, "Interruption of system calls and library functions by stop signals"). A dump is to be invisible, so
 * those without a time limit are given the code of the calls that are made again unless a handler runs. With a time limit
 * they end as the kernel has it: how much of the time is left is not known.
 */
static bool waits_for_ever(const struct user_regs_struct *r)
{
	switch ((long)r->orig_rax) {
	case __NR_epoll_wait:
	case __NR_epoll_pwait:
		return (int)r->r10 < 0;
	case __NR_epoll_pwait2:
	case __NR_semtimedop:
		return r->r10 == 0;
	case __NR_rt_sigtimedwait:
		return r->rdx == 0;
	case __NR_io_getevents:
		return r->r8 == 0;
	case __NR_semop:
		return true;
	default:
		return false;
	}
}

bool regs_resume_wait(struct user_regs_struct *r)
{
	if ((long)r->rax != -EINTR || (long)r->orig_rax < 0 || !waits_for_ever(r))
		return false;
	r->rax = (unsigned long)-ERESTARTNOHAND;
	return true;
}
