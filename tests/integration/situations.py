# SPDX-License-Identifier: LGPL-2.1-or-later
"""Situations in which things get stuck, as context managers: they are over, whatever happened, when the block is left."""

import contextlib
import ctypes
import os
import pathlib
import signal
import struct
import subprocess

import pytest

import firn_harness as h

LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def traced(pid):
    assert LIBC.ptrace(0x4206, pid, None, None) == 0  # PTRACE_SEIZE
    try:
        yield
    finally:
        os.kill(pid, signal.SIGSTOP)
        h.wait_for(lambda: h.state(pid) in "tT", "stopped for the detach")
        assert LIBC.ptrace(17, pid, None, None) == 0  # PTRACE_DETACH
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def mounted(work, *options):
    path = work.parent / "mounted"
    path.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "firn-test", path], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@contextlib.contextmanager
def dead_fuse(work):
    """A FUSE mount whose server never answers."""
    path = work.parent / "dead"
    path.mkdir(exist_ok=True)
    try:
        fd = os.open("/dev/fuse", os.O_RDWR)
    except OSError as e:
        pytest.skip(f"/dev/fuse: {e}")
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    if LIBC.mount(b"dead", bytes(path), b"fuse", 0, options):
        error = os.strerror(ctypes.get_errno())
        os.close(fd)
        pytest.skip(f"mount of fuse: {error}")
    # the connection is set up (FUSE_INIT is answered), so that later requests wait for ever
    init = os.read(fd, 65536)
    unique = struct.unpack_from("<IIQ", init)[2]
    body = struct.pack("<IIIIHHIIHHIIII", 7, 31, 0, 0, 0, 0, 4096, 0, 0, 0, 0, 0, 0, 0).ljust(64, b"\0")
    os.write(fd, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)
    try:
        yield path
    finally:
        LIBC.umount2(bytes(path), 2)    # MNT_DETACH
        os.close(fd)


def mounts_of(fstype, option=""):
    for line in h.read_text("/proc/self/mountinfo").splitlines():
        left, right = line.split(" - ")
        if right.split()[0] == fstype and (not option or option in right.split()[2].split(",")):
            return left.split()[4]
    pytest.skip(f"no {fstype} {option} is mounted")


@contextlib.contextmanager
def group(kind, parent, *files):
    path = pathlib.Path(parent) / f"firn-test-{os.getpid()}-{kind}"
    try:
        path.mkdir()
    except OSError as e:
        pytest.skip(f"{path}: {e}")
    try:
        if not all((path / f).exists() for f in files):
            pytest.skip(f"{path} has not {files}")
        yield path
    finally:
        h.wait_for(lambda: not h.read_text(path / "cgroup.procs").strip(), "the group is empty")
        path.rmdir()
