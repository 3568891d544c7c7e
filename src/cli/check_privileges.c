/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/check.h"
#include "kernel/procfs.h"

/* What firn is allowed to do. Capabilities have no probe: they are in features.cap_eff. */

static enum check_state probe_checkpoint_restore(const struct features *f, char *detail, size_t size)
{
	if (features_capable(f, CAP_CHECKPOINT_RESTORE))
		return CHECK_YES;
	if (!features_capable(f, CAP_SYS_ADMIN))
		return CHECK_NO;
	(void)snprintf(detail, size, "CAP_SYS_ADMIN stands in for it");
	return CHECK_YES;
}

static enum check_state probe_ptrace_capability(const struct features *f, char *detail, size_t size)
{
	if (features_capable(f, CAP_SYS_PTRACE))
		return CHECK_YES;
	(void)snprintf(detail, size, "tasks of your own user alone");
	return CHECK_PARTLY;
}

/* Documentation/admin-guide/LSM/Yama.rst; no file without Yama. */
static enum check_state probe_ptrace_scope(const struct features *f, char *detail, size_t size)
{
	long long scope;

	if (read_proc_number(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", 10, &scope) < 0)
		return CHECK_YES;
	(void)snprintf(detail, size, "kernel.yama.ptrace_scope is %lld", scope);
	if (scope <= 0)
		return CHECK_YES;
	return scope <= 2 && features_capable(f, CAP_SYS_PTRACE) ? CHECK_YES : CHECK_NO;
}

/* Capabilities count in the user namespace where they were given. */
static enum check_state probe_initial_user_namespace(const struct features *f, char *detail, size_t size)
{
	AUTOFREE char *text = NULL;
	uint64_t inside, outside, count;
	struct text t;
	size_t len;

	(void)f;
	if (procfs_read(AT_FDCWD, "/proc/self/uid_map", 65536, &text, &len) < 0)
		return CHECK_YES; /* no user namespaces in this kernel */
	t = text_of(text, len);
	text_blanks(&t);
	if (text_u64(&t, 10, &inside) && (text_blanks(&t), text_u64(&t, 10, &outside)) &&
	    (text_blanks(&t), text_u64(&t, 10, &count)) && inside == 0 && outside == 0 && count == 4294967295)
		return CHECK_YES;
	(void)snprintf(detail, size, "firn runs in a user namespace");
	return CHECK_PARTLY;
}

#define CAP(word, number) .name = word, .capability = number

static const struct check rows[] = {
	{ .name = "CAP_CHECKPOINT_RESTORE",
	  .required = true,
	  .probe = probe_checkpoint_restore,
	  .purpose = "restore: chooses the pids; dump: opens mapped files by /proc/PID/map_files",
	  .missing = "nothing can be restored, nor deleted files that are mapped be dumped",
	  .hint = "run firn as root or with CAP_CHECKPOINT_RESTORE (Linux 5.9)" },
	{ .name = "CAP_SYS_PTRACE",
	  .probe = probe_ptrace_capability,
	  .purpose = "dumps tasks of other users, and set-user-ID programs",
	  .missing = "only tasks of firn's own user can be dumped",
	  .hint = "run firn as root or with CAP_SYS_PTRACE" },
	{ .name = "ptrace_scope",
	  .required = true,
	  .probe = probe_ptrace_scope,
	  .purpose = "the security module Yama must let firn trace tasks that are not its children",
	  .missing = "no running task can be dumped",
	  .hint = "give firn CAP_SYS_PTRACE, or sysctl kernel.yama.ptrace_scope=0 (3 stays until reboot)" },
	{ .name = "user_namespace",
	  .probe = probe_initial_user_namespace,
	  .purpose = "capabilities count for tasks of the user namespace that firn runs in",
	  .missing = "tasks outside of it cannot be dumped, and its users are all that can be restored",
	  .hint = "run firn in the initial user namespace" },
	{ CAP("CAP_SYS_ADMIN", CAP_SYS_ADMIN), .purpose = "seccomp filters, namespaces, mounts",
	  .missing = "tasks under seccomp, in namespaces of their own or in containers are refused",
	  .hint = "run firn as root" },
	{ CAP("CAP_SYS_RESOURCE", CAP_SYS_RESOURCE),
	  .purpose = "restore: limits above firn's own, oom_score_adj below firn's own, pipes above fs.pipe-max-size",
	  .missing = "a tree that has such a limit cannot be restored exactly",
	  .hint = "run firn with CAP_SYS_RESOURCE, or raise the limits that firn is started with" },
	{ CAP("CAP_SETUID", CAP_SETUID), .purpose = "restore: user ids of tasks",
	  .missing = "only tasks of firn's own user can be restored", .hint = "run firn as root" },
	{ CAP("CAP_SETGID", CAP_SETGID), .purpose = "restore: group ids and supplementary groups",
	  .missing = "only tasks with firn's own groups can be restored", .hint = "run firn as root" },
	{ CAP("CAP_SETPCAP", CAP_SETPCAP), .purpose = "restore: securebits and a smaller bounding set of capabilities",
	  .missing = "tasks that have them cannot be restored", .hint = "run firn as root" },
	{ CAP("CAP_SYS_CHROOT", CAP_SYS_CHROOT),
	  .purpose = "restore: tasks whose root is not firn's, and mount namespaces",
	  .missing = "such tasks cannot be restored", .hint = "run firn as root" },
	{ CAP("CAP_DAC_OVERRIDE", CAP_DAC_OVERRIDE),
	  .purpose = "opens files whatever their mode is, as the tasks did before they gave up their rights",
	  .missing = "files that firn's user may not open cannot be restored", .hint = "run firn as root" },
	{ CAP("CAP_CHOWN", CAP_CHOWN), .purpose = "restore: owners of deleted files and FIFOs that are made anew",
	  .missing = "they belong to firn's user", .hint = "run firn as root" },
	{ CAP("CAP_SYS_NICE", CAP_SYS_NICE),
	  .purpose = "restore: negative nice values, real-time scheduling, real-time I/O priority",
	  .missing = "tasks that have them cannot be restored", .hint = "run firn as root" },
	{ CAP("CAP_IPC_LOCK", CAP_IPC_LOCK), .purpose = "restore: locked memory above RLIMIT_MEMLOCK",
	  .missing = "tasks that lock more than that cannot be restored",
	  .hint = "run firn as root or raise `ulimit -l`" },
	{ CAP("CAP_NET_ADMIN", CAP_NET_ADMIN),
	  .purpose = "established TCP connections (TCP_REPAIR) and the network lock",
	  .missing = "established connections cannot be dumped or restored", .hint = "run firn as root" },
	{ CAP("CAP_NET_BIND_SERVICE", CAP_NET_BIND_SERVICE),
	  .purpose = "restore: listeners on ports below net.ipv4.ip_unprivileged_port_start",
	  .missing = "such listeners cannot be restored", .hint = "run firn as root" },
};

const struct check_group check_privileges = { "privileges", rows, ARRAY_SIZE(rows) };
