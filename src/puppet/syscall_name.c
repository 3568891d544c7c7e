/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "puppet/puppet.h"

#define NAME(call) [__NR_##call] = #call

/* The calls that firn makes in a target's name. */
static const char *const names[] = {
	NAME(read), NAME(write), NAME(open), NAME(close), NAME(mmap), NAME(mprotect), NAME(munmap), NAME(brk),
	NAME(rt_sigaction), NAME(rt_sigprocmask), NAME(ioctl), NAME(preadv), NAME(preadv2), NAME(mremap), NAME(madvise),
	NAME(mincore), NAME(dup), NAME(dup2), NAME(dup3), NAME(getpid), NAME(getitimer), NAME(setitimer), NAME(sendmsg),
	NAME(recvmsg), NAME(exit), NAME(exit_group), NAME(wait4), NAME(waitid), NAME(kill), NAME(fcntl), NAME(fchdir),
	NAME(chdir), NAME(chroot), NAME(umask), NAME(getrlimit), NAME(setuid), NAME(setgid), NAME(setpgid), NAME(setsid),
	NAME(setreuid), NAME(setregid), NAME(getgroups), NAME(setgroups), NAME(setresuid), NAME(setresgid), NAME(getpgid),
	NAME(setfsuid), NAME(setfsgid), NAME(capget), NAME(capset), NAME(rt_sigpending), NAME(rt_sigqueueinfo),
	NAME(sigaltstack), NAME(personality), NAME(sched_setparam), NAME(sched_setscheduler), NAME(setpriority),
	NAME(mlock), NAME(mlock2), NAME(munlock), NAME(mlockall), NAME(prctl), NAME(arch_prctl), NAME(setrlimit),
	NAME(gettid), NAME(tkill), NAME(tgkill), NAME(timer_create), NAME(timer_settime), NAME(timer_gettime),
	NAME(timer_getoverrun), NAME(timer_delete), NAME(set_tid_address), NAME(set_robust_list), NAME(ioprio_set),
	NAME(unshare), NAME(prlimit64), NAME(rt_tgsigqueueinfo), NAME(seccomp), NAME(memfd_create), NAME(rseq),
	NAME(clone), NAME(clone3), NAME(close_range), NAME(sched_setattr), NAME(restart_syscall), NAME(shmat),
	NAME(pread64), NAME(lseek), NAME(socketpair), NAME(setns),
};

const char *syscall_name(long nr)
{
	static _Thread_local char unknown[32];

	if (nr >= 0 && (size_t)nr < ARRAY_SIZE(names) && names[nr])
		return names[nr];
	(void)snprintf(unknown, sizeof(unknown), "syscall_%ld", nr);
	return unknown;
}
