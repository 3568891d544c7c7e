/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/system.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/ioprio.h */
#define IOPRIO_WHO_PROCESS 1

/* syscall(2) with the kernel's own convention for errors. */
#define CALL(...)                                   \
	({                                          \
		long result = syscall(__VA_ARGS__); \
		result < 0 ? -(long)errno : result; \
	})

pid_t sys_clone3(const struct system_clone_args *args, size_t size)
{
	return (pid_t)CALL(SYS_clone3, args, size);
}

int sys_pidfd_open(pid_t pid, unsigned flags)
{
	return (int)CALL(SYS_pidfd_open, pid, flags);
}

int sys_pidfd_getfd(int pidfd, int fd)
{
	return (int)CALL(SYS_pidfd_getfd, pidfd, fd, 0);
}

int sys_pidfd_send_signal(int pidfd, int signo, const siginfo_t *info)
{
	return (int)CALL(SYS_pidfd_send_signal, pidfd, signo, info, 0);
}

int sys_kcmp(pid_t a, pid_t b, int type, unsigned long index_a, unsigned long index_b)
{
	return (int)CALL(SYS_kcmp, a, b, type, index_a, index_b);
}

ssize_t sys_vm_readv(pid_t pid, const struct iovec *local, size_t n_local, const struct iovec *remote, size_t n_remote)
{
	return CALL(SYS_process_vm_readv, pid, local, n_local, remote, n_remote, 0);
}

ssize_t sys_vm_writev(pid_t pid, const struct iovec *local, size_t n_local, const struct iovec *remote, size_t n_remote)
{
	return CALL(SYS_process_vm_writev, pid, local, n_local, remote, n_remote, 0);
}

/* The kernel caps one call at MAX_RW_COUNT (2 GiB less a page) and stops early at a page it cannot reach. */
static ssize_t move_all(pid_t pid, uint64_t remote, void *local, size_t size,
			ssize_t (*move)(pid_t, const struct iovec *, size_t, const struct iovec *, size_t))
{
	size_t done = 0;
	ssize_t n;

	while (done < size) {
		struct iovec here = { (char *)local + done, size - done };
		struct iovec there = { (void *)(uintptr_t)(remote + done), size - done };

		n = move(pid, &here, 1, &there, 1);
		if (n == -EINTR)
			continue;
		if (n < 0)
			return done ? (ssize_t)done : n;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t sys_vm_read(pid_t pid, uint64_t remote, void *local, size_t size)
{
	return move_all(pid, remote, local, size, sys_vm_readv);
}

ssize_t sys_vm_write(pid_t pid, uint64_t remote, const void *local, size_t size)
{
	return move_all(pid, remote, (void *)(uintptr_t)local, size, sys_vm_writev);
}

int sys_close_range(unsigned first, unsigned last, unsigned flags)
{
	return (int)CALL(SYS_close_range, first, last, flags);
}

int sys_tgkill(pid_t pid, pid_t tid, int signo)
{
	return (int)CALL(SYS_tgkill, pid, tid, signo);
}

int sys_sigqueueinfo(pid_t pid, int signo, const siginfo_t *info)
{
	return (int)CALL(SYS_rt_sigqueueinfo, pid, signo, info);
}

int sys_tgsigqueueinfo(pid_t pid, pid_t tid, int signo, const siginfo_t *info)
{
	return (int)CALL(SYS_rt_tgsigqueueinfo, pid, tid, signo, info);
}

int sys_get_robust_list(pid_t tid, uint64_t *ret_head, size_t *ret_size)
{
	void *head = NULL;
	size_t size = 0;
	int r = (int)CALL(SYS_get_robust_list, tid, &head, &size);

	if (r < 0)
		return r;
	*ret_head = (uintptr_t)head;
	*ret_size = size;
	return 0;
}

int sys_ioprio_get(pid_t tid)
{
	return (int)CALL(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid);
}

int sys_ioprio_set(pid_t tid, int ioprio)
{
	return (int)CALL(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, ioprio);
}

int sys_sched_getattr(pid_t tid, struct system_sched_attr *ret)
{
	struct system_sched_attr attr = { .size = sizeof(attr) };
	int r = (int)CALL(SYS_sched_getattr, tid, &attr, sizeof(attr), 0);

	if (r == 0)
		*ret = attr;
	return r;
}

int sys_sched_setattr(pid_t tid, const struct system_sched_attr *attr)
{
	struct system_sched_attr copy = *attr;

	copy.size = sizeof(copy);
	return (int)CALL(SYS_sched_setattr, tid, &copy, 0);
}

int sys_pagemap_scan(int pagemap_fd, struct pagemap_scan *scan)
{
	int r;

	scan->size = sizeof(*scan);
	r = ioctl(pagemap_fd, _IOWR('f', 16, struct pagemap_scan), scan);
	return r < 0 ? -errno : r;
}
