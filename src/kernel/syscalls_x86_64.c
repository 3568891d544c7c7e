/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one table of system calls. The arguments are told for those that firn makes in a task's name and for those in
 * which a task may be met waiting. The others have a name. What these headers may not know yet stands by its number.
 */
#include "kernel/syscalls.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

#define CALL(call, arguments) [__NR_##call] = { #call, arguments }
#define NAME(call) [__NR_##call] = { #call, NULL }

/* clang-format off */
static const struct {
	const char *name, *arguments;
} calls[] = {
	CALL(read, "fan"), CALL(write, "fan"), CALL(open, "pxo"), CALL(close, "f"), CALL(stat, "pa"),
	CALL(fstat, "fa"), CALL(lstat, "pa"), CALL(poll, "ani"), CALL(lseek, "fii"), CALL(mmap, "anxxfx"),
	CALL(mprotect, "anx"), CALL(munmap, "an"), CALL(brk, "a"), CALL(rt_sigaction, "iaan"),
	CALL(rt_sigprocmask, "iaan"), NAME(rt_sigreturn), CALL(ioctl, "fxa"), CALL(pread64, "fani"),
	CALL(pwrite64, "fani"), CALL(readv, "fan"), CALL(writev, "fan"), CALL(access, "px"), CALL(pipe, "a"),
	CALL(select, "iaaaa"), CALL(sched_yield, ""), CALL(mremap, "annxa"), CALL(msync, "anx"),
	CALL(mincore, "ana"), CALL(madvise, "ani"), NAME(shmget), CALL(shmat, "iax"), NAME(shmctl), CALL(dup, "f"),
	CALL(dup2, "fi"), CALL(pause, ""), CALL(nanosleep, "aa"), CALL(getitimer, "ia"), NAME(alarm),
	CALL(setitimer, "iaa"), CALL(getpid, ""), CALL(sendfile, "ffan"), CALL(socket, "iii"), CALL(connect, "fan"),
	CALL(accept, "faa"), CALL(sendto, "fanxan"), CALL(recvfrom, "fanxaa"), CALL(sendmsg, "fax"),
	CALL(recvmsg, "fax"), CALL(shutdown, "fi"), CALL(bind, "fan"), CALL(listen, "fi"), CALL(getsockname, "faa"),
	CALL(getpeername, "faa"), CALL(socketpair, "iiia"), CALL(setsockopt, "fiian"), CALL(getsockopt, "fiiaa"),
	CALL(clone, "xaaaa"), CALL(fork, ""), CALL(vfork, ""), CALL(execve, "paa"), CALL(exit, "i"),
	CALL(wait4, "taxa"), CALL(kill, "ti"), NAME(uname), NAME(semget), CALL(semop, "ian"), NAME(semctl),
	CALL(shmdt, "a"), NAME(msgget), CALL(msgsnd, "ianx"), CALL(msgrcv, "ianix"), NAME(msgctl),
	CALL(fcntl, "fia"), CALL(flock, "fi"), CALL(fsync, "f"), CALL(fdatasync, "f"), CALL(truncate, "pn"),
	CALL(ftruncate, "fn"), CALL(getdents, "fan"), NAME(getcwd), CALL(chdir, "p"), CALL(fchdir, "f"),
	CALL(rename, "pp"), CALL(mkdir, "po"), CALL(rmdir, "p"), CALL(creat, "po"), CALL(link, "pp"),
	CALL(unlink, "p"), CALL(symlink, "pp"), CALL(readlink, "pan"), CALL(chmod, "po"), CALL(fchmod, "fo"),
	CALL(chown, "pii"), CALL(fchown, "fii"), CALL(lchown, "pii"), CALL(umask, "o"), NAME(gettimeofday),
	CALL(getrlimit, "ia"), NAME(getrusage), NAME(sysinfo), NAME(times), CALL(ptrace, "xtaa"), NAME(getuid),
	NAME(syslog), NAME(getgid), CALL(setuid, "i"), CALL(setgid, "i"), NAME(geteuid), NAME(getegid),
	CALL(setpgid, "tt"), CALL(getppid, ""), NAME(getpgrp), CALL(setsid, ""), CALL(setreuid, "ii"),
	CALL(setregid, "ii"), CALL(getgroups, "na"), CALL(setgroups, "na"), CALL(setresuid, "iii"), NAME(getresuid),
	CALL(setresgid, "iii"), NAME(getresgid), CALL(getpgid, "t"), CALL(setfsuid, "i"), CALL(setfsgid, "i"),
	CALL(getsid, "t"), CALL(capget, "aa"), CALL(capset, "aa"), CALL(rt_sigpending, "an"),
	CALL(rt_sigtimedwait, "aaan"), CALL(rt_sigqueueinfo, "tia"), CALL(rt_sigsuspend, "an"),
	CALL(sigaltstack, "aa"), NAME(utime), CALL(mknod, "pox"), NAME(uselib), CALL(personality, "x"), NAME(ustat),
	CALL(statfs, "pa"), CALL(fstatfs, "fa"), NAME(sysfs), NAME(getpriority), CALL(setpriority, "iii"),
	CALL(sched_setparam, "ta"), NAME(sched_getparam), CALL(sched_setscheduler, "tia"), NAME(sched_getscheduler),
	NAME(sched_get_priority_max), NAME(sched_get_priority_min), NAME(sched_rr_get_interval), CALL(mlock, "an"),
	CALL(munlock, "an"), CALL(mlockall, "x"), NAME(munlockall), NAME(vhangup), NAME(modify_ldt),
	CALL(pivot_root, "pp"), NAME(_sysctl), CALL(prctl, "ixxxx"), CALL(arch_prctl, "xa"), NAME(adjtimex),
	CALL(setrlimit, "ia"), CALL(chroot, "p"), CALL(sync, ""), NAME(acct), NAME(settimeofday),
	CALL(mount, "pppxa"), CALL(umount2, "px"), NAME(swapon), NAME(swapoff), NAME(reboot), NAME(sethostname),
	NAME(setdomainname), NAME(iopl), NAME(ioperm), NAME(create_module), NAME(init_module), NAME(delete_module),
	NAME(get_kernel_syms), NAME(query_module), NAME(quotactl), NAME(nfsservctl), NAME(getpmsg), NAME(putpmsg),
	NAME(afs_syscall), NAME(tuxcall), NAME(security), CALL(gettid, ""), NAME(readahead), CALL(setxattr, "ppanx"),
	NAME(lsetxattr), CALL(fsetxattr, "fpanx"), CALL(getxattr, "ppan"), NAME(lgetxattr), CALL(fgetxattr, "fpan"),
	CALL(listxattr, "pan"), NAME(llistxattr), CALL(flistxattr, "fan"), NAME(removexattr), NAME(lremovexattr),
	NAME(fremovexattr), CALL(tkill, "ti"), NAME(time), CALL(futex, "axnana"), NAME(sched_setaffinity),
	NAME(sched_getaffinity), NAME(set_thread_area), NAME(io_setup), NAME(io_destroy),
	CALL(io_getevents, "iiiaa"), CALL(io_submit, "iia"), NAME(io_cancel), NAME(get_thread_area),
	NAME(lookup_dcookie), NAME(epoll_create), NAME(epoll_ctl_old), NAME(epoll_wait_old), NAME(remap_file_pages),
	CALL(getdents64, "fan"), CALL(set_tid_address, "a"), CALL(restart_syscall, ""), CALL(semtimedop, "iana"),
	NAME(fadvise64), CALL(timer_create, "iaa"), CALL(timer_settime, "ixaa"), CALL(timer_gettime, "ia"),
	CALL(timer_getoverrun, "i"), CALL(timer_delete, "i"), NAME(clock_settime), NAME(clock_gettime),
	NAME(clock_getres), CALL(clock_nanosleep, "ixaa"), CALL(exit_group, "i"), CALL(epoll_wait, "faii"),
	CALL(epoll_ctl, "fifa"), CALL(tgkill, "tti"), NAME(utimes), NAME(vserver), NAME(mbind), NAME(set_mempolicy),
	NAME(get_mempolicy), NAME(mq_open), NAME(mq_unlink), CALL(mq_timedsend, "fanna"),
	CALL(mq_timedreceive, "fanaa"), NAME(mq_notify), NAME(mq_getsetattr), NAME(kexec_load),
	CALL(waitid, "itaxa"), NAME(add_key), NAME(request_key), NAME(keyctl), CALL(ioprio_set, "iii"),
	NAME(ioprio_get), NAME(inotify_init), CALL(inotify_add_watch, "fpx"), NAME(inotify_rm_watch),
	NAME(migrate_pages), CALL(openat, "dpxo"), CALL(mkdirat, "dpo"), CALL(mknodat, "dpox"),
	CALL(fchownat, "dpiix"), NAME(futimesat), CALL(newfstatat, "dpax"), CALL(unlinkat, "dpx"),
	CALL(renameat, "dpdp"), CALL(linkat, "dpdpx"), CALL(symlinkat, "pdp"), CALL(readlinkat, "dpan"),
	CALL(fchmodat, "dpo"), CALL(faccessat, "dpx"), CALL(pselect6, "iaaaaa"), CALL(ppoll, "anaan"),
	CALL(unshare, "x"), CALL(set_robust_list, "an"), NAME(get_robust_list), CALL(splice, "fafanx"),
	CALL(tee, "ffnx"), CALL(sync_file_range, "fnnx"), CALL(vmsplice, "fanx"), NAME(move_pages),
	CALL(utimensat, "dpax"), CALL(epoll_pwait, "faiian"), NAME(signalfd), NAME(timerfd_create), NAME(eventfd),
	CALL(fallocate, "fxii"), NAME(timerfd_settime), NAME(timerfd_gettime), CALL(accept4, "faax"),
	NAME(signalfd4), CALL(eventfd2, "nx"), NAME(epoll_create1), CALL(dup3, "fix"), CALL(pipe2, "ax"),
	NAME(inotify_init1), CALL(preadv, "fanii"), CALL(pwritev, "fanii"), CALL(rt_tgsigqueueinfo, "ttia"),
	NAME(perf_event_open), CALL(recvmmsg, "fanxa"), NAME(fanotify_init), CALL(fanotify_mark, "fxxdp"),
	CALL(prlimit64, "tiaa"), CALL(name_to_handle_at, "dpaax"), CALL(open_by_handle_at, "fax"),
	NAME(clock_adjtime), CALL(syncfs, "f"), CALL(sendmmsg, "fanx"), CALL(setns, "fx"), NAME(getcpu),
	CALL(process_vm_readv, "tananx"), CALL(process_vm_writev, "tananx"), NAME(kcmp), NAME(finit_module),
	CALL(sched_setattr, "tax"), NAME(sched_getattr), CALL(renameat2, "dpdpx"), CALL(seccomp, "xxa"),
	NAME(getrandom), CALL(memfd_create, "px"), NAME(kexec_file_load), NAME(bpf), CALL(execveat, "dpaax"),
	NAME(userfaultfd), NAME(membarrier), CALL(mlock2, "anx"), CALL(copy_file_range, "fafanx"),
	CALL(preadv2, "faniix"), CALL(pwritev2, "faniix"), NAME(pkey_mprotect), NAME(pkey_alloc), NAME(pkey_free),
	CALL(statx, "dpxxa"), NAME(io_pgetevents), CALL(rseq, "anxx"), CALL(pidfd_send_signal, "fiax"),
	NAME(io_uring_setup), CALL(io_uring_enter, "fnnxan"), NAME(io_uring_register), CALL(open_tree, "dpx"),
	CALL(move_mount, "dpdpx"), CALL(fsopen, "px"), CALL(fsconfig, "fxpai"), CALL(fsmount, "fxx"), NAME(fspick),
	CALL(pidfd_open, "tx"), CALL(clone3, "an"), CALL(close_range, "nnx"), CALL(openat2, "dpan"),
	CALL(pidfd_getfd, "fix"), CALL(faccessat2, "dpxx"), NAME(process_madvise), CALL(epoll_pwait2, "faiaan"),
	NAME(mount_setattr), NAME(quotactl_fd), NAME(landlock_create_ruleset), NAME(landlock_add_rule),
	NAME(landlock_restrict_self), NAME(memfd_secret), NAME(process_mrelease), CALL(futex_waitv, "anxai"),
	NAME(set_mempolicy_home_node), [451] = { "cachestat", NULL }, [452] = { "fchmodat2", NULL },
	[453] = { "map_shadow_stack", NULL }, [454] = { "futex_wake", NULL }, [455] = { "futex_wait", NULL },
	[456] = { "futex_requeue", NULL }, [457] = { "statmount", NULL }, [458] = { "listmount", NULL },
	[459] = { "lsm_get_self_attr", NULL }, [460] = { "lsm_set_self_attr", NULL },
	[461] = { "lsm_list_modules", NULL }, [462] = { "mseal", "anx" }, [463] = { "setxattrat", NULL },
	[464] = { "getxattrat", NULL }, [465] = { "listxattrat", NULL }, [466] = { "removexattrat", NULL },
	[467] = { "open_tree_attr", NULL }, [468] = { "file_getattr", NULL }, [469] = { "file_setattr", NULL },
};
/* clang-format on */

