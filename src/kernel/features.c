/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/features.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/features_arch.h"
#include "kernel/procfs.h"
#include "kernel/system.h"

/*
 * Each probe makes one call whose arguments are refused, in a way that tells a kernel that knows the call from one
 * that does not. A seccomp filter answers with -ENOSYS or -EPERM, so only the refusals that the call itself gives count
 * as "there".
 */

static bool release_at_least(const struct features *f, unsigned major, unsigned minor)
{
	return f->release_major > major || (f->release_major == major && f->release_minor >= minor);
}

/* An array of no numbers is -EINVAL (clone3_args_valid()); before Linux 5.5 a size this large is -E2BIG. */
static bool probe_clone3_set_tid(const struct features *f)
{
	pid_t tid = 1;
	struct system_clone_args args = { .set_tid = (uintptr_t)&tid };

	(void)f;
	return sys_clone3(&args, offsetof(struct system_clone_args, cgroup)) == -EINVAL;
}

static bool probe_pidfd_open(const struct features *f)
{
	(void)f;
	return sys_pidfd_open(0, 0) == -EINVAL;
}

static bool probe_pidfd_getfd(const struct features *f)
{
	(void)f;
	return sys_pidfd_getfd(-1, 0) == -EBADF;
}

static bool probe_kcmp(const struct features *f)
{
	pid_t self = getpid();

	(void)f;
	return sys_kcmp(self, self, KCMP_VM, 0, 0) == 0;
}

static bool probe_process_vm(const struct features *f)
{
	char from = 1, to = 0;

	(void)f;
	return sys_vm_read(getpid(), (uintptr_t)&from, &to, 1) == 1 && to == 1;
}

/* An unknown request of this file is -ENOTTY, ours without an argument -EFAULT. */
static bool probe_pagemap_scan(const struct features *f)
{
	AUTOCLOSE int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	(void)f;
	return fd >= 0 && sys_pagemap_scan(fd, &(struct pagemap_scan){ .vec_len = 1 }) != -ENOTTY;
}

/* prctl_set_mm_exe_file's successor exists only with CONFIG_CHECKPOINT_RESTORE; asking its size needs no privilege. */
static bool probe_set_mm_map(const struct features *f)
{
	unsigned size = 0;

	(void)f;
	return prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, (unsigned long)&size, 0, 0) == 0 && size > 0;
}

/* Nothing tells without a tracee; rseq itself tells CONFIG_RSEQ. */
static bool probe_ptrace_rseq(const struct features *f)
{
	return release_at_least(f, 5, 13) && syscall(SYS_rseq, NULL, 0, 0, 0) < 0 && errno != ENOSYS;
}

static bool probe_ptrace_peeksiginfo(const struct features *f)
{
	return release_at_least(f, 3, 10);
}

/* CONFIG_CHECKPOINT_RESTORE, as PR_SET_MM_MAP is, and CONFIG_SECCOMP_FILTER. */
static bool probe_ptrace_suspend_seccomp(const struct features *f)
{
	return release_at_least(f, 4, 3) && f->set_mm_map && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
}

static bool probe_proc_children(const struct features *f)
{
	(void)f;
	return access("/proc/thread-self/children", F_OK) == 0;
}

static bool probe_close_range(const struct features *f)
{
	(void)f;
	return sys_close_range(1, 0, 0) == -EINVAL;
}

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2
#endif
static bool probe_timer_restore_ids(const struct features *f)
{
	(void)f;
	return prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
}

static bool probe_arch_map_vdso(const struct features *f)
{
	(void)f;
	return features_arch_map_vdso();
}

#define ROW(field) .name = #field, .offset = offsetof(struct features, field), .probe = probe_##field

