/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/inet_diag.h>
#include <linux/magic.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/packet_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/check.h"
#include "kernel/procfs.h"

/* What single kinds of objects need. The kernel answers each probe from memory; none waits for a file system. */

static enum check_state yes_if(bool there, char *detail, size_t size)
{
	if (there)
		return CHECK_YES;
	(void)snprintf(detail, size, "%s", strerror(errno));
	return CHECK_NO;
}

/*
 * Sends one request to netlink and looks at the first answer: 0 or what the kernel said. The kernel makes the answer
 * inside of the send, so that nothing waits.
 */
static int ask_netlink(int protocol, uint16_t type, uint16_t flags, const void *body, size_t len)
{
	AUTOCLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	struct {
		struct nlmsghdr head;
		unsigned char body[128];
	} request = { .head = { .nlmsg_len = (uint32_t)(NLMSG_HDRLEN + len),
				.nlmsg_type = type,
				.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) } };
	_Alignas(struct nlmsghdr) unsigned char answer[32768];
	const struct nlmsghdr *head = (const void *)answer;
	struct nlmsgerr error;
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (len > sizeof(request.body))
		return -EMSGSIZE;
	memcpy(request.body, body, len);
	if (send(fd, &request, request.head.nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(*head))
		return -EBADMSG;
	if (head->nlmsg_type != NLMSG_ERROR)
		return 0;
	if ((size_t)n < NLMSG_HDRLEN + sizeof(error.error))
		return -EBADMSG;
	memcpy(&error.error, answer + NLMSG_HDRLEN, sizeof(error.error));
	return error.error;
}

static enum check_state netlink_state(int r, char *detail, size_t size)
{
	if (r < 0)
		(void)snprintf(detail, size, "%s", strerror(-r));
	return r < 0 ? CHECK_NO : CHECK_YES;
}

static enum check_state probe_unix_diag(const struct features *f, char *detail, size_t size)
{
	struct unix_diag_req req = { .sdiag_family = AF_UNIX, .udiag_states = ~0u };

	(void)f;
	return netlink_state(ask_netlink(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req)), detail,
			     size);
}

static enum check_state probe_tcp_diag(const struct features *f, char *detail, size_t size)
{
	struct inet_diag_req_v2 req = { .sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u };

	(void)f;
	return netlink_state(ask_netlink(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req)), detail,
			     size);
}

static enum check_state probe_packet_diag(const struct features *f, char *detail, size_t size)
{
	struct packet_diag_req req = { .sdiag_family = AF_PACKET };

	(void)f;
	return netlink_state(ask_netlink(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req)), detail,
			     size);
}

static enum check_state probe_nftables(const struct features *f, char *detail, size_t size)
{
	struct nfgenmsg req = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };

	(void)f;
	return netlink_state(ask_netlink(NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NLM_F_ACK, &req,
					 sizeof(req)),
			     detail, size);
}

static enum check_state probe_tcp_repair(const struct features *f, char *detail, size_t size)
{
	AUTOCLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	(void)f;
	return yes_if(fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) == 0, detail, size);
}

/* man 2 userfaultfd; the flag lets an unprivileged one exist (Linux 5.11), write protection of memory that is watched
 * without messages (UFFD_FEATURE_WP_ASYNC, bit 15) is Linux 6.7. */
#define USER_MODE_ONLY 1
#define FEATURE_WP_ASYNC (1ull << 15)

static enum check_state probe_userfaultfd(const struct features *f, char *detail, size_t size)
{
	AUTOCLOSE int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY);
	struct uffdio_api api = { .api = UFFD_API };

	(void)f;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
		return yes_if(false, detail, size);
	if (!(api.features & UFFD_FEATURE_PAGEFAULT_FLAG_WP)) {
		(void)snprintf(detail, size, "no write protection");
		return CHECK_PARTLY;
	}
	if (!(api.features & FEATURE_WP_ASYNC)) {
		(void)snprintf(detail, size, "write protection only with a message per page; without is Linux 6.7");
		return CHECK_PARTLY;
	}
	return CHECK_YES;
}

/* smaps shows "sd" for every area when the kernel tracks soft-dirty bits. */
static enum check_state probe_soft_dirty(const struct features *f, char *detail, size_t size)
{
	AUTOCLOSE int proc = procfs_open(getpid());
	enum check_state state = CHECK_NO;
	struct arena a = { 0 };
	struct proc_map *maps;
	size_t n = 0;

