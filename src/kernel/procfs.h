/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <time.h>

#include "base/arena.h"

/*
 * /proc, read and parsed apart: each parse_* takes a buffer (hostile: a task chooses its own name and paths), checks
 * lengths, counts and ranges, and returns 0 or -EINVAL without touching anything outside. Each read_* opens the file
 * below a descriptor of /proc/PID (or /proc/PID/task/TID), reads it whole, and parses it: 0 or -errno, nothing
 * raised. -ESRCH or -ENOENT means that the task is gone. man 5 proc; fields up to Linux 6.18.
 */

/* open("/proc/PID") or "/proc/PID/task/TID" as O_PATH|O_DIRECTORY|O_CLOEXEC: a descriptor, or -errno. */
int procfs_open(pid_t pid);
int procfs_open_thread(pid_t pid, pid_t tid);

/* Reads a whole file into a malloc'd, NUL-terminated buffer. @limit bytes at most, -EFBIG above. */
int procfs_read(int dirfd, const char *name, size_t limit, char **ret_text, size_t *ret_len);

struct proc_stat {                       /* /proc/PID/stat */
	pid_t pid, ppid, pgid, sid;
	char comm[64];
	char state;                      /* R S D T t Z X I … */
	int tty_nr, tty_pgrp;
	unsigned flags;                  /* PF_*: PF_KTHREAD 0x00200000 */
	int nice, num_threads;
	unsigned rt_priority, policy;
	unsigned long long start_time;
	uint64_t start_code, end_code, start_stack, start_data, end_data, start_brk;
	uint64_t arg_start, arg_end, env_start, env_end;
	int exit_code;                   /* as wait() gives it */
	int exit_signal;                 /* for the parent: SIGCHLD, another, or 0 */
};
int parse_proc_stat(const char *text, size_t len, struct proc_stat *ret);
int read_proc_stat(int dirfd, struct proc_stat *ret);

struct proc_status {                     /* /proc/PID/status */
	char name[64];
	char state;
	pid_t tgid, pid, ppid, tracer;
	uint32_t uid[4], gid[4];         /* real, effective, saved, file system */
	uint32_t *groups;                /* in the arena */
	size_t n_groups;
	uint32_t umask;
	bool umask_known;
	uint64_t sig_pending, shared_pending, sig_blocked, sig_ignored, sig_caught;
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
	bool no_new_privs;
	int seccomp;                     /* 0 none, 1 strict, 2 filter */
	int seccomp_filters;
	int thp_enabled;                 /* -1 = line missing */
	unsigned threads;
	unsigned ns_pid_depth;           /* numbers on the NSpid line */
	pid_t ns_pid[33];               /* outermost first; 32 is the kernel's deepest nesting */
};
int parse_proc_status(const char *text, size_t len, struct arena *a, struct proc_status *ret);
int read_proc_status(int dirfd, struct arena *a, struct proc_status *ret);

/* One area of /proc/PID/smaps (or maps: then vm_flags is 0 and the sizes are 0). */
struct proc_map {
	uint64_t start, end, offset;     /* bytes */
	uint32_t prot;                   /* PROT_* */
	bool shared;                     /* the fourth letter is s */
	unsigned dev_major, dev_minor;
	uint64_t inode;
	const char *path;                /* "" when anonymous; newlines unescaped; " (deleted)" left on. For people and for
					  * comparing: the file itself is found by device and inode or map_files */
	uint64_t vm_flags;               /* VMFLAG_* bits below */
	uint64_t rss, swap, anonymous;   /* bytes */
	uint64_t page_size;              /* KernelPageSize in bytes; 4096 when unknown */
	uint32_t pkey;                   /* ProtectionKey: pkey_mprotect(2); 0 = none */
};
/* Two-letter codes of the VmFlags line, man 5 proc. */
enum proc_vmflag {
	VMFLAG_RD = 1 << 0, VMFLAG_WR = 1 << 1, VMFLAG_EX = 1 << 2, VMFLAG_SH = 1 << 3,
	VMFLAG_MR = 1 << 4, VMFLAG_MW = 1 << 5, VMFLAG_ME = 1 << 6, VMFLAG_MS = 1 << 7,
	VMFLAG_GD = 1 << 8, VMFLAG_PF = 1 << 9, VMFLAG_LO = 1 << 10, VMFLAG_IO = 1 << 11,
	VMFLAG_SR = 1 << 12, VMFLAG_RR = 1 << 13, VMFLAG_DC = 1 << 14, VMFLAG_DE = 1 << 15,
	VMFLAG_AC = 1 << 16, VMFLAG_NR = 1 << 17, VMFLAG_HT = 1 << 18, VMFLAG_SF = 1 << 19,
	VMFLAG_AR = 1 << 20, VMFLAG_WF = 1 << 21, VMFLAG_DD = 1 << 22, VMFLAG_SD = 1 << 23,
	VMFLAG_MM = 1 << 24, VMFLAG_HG = 1 << 25, VMFLAG_NH = 1 << 26, VMFLAG_MG = 1 << 27,
	VMFLAG_UM = 1 << 28, VMFLAG_UW = 1 << 29, VMFLAG_SS = 1 << 30,
};
#define VMFLAG_SL (1ull << 31)           /* sealed (mseal) */
#define VMFLAG_GU (1ull << 32)           /* guard regions may be inside ("gu") */
#define VMFLAG_LF (1ull << 33)           /* locked on fault: mlock2(MLOCK_ONFAULT) */
#define VMFLAG_UI (1ull << 34)           /* userfaultfd minor mode */
#define VMFLAG_DP (1ull << 35)           /* MAP_DROPPABLE, Linux 6.11 */

