/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of a checkpoint: name, magic number and message of each. Names and numbers are facts of CRIU's format, as
 * its image tool (crit) has them; an image is recognised by its second magic, the first says "image" or "service".
 */
#include "image/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apparmor.pb-c.h"
#include "autofs.pb-c.h"
#include "binfmt-misc.pb-c.h"
#include "bpfmap-data.pb-c.h"
#include "bpfmap-file.pb-c.h"
#include "cgroup.pb-c.h"
#include "core.pb-c.h"
#include "cpuinfo.pb-c.h"
#include "creds.pb-c.h"
#include "eventfd.pb-c.h"
#include "eventpoll.pb-c.h"
#include "ext-file.pb-c.h"
#include "fdinfo.pb-c.h"
#include "fifo.pb-c.h"
#include "file-lock.pb-c.h"
#include "fs.pb-c.h"
#include "fsnotify.pb-c.h"
#include "ghost-file.pb-c.h"
#include "inventory.pb-c.h"
#include "ipc-msg.pb-c.h"
#include "ipc-sem.pb-c.h"
#include "ipc-shm.pb-c.h"
#include "ipc-var.pb-c.h"
#include "memfd.pb-c.h"
#include "mm.pb-c.h"
#include "mnt.pb-c.h"
#include "netdev.pb-c.h"
#include "ns.pb-c.h"
#include "packet-sock.pb-c.h"
#include "pagemap.pb-c.h"
#include "pidfd.pb-c.h"
#include "pidns.pb-c.h"
#include "pipe.pb-c.h"
#include "pipe-data.pb-c.h"
#include "pstree.pb-c.h"
#include "regfile.pb-c.h"
#include "remap-file-path.pb-c.h"
#include "rlimit.pb-c.h"
#include "sa.pb-c.h"
#include "seccomp.pb-c.h"
#include "siginfo.pb-c.h"
#include "signalfd.pb-c.h"
#include "sk-inet.pb-c.h"
#include "sk-netlink.pb-c.h"
#include "sk-packet.pb-c.h"
#include "sk-unix.pb-c.h"
#include "stats.pb-c.h"
#include "tcp-stream.pb-c.h"
#include "timens.pb-c.h"
#include "timer.pb-c.h"
#include "timerfd.pb-c.h"
#include "tty.pb-c.h"
#include "tun.pb-c.h"
#include "userns.pb-c.h"
#include "utsns.pb-c.h"
#include "vma.pb-c.h"

#define ONE(name, magic, message) { name ".img", "", NAME_SINGLE, magic, &message##__descriptor }
#define MANY(name, magic, message) { name "-", ".img", NAME_DECIMAL, magic, &message##__descriptor }
#define MANY_HEX(name, magic, message) { name "-", ".img", NAME_HEX, magic, &message##__descriptor }
#define RAW(name) { name "-", ".img", NAME_DECIMAL, 0, NULL }

