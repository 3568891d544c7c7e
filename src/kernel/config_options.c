/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/config_options.h"

#include <string.h>

#include "base/cleanup.h"

#define NEEDED(option) .name = "CONFIG_" #option, .need = CONFIG_NEEDED
#define USEFUL(option) .name = "CONFIG_" #option, .need = CONFIG_USEFUL
#define UNUSED(option) .name = "CONFIG_" #option, .need = CONFIG_UNUSED
#define GROUP(text) .group = text
#define EXPERT .expert = true

#define TASKS GROUP("process trees")
#define MEMORY GROUP("memory")
#define FILES GROUP("files and events")
#define SOCKETS GROUP("sockets")
#define LOCK GROUP("the lock on TCP connections")
#define REPORTS GROUP("what firn tells about a stall, a kernel and a machine")
#define CONTAINERS GROUP("containers, which this version does not carry yet")
#define NOT_OURS GROUP("not used by firn")

const struct config_option config_options[] = {
	{ NEEDED(CHECKPOINT_RESTORE), TASKS,
	  .purpose = "restore: the borders of heap and stack, the vdso's place; dump: mapped files, timers, seccomp",
	  .missing = "nothing can be restored, and kcmp and the lists of children are missing as well" },
	{ NEEDED(PROC_FS), TASKS, EXPERT, .purpose = "/proc, from which a dump learns nearly everything",
	  .missing = "nothing can be dumped" },
	{ NEEDED(PROC_PAGE_MONITOR), TASKS, EXPERT,
	  .purpose = "dump: /proc/PID/pagemap and smaps tell which pages hold content",
	  .missing = "nothing can be dumped" },
	{ NEEDED(PROC_CHILDREN), TASKS, .implied_by = "CONFIG_CHECKPOINT_RESTORE",
	  .purpose = "dump: finds the children of a task",
	  .missing = "the tree below a task cannot be found, so nothing is dumped" },
	{ NEEDED(KCMP), TASKS, EXPERT, .implied_by = "CONFIG_CHECKPOINT_RESTORE",
	  .purpose = "dump: tells which descriptors and tasks share one object",
	  .missing = "sharing between descriptors cannot be told, so nothing is dumped" },
	{ NEEDED(CROSS_MEMORY_ATTACH), TASKS, .purpose = "process_vm_readv() and process_vm_writev()",
	  .missing = "the memory of tasks can be neither read nor written: nothing is dumped or restored" },
	{ NEEDED(POSIX_TIMERS), TASKS, EXPERT, .purpose = "interval timers and POSIX timers",
	  .missing = "getitimer() is missing, so that a task's timers cannot be read: nothing is dumped" },
	{ NEEDED(FUTEX), TASKS, EXPERT, .purpose = "lists of robust futexes of threads",
	  .missing = "get_robust_list() is missing: nothing is dumped" },
	{ NEEDED(EVENTFD), TASKS, EXPERT, .purpose = "eventfds of tasks, and firn's own waiting for its engine",
	  .missing = "firn's front cannot wait for its engine: neither dump nor restore begins" },
	{ NEEDED(SIGNALFD), TASKS, EXPERT, .purpose = "signalfds of tasks, and how firn itself is interrupted",
	  .missing = "firn's front cannot take signals: neither dump nor restore begins" },
	{ NEEDED(MULTIUSER), TASKS, EXPERT, .purpose = "users, groups and capabilities of tasks",
	  .missing = "credentials cannot be set: nothing is restored" },
	{ USEFUL(PROC_SYSCTL), TASKS, EXPERT,
	  .purpose = "/proc/sys: ids of System V shared memory, the range of local ports",
	  .missing = "System V shared memory cannot be restored with the id it had" },
	{ USEFUL(RSEQ), TASKS, EXPERT, .purpose = "where a thread registered its restartable sequences",
	  .missing = "programs that use rseq (glibc 2.35 and newer) lose it at restore" },
	{ USEFUL(MEMBARRIER), TASKS, EXPERT, .purpose = "registrations of membarrier()",
	  .missing = "programs that registered elsewhere cannot be restored here as they were" },
	{ USEFUL(SECCOMP), TASKS, .purpose = "strict mode and filters of tasks",
	  .missing = "tasks under seccomp cannot be restored" },
	{ USEFUL(SECCOMP_FILTER), TASKS, .implied_by = "CONFIG_SECCOMP", .purpose = "seccomp filters of tasks",
	  .missing = "tasks with seccomp filters, nearly all in containers, cannot be restored" },
	{ USEFUL(ELF_CORE), TASKS, EXPERT, .purpose = "coredump_filter of tasks", .missing = "it is not carried" },
	{ USEFUL(SCHED_AUTOGROUP), TASKS, .purpose = "the niceness of a session's group",
	  .missing = "it is not carried" },
	{ USEFUL(AUDIT), TASKS, .purpose = "the login user of a task (loginuid)", .missing = "it is not carried" },

	{ USEFUL(SHMEM), MEMORY, EXPERT, .purpose = "shared anonymous memory, memfds, tmpfs",
	  .missing = "memory shared by tasks cannot be restored" },
	{ USEFUL(TMPFS), MEMORY, .purpose = "files in tmpfs, memfds and their seals",
	  .missing = "no memfd: shared anonymous memory cannot be restored" },
	{ USEFUL(MEMFD_CREATE), MEMORY, EXPERT,
	  .purpose = "shared memory without a name, and its seals; the answer of firn explain",
	  .missing = "shared anonymous memory cannot be restored" },
	{ USEFUL(SYSVIPC), MEMORY, .purpose = "System V shared memory",
	  .missing = "tasks that are attached to such memory cannot be restored" },
	{ USEFUL(ADVISE_SYSCALLS), MEMORY, EXPERT, .purpose = "madvise(): advice for areas, guard regions",
	  .missing = "areas with advice cannot be restored" },
	{ USEFUL(AIO), MEMORY, EXPERT, .purpose = "AIO contexts",
	  .missing = "tasks with AIO contexts cannot be restored" },
	{ USEFUL(HUGETLBFS), MEMORY, .purpose = "mappings of huge pages (MAP_HUGETLB)",
	  .missing = "tasks that have such mappings cannot be restored" },
	{ USEFUL(TRANSPARENT_HUGEPAGE), MEMORY, .purpose = "advice about transparent huge pages",
	  .missing = "areas with MADV_HUGEPAGE cannot be restored" },
	{ USEFUL(KSM), MEMORY, .purpose = "advice to merge pages, PR_SET_MEMORY_MERGE",
	  .missing = "areas with MADV_MERGEABLE cannot be restored" },
	{ USEFUL(USERFAULTFD), MEMORY, .purpose = "memory that is filled, or watched for writes, while the tasks run",
	  .missing = "memory is always copied while the tasks are frozen" },
	{ USEFUL(PTE_MARKER_UFFD_WP), MEMORY, .since = CONFIG_VERSION(5, 19),
	  .purpose = "the same for shared memory and files: userfaultfd's write protection there",
	  .missing = "shared memory is always copied while the tasks are frozen" },
	{ USEFUL(MEM_SOFT_DIRTY), MEMORY, .arch = CONFIG_ARCH_X86_64,
	  .purpose = "another way to watch memory for writes, for kernels before 6.7",
	  .missing = "nothing from Linux 6.7 on, where userfaultfd does it" },

	{ USEFUL(FILE_LOCKING), FILES, EXPERT, .purpose = "file locks and leases (--file-locks)",
	  .missing = "tasks with file locks cannot be restored" },
	{ USEFUL(FHANDLE), FILES, EXPERT, .purpose = "finds what inotify and fanotify watch by its handle",
	  .missing = "what they watch cannot be found by its handle: tasks with either may be refused" },
	{ USEFUL(EPOLL), FILES, EXPERT, .purpose = "epoll", .missing = "tasks with epoll cannot be restored" },
	{ USEFUL(TIMERFD), FILES, EXPERT, .purpose = "timerfd", .missing = "tasks with timerfds cannot be restored" },
	{ USEFUL(INOTIFY_USER), FILES, .purpose = "inotify", .missing = "tasks with inotify cannot be restored" },
	{ USEFUL(FANOTIFY), FILES, .purpose = "fanotify", .missing = "tasks with fanotify cannot be restored" },
	{ USEFUL(POSIX_MQUEUE), FILES, .purpose = "POSIX message queues",
	  .missing = "tasks with POSIX message queues cannot be restored" },
	{ USEFUL(TTY), FILES, EXPERT, .purpose = "terminals", .missing = "tasks with terminals cannot be restored" },
	{ USEFUL(UNIX98_PTYS), FILES, EXPERT, .purpose = "pairs of pseudo terminals",
	  .missing = "tasks with pseudo terminals cannot be restored" },
	{ USEFUL(BPF_SYSCALL), FILES, .purpose = "BPF maps", .missing = "tasks with BPF maps cannot be restored" },

	{ USEFUL(NET), SOCKETS, .purpose = "sockets of any sort", .missing = "tasks with sockets cannot be restored" },
	{ USEFUL(UNIX), SOCKETS, .module = "unix", .purpose = "unix sockets",
	  .missing = "tasks with unix sockets cannot be restored" },
	{ USEFUL(UNIX_DIAG), SOCKETS, .module = "unix_diag",
	  .purpose = "unix sockets: who is connected to whom, and what waits on a listener",
	  .missing = "tasks with unix sockets are refused" },
	{ USEFUL(INET), SOCKETS, .purpose = "TCP, UDP and raw sockets, and repairing TCP connections",
	  .missing = "tasks with such sockets cannot be restored" },
	{ USEFUL(IPV6), SOCKETS, .module = "ipv6", .purpose = "the same over IPv6",
	  .missing = "tasks with IPv6 sockets cannot be restored, and there is no lock on TCP connections" },
	{ USEFUL(IP_MULTICAST), SOCKETS, .purpose = "multicast groups of sockets",
	  .missing = "sockets that joined a multicast group cannot be restored" },
	{ USEFUL(INET_DIAG), SOCKETS, .module = "inet_diag", .purpose = "socket diagnosis for TCP and UDP",
	  .missing = "neither CONFIG_INET_TCP_DIAG nor CONFIG_INET_UDP_DIAG can be there" },
	{ USEFUL(INET_TCP_DIAG), SOCKETS, .module = "tcp_diag", .implied_by = "CONFIG_INET_DIAG",
	  .purpose = "TCP sockets: their states and queues",
	  .missing = "connections that belong to no descriptor yet are not seen" },
	{ USEFUL(INET_UDP_DIAG), SOCKETS, .module = "udp_diag", .purpose = "UDP sockets: which halves are shut",
	  .missing = "a shut half of a UDP socket may come back open" },
	{ USEFUL(PACKET), SOCKETS, .module = "af_packet", .purpose = "packet sockets",
	  .missing = "tasks with packet sockets cannot be restored" },
	{ USEFUL(PACKET_DIAG), SOCKETS, .module = "af_packet_diag",
	  .purpose = "groups, rings and fanout of packet sockets", .missing = "tasks with packet sockets are refused" },
	{ USEFUL(NETLINK_DIAG), SOCKETS, .module = "netlink_diag", .purpose = "peers and flags of netlink sockets",
	  .missing = "tasks with netlink sockets are refused" },
	{ USEFUL(VSOCKETS), SOCKETS, .module = "vsock", .purpose = "vsock streams, by which a guest talks to its host",
	  .missing = "tasks with vsock sockets cannot be restored" },
	{ USEFUL(NETDEVICES), SOCKETS, .purpose = "network devices; CONFIG_TUN and CONFIG_VETH stand below it",
	  .missing = "neither of them can be there" },
	{ USEFUL(NET_CORE), SOCKETS, .purpose = "virtual network devices; CONFIG_TUN and CONFIG_VETH stand below it",
	  .missing = "neither of them can be there" },
	{ USEFUL(TUN), SOCKETS, .module = "tun", .purpose = "tun and tap devices",
	  .missing = "tasks with queues of such devices cannot be restored" },

	{ USEFUL(NETFILTER), LOCK, .purpose = "packet filters", .missing = "CONFIG_NF_TABLES cannot be there" },
	{ USEFUL(NETFILTER_NETLINK), LOCK, .module = "nfnetlink", .implied_by = "CONFIG_NF_TABLES",
	  .purpose = "how nftables is spoken to", .missing = "CONFIG_NF_TABLES cannot be there" },
	{ USEFUL(NF_TABLES), LOCK, .module = "nf_tables",
	  .purpose = "keeps packets off connections whose tasks were dumped and killed",
	  .missing = "established connections can be carried only with --network-lock skip" },
	{ USEFUL(NF_TABLES_INET), LOCK, .purpose = "the table that does so is of the family inet",
	  .missing = "established connections can be carried only with --network-lock skip" },

	{ USEFUL(KALLSYMS), REPORTS, EXPERT, .purpose = "names of kernel functions",
	  .missing = "the report of a stall cannot name the function of the kernel in which a task waits" },
	{ USEFUL(STACKTRACE), REPORTS, .purpose = "/proc/PID/stack",
	  .missing = "the report of a stall has no kernel stack, and recognises fewer causes" },
	{ USEFUL(IKCONFIG), REPORTS, .module = "configs", .purpose = "the kernel keeps its own configuration",
	  .missing = "a running guest cannot be asked for it" },
	{ USEFUL(IKCONFIG_PROC), REPORTS, .purpose = "/proc/config.gz, for firn check --config",
	  .missing = "a running guest cannot be asked for its configuration" },

	{ USEFUL(NAMESPACES), CONTAINERS, EXPERT, .purpose = "namespaces of any sort",
	  .missing = "there are no containers" },
	{ USEFUL(UTS_NS), CONTAINERS, .purpose = "host names of containers",
	  .missing = "containers that use such a namespace cannot be restored" },
	{ USEFUL(IPC_NS), CONTAINERS, .purpose = "System V and POSIX IPC of containers",
	  .missing = "containers that use such a namespace cannot be restored" },
	{ USEFUL(USER_NS), CONTAINERS, .purpose = "users of containers",
	  .missing = "containers that use such a namespace cannot be restored" },
	{ USEFUL(PID_NS), CONTAINERS, .purpose = "pids of containers, which a restore needs to be free",
	  .missing = "containers that use such a namespace cannot be restored" },
	{ USEFUL(NET_NS), CONTAINERS, .purpose = "networks of containers",
	  .missing = "containers that use such a namespace cannot be restored" },
	{ USEFUL(TIME_NS), CONTAINERS, .purpose = "clocks that go on where they were after a boot or on another machine",
	  .missing = "tasks of a time namespace are not restored, nor those whose clocks would go back" },
	{ USEFUL(CGROUPS), CONTAINERS, .purpose = "control groups",
	  .missing = "the control groups of a container cannot be restored" },
	{ USEFUL(CGROUP_FREEZER), CONTAINERS, .purpose = "freezes the control group of a container (version 1)",
	  .missing = "container engines cannot pause a container whose control groups are of version 1" },
	{ USEFUL(OVERLAY_FS), CONTAINERS, .module = "overlay", .purpose = "the root file systems of most containers",
	  .missing = "there are no containers of the usual sort" },
	{ USEFUL(VETH), CONTAINERS, .module = "veth", .purpose = "pairs of network devices, one end in a container",
	  .missing = "containers with a network of their own cannot be restored" },

	{ UNUSED(EXPERT), NOT_OURS,
	  .purpose = "shows options that are on without it; what a fragment then leaves out, an allnoconfig turns off",
	  .missing = "nothing" },
	{ UNUSED(COMPAT), NOT_OURS, .purpose = "32-bit programs, which firn refuses", .missing = "nothing" },
	{ UNUSED(IA32_EMULATION), NOT_OURS, .arch = CONFIG_ARCH_X86_64,
	  .purpose = "32-bit programs, which firn refuses", .missing = "nothing" },
	{ UNUSED(IO_URING), NOT_OURS, EXPERT, .purpose = "io_uring, which firn refuses", .missing = "nothing" },
	{ UNUSED(INET_RAW_DIAG), NOT_OURS, .module = "raw_diag",
	  .purpose = "raw sockets, which firn finds in /proc/net/raw (CRIU asks this)", .missing = "nothing" },
	{ UNUSED(VSOCKETS_DIAG), NOT_OURS, .module = "vsock_diag", .purpose = "lists of vsock sockets, for ss",
	  .missing = "nothing" },
};

const size_t n_config_options = ARRAY_SIZE(config_options);

int config_option_find(const char *name, size_t len)
{
	static const char prefix[] = "CONFIG_";
	const size_t n = sizeof(prefix) - 1;

	if (len > n && memcmp(name, prefix, n) == 0) {
		name += n;
		len -= n;
	}
	for (size_t i = 0; i < ARRAY_SIZE(config_options); i++) {
		const char *own = config_options[i].name + n;

		if (strlen(own) == len && memcmp(own, name, len) == 0)
			return (int)i;
	}
	return -1;
}
