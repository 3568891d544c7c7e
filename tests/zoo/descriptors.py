# SPDX-License-Identifier: LGPL-2.1-or-later
"""What descriptors and paths lead to does not answer."""

import ctypes
import fcntl
import os
import subprocess

import pytest

import firn_harness as h
from keeper import ZOO, exhibit, mount_namespace, own_streams, waits_in
from situations import LIBC, mounted

# kind of the program stuck, and where firn asks the server
USES = {"an open descriptor": ("holds", "start: pid {pid} (stuck), fstat, fd 3 → {path}/data on fuse"),
        "a mapped file": ("maps", "start: pid {pid} (stuck), statx, mapping … → {path}/data"),
        "a working folder": ("cwd", "start: pid {pid} (stuck), fstat, cwd → {path}"),
        "a root folder": ("root", "start: pid {pid} (stuck), fstat, root → {path}")}


@exhibit("{} on FUSE with a dead server", USES)
def on_fuse(z, what):
    """The server is stopped or overloaded: the kernel waits for its answer for ever."""
    kind, step = USES[what]
    fuse = z.fuse()
    w = z.stuck(kind, fuse.path)
    fuse.silence()
    outcome = z.dump(w)
    z.untouched(w)
    z.stalls(outcome, step.format(pid=w.pid, path=fuse.path))
    assert "Likely cause: a FUSE file system does not answer" in outcome.err, outcome
    fuse.speak()
    w.finish()


@exhibit("a mount on FUSE with a dead server that nobody uses")
def unused_mount(z):
    """Only what the tree has open is asked for, not every mount."""
    z.fuse().silence()
    w = z.plain()
    z.succeeds(z.dump(w))
    z.works(w)


def with_own_server(z, how):
    """A tree whose root is stuck.c in the state @how, and which has a FUSE server; the mount, and the tree."""
    path = z.work.parent / "own"
    path.mkdir()
    z.strays.callback(subprocess.run, ["umount", "-l", path], check=False, stderr=subprocess.DEVNULL)
    script = f'{ZOO}/fuse_server {path} & while ! mountpoint -q {path}; do sleep 0.02; done; exec {ZOO}/stuck {z.work} {how(path)}'
    w = z.start(["/bin/sh", "-c", script]).wait_ready()
    return path, w


@exhibit("the FUSE server inside the tree itself")
def server_in_the_tree(z):
    """Frozen with the tree, the server answers nobody: what is asked of its files waits for the end of the dump."""
    path, w = with_own_server(z, lambda path: f"holds {path}")
    server = h.children(w.pid)[0]
    z.says(z.dump(w), 3, f"pid {server} (fuse_server), fd 3 → /dev/fuse: a character device 10:229 cannot be carried by this "
                         "version of firn")
    z.works(w)


@exhibit("an automount whose daemon does not answer")
def autofs(z):
    """A path below an autofs mount waits for its daemon to mount something there."""
    path = z.work.parent / "auto"
    path.mkdir()
    r, w_end = os.pipe()
    options = f"fd={w_end},pgrp={os.getpgrp()},minproto=5,maxproto=5,indirect".encode()
    if LIBC.mount(b"zoo", bytes(path), b"autofs", 0, options):
        os.close(r)
        os.close(w_end)
        pytest.skip(f"mount of autofs: {os.strerror(ctypes.get_errno())}")
    try:
        w = z.plain()
        z.remember(w)
        argv = [*z.firn.command, "dump", "-t", w.pid, "-D", path / "host" / "images", "-W", z.images, "-o", "dump.log",
                "--leave-running", "--stall-timeout", "1"]
        outcome = z.run(argv)
        z.stalls(outcome, f"start: open, images folder {path}/host/images")
        assert "an automount waits for its daemon" in outcome.err, outcome
        z.works(w)
    finally:
        LIBC.umount2(bytes(path), 2)    # MNT_DETACH
        os.close(r)
        os.close(w_end)


