/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "core.pb-c.h"
#include "file-lock.pb-c.h"
#include "kernel/procfs.h"
#include "mm.pb-c.h"
#include "puppet/puppet.h"

/*
 * The tree as both directions see it. A dump fills it from the kernel, a restore from the images; what is known of a
 * task is kept in the messages of the image format (core, mm), so that there is one model and no copying between two.
 * Everything lies in the operation's arena.
 */

/* CRIU's numbers in core.tc.task_state. */
enum task_state {
	TASK_ALIVE = 1,
	TASK_ZOMBIE = 2,
	TASK_STOPPED = 3,
	TASK_GONE = 100,                /* dump: ended before it could be stopped; dropped */
};

struct thread {
	struct task *task;
	pid_t tid;
	struct puppet puppet;
	CoreEntry *core;                /* the leader's holds tc and ids too */
	int proc_fd;                    /* dump: /proc/PID/task/TID, or -1 */
	struct proc_status status;      /* dump */
	bool seized;
};

/* FileLockEntry.flag, as CRIU numbers them */
#define FILE_LOCK_POSIX 1u
#define FILE_LOCK_FLOCK 2u
#define FILE_LOCK_LEASE 8u
#define FILE_LOCK_OFD 4u

/* A descriptor of a task: its number, flags and the object behind it. */
struct descriptor {
	int number;
	bool cloexec;
	struct file *file;              /* kinds/kind.h */
};

struct task {
	struct task *parent;            /* NULL for the root */
	pid_t pid, ppid, pgid, sid;
	enum task_state state;
	int exit_code;                  /* zombies, as wait() gives it */
	char comm[16];

	struct thread *threads;         /* threads[0] is the leader, but see leader_exited; empty for zombies */
	size_t n_threads;

	/* The first task (in tree order) that shares the address space, descriptor table, fs, signal handlers: itself
	 * when it is the first. Only that one dumps and restores the thing. */
	struct task *mm_owner, *files_owner, *fs_owner, *sighand_owner;

	/* The first thread has ended (pthread_exit() in main()) and the others have not. Then a dump has no thread of
	 * it: threads[0] is one that lives and stands for the process, proc_fd is its /proc/TID and pidfd is its own,
	 * since the ended one has no memory and no files any more. A restore has it as threads[0], and it ends last. */
	bool leader_exited;
	int leader_exit_code, leader_exit_signal;
	char leader_comm[16];

	CoreEntry *core;                /* = threads[0].core; for zombies its own */
	MmEntry *mm;                    /* NULL for zombies and for tasks that share another's */
	struct mm_plan *mm_plan;        /* memory/ keeps its own facts here */

	struct descriptor *descriptors; /* ascending by number */
	size_t n_descriptors;
	FileLockEntry **locks;          /* file locks and leases taken through them (kinds/lock.h) */
	size_t n_locks, locks_room;
	struct file *exe, *cwd, *root;  /* root is NULL when it is the same as the engine's */

	bool made;                      /* restore: it exists */
	pid_t session_now;              /* restore: the session it is in while the tree grows */

	int proc_fd;                    /* dump: /proc/PID, or -1 */
	int pidfd;                      /* or -1 */
	struct proc_stat stat;          /* dump */
	uint64_t vdso;                  /* dump: AT_SYSINFO_EHDR; 0 = none, or not asked yet */
	struct proc_map *maps;          /* dump: from smaps; restore: NULL */
	size_t n_maps;
};

struct tree {
	struct task **tasks;            /* parents before children; tasks[0] is the root */
	size_t n_tasks;
	size_t n_threads;               /* of all tasks */
	uint64_t vdso_until;            /* until when threads are let out of the vdso (CLOCK_MONOTONIC, ns); 0: none was */
};

/* A task's name as the kernel keeps it: 15 bytes and a NUL. */
static inline void comm_copy(char to[16], const char *from)
{
	size_t n = strnlen(from, 15);

	memcpy(to, from, n);
	memset(to + n, 0, 16 - n);
}

/* dump: a thread that has the memory and the files of the task, for calls that take its number. */
static inline pid_t task_living(const struct task *t)
{
	return t->n_threads > 0 ? t->threads[0].tid : t->pid;
}

struct task *tree_find(const struct tree *t, pid_t pid);
/* The descriptor with that number in the task's own table, or NULL. */
const struct descriptor *task_descriptor(const struct task *t, int number);