/* @smaps: lines of smaps; otherwise of maps. The array and the paths lie in the arena. Areas must ascend and not
 * overlap, -EINVAL otherwise. [vsyscall] is included. read_proc_maps() gives -EAGAIN when the areas of a task that
 * still runs changed at each of several attempts; a stopped one, whose mm nobody else runs on, cannot give that. */
int parse_proc_maps(const char *text, size_t len, bool smaps, struct arena *a, struct proc_map **ret, size_t *ret_n);
int read_proc_maps(int dirfd, bool smaps, struct arena *a, struct proc_map **ret, size_t *ret_n);

struct proc_fdinfo {                     /* /proc/PID/fdinfo/N */
	uint64_t pos;
	uint32_t flags;                  /* open flags; O_CLOEXEC included */
	int mnt_id;
	uint64_t ino;                    /* 0 before Linux 5.14 */
	const char *rest;                /* the kind's own lines (eventfd-count: …, tfd: …), "" if none; in the arena */
};
int parse_proc_fdinfo(const char *text, size_t len, struct arena *a, struct proc_fdinfo *ret);
int read_proc_fdinfo(int dirfd, int fd, struct arena *a, struct proc_fdinfo *ret);

/* A lock or lease of fdinfo. A POSIX lock shows with every descriptor of the file in the process that took it, the others
 * with every descriptor of their open file. */
enum proc_lock_sort { LOCK_SORT_POSIX, LOCK_SORT_FLOCK, LOCK_SORT_OFD, LOCK_SORT_LEASE };
struct proc_lock {
	enum proc_lock_sort sort;
	int type;                        /* F_RDLCK or F_WRLCK; of a lease that is being broken what it is to become, also F_UNLCK */
	bool breaking;                   /* a lease that somebody has asked to be given up */
	uint64_t start, len;             /* bytes; len 0: to the end */
	pid_t pid;                       /* who took it; -1: LOCK_SORT_OFD; 0: somebody outside of the pid namespace */
	unsigned dev_major, dev_minor;   /* of the file system */
	uint64_t ino;                    /* as in proc_fdinfo.ino */
	bool waiting;                    /* /proc/locks: not had, but waited for */
};
/* The locks that proc_fdinfo.rest begins with; -EINVAL when a line is not as expected, -ENOMEM. */
int parse_fdinfo_locks(const char *rest, struct arena *a, struct proc_lock **ret, size_t *ret_n);
/* /proc/locks; lines of other sorts are passed over. -ENOMEM. */
int parse_proc_locks(const char *text, size_t len, struct arena *a, struct proc_lock **ret, size_t *ret_n);

/* The connection's number of a descriptor of /dev/fuse, out of proc_fdinfo.rest: that of its folder in
 * /sys/fs/fuse/connections, and the minor number of its mounts. -EINVAL when there is none (before Linux 6.18, or it was not
 * mounted). */
int parse_fdinfo_fuse(const char *rest, uint32_t *ret);

/*
 * The own lines of three kinds of descriptors, out of proc_fdinfo.rest; lines of others (file locks) are passed over.
 * -EINVAL when a line is not as expected or is missing, -ENOMEM.
 */
struct proc_epoll_target {               /* one line of an epoll: man 5 proc_pid_fdinfo */
	int tfd;                         /* as it was called in the table of the task that added it */
	uint32_t events;                 /* EPOLL*; with EPOLLONESHOT alone, and nothing to wait for: it has fired */
	uint64_t data;
	int64_t pos;
	uint64_t ino;                    /* as in proc_fdinfo.ino */
	uint32_t dev;                    /* of the file system, as the kernel counts: major << 20 | minor */
};
int parse_fdinfo_epoll(const char *rest, struct arena *a, struct proc_epoll_target **ret, size_t *ret_n);

int parse_fdinfo_signalfd(const char *rest, uint64_t *ret_mask);    /* bit 0: signal 1 */

struct proc_timerfd {
	int clockid;
	uint64_t ticks;                  /* not read yet */
	uint32_t settime_flags;          /* TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET */
	struct timespec value, interval; /* the value is what remains, whatever the flags; 0: disarmed, or just expired */
};
int parse_fdinfo_timerfd(const char *rest, struct proc_timerfd *ret);