static const struct image_kind table[IMAGE_TYPE_COUNT] = {
	[IMAGE_INVENTORY] = ONE("inventory", 0x58313116, inventory_entry),
	[IMAGE_PSTREE] = ONE("pstree", 0x50273030, pstree_entry),
	[IMAGE_CORE] = MANY("core", 0x55053847, core_entry),
	[IMAGE_IDS] = MANY("ids", 0x54432030, task_kobj_ids_entry),
	[IMAGE_MM] = MANY("mm", 0x57492820, mm_entry),
	[IMAGE_PAGEMAP] = MANY("pagemap", 0x56084025, pagemap_head),
	[IMAGE_PAGEMAP_SHMEM] = MANY("pagemap-shmem", 0x56084025, pagemap_head),
	[IMAGE_FDINFO] = MANY("fdinfo", 0x56213732, fdinfo_entry),
	[IMAGE_FILES] = ONE("files", 0x56303138, file_entry),
	[IMAGE_FS] = MANY("fs", 0x51403912, fs_entry),
	[IMAGE_PIPES_DATA] = ONE("pipes-data", 0x56453709, pipe_data_entry),
	[IMAGE_FIFO_DATA] = ONE("fifo-data", 0x59333054, pipe_data_entry),
	[IMAGE_SK_QUEUES] = ONE("sk-queues", 0x56264026, sk_packet_entry),
	[IMAGE_GHOST_FILE] = MANY_HEX("ghost-file", 0x52583605, ghost_file_entry),
	[IMAGE_REMAP_FPATH] = ONE("remap-fpath", 0x59133954, remap_file_path_entry),
	[IMAGE_TTY_INFO] = ONE("tty-info", 0x59453036, tty_info_entry),
	[IMAGE_TTY_DATA] = ONE("tty-data", 0x59413026, tty_data_entry),
	[IMAGE_MEMFD_INODE] = ONE("memfd", 0x48453499, memfd_inode_entry),
	[IMAGE_SECCOMP] = ONE("seccomp", 0x64413049, seccomp_entry),
	[IMAGE_CGROUP] = ONE("cgroup", 0x59383330, cgroup_entry),
	[IMAGE_FILE_LOCKS] = ONE("filelocks", 0x54323616, file_lock_entry),
	[IMAGE_TCP_STREAM] = MANY_HEX("tcp-stream", 0x51465506, tcp_stream_entry),
	[IMAGE_EVENTPOLL_TFD] = ONE("eventpoll-tfd", 0x44433746, eventpoll_tfd_entry),
	[IMAGE_INOTIFY_WD] = ONE("inotify-wd", 0x54562009, inotify_wd_entry),
	[IMAGE_FANOTIFY_MARK] = ONE("fanotify-mark", 0x56506035, fanotify_mark_entry),
	[IMAGE_BPFMAP_DATA] = ONE("bpfmap-data", 0x64324033, bpfmap_data_entry),
	[IMAGE_APPARMOR] = ONE("apparmor", 0x59423047, apparmor_entry),
	[IMAGE_CPUINFO] = ONE("cpuinfo", 0x61404013, cpuinfo_entry),
	[IMAGE_STATS] = { "stats-", "", NAME_SINGLE, 0x57093306, &stats_entry__descriptor },
	[IMAGE_TIMENS] = MANY("timens", 0x43114433, timens_entry),
	[IMAGE_PIDNS] = MANY("pidns", 0x61157326, pidns_entry),
	[IMAGE_UTSNS] = MANY("utsns", 0x54473203, utsns_entry),
	[IMAGE_USERNS] = MANY("userns", 0x55474906, userns_entry),
	[IMAGE_IPC_VAR] = MANY("ipcns-var", 0x53115007, ipc_var_entry),
	[IMAGE_IPC_SHM] = MANY("ipcns-shm", 0x46283044, ipc_shm_entry),
	[IMAGE_IPC_MSG] = MANY("ipcns-msg", 0x55453737, ipc_msg_entry),
	[IMAGE_IPC_SEM] = MANY("ipcns-sem", 0x59573019, ipc_sem_entry),
	[IMAGE_MOUNTPOINTS] = MANY("mountpoints", 0x55563928, mnt_entry),
	[IMAGE_NETDEV] = MANY("netdev", 0x57373951, net_device_entry),
	[IMAGE_NETNS] = MANY("netns", 0x55933752, netns_entry),
	[IMAGE_AUTOFS] = MANY("autofs", 0x49353943, autofs_entry),
	[IMAGE_BINFMT_MISC] = MANY("binfmt-misc", 0x67343323, binfmt_misc_entry),
	[IMAGE_BINFMT_MISC_OLD] = ONE("binfmt-misc", 0x67343323, binfmt_misc_entry),
	[IMAGE_IFADDR] = RAW("ifaddr"),
	[IMAGE_ROUTE] = RAW("route"),
	[IMAGE_ROUTE6] = RAW("route6"),
	[IMAGE_RULE] = RAW("rule"),
	[IMAGE_IPTABLES] = RAW("iptables"),
	[IMAGE_IP6TABLES] = RAW("ip6tables"),
	[IMAGE_NFTABLES] = RAW("nftables"),
	[IMAGE_NETNS_CT] = RAW("netns-ct"),
	[IMAGE_NETNS_EXP] = RAW("netns-exp"),
	[IMAGE_TMPFS] = { "tmpfs-", ".tar.gz.img", NAME_DECIMAL, 0, NULL },
	[IMAGE_TMPFS_DEV] = { "tmpfs-dev-", ".tar.gz.img", NAME_DECIMAL, 0, NULL },
	[IMAGE_REG_FILES] = ONE("reg-files", 0x50363636, reg_file_entry),
	[IMAGE_EXT_FILES] = ONE("ext-files", 0x59255641, ext_file_entry),
	[IMAGE_NS_FILES] = ONE("ns-files", 0x61394011, ns_file_entry),
	[IMAGE_PIPES] = ONE("pipes", 0x56513555, pipe_entry),
	[IMAGE_FIFO] = ONE("fifo", 0x58364939, fifo_entry),
	[IMAGE_UNIXSK_OLD] = ONE("unixsk", 0x54373943, unix_sk_entry),
	[IMAGE_INETSK] = ONE("inetsk", 0x56443851, inet_sk_entry),
	[IMAGE_PACKETSK] = ONE("packetsk", 0x60454618, packet_sock_entry),
	[IMAGE_NETLINKSK] = ONE("netlinksk", 0x58005614, netlink_sk_entry),
	[IMAGE_EVENTFD] = ONE("eventfd", 0x44523722, eventfd_file_entry),
	[IMAGE_EVENTPOLL] = ONE("eventpoll", 0x45023858, eventpoll_file_entry),
	[IMAGE_SIGNALFD] = ONE("signalfd", 0x57323820, signalfd_entry),
	[IMAGE_INOTIFY] = ONE("inotify", 0x48424431, inotify_file_entry),
	[IMAGE_FANOTIFY] = ONE("fanotify", 0x55096122, fanotify_file_entry),
	[IMAGE_TIMERFD] = ONE("timerfd", 0x50493712, timerfd_entry),
	[IMAGE_TTY_FILES] = ONE("tty", 0x59433025, tty_file_entry),
	[IMAGE_TUNFILE] = ONE("tunfile", 0x57143751, tunfile_entry),
	[IMAGE_BPFMAP_FILE] = ONE("bpfmap-file", 0x57506142, bpfmap_file_entry),
	[IMAGE_PIDFD] = ONE("pidfd", 0x54435556, pidfd_entry),
	[IMAGE_CREDS] = MANY("creds", 0x54023547, creds_entry),
	[IMAGE_SIGACT] = MANY("sigacts", 0x55344201, sa_entry),
	[IMAGE_ITIMERS] = MANY("itimers", 0x57464056, itimer_entry),
	[IMAGE_POSIX_TIMERS] = MANY("posix-timers", 0x52603957, posix_timer_entry),
	[IMAGE_RLIMIT] = MANY("rlimit", 0x57113925, rlimit_entry),
	[IMAGE_VMAS] = MANY("vmas", 0x54123737, vma_entry),
	[IMAGE_SIGNAL_S] = MANY("signal-s", 0x59255647, siginfo_entry),
	[IMAGE_SIGNAL_P] = MANY("signal-p", 0x59255647, siginfo_entry),
	[IMAGE_PAGES] = RAW("pages"),
};

