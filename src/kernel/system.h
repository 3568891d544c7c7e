/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * System calls that the C library does not wrap, or wraps in a way that hides something. Each returns what the kernel
 * returns, with errors as -errno, and restarts nothing: an interrupted call gives -EINTR. What can block says so.
 */

/* clone3(2), Linux 5.3; set_tid and set_tid_size since 5.5, cgroup since 5.7. */
struct system_clone_args {
	uint64_t flags;             /* CLONE_*, without an exit signal in the low byte */
	uint64_t pidfd;             /* int *, with CLONE_PIDFD */
	uint64_t child_tid;         /* pid_t * */
	uint64_t parent_tid;        /* pid_t * */
	uint64_t exit_signal;
	uint64_t stack;             /* lowest byte */
	uint64_t stack_size;
	uint64_t tls;
	uint64_t set_tid;           /* pid_t *, innermost pid namespace first */
	uint64_t set_tid_size;      /* numbers in it */
	uint64_t cgroup;            /* descriptor, with CLONE_INTO_CGROUP */
};
/* In the calling process: fork-like uses only (no CLONE_VM), 0 in the child. */
pid_t sys_clone3(const struct system_clone_args *args, size_t size);

/* The same, as vfork(2): the caller waits, all signals blocked, until the child, which runs @child in the caller's memory and
 * on its stack, has ended. CLONE_VM and CLONE_VFORK are added to the flags. */
pid_t sys_clone3_vfork(struct system_clone_args *args, void (*child)(void *arg), void *arg);

/* pidfd_open(2), Linux 5.3. The descriptor is close-on-exec. @flags: PIDFD_NONBLOCK, PIDFD_THREAD (6.9). */
int sys_pidfd_open(pid_t pid, unsigned flags);
/* pidfd_getfd(2), Linux 5.6; needs PTRACE_MODE_ATTACH_REALCREDS. The copy is close-on-exec. */
int sys_pidfd_getfd(int pidfd, int fd);
/* pidfd_send_signal(2), Linux 5.1. */
int sys_pidfd_send_signal(int pidfd, int signo, const siginfo_t *info);

/* kcmp(2), Linux 3.5, CONFIG_KCMP: 0 = the same, 1 and 2 give an order, 3 = differs without order. Types: linux/kcmp.h.
 * Can block on the target's exec (cred_guard lock). */
int sys_kcmp(pid_t a, pid_t b, int type, unsigned long index_a, unsigned long index_b);

/*
 * process_vm_readv(2) and process_vm_writev(2), Linux 3.2: @size bytes between @local and the address @remote of @pid,
 * however many calls that takes. Returns the bytes moved: less than @size when a page of the target cannot be read
 * or written, -errno when nothing was moved. Can block on the target's mmap lock and on the file system or the
 * userfaultfd behind its memory.
 */
ssize_t sys_vm_read(pid_t pid, uint64_t remote, void *local, size_t size);
ssize_t sys_vm_write(pid_t pid, uint64_t remote, const void *local, size_t size);
/* One call, for many ranges: at most IOV_MAX each. */
ssize_t sys_vm_readv(pid_t pid, const struct iovec *local, size_t n_local, const struct iovec *remote, size_t n_remote);
ssize_t sys_vm_writev(pid_t pid, const struct iovec *local, size_t n_local, const struct iovec *remote, size_t n_remote);

/* close_range(2), Linux 5.9; CLOSE_RANGE_CLOEXEC since 5.11. */
int sys_close_range(unsigned first, unsigned last, unsigned flags);

/* tgkill(2). */
int sys_tgkill(pid_t pid, pid_t tid, int signo);
/* rt_sigqueueinfo(2) and rt_tgsigqueueinfo(2). For another process the kernel accepts only negative si_code other than
 * SI_TKILL (do_rt_sigqueueinfo()). */
int sys_sigqueueinfo(pid_t pid, int signo, const siginfo_t *info);
int sys_tgsigqueueinfo(pid_t pid, pid_t tid, int signo, const siginfo_t *info);

/* get_robust_list(2); needs PTRACE_MODE_READ_REALCREDS. */
int sys_get_robust_list(pid_t tid, uint64_t *ret_head, size_t *ret_size);

/* ioprio_get(2) and ioprio_set(2) of one thread (IOPRIO_WHO_PROCESS). */
int sys_ioprio_get(pid_t tid);
int sys_ioprio_set(pid_t tid, int ioprio);

/* sched_getattr(2) and sched_setattr(2), Linux 3.14; the util fields since 5.3. */
struct system_sched_attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;    /* ns */
	uint32_t util_min, util_max;
};
int sys_sched_getattr(pid_t tid, struct system_sched_attr *ret);
int sys_sched_setattr(pid_t tid, const struct system_sched_attr *attr);

/* sigaction, waitid and the like have their wrappers; waitid(P_PIDFD) is Linux 5.4. */

/*
 * PAGEMAP_SCAN, ioctl on /proc/PID/pagemap, Linux 6.7; Documentation/admin-guide/mm/pagemap.rst. Names of our own:
 * linux/fs.h has them only in newer headers.
 */
struct pagemap_region {
	uint64_t start, end, categories;       /* bytes; PAGEMAP_IS_* of return_mask */
};
struct pagemap_scan {
	uint64_t size;                         /* of this struct */
	uint64_t flags;                        /* PAGEMAP_SCAN_* */
	uint64_t start, end;                   /* bytes, page-aligned */
	uint64_t walk_end;                     /* out: where the walk stopped */
	uint64_t vec;                          /* struct pagemap_region * */
	uint64_t vec_len;                      /* regions */
	uint64_t max_pages;                    /* 0 = no limit */
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_IS_WPALLOWED (1u << 0)
#define PAGEMAP_IS_WRITTEN (1u << 1)
#define PAGEMAP_IS_FILE (1u << 2)
#define PAGEMAP_IS_PRESENT (1u << 3)
#define PAGEMAP_IS_SWAPPED (1u << 4)
#define PAGEMAP_IS_PFNZERO (1u << 5)
#define PAGEMAP_IS_HUGE (1u << 6)
#define PAGEMAP_IS_SOFT_DIRTY (1u << 7)
#define PAGEMAP_IS_GUARD (1u << 8)             /* Linux 6.15 */
#define PAGEMAP_SCAN_WP_MATCHING (1u << 0)
#define PAGEMAP_SCAN_CHECK_WPASYNC (1u << 1)
/* Regions filled, 0 at the end. Can block on the target's mmap lock. */
int sys_pagemap_scan(int pagemap_fd, struct pagemap_scan *scan);