@exhibit("a FIFO that nobody opens at the other end")
def fifo(z):
    """open() of a FIFO waits for the other end; it is interrupted and goes on."""
    os.mkfifo(z.work / "fifo")
    w = z.stuck("open", z.work / "fifo")
    waits_in(w.pid, "wait_for_partner")
    z.succeeds(z.dump(w))
    z.untouched(w)
    os.close(os.open(z.work / "fifo", os.O_WRONLY))
    w.finish()


@exhibit("a terminal whose foreground group is elsewhere")
def ttou(z):
    """A background task that writes to its terminal is stopped by SIGTTOU; so would be who takes its place."""
    w = z.stuck("ttou")
    z.succeeds(z.dump(w))
    z.works(w)


@exhibit("a watch on a folder with 20,000 files")
def huge_folder(z):
    """What inotify watches is known by its inode alone; to find its path must not mean to read the whole disk."""
    path = z.work / "huge"
    path.mkdir()
    for i in range(20000):
        os.mknod(path / str(i))
    w = z.stuck("watches", path)
    z.succeeds(z.dump(w))
    z.works(w)


@exhibit("name servers that never answer")
def dns(z):
    """No name is looked up, neither for addresses nor for users."""
    (z.work / "resolv.conf").write_text("nameserver 192.0.2.1\noptions timeout:30\n")
    inside = z.enter(mount_namespace(f"mount --bind {z.work}/resolv.conf /etc/resolv.conf"))
    w = z.start([*inside, *own_streams(z.work, h.PROGRAMS / "tcp_listen", z.work, "both")]).wait_ready()
    z.remember(w)
    z.succeeds(z.run([*inside, *z.dump_argv(w.pid)]))
    z.works(w)


@exhibit("the lock of iptables is held for ever")
def xtables_lock(z):
    """iptables waits for /run/xtables.lock; firn speaks nftables with the kernel itself."""
    w = z.program("tcp_connections", "4", "inside", "full")
    with open("/run/xtables.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        z.succeeds(z.dump(w, "--tcp-established"))
    z.works(w)


@exhibit("the images folder on FUSE with a dead server")
def images_on_fuse(z):
    """The images are written before the tree is killed: it runs on."""
    fuse = z.fuse()
    w = z.plain()
    z.remember(w)
    fuse.silence()
    z.stalls(z.run([*z.firn.command, "dump", "-t", w.pid, "-D", fuse.path / "images", "-W", z.images, "-o", "dump.log",
                    "--leave-running", "--stall-timeout", "1"]), f"start: open, images folder {fuse.path}/images")
    z.works(w)


@exhibit("a restore from FUSE with a dead server")
def restore_from_fuse(z):
    """The same for who reads them."""
    fuse = z.fuse()
    fuse.silence()
    z.stalls(z.run([*z.firn.command, "restore", "-D", fuse.path / "images", "-W", z.images, "-o", "restore.log", "-d",
                    "--stall-timeout", "1"]), f"images: open, images folder {fuse.path}/images", "Nothing was left behind")


@exhibit("the images folder on a full disk")
def full_disk(z):
    """The disk is full halfway through the pages."""
    w = z.plain()
    z.remember(w)
    path = z.enter(mounted(z.work, "-o", "size=200k"))
    z.says(z.run([*z.firn.command, "dump", "-t", w.pid, "-D", path, "-W", z.images, "-o", "dump.log"]), 1, f"{path}/pages-…: pwrite of … bytes: No space left on device")
    left = [p.name for p in path.iterdir()]
    assert not left, left
    z.works(w)


@exhibit("the images folder on a server inside the tree")
def images_on_own_server(z):
    """Frozen with the tree, the server would take no images."""
    path, w = with_own_server(z, lambda path: "cwd /")
    z.remember(w)
    z.says(z.run([*z.firn.command, "dump", "-t", w.pid, "-D", path, "-W", z.images, "-o", "dump.log", "--leave-running"]), 3,
           f"pid {h.children(w.pid)[0]} (fuse_server), fd 3 → /dev/fuse: a character device 10:229 cannot be carried by this "
           "version of firn")
    z.works(w)
