/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/system.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * As in vfork(2), the child has the stack of its parent, which waits: it must not return from the function that made the
 * call, so the call is made here and not in a wrapper.
 */
pid_t __attribute__((noinline)) sys_clone3_vfork(struct system_clone_args *args, void (*child)(void *arg), void *arg)
{
	long r = SYS_clone3;

	args->flags |= CLONE_VM | CLONE_VFORK;
	__asm__ volatile("syscall" : "+a"(r) : "D"(args), "S"(sizeof(*args)) : "rcx", "r11", "memory");
	if (r == 0) {
		child(arg);
		_exit(0);
	}
	return (pid_t)r;
}