static size_t clamp(int len, size_t size)
{
	return len < 0 ? 0 : (size_t)len < size ? (size_t)len : size - 1;
}

const char *syscall_name(long nr)
{
	static _Thread_local char unknown[32];

	if (nr >= 0 && (size_t)nr < ARRAY_SIZE(calls) && calls[nr].name)
		return calls[nr].name;
	(void)snprintf(unknown, sizeof(unknown), "syscall_%ld", nr);
	return unknown;
}

const char *syscall_arguments(long nr)
{
	if (nr >= 0 && (size_t)nr < ARRAY_SIZE(calls) && calls[nr].arguments)
		return calls[nr].arguments;
	return "xxxxxx";
}

size_t syscall_format_argument(enum syscall_argument sort, uint64_t value, char *buf, size_t size)
{
	switch (sort) {
	case SYSCALL_ARG_DIR:
		if ((int)value == AT_FDCWD)
			return clamp(snprintf(buf, size, "AT_FDCWD"), size);
		return clamp(snprintf(buf, size, "%d", (int)value), size);
	case SYSCALL_ARG_FD:
	case SYSCALL_ARG_PID:
		return clamp(snprintf(buf, size, "%d", (int)value), size);
	case SYSCALL_ARG_INT:
		/* An int comes with any upper half; what does not fit into one is a long. */
		if (value >> 32 == 0 || value >> 31 == 0x1ffffffffull)
			return clamp(snprintf(buf, size, "%d", (int)value), size);
		return clamp(snprintf(buf, size, "%" PRId64, (int64_t)value), size);
	case SYSCALL_ARG_COUNT:
		return clamp(snprintf(buf, size, "%" PRIu64, value), size);
	case SYSCALL_ARG_MODE:
		return clamp(snprintf(buf, size, "%#o", (unsigned)value), size);
	case SYSCALL_ARG_PATH:
	case SYSCALL_ARG_ADDRESS:
	case SYSCALL_ARG_BITS:
		break;
	}
	return clamp(snprintf(buf, size, "%#" PRIx64, value), size);
}

size_t syscall_format(long nr, const uint64_t args[6], char *buf, size_t size)
{
	const char *sorts = syscall_arguments(nr);
	size_t used = clamp(snprintf(buf, size, "%s(", syscall_name(nr)), size);

	for (int i = 0; sorts[i]; i++) {
		if (i)
			used += clamp(snprintf(buf + used, size - used, ", "), size - used);
		used += syscall_format_argument((enum syscall_argument)sorts[i], args[i], buf + used, size - used);
	}
	return used + clamp(snprintf(buf + used, size - used, ")"), size - used);
}

size_t syscall_format_result(int64_t ret, char *buf, size_t size)
{
	const char *name = ret < 0 && ret >= -4095 ? strerrorname_np((int)-ret) : NULL;

	if (name)
		return clamp(snprintf(buf, size, "= %" PRId64 " %s", ret, name), size);
	/* An address, or a small number. */
	if (ret > INT32_MAX)
		return clamp(snprintf(buf, size, "= %#" PRIx64, (uint64_t)ret), size);
	return clamp(snprintf(buf, size, "= %" PRId64, ret), size);
}
