# SPDX-License-Identifier: LGPL-2.1-or-later
"""The test programs and what each needs. One line per program (and argument)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    name: str                   # the program
    args: tuple = ()
    options: tuple = ()         # for dump and restore
    root_only: bool = False     # sets up what an ordinary user may not
    inner: str = ""             # where the protocol's files are, below the working folder
    criu: str = ""              # why the peer does not carry it; "" when it does
    killed_only: str = ""       # a piece of the sentence with which a dump that leaves it running is refused
    refused: str = ""           # a piece of the sentence with which firn refuses it for now; "" when it is carried

    @property
    def id(self):
        return "-".join((self.name, *self.args))


def each(name, *args, **kwargs):
    return [Entry(name, (arg,), **kwargs) for arg in args]


CRIU_TCP = "SO_PASSCRED of a TCP socket cannot be read on Linux 6.18"
TCP_ANYWHERE = ("est", "full", "fin_wait1", "fin_wait2", "close_wait", "last_ack", "closing", "closed", "reset", "options",
                "shut_rd", "cork")
TCP_SCENES = [
    *(("4", where, scene) for where in ("inside", "outside") for scene in TCP_ANYWHERE),
    ("4", "outside", "syn_sent"), ("4", "inside", "refused"),
    *((family, "outside", scene) for family in ("6", "mapped") for scene in ("est", "full", "close_wait", "closed")),
    ("6", "inside", "refused"), ("6", "outside", "syn_sent"), ("6", "inside", "fin_wait2"), ("mapped", "inside", "last_ack"),
]

ENTRIES = [
    # the tree
    Entry("tree_shapes"),
    Entry("threads"),
    Entry("zombies"),
    Entry("stopped"),
    Entry("churn", criu="forks while it is frozen are lost"),
    Entry("sessions"),
    Entry("sessions", ("orphans",), criu="the orphan is no longer the sub-reaper's child"),
    Entry("subreaper"),
    Entry("all_kinds", options=("--file-locks",), criu="each kind's own reasons"),
    Entry("clone_sharing", ("files",)),
    Entry("clone_sharing", ("fs",), criu="Can't make FS id"),
    *each("clone_sharing", "vm", "sighand", "all", criu="Can't make VM id"),
    # memory
    *each("mem_aio", "idle", "events", "wrapped", criu="its dump waits for ever"),
    Entry("mem_aio", ("forked",), refused="not its own"),
    Entry("mem_anon"),
    Entry("mem_shared"),
    *each("mem_file", "named", "deleted", "shm"),
    Entry("mem_layout", criu="MADV_WIPEONFORK and what shared memory is called are lost"),
    Entry("mem_layout", ("onfault",), criu="MLOCK_ONFAULT is lost"),
    Entry("mem_memfd"),
    Entry("mem_hugetlb"),
    Entry("mem_many"),
    Entry("mem_sparse"),
    *each("mem_sysv", "key", "private", "removed", "readonly", "two", "partial", "pair", "huge",
          criu="carries segments in IPC namespaces of their own only"),
    Entry("mem_thp"),
    Entry("mm_fields"),
    Entry("mm_fields", ("deleted",)),
    # registers, system calls, signals, timers
    *each("registers", "spin", "syscall"),
    Entry("selfcheck"),
    *each("syscalls", "untimed", "timed", "sigwait", criu="calls with a restart block end with EINTR"),
    *each("signals", "actions", "pending", "altstack", "handler"),
    *each("timers", "itimer", "posix", "alarm"),
    Entry("thread_state"),
    # hard to stop, to ask or to rebuild
    *each("hard_states", "blocked", "caught", "data", "stack", "nproc", "sigpending", "memlock"),
    Entry("hard_states", ("ignored",), criu="SIGTRAP is no longer ignored"),
    Entry("hard_states", ("nofile",), criu="Too many open files"),
    # attributes
    Entry("credentials", ("user",)),
    Entry("credentials", ("root",), root_only=True, criu="prlimit of another user's task needs CAP_SYS_RESOURCE"),
    *each("attributes", "comm", "dumpable", "pdeathsig", "thp_disable", "oom_score_adj", "subreaper", "sched",
          "rlimits", "fs", "cwd_deleted"),
    *each("attributes", "timerslack", "personality", "ioprio", "cpus", "coredump_filter", criu="not restored"),
    Entry("attributes", ("pdeath_deadly",), criu="the root gets the signal"),
    *each("attributes", "fifo", "negative_nice", root_only=True),
    Entry("attributes", ("chroot",), root_only=True, inner="new"),
    # descriptors
    Entry("fd_regular"),
    *each("fd_ghost", "plain", "links", "kinds"),
    *each("fd_ghost", "folders", "remade", criu="Couldn't unlink remap: Directory not empty"),
    Entry("fd_ghost", ("nameless",), criu="the file can no longer be given a name"),
    Entry("fd_ghost", ("sockets",), criu="File sock has bad mode"),
    Entry("fd_ghost", ("devices",), root_only=True, criu="Can't dump file of that type"),
    Entry("fd_ghost", ("moved",), options=("--link-remap",)),
    Entry("fd_ghost", ("remap",), options=("--link-remap",)),
    Entry("fd_ghost", ("big",), options=("--ghost-limit", "8M")),
    Entry("fd_pipe", criu="packetized mode for pipes is not supported"),
    Entry("fd_fifo"),
    Entry("fd_fifo", ("gone",)),
    Entry("fd_chardev"),
    Entry("fd_chardev", ("block",), root_only=True, criu="Can't dump file of that type"),
    Entry("fd_chardev", ("block_write",), root_only=True, refused="open for writing"),
    *each("fd_pty", "pair", "session", "data"),
    *each("fd_tty", "several", "unopened", "nofd"),
    Entry("fd_tty", ("modes",), criu="speeds of their own kind are lost"),
    Entry("fd_tty", ("hung",), criu="Can't open file dev/pts/N (deleted)"),
    *each("fd_tty", "hung_ctty", "ctty", "group", criu="ctty inheritance detected"),
    Entry("fd_tty", ("closed",), criu="forgets that the slave was closed"),
    Entry("fd_tty", ("packet",), criu="what waits to be read in packet mode is lost"),
    Entry("fd_tty", ("lines",), criu="the beginning of a line is lost"),
    Entry("fd_tty", ("locks",), criu="TIOCEXCL is lost"),
    Entry("fd_tty", ("status",), refused="a status of packet mode"),
    Entry("fd_tty", ("much",), refused="bytes wait to be read on this side of a pty"),
    *each("fd_tty", "console", "vt", root_only=True),
    Entry("fd_eventfd", criu="loses EFD_SEMAPHORE and the upper half of the value"),
    *each("fd_epoll", "basic", "nested"),
    *each("fd_epoll", "numbers", "shared", "many", "signalfd", criu="takes what stands at the old number"),
    Entry("fd_epoll", ("modes",), criu="edges that were told are told again"),
    Entry("fd_epoll", ("lost",), refused="no task of the tree holds"),
    Entry("fd_signalfd"),
    Entry("fd_timerfd"),
    Entry("fd_timerfd", ("alarm",), criu="Unknown clock type"),
    Entry("fd_timerfd", ("stopped",), criu="a stopped timer runs again"),
    *each("fd_fanotify", "marks", "mount", "queued", root_only=True),
    Entry("fd_fanotify", ("removed",), root_only=True, criu="the mark on the removed file is lost"),
    Entry("fd_fanotify", ("permission",), root_only=True, refused="who may open files"),
    Entry("fd_fanotify", ("filesystem",), root_only=True, refused="a whole file system"),
    Entry("fd_inotify", ("basic",), criu="IN_EXCL_UNLINK is lost, numbers are given again"),
    Entry("fd_inotify", ("queued",)),
    Entry("fd_inotify", ("symlink",), criu="follows the link"),
    Entry("fd_inotify", ("tmpfs",), criu="finds no path for the file handle"),
    Entry("fd_inotify", ("beside",), criu="what it makes for removed files is told"),
    *each("fd_pidfd", "living", "dead"),
    Entry("fd_pidfd", ("queued",), refused="waits in the queue"),
    Entry("fd_pidfd", ("code",), criu="the exit code is lost"),
    Entry("fd_pidfd", ("threads",), criu="PIDFD_THREAD flag is currently not supported"),
    *each("fd_proc", "living", "dead", "system"),
    Entry("fd_proc", ("position",), criu="the rest of the text is that of CRIU's own task"),
    Entry("fd_proc", ("thread",), criu="opens it before the thread exists"),
    Entry("fd_many"),
    Entry("fd_owner"),
    *each("file_locks", "posix", "flock", "ofd", "lease", options=("--file-locks",)),
    *each("unix_sockets", "stream", "dgram", "seqpacket", "listen", "shutdown", "passed"),
    Entry("unix_sockets", ("named",), criu="the queued datagram's sender is lost"),
    Entry("unix_sockets", ("empty",), criu="an empty message is lost"),
    Entry("unix_sockets", ("passcred",), criu="Control messages in queue, not supported"),
    Entry("unix_sockets", ("pending",), criu="Non-empty write queue on an in-flight socket",
          killed_only="data waits in a connection"),
    *each("unix_pending", "empty", "child"),
    Entry("unix_pending", ("full",), criu="connects to a full backlog and waits for ever"),
    *each("unix_pending", "data", "passed", criu="Non-empty write queue on an in-flight socket",
          killed_only="data waits in a connection"),
    Entry("unix_sockets", ("rebound", "stream"), criu="the accepted socket has no name"),
    Entry("unix_sockets", ("rebound", "dgram")),
    *each("unix_queues", "full", "shutdown", "owner"),
    *each("unix_queues", "senders", "row", criu="a datagram peer that is connected elsewhere is not found"),
    Entry("unix_queues", ("peek",), criu="SO_PEEK_OFF is lost"),
    Entry("unix_queues", ("reset",), criu="what the peer's end will report is lost"),
    Entry("unix_queues", ("options",), criu="SO_REUSEADDR, SO_TIMESTAMP and SO_PASSPIDFD are lost"),
    Entry("unix_queues", ("oob",), refused="an urgent byte"),
    *each("unix_rights", "nested", "both", "circle", "kinds", "split"),
    Entry("unix_rights", ("self",), criu="a peer that only a queue holds is not found"),
    Entry("unix_rights", ("epoll",), criu="an epoll that only a queue holds loses what it watches"),
    Entry("unix_rights", ("many",), criu="the 253rd descriptor of a message is lost"),
    Entry("unix_rights", ("dgram",), criu="an empty message is lost"),
    *each("unix_names", "long", "modes"),
    *each("unix_names", "relative", "left", criu="names that begin with .. are not found, and the accepted socket has no name"),
    Entry("unix_names", ("autobind",), criu="the queued datagram's sender is lost"),
    *each("unix_names", "moved", "gone_dir", criu="makes the socket file at its old path"),
    Entry("unix_names", ("chroot",), root_only=True, inner="new", criu="makes the socket file outside of the root folder"),
    Entry("unix_creds", ("pids",), criu="SO_PEERCRED names the process that restores"),
    Entry("unix_creds", ("groups",), root_only=True, criu="SO_PEERCRED names the user who restores"),
    Entry("unix_creds", ("scm",), criu="Control messages in queue, not supported"),
    Entry("unix_sockets", ("peercred",), criu="SO_PEERCRED names the user who restores"),
    Entry("unix_sockets", ("refiled",)),
    *each("tcp_listen", "4", "6", "both", criu="SO_PASSCRED of a TCP socket cannot be read on Linux 6.18"),
    *each("udp_sockets", "4", "6", "lite4", "lite6", "lite", "options4", "options6", "generic", "shared", "halves", "groups4",
          "groups6", "odd", criu="SO_PASSCRED of an IP socket cannot be read on Linux 6.18"),
    Entry("udp_sockets", ("corked",), refused="waits for more"),
    *each("raw_sockets", "4", "6", root_only=True, criu="SO_PASSCRED of an IP socket cannot be read on Linux 6.18"),
    Entry("raw_sockets", ("ping",), criu="unknown protocol"),
    Entry("netlink_sockets", ("plain",), criu="Groups above 32 are not supported"),
    Entry("netlink_sockets", ("queue",), refused="unread messages"),
    *each("packet_sockets", "plain", "ring1", "ring2", "ring3", root_only=True,
          criu="SO_PASSCRED of a packet socket cannot be read on Linux 6.18"),
    Entry("packet_sockets", ("used",), refused="that was used"),
    Entry("bpf_maps", ("maps",), root_only=True, criu="Debian's build has no BPF maps"),
    Entry("bpf_maps", ("queue",), refused="a BPF map"),
    Entry("bpf_maps", ("used",), refused="a BPF"),
    Entry("vsock_sockets", ("plain",), criu="has no such type"),
    Entry("vsock_sockets", ("connected",), refused="vsock connection to"),
    Entry("vsock_sockets", ("pending",), refused="vsock connection"),
    *each("tun_devices", "persistent", "queues", root_only=True, criu="in network namespaces of their own only"),
    Entry("tun_devices", ("gone",), refused="goes when its program ends"),
    *(Entry("tcp_connections", (family, where, scene), options=("--tcp-established",), root_only=True, criu=CRIU_TCP)
      for family, where, scene in TCP_SCENES),
]