static const char *const stats_names[] = { [IMAGE_STATS_DUMP] = "stats-dump", [IMAGE_STATS_RESTORE] = "stats-restore" };

const struct image_kind *image_kind_of(enum image_type t)
{
	return (unsigned)t < IMAGE_TYPE_COUNT ? &table[t] : NULL;
}

const ProtobufCMessageDescriptor *image_descriptor(enum image_type t)
{
	return (unsigned)t < IMAGE_TYPE_COUNT ? table[t].desc : NULL;
}

int image_name(enum image_type t, uint64_t id, char *buf, size_t size)
{
	const struct image_kind *k = image_kind_of(t);
	int len;

	if (!k)
		return -EINVAL;
	if (t == IMAGE_STATS)
		len = id < 2 ? snprintf(buf, size, "%s", stats_names[id]) : -1;
	else if (k->naming == NAME_SINGLE)
		len = snprintf(buf, size, "%s", k->prefix);
	else if (k->naming == NAME_HEX)
		len = snprintf(buf, size, "%s%llx%s", k->prefix, (unsigned long long)id, k->suffix);
	else
		len = snprintf(buf, size, "%s%llu%s", k->prefix, (unsigned long long)id, k->suffix);
	return len < 0 || (size_t)len >= size ? -EINVAL : 0;
}

/* The id after a prefix. Overflow needs no care: the caller prints the id again and compares. */
static uint64_t scan_id(const char *s, enum image_naming naming)
{
	uint64_t id = 0;

	for (; *s; s++) {
		if (*s >= '0' && *s <= '9')
			id = id * (naming == NAME_HEX ? 16 : 10) + (uint64_t)(*s - '0');
		else if (naming == NAME_HEX && *s >= 'a' && *s <= 'f')
			id = id * 16 + (uint64_t)(*s - 'a' + 10);
		else
			break;
	}
	return id;
}

bool image_name_parse(const char *name, enum image_type *ret_type, uint64_t *ret_id)
{
	char canonical[IMAGE_NAME_SIZE];

	for (unsigned t = 0; t < IMAGE_TYPE_COUNT; t++) {
		const struct image_kind *k = &table[t];
		size_t len = strlen(k->prefix);
		uint64_t id = 0;

		if (strncmp(name, k->prefix, len) != 0)
			continue;
		if (t == IMAGE_STATS)
			id = strcmp(name, stats_names[IMAGE_STATS_DUMP]) == 0 ? IMAGE_STATS_DUMP : IMAGE_STATS_RESTORE;
		else if (k->naming != NAME_SINGLE)
			id = scan_id(name + len, k->naming);
		if (image_name((enum image_type)t, id, canonical, sizeof(canonical)) < 0 || strcmp(name, canonical) != 0)
			continue;
		*ret_type = (enum image_type)t;
		*ret_id = id;
		return true;
	}
	return false;
}
