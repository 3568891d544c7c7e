/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/check.h"
#include "kernel/procfs.h"
#include "kernel/system.h"

/* What must work on tasks, tried on children that do nothing but wait. */

#define CHILD_DEADLINE_S 2

/* A child that waits to be killed; also when firn dies first. */
static pid_t start_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

static void end_child(pid_t pid)
{
	if (pid <= 0)
		return;
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* Waits for a stop of @pid, at most CHILD_DEADLINE_S seconds. SIGCHLD is blocked, so none is missed. */
static bool wait_stop(pid_t pid)
{
	struct timespec limit = { .tv_sec = CHILD_DEADLINE_S };
	sigset_t set;
	int status;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	for (;;) {
		pid_t r = waitpid(pid, &status, WNOHANG | __WALL);

		if (r == pid)
			return WIFSTOPPED(status);
		if (r < 0 || (sigtimedwait(&set, NULL, &limit) < 0 && errno != EINTR))
			return false;
	}
}

/* What a stopped child gives away; writes the name of the first request that fails. */
static enum check_state try_requests(const struct features *f, pid_t pid, char *detail, size_t size)
{
	struct __ptrace_peeksiginfo_args peek = { .nr = 1 };
	struct __ptrace_rseq_configuration rseq;
	unsigned char state[16384];
	siginfo_t info;
	struct iovec iov = { state, sizeof(state) };
	const char *failed = NULL;

	if (ptrace(PTRACE_PEEKSIGINFO, pid, &peek, &info) < 0)
		failed = "PTRACE_PEEKSIGINFO";
	else if (f->xsave_size && ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &iov) < 0)
		failed = "PTRACE_GETREGSET of NT_X86_XSTATE";
	else if (f->ptrace_rseq && ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, sizeof(rseq), &rseq) < 0)
		failed = "PTRACE_GET_RSEQ_CONFIGURATION";
	else if (f->ptrace_suspend_seccomp && ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_SUSPEND_SECCOMP) < 0)
		failed = "PTRACE_O_SUSPEND_SECCOMP";
	if (!failed)
		return CHECK_YES;
	(void)snprintf(detail, size, "%s: %s", failed, strerror(errno));
	return CHECK_PARTLY;
}

static enum check_state probe_ptrace(const struct features *f, char *detail, size_t size)
{
	enum check_state state = CHECK_NO;
	sigset_t block, old;
	pid_t pid;

	(void)sigemptyset(&block);
	(void)sigaddset(&block, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &block, &old);
	pid = start_child();
	if (pid > 0 && ptrace(PTRACE_SEIZE, pid, 0, 0) == 0 && ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0) {
		if (wait_stop(pid))
			state = try_requests(f, pid, detail, size);
		else
			(void)snprintf(detail, size, "a child did not stop within %d s", CHILD_DEADLINE_S);
	} else {
		(void)snprintf(detail, size, "%s: %s", pid > 0 ? "PTRACE_SEIZE" : "fork", strerror(errno));
	}
	end_child(pid);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	return state;
}

/* The number of a child that has just ended is free, unless somebody took it meanwhile: -EEXIST is as good. */
static enum check_state probe_choose_pid(const struct features *f, char *detail, size_t size)
{
	pid_t free_pid = start_child(), pid;
	struct system_clone_args args = { .exit_signal = SIGCHLD };

	end_child(free_pid);
	if (free_pid < 0 || !f->clone3_set_tid)
		return CHECK_NO;
	args.set_tid = (uintptr_t)&free_pid;
	args.set_tid_size = 1;
	pid = sys_clone3(&args, sizeof(args));
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		end_child(pid);
	if (pid == free_pid || pid == -EEXIST)
		return CHECK_YES;
	(void)snprintf(detail, size, "clone3: %s", strerror(-pid));
	return CHECK_NO;
}

/* The C library's own file: a mapping that every dynamic program has; a static one has its own. */
static enum check_state probe_map_files(const struct features *f, char *detail, size_t size)
{
	AUTOCLOSE int proc = procfs_open(getpid());
	struct arena a = { 0 };
	enum check_state state = CHECK_NO;
	struct proc_map *maps;
	char name[64];
	size_t n = 0;