	(void)f;
	(void)detail;
	(void)size;
	if (proc < 0 || read_proc_maps(proc, true, &a, &maps, &n) < 0)
		n = 0;
	for (size_t i = 0; i < n && state == CHECK_NO; i++)
		if (maps[i].vm_flags & VMFLAG_SD)
			state = CHECK_YES;
	arena_release(&a);
	return state;
}

static enum check_state probe_namespaces(const struct features *f, char *detail, size_t size)
{
	static const char *const kinds[] = { "mnt", "pid", "net", "ipc", "uts", "user", "cgroup" };
	char path[64];

	(void)f;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
		if (access(path, F_OK) == 0)
			continue;
		(void)snprintf(detail, size, "no %s namespaces", kinds[i]);
		return CHECK_PARTLY;
	}
	return CHECK_YES;
}

static enum check_state probe_time_namespaces(const struct features *f, char *detail, size_t size)
{
	if (access("/proc/self/timens_offsets", F_OK) == 0 &&
	    (!features_capable(f, CAP_SYS_ADMIN) || !features_capable(f, CAP_SYS_TIME))) {
		(void)snprintf(detail, size, "no %s", features_capable(f, CAP_SYS_ADMIN) ? "CAP_SYS_TIME" : "CAP_SYS_ADMIN");
		return CHECK_PARTLY;
	}
	return yes_if(access("/proc/self/timens_offsets", F_OK) == 0, detail, size);
}

/* An impossible descriptor is -EBADF where the call exists; Linux 5.2, mount_setattr Linux 5.12. */
static enum check_state probe_mount_api(const struct features *f, char *detail, size_t size)
{
	(void)f;
	if ((syscall(SYS_open_tree, -1, "x", 0) < 0 && errno == ENOSYS) ||
	    (syscall(SYS_move_mount, -1, "", -1, "", 0) < 0 && errno == ENOSYS) ||
	    (syscall(SYS_fsopen, NULL, 0) < 0 && errno == ENOSYS) ||
	    (syscall(SYS_mount_setattr, -1, "", 0, NULL, 0) < 0 && errno == ENOSYS))
		return yes_if(false, detail, size);
	return CHECK_YES;
}

static enum check_state probe_cgroup2(const struct features *f, char *detail, size_t size)
{
	struct statfs fs;

