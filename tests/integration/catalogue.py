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
    refused: str = ""           # a piece of the sentence with which firn refuses it for now; "" when it is carried

    @property
    def id(self):
        return "-".join((self.name, *self.args))


def each(name, *args, **kwargs):
    return [Entry(name, (arg,), **kwargs) for arg in args]


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
    Entry("fd_owner", ("thread",)),
    *each("file_locks", "posix", "flock", "ofd", "lease", options=("--file-locks",)),
    *each("unix_sockets", "stream", "dgram", "seqpacket", "listen", "shutdown", "passed"),
    Entry("unix_sockets", ("named",), criu="the queued datagram's sender is lost"),
    Entry("unix_sockets", ("empty",), criu="an empty message is lost"),
    Entry("unix_sockets", ("passcred",), criu="Control messages in queue, not supported"),
    Entry("unix_sockets", ("pending",), criu="Non-empty write queue on an in-flight socket",
          refused="wait to be accepted"),
    Entry("unix_sockets", ("rebound", "stream"), criu="the accepted socket has no name"),
    Entry("unix_sockets", ("rebound", "dgram")),
    Entry("unix_sockets", ("peercred",), criu="SO_PEERCRED names the user who restores"),
    Entry("unix_sockets", ("refiled",), refused="is no socket any more"),
    *each("tcp_listen", "4", "6", "both", criu="SO_PASSCRED of a TCP socket cannot be read on Linux 6.18"),
]