	(void)f;
	if (proc < 0 || read_proc_maps(proc, false, &a, &maps, &n) < 0)
		n = 0;
	for (size_t i = 0; i < n; i++) {
		AUTOCLOSE int fd = -1;

		if (maps[i].inode == 0 || maps[i].path[0] != '/')
			continue;
		(void)snprintf(name, sizeof(name), "map_files/%lx-%lx", (unsigned long)maps[i].start,
			       (unsigned long)maps[i].end);
		fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
		state = fd >= 0 ? CHECK_YES : CHECK_NO;
		if (fd < 0)
			(void)snprintf(detail, size, "%s", strerror(errno));
		break;
	}
	arena_release(&a);
	return state;
}

/* The kernel names page frames' flags only with CONFIG_PROC_PAGE_MONITOR; the file is missing otherwise. */
static enum check_state probe_pagemap(const struct features *f, char *detail, size_t size)
{
	AUTOCLOSE int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;
	int on_stack = 1;

	(void)f;
	if (fd >= 0 &&
	    pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)&on_stack / 4096 * sizeof(entry))) == sizeof(entry) &&
	    entry >> 63)
		return CHECK_YES;
	(void)snprintf(detail, size, "%s", fd < 0 ? strerror(errno) : "it does not show this program's own stack");
	return CHECK_NO;
}

/* Linux 6.16: linux/prctl.h */
#define TIMER_CREATE_RESTORE_IDS 77
#define TIMER_CREATE_RESTORE_IDS_GET 2

static enum check_state probe_timer_ids(const struct features *f, char *detail, size_t size)
{
	(void)f;
	(void)detail;
	(void)size;
	return prctl(TIMER_CREATE_RESTORE_IDS, TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0 ? CHECK_YES : CHECK_NO;
}

static enum check_state probe_proc_timers(const struct features *f, char *detail, size_t size)
{
	(void)f;
	(void)detail;
	(void)size;
	return access("/proc/self/timers", R_OK) == 0 ? CHECK_YES : CHECK_NO;
}

static enum check_state probe_xsave(const struct features *f, char *detail, size_t size)
{
	if (!f->xsave_size)
		return CHECK_PARTLY;
	(void)snprintf(detail, size, "%zu bytes a thread, components %#llx", f->xsave_size,
		       (unsigned long long)f->xsave_mask);
	return CHECK_YES;
}

static const struct check rows[] = {
	{ .name = "ptrace",
	  .required = true,
	  .probe = probe_ptrace,
	  .purpose = "stops tasks and reads their registers, signals and rseq; tried on a child",
	  .missing = "what the failed request would read is not dumped, or tasks under seccomp are refused",
	  .hint = "run firn as root; in a container, allow ptrace and CAP_SYS_PTRACE" },
	{ .name = "choose_pid",
	  .required = true,
	  .probe = probe_choose_pid,
	  .purpose = "restore: gives a task the pid it had; tried on a child",
	  .missing = "nothing can be restored",
	  .hint = "run firn as root or with CAP_CHECKPOINT_RESTORE" },
	{ .name = "map_files",
	  .probe = probe_map_files,
	  .purpose = "dump: opens the very file behind a mapping, whatever its name is now",
	  .missing = "mapped files are found by name; deleted or replaced ones are refused",
	  .hint = "a kernel with CONFIG_CHECKPOINT_RESTORE, and CAP_CHECKPOINT_RESTORE" },
	{ .name = "pagemap",
	  .required = true,
	  .probe = probe_pagemap,
	  .purpose = "dump: tells which pages hold content",
	  .missing = "nothing can be dumped",
	  .hint = "a kernel with CONFIG_PROC_PAGE_MONITOR" },
	{ .name = "proc_timers",
	  .probe = probe_proc_timers,
	  .purpose = "dump: lists POSIX timers (timer_create)",
	  .missing = "tasks with POSIX timers lose them or are refused",
	  .hint = "a kernel with CONFIG_POSIX_TIMERS and CONFIG_CHECKPOINT_RESTORE" },
	{ .name = "timer_ids",
	  .probe = probe_timer_ids,
	  .purpose = "restore: creates POSIX timers under the ids they had",
	  .missing = "timers are created and deleted until the id comes by, which takes long for high ids",
	  .hint = "run Linux 6.16 or newer" },
	{ .name = "xsave",
	  .probe = probe_xsave,
	  .purpose = "extended registers: AVX, AVX-512, protection keys, AMX",
	  .missing = "the processor has none beyond SSE: images from newer processors may not be restored",
	  .hint = NULL },
};

const struct check_group check_tasks = { "tasks", rows, ARRAY_SIZE(rows) };