/* In the order of the probes: a probe may look at the results above it. */
const struct feature feature_rows[] = {
	{ ROW(clone3_set_tid), .required = true, .since = "Linux 5.5",
	  .purpose = "restore: creates tasks and threads with the pids they had", .missing = "nothing can be restored",
	  .hint = "run Linux 5.15 or newer; in a container, allow clone3 in its seccomp profile" },
	{ ROW(pidfd_open), .required = true, .since = "Linux 5.3",
	  .purpose = "holds a task without the risk that its pid is taken by another",
	  .missing = "nothing can be dumped",
	  .hint = "run Linux 5.15 or newer; in a container, allow pidfd_open in its seccomp profile" },
	{ ROW(pidfd_getfd), .required = true, .since = "Linux 5.6",
	  .purpose = "dump: copies descriptors of a task, to read what is behind them",
	  .missing = "tasks with open descriptors cannot be dumped",
	  .hint = "run Linux 5.15 or newer; in a container, allow pidfd_getfd in its seccomp profile" },
	{ ROW(kcmp), .required = true, .since = "Linux 3.5",
	  .purpose = "dump: tells which descriptors and tasks share one object",
	  .missing = "sharing between descriptors cannot be told, so nothing is dumped",
	  .hint = "a kernel with CONFIG_KCMP; in a container, allow kcmp in its seccomp profile" },
	{ ROW(process_vm), .required = true, .since = "Linux 3.2", .purpose = "reads and writes the memory of tasks",
	  .missing = "nothing can be dumped or restored",
	  .hint = "a kernel with CONFIG_CROSS_MEMORY_ATTACH; in a container, allow process_vm_readv and "
		  "process_vm_writev" },
	{ ROW(pagemap_scan), .since = "Linux 6.7",
	  .purpose = "dump: finds the pages that need saving in one call per area",
	  .missing = "/proc/PID/pagemap is read instead, which takes longer for large address spaces",
	  .hint = "run Linux 6.7 or newer" },
	{ ROW(arch_map_vdso), .required = true, .since = "Linux 4.9",
	  .purpose = "restore: maps the vdso at the address where the task had it",
	  .missing = "nothing can be restored", .hint = "a kernel with CONFIG_CHECKPOINT_RESTORE" },
	{ ROW(set_mm_map), .required = true, .since = "Linux 3.18",
	  .purpose = "restore: sets the borders of heap, stack, arguments and environment, and the link exe",
	  .missing = "nothing can be restored", .hint = "a kernel with CONFIG_CHECKPOINT_RESTORE" },
	{ ROW(ptrace_rseq), .since = "Linux 5.13",
	  .purpose = "dump: reads where a thread registered its restartable sequences",
	  .missing = "programs that use rseq (glibc 2.35 and newer) lose it at restore",
	  .hint = "run Linux 5.13 or newer with CONFIG_RSEQ" },
	{ ROW(ptrace_peeksiginfo), .required = true, .since = "Linux 3.10",
	  .purpose = "dump: reads pending signals without taking them",
	  .missing = "pending signals would be lost, so nothing is dumped", .hint = "run Linux 5.15 or newer" },
	{ ROW(ptrace_suspend_seccomp), .since = "Linux 4.3",
	  .purpose = "lets calls be made in a task whose seccomp filter forbids them",
	  .missing = "tasks under seccomp cannot be dumped or restored",
	  .hint = "a kernel with CONFIG_CHECKPOINT_RESTORE and CONFIG_SECCOMP_FILTER, and CAP_SYS_ADMIN" },
	{ ROW(proc_children), .required = true, .since = "Linux 3.5", .purpose = "dump: finds the children of a task",
	  .missing = "the tree below a task cannot be found, so nothing is dumped",
	  .hint = "a kernel with CONFIG_PROC_CHILDREN" },
	{ ROW(close_range), .since = "Linux 5.9", .purpose = "restore: closes what a new task inherited in one call",
	  .missing = "descriptors are closed one by one", .hint = "run Linux 5.9 or newer" },
	{ ROW(timer_restore_ids), .since = "Linux 6.15", .purpose = "restore: POSIX timers with the numbers they had",
	  .missing = "numbers are counted up to, one timer after the other, and those above 100000 are refused",
	  .hint = "run Linux 6.15 or newer" },
};
const size_t n_feature_rows = ARRAY_SIZE(feature_rows);

static bool *feature_flag(struct features *f, const struct feature *row)
{
	return (bool *)(void *)((char *)f + row->offset);
}

bool feature_present(const struct features *f, const struct feature *row)
{
	return *(const bool *)(const void *)((const char *)f + row->offset);
}

static const struct feature *find_row(const struct text *name)
{
	for (size_t i = 0; i < n_feature_rows; i++)
		if (text_equals(name, feature_rows[i].name))
			return &feature_rows[i];
	return NULL;
}

/* Bit i set: row i is turned off by FIRN_WITHOUT. */
static int features_without(uint64_t *ret, struct error *e)
{
	const char *list = secure_getenv("FIRN_WITHOUT");
	struct text t, name;
	uint64_t off = 0;

	t = list ? text_of(list, strlen(list)) : text_of("", 0);
	while (text_until(&t, ',', &name)) {
		const struct feature *row = find_row(&name);

		if (text_empty(&name))
			continue;
		if (!row) {
			error_raise(e, EINVAL, "FIRN_WITHOUT names “%.*s”, which is no feature", (int)text_len(&name),
				    name.p);
			error_hint(e, "`firn check` lists the features by name");
			return -EINVAL;
		}
		off |= 1ull << (row - feature_rows);
	}
	*ret = off;
	return 0;
}

static void read_release(struct features *f)
{
	struct utsname uts;
	struct text t;

	if (uname(&uts) < 0)
		return;
	t = text_of(uts.release, strnlen(uts.release, sizeof(uts.release)));
	if (!text_u32(&t, 10, &f->release_major) || !text_char(&t, '.') || !text_u32(&t, 10, &f->release_minor))
		f->release_major = f->release_minor = 0;
}

static uint64_t read_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

int features_probe(struct features *ret, struct error *e)
{
	struct features f = { 0 };
	long long pid_max;
	int r = features_without(&f.without, e);

	if (r < 0)
		return r;
	read_release(&f);
	f.page_size = (size_t)sysconf(_SC_PAGESIZE);
	f.cap_eff = read_capabilities();
	if (read_proc_number(AT_FDCWD, "/proc/sys/kernel/pid_max", 10, &pid_max) == 0 && pid_max <= INT32_MAX)
		f.pid_max = (pid_t)pid_max;
	features_arch_xsave(&f.xsave_size, &f.xsave_mask);
	for (size_t i = 0; i < n_feature_rows; i++)
		if (!(f.without >> i & 1))
			*feature_flag(&f, &feature_rows[i]) = feature_rows[i].probe(&f);
	*ret = f;
	return 0;
}
