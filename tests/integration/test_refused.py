# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is not carried is refused by name, with exit code 3, and the program goes on as if nothing had been."""

import re
import socket

import pytest

import firn_harness as h

# kind of the program not_carried, the words that the sentence or its hint must have
KINDS = {
    "epoll": "epoll",
    "timerfd": "timerfd",
    "signalfd": "signalfd",
    "tcp": "TCP|tcp",
    "ebpf_filter": "eBPF filter",
    "ebpf_filter_unix": "eBPF filter",
    "netns_socket": "another network namespace",
    "alg": "the kernel's crypto",
    "other_pidfd": "pidfd of task",
    "userfaultfd": "userfaultfd",
    "io_uring": "io_uring",
    "perf": "perf",
    "flock": "lock",
    "posix_lock": "lock",
    "sysv_shm": "SysV|System V|SYSV",
    "seccomp": "seccomp",
    "other_proc": "outside of the tree",
    "uring_ring": "io_uring",
    "namespace": "namespace file of another",
    "secretmem": "secret memory",
    "tun": "10:200",
    "dead_thread": "a thread that has ended",
    "ldt": "modify_ldt",
    "mdwe": "PR_SET_MDWE",
    "tsc": "PR_SET_TSC",
    "dispatch": "syscall user dispatch",
    "mqueue": "POSIX message queue without a name",
    "mq_notify": "mq_notify",
    "exit_signal": "instead of SIGCHLD",
}


@pytest.mark.parametrize("kind", KINDS)
def test_refused(kind, program, firn):
    w = program("not_carried", kind)
    outcome = firn.dump(w.pid, w.images())
    if outcome.ok:
        # It is carried: then it must come back.
        w.poll()
        w.restore(firn)
    else:
        assert outcome.code == 3, outcome
        assert re.search(KINDS[kind], outcome.err), outcome
        assert any(str(p) in outcome.err for p in h.tree(w.pid)), f"the task is not named\n{outcome}"
        assert not (w.images() / "inventory.img").exists(), outcome
    w.finish()


@pytest.mark.parametrize("option,word", [
    (("--external", "mnt[x]:y"), "--external"),
    (("--action-script", "/bin/true"), "--action-script"),
    (("--no-such-option",), "--no-such-option"),
    (("--leave-runing",), "--leave-running"),
])
def test_options_refused_by_name(option, word, program, firn):
    """Before anything is frozen; an unknown option names the nearest known one."""
    w = program("not_carried", "none")
    outcome = firn.dump(w.pid, w.images(), *option)
    if word.startswith("--no-such") or word == "--leave-running":
        assert outcome.code == 2, outcome
    else:
        assert outcome.code in (0, 2, 3), outcome
    if outcome.ok:
        w.poll()
        w.restore(firn)
    else:
        assert word in outcome.err, outcome
    w.finish()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_path_of_a_living_socket(kind, program, firn):
    """Bound is enough: a server that does not listen yet keeps its socket file, and its restore waits for the path."""
    w = program("unix_sockets", "listen")
    w.dump(firn)
    path = w.folder / "listener0"
    path.unlink()
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        before = path.stat().st_ino
        outcome = firn.restore(w.images())
        assert not outcome.ok and f"another process has a socket at {path}" in outcome.err, outcome
        assert path.stat().st_ino == before
        if kind == socket.SOCK_DGRAM:
            with pytest.raises(BlockingIOError):
                other.recv(1, socket.MSG_DONTWAIT)
    w.restore(firn)
    w.finish()


def test_a_server_sees_no_connection(program, firn):
    """That its path is taken is found without a word to the server."""
    w = program("unix_sockets", "listen")
    w.dump(firn)
    path = w.folder / "listener0"
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        server.setblocking(False)
        outcome = firn.restore(w.images())
        assert not outcome.ok and f"another process has a socket at {path}" in outcome.err, outcome
        with pytest.raises(BlockingIOError):
            server.accept()
    w.restore(firn)
    w.finish()
