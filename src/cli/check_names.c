/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "base/cleanup.h"
#include "cli/check.h"

/*
 * The names that `criu check --feature` knows (its manual page and its help list them), for the scripts and test suites
 * that ask for one before they go on. Each stands for the row of `firn check` on which the same thing depends. Without a row
 * firn itself does not carry it, whatever the kernel offers.
 */
static const struct {
	const char *theirs, *ours;
} names[] = {
	{ "mnt_id", "linux" },
	{ "mem_dirty_track", NULL },
	{ "aio_remap", "linux" },
	{ "timerfd", "linux" },
	{ "tun", "CAP_NET_ADMIN" },
	{ "tun_ns", NULL },
	{ "userns", NULL },
	{ "fdinfo_lock", "linux" },
	{ "seccomp_suspend", "ptrace_suspend_seccomp" },
	{ "seccomp_filters", "ptrace_suspend_seccomp" },
	{ "loginuid", NULL },
	{ "cgroupns", NULL },
	{ "autofs", NULL },
	{ "tcp_half_closed", "tcp_repair" },
	{ "compat_cr", NULL },
	{ "uffd", NULL },
	{ "uffd-noncoop", NULL },
	{ "can_map_vdso", "arch_map_vdso" },
	{ "sk_ns", NULL },
	{ "sk_unix_file", "linux" },
	{ "net_diag_raw", "linux" },
	{ "nsid", NULL },
	{ "link_nsid", NULL },
	{ "kcmp_epoll", "kcmp" },
	{ "timens", "time_namespaces" },
	{ "external_net_ns", NULL },
	{ "newifindex", NULL },
	{ "has_ipt_legacy", NULL },
	{ "pidfd_store", "pidfd_getfd" },
	{ "ns_pid", NULL },
	{ "apparmor_stacking", NULL },
	{ "network_lock_nftables", "nftables" },
	{ "sockopt_buf_lock", "linux" },
	{ "memfd_hugetlb", "hugetlb" },
	{ "move_mount_set_group", NULL },
	{ "openat2", "linux" },
	{ "get_rseq_conf", "ptrace_rseq" },
	{ "ipv6_freebind", "linux" },
	{ "overlayfs_maps", "map_files" },
};

bool check_other_name(const char *name, const char **ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i].theirs, name) == 0) {
			*ret = names[i].ours;
			return true;
		}
	}
	return false;
}