/* A mark of an inotify or fanotify descriptor, out of proc_fdinfo.rest. */
enum proc_mark_sort { MARK_INODE, MARK_MOUNT, MARK_FILE_SYSTEM, MARK_OTHER };
struct proc_mark {
	enum proc_mark_sort sort;
	uint32_t wd;                     /* inotify: 1 to INT32_MAX */
	uint64_t ino;                    /* MARK_INODE: the kernel's inode number; stat() may tell another (overlayfs, btrfs) */
	uint32_t dev;                    /* of the file system: major << 20 | minor, as in mountinfo */
	uint32_t mnt_id;                 /* MARK_MOUNT */
	uint32_t mflags, mask, ignored_mask;
	uint32_t handle_type;            /* man 2 open_by_handle_at */
	size_t handle_len;               /* bytes; 0: the file system has none */
	uint8_t handle[128];
};
int parse_fdinfo_inotify(const char *rest, struct arena *a, struct proc_mark **ret, size_t *ret_n);
struct proc_fanotify {
	uint32_t flags, event_flags;     /* of fanotify_init(2) */
	struct proc_mark *marks;
	size_t n_marks;
};
int parse_fdinfo_fanotify(const char *rest, struct arena *a, struct proc_fanotify *ret);

/* -1: the task has been reaped. 0: it is in no pid namespace below the reader's. */
int parse_fdinfo_pidfd(const char *rest, pid_t *ret_pid);

/* Descriptor numbers of /proc/PID/fd, ascending. Tids of /proc/PID/task, the leader first. Pids of the children of all
 * threads, from /proc/PID/task/TID/children: threads that have gone are left out, -ESRCH when all have, -EOPNOTSUPP
 * when the kernel lacks CONFIG_PROC_CHILDREN. None of the lists is exact while tasks still run. */
int read_proc_fds(int dirfd, struct arena *a, int **ret, size_t *ret_n);
int read_proc_tasks(int dirfd, struct arena *a, pid_t **ret, size_t *ret_n);
int read_proc_children(pid_t pid, const pid_t *tids, size_t n_tids, struct arena *a, pid_t **ret, size_t *ret_n);

/* readlink below dirfd ("fd/5", "exe", "cwd", "ns/mnt"), NUL-terminated in the arena. */
int read_proc_link(int dirfd, const char *name, struct arena *a, char **ret);

struct proc_mount {                      /* /proc/PID/mountinfo */
	int mnt_id, parent_id;
	unsigned major, minor;
	const char *root, *mountpoint, *options, *fstype, *source, *super_options;
};
int parse_proc_mountinfo(const char *text, size_t len, struct arena *a, struct proc_mount **ret, size_t *ret_n);
int read_proc_mountinfo(int dirfd, struct arena *a, struct proc_mount **ret, size_t *ret_n);

struct proc_timer {                      /* /proc/PID/timers */
	int id, signo, notify, clockid;  /* notify: SIGEV_*; SIGEV_THREAD_ID included as a bit of its own (4) */
	uint64_t sigval;
	pid_t target;                    /* the number after "pid." or "tid." */
	bool target_is_thread;
};
int parse_proc_timers(const char *text, size_t len, struct arena *a, struct proc_timer **ret, size_t *ret_n);
int read_proc_timers(int dirfd, struct arena *a, struct proc_timer **ret, size_t *ret_n);

/* /proc/PID/timens_offsets: of the time namespace that the task's children will be in, from the machine's clocks, in ns.
 * -ENOENT: a kernel without time namespaces. */
struct proc_timens_offsets {
	int64_t monotonic, boottime;
};
int parse_proc_timens_offsets(const char *text, size_t len, struct proc_timens_offsets *ret);
int read_proc_timens_offsets(int dirfd, struct proc_timens_offsets *ret);

/* /proc/PID/limits: indexed by RLIMIT_*, RLIM_INFINITY for "unlimited". */
struct proc_limits {
	uint64_t soft[16], hard[16];
};
int parse_proc_limits(const char *text, size_t len, struct proc_limits *ret);
int read_proc_limits(int dirfd, struct proc_limits *ret);

struct proc_syscall {                    /* /proc/PID/task/TID/syscall */
	long nr;                         /* -1: inside of none, or running */
	uint64_t args[6];
	uint64_t pc;                     /* where it stands; 0: running */
};
int parse_proc_syscall(const char *text, size_t len, struct proc_syscall *ret);

/* Numbers alone in a file, in @base 8, 10 or 16: personality (16), timerslack_ns, oom_score_adj, loginuid (10). */
int read_proc_number(int dirfd, const char *name, int base, long long *ret);
/* auxv: u64 values, in pairs, up to and including those of AT_NULL; @ret_n counts values, not pairs. 0 values for a
 * task without an address space. */
int parse_proc_auxv(const char *text, size_t len, struct arena *a, uint64_t **ret, size_t *ret_n);
int read_proc_auxv(int dirfd, struct arena *a, uint64_t **ret, size_t *ret_n);
/* Is it the auxv of a 32-bit program, with words of 4 bytes? It says so without a look at the executable, which may be on a
 * server that does not answer. */
bool parse_proc_auxv_32bit(const char *text, size_t len);
/* false also when it cannot be read. */
bool read_proc_auxv_32bit(int dirfd);
/* wchan: the kernel function that a task sleeps in; "0" when it runs, or when that is not to be known. */
int read_proc_wchan(int dirfd, char *ret, size_t size);