	(void)f;
	if (statfs("/sys/fs/cgroup", &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC)
		return CHECK_YES;
	if (statfs("/sys/fs/cgroup/unified", &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC) {
		(void)snprintf(detail, size, "beside version 1, at /sys/fs/cgroup/unified");
		return CHECK_PARTLY;
	}
	(void)snprintf(detail, size, "not mounted at /sys/fs/cgroup");
	return CHECK_NO;
}

/* Sums nr_hugepages of every size in /sys/kernel/mm/hugepages. */
static enum check_state probe_hugetlb(const struct features *f, char *detail, size_t size)
{
	AUTOCLOSEDIR DIR *dir = opendir("/sys/kernel/mm/hugepages");
	const struct dirent *d;
	bool any = false;
	long long pages;
	char name[320];

	(void)f;
	if (!dir)
		return yes_if(false, detail, size);
	while ((d = readdir(dir))) {
		(void)snprintf(name, sizeof(name), "%s/nr_hugepages", d->d_name);
		if (d->d_name[0] != '.' && read_proc_number(dirfd(dir), name, 10, &pages) == 0 && pages > 0)
			any = true;
	}
	if (any)
		return CHECK_YES;
	(void)snprintf(detail, size, "the kernel has no huge pages in reserve");
	return CHECK_PARTLY;
}

static enum check_state probe_memfd(const struct features *f, char *detail, size_t size)
{
	AUTOCLOSE int fd = memfd_create("firn check", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)f;
	return yes_if(fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0, detail, size);
}

static enum check_state probe_ptmx(const struct features *f, char *detail, size_t size)
{
	AUTOCLOSE int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

	(void)f;
	return yes_if(fd >= 0, detail, size);
}

static const struct check rows[] = {
	{ .name = "unix_diag",
	  .probe = probe_unix_diag,
	  .purpose = "unix sockets: who is connected to whom, and what waits on a listener",
	  .missing = "tasks with unix sockets are refused",
	  .hint = "modprobe unix_diag, or a kernel with CONFIG_UNIX_DIAG" },
	{ .name = "tcp_diag",
	  .probe = probe_tcp_diag,
	  .purpose = "TCP sockets: their states and queues",
	  .missing = "connections that belong to no descriptor yet are not seen",
	  .hint = "modprobe tcp_diag, or a kernel with CONFIG_INET_TCP_DIAG" },
	{ .name = "packet_diag",
	  .probe = probe_packet_diag,
	  .purpose = "packet sockets",
	  .missing = "tasks with packet sockets are refused",
	  .hint = "modprobe af_packet_diag, or a kernel with CONFIG_PACKET_DIAG" },
	{ .name = "tcp_repair",
	  .probe = probe_tcp_repair,
	  .purpose = "established TCP connections",
	  .missing = "established connections cannot be dumped or restored",
	  .hint = "a kernel with CONFIG_INET, and CAP_NET_ADMIN" },
	{ .name = "nftables",
	  .probe = probe_nftables,
	  .purpose = "keeps packets off connections whose tasks were dumped and killed",
	  .missing = "established connections can be carried only with --network-lock skip",
	  .hint = "modprobe nf_tables, and CAP_NET_ADMIN" },
	{ .name = "userfaultfd",
	  .probe = probe_userfaultfd,
	  .purpose = "memory that is filled, or watched for writes, while the tasks run",
	  .missing = "memory is always copied while the tasks are frozen",
	  .hint = "a kernel with CONFIG_USERFAULTFD" },
	{ .name = "soft_dirty",
	  .probe = probe_soft_dirty,
	  .purpose = "another way to watch memory for writes, for kernels before 6.7",
	  .missing = "nothing where pagemap_scan and userfaultfd are there",
	  .hint = "a kernel with CONFIG_MEM_SOFT_DIRTY" },
	{ .name = "memfd",
	  .probe = probe_memfd,
	  .purpose = "shared memory without a name, and its seals",
	  .missing = "shared anonymous memory cannot be restored",
	  .hint = "a kernel with CONFIG_MEMFD_CREATE" },
	{ .name = "hugetlb",
	  .probe = probe_hugetlb,
	  .purpose = "mappings of huge pages (MAP_HUGETLB)",
	  .missing = "tasks that have such mappings cannot be restored",
	  .hint = "sysctl vm.nr_hugepages=N; a kernel with CONFIG_HUGETLBFS" },
	{ .name = "pseudo_terminals",
	  .probe = probe_ptmx,
	  .purpose = "pairs of pseudo terminals",
	  .missing = "tasks with pseudo terminals cannot be restored",
	  .hint = "mount devpts at /dev/pts" },
	{ .name = "namespaces",
	  .probe = probe_namespaces,
	  .purpose = "containers, which this version does not carry yet: mount, pid, network, ipc, uts, user and cgroup namespaces",
	  .missing = "containers that use such a namespace cannot be restored",
	  .hint = "a kernel with CONFIG_NAMESPACES and the options below it" },
	{ .name = "time_namespaces",
	  .probe = probe_time_namespaces,
	  .purpose = "clocks that go on where they were: CLOCK_MONOTONIC and CLOCK_BOOTTIME after a boot or on another machine",
	  .missing = "tasks of a time namespace are not restored, nor those whose clocks would go back; forward they jump",
	  .hint = "a kernel with CONFIG_TIME_NS (Linux 5.6), CAP_SYS_ADMIN and CAP_SYS_TIME" },
	{ .name = "mount_api",
	  .probe = probe_mount_api,
	  .purpose = "containers, which this version does not carry yet: mounts made and moved by descriptor (open_tree, move_mount, fsopen, mount_setattr)",
	  .missing = "mount namespaces cannot be restored",
	  .hint = "run Linux 5.15 or newer; in a container, allow these calls in its seccomp profile" },
	{ .name = "cgroup2",
	  .probe = probe_cgroup2,
	  .purpose = "containers, which this version does not carry yet: the unified hierarchy of control groups",
	  .missing = "the cgroups of a container cannot be restored as version 2",
	  .hint = "boot with systemd.unified_cgroup_hierarchy=1 or mount cgroup2" },
};

const struct check_group check_objects = { "objects", rows, ARRAY_SIZE(rows) };
