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
    Entry("sessions"),
    Entry("sessions", ("orphans",)),
    Entry("subreaper"),
    *each("clone_sharing", "files", "fs", "vm", "sighand", "all"),
    # memory
    Entry("mem_anon"),
    Entry("mem_shared"),
    *each("mem_file", "named", "deleted", "shm"),
    Entry("mem_layout"),
    Entry("mem_memfd"),
    Entry("mem_hugetlb"),
    Entry("mem_many"),
    Entry("mem_sparse"),
    Entry("mem_thp"),
    Entry("mm_fields"),
    Entry("mm_fields", ("deleted",)),
    # registers, system calls, signals, timers
    *each("registers", "spin", "syscall"),
    Entry("selfcheck"),
    Entry("syscalls"),
    Entry("syscalls", ("timed",)),
    *each("signals", "actions", "pending", "altstack", "handler"),
    *each("timers", "itimer", "posix", "alarm"),
    Entry("thread_state"),
    # attributes
    Entry("credentials", ("user",)),
    Entry("credentials", ("root",), root_only=True),
    *each("attributes", "comm", "dumpable", "pdeathsig", "timerslack", "thp_disable", "personality", "ioprio",
          "oom_score_adj", "subreaper", "sched", "rlimits", "fs", "cwd_deleted"),
    *each("attributes", "fifo", "negative_nice", root_only=True),
    Entry("attributes", ("chroot",), root_only=True, inner="new"),
    # descriptors
    Entry("fd_regular"),
    *each("fd_ghost", "plain", "links"),
    Entry("fd_ghost", ("remap",), options=("--link-remap",)),
    Entry("fd_ghost", ("big",), options=("--ghost-limit", "8M")),
    Entry("fd_pipe"),
    Entry("fd_fifo"),
    Entry("fd_fifo", ("gone",)),
    Entry("fd_chardev"),
    *each("fd_pty", "pair", "session", "data"),
    Entry("fd_eventfd"),
    Entry("fd_many"),
    Entry("fd_owner"),
    *each("unix_sockets", "stream", "dgram", "seqpacket", "listen", "named", "shutdown", "pending", "passed"),
    *each("tcp_listen", "4", "6", "both"),
]
