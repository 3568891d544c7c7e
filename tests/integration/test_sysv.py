# SPDX-License-Identifier: LGPL-2.1-or-later
"""System V segments live in the IPC namespace, not in a task: what became of them between dump and restore."""

import ctypes
import os
import signal
import subprocess
import time

import pytest

import firn_harness as h

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.shmdt.argtypes = [ctypes.c_void_p]
IPC_CREAT, IPC_EXCL = 0o1000, 0o2000


def key_of(w):
    return 0x66000000 | w.pid


def ids_of(w):
    return sorted(i for i, (_, _, cpid, lpid) in h.segments().items() if cpid in w.pids or lpid in w.pids)


class Segment:
    """One of the test's own, removed at the end."""

    def __init__(self, key, shmid=None):
        if shmid is not None:
            with open("/proc/sys/kernel/shm_next_id", "w") as f:
                f.write(str(shmid))
        self.id = libc.shmget(key, 100, IPC_CREAT | IPC_EXCL | 0o600)
        assert self.id >= 0, os.strerror(ctypes.get_errno())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        h.remove_segment(self.id)


class Attached:
    """The test as a task outside of the tree that uses a segment."""

    def __init__(self, shmid):
        self.at = libc.shmat(shmid, None, 0)
        assert self.at not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        assert libc.shmdt(self.at) == 0


@pytest.mark.parametrize("as_user", [None, "nobody"], ids=["root", "nobody"])
@pytest.mark.parametrize("case", ["key", "private", "readonly", "two", "partial", "pair"])
def test_made_anew(case, as_user, program, firn):
    """The segment was removed after the dump (or the machine was started again): id, key and content come back."""
    w = program("mem_sysv", case, user=as_user)
    ids = ids_of(w)
    w.dump(firn)
    assert ids and set(ids) <= set(h.segments()), "the dump removes no segment"
    for i in ids:
        h.remove_segment(i)
    w.restore(firn)
    assert set(ids) <= set(h.segments())
    w.finish()
    assert not set(ids) & set(h.segments())


def test_content_changed(program, firn):
    """What is still there is used again, and gets the content of the checkpoint."""
    w = program("mem_sysv", "key")
    w.dump(firn)
    with Attached(libc.shmget(key_of(w), 0, 0)) as a:
        ctypes.memset(a.at, 0x5a, 16 * 4096)
    w.restore(firn)
    w.finish()


def refused(firn, w, *words):
    outcome = firn.restore(w.images())
    assert not outcome.ok, outcome
    for word in words:
        assert str(word) in outcome.err, outcome
    assert not h.alive(w.pid), outcome


def test_key_taken(program, firn):
    """Nothing that a failed restore made stays, nothing else is touched."""
    w = program("mem_sysv", "pair")
    ids = ids_of(w)
    w.dump(firn)
    for i in ids:
        h.remove_segment(i)
    with Segment(key_of(w)) as other:
        before = h.segments()
        refused(firn, w, f"segment {other.id} ", f"{key_of(w):#x}", "key is taken", f"pid {os.getpid()}")
        assert h.segments() == before
    w.restore(firn)
    w.finish()


def test_id_taken(program, firn):
    w = program("mem_sysv", "private")
    ids = ids_of(w)
    w.dump(firn)
    h.remove_segment(ids[0])
    with Segment(key_of(w), ids[0]) as other:
        assert other.id == ids[0]
        before = h.segments()
        refused(firn, w, f"segment {ids[0]} ", "id is taken", f"{key_of(w):#x}", f"pid {os.getpid()}")
        assert h.segments() == before
    w.restore(firn)
    w.finish()


def test_in_use_at_restore(program, firn):
    w = program("mem_sysv", "key")
    w.dump(firn)
    with Attached(libc.shmget(key_of(w), 0, 0)):
        refused(firn, w, f"{key_of(w):#x}", "attached 1 times")
    w.restore(firn)
    w.finish()


@pytest.mark.parametrize("options", [(), ("--leave-running",)], ids=["kill", "run"])
def test_shared_with_outsider(options, program, firn):
    """A task that is not in the tree would go on with what the restored tree has to have for itself."""
    w = program("mem_sysv", "two")
    with Attached(libc.shmget(key_of(w), 0, 0)):
        outcome = firn.dump(w.pid, w.images(), *options)
        assert outcome.code == 3 and "outside of the tree" in outcome.err and str(w.pid) in outcome.err, outcome
    w.dump(firn)
    w.restore(firn)
    w.finish()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", ["pair", "removed"])
def test_killed_restore(case, program, firn, work):
    """An engine that is killed leaves no segment: its front removes those that it had made."""
    w = program("mem_sysv", case)
    ids = ids_of(w)
    w.dump(firn)
    usual = 0.1
    for i in range(12):
        for shmid in ids:
            h.remove_segment(shmid)
        with open(work / "engine.out", "ab") as out:
            start = time.monotonic()
            front = subprocess.Popen(firn.restore_argv(w.images()), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                     start_new_session=True)
        while time.monotonic() < start + usual * i / 12:
            pass
        for pid in h.children(front.pid):
            if pid == w.pid:        # its engine has ended
                continue
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        code = front.wait(20)
        if code == 0:
            usual = time.monotonic() - start
        restored = h.alive(w.pid)       # what was not let go yet, the front has ended
        h.kill_tree(w.pid)
        h.wait_for(lambda: h.gone(w.pid), "the end of what was restored")
        assert restored or not set(ids) & set(h.segments()), f"left after point {i}, exit code {code}"
    for shmid in ids:
        h.remove_segment(shmid)
    w.restore(firn)
    w.finish()
