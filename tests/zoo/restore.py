# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tree does not come back, or not to the end."""

import fcntl
import os
import pty
import signal
import socket
import subprocess

import firn_harness as h
from keeper import exhibit

LEFT = "Nothing was left behind"


def dumped(z, *program):
    """A program that was dumped and killed; its images are z.images."""
    w = z.program(*program)
    w.dump(z.firn, images=z.images)
    return w


def comes_back(z, w):
    """After all that failed it is restored and verifies itself."""
    w.restore(z.firn, images=z.images)
    w.finish()


@exhibit("a truncated file of pages")
def truncated(z):
    """A disk was full or a copy broke off."""
    w = dumped(z, "mem_anon")
    pages = max(z.images.glob("pages-*.img"), key=lambda p: p.stat().st_size)
    whole = pages.read_bytes()
    os.truncate(pages, len(whole) // 2)
    z.says(z.restore(z.images), 6, f"{pages}: {len(whole) // 2} bytes where firn.manifest has {len(whole)}", LEFT)
    pages.write_bytes(whole)
    comes_back(z, w)


@exhibit("a restored task killed in stage {}", ["tree", "memory", "state"])
def killed(z, stage):
    """Somebody, or the kernel for want of memory, kills a task that is being built."""
    w = dumped(z, "threads", "400")
    outcome = z.run_until(z.restore_argv(z.images), "restore.log", f"{stage}: stage begins",
                          lambda: h.wait_for(lambda: h.alive(w.pid), "the task", 5) and os.kill(w.pid, signal.SIGKILL))
    if outcome.code == 4:
        z.stalls(outcome, f"state: pid {w.pid} (threads), clone3, thread {w.pid}: a batch of … calls in the task", LEFT)
        assert "Likely cause: the task was killed while firn worked in it" in outcome.err, outcome
    else:
        # the first call that meets its end says so
        end = ": No such process" if "No such process" in outcome.err else " ended …"
        z.says(outcome, 1, f"pid {w.pid}…{end}", LEFT)
    h.wait_for(lambda: h.gone(w.pid), "the task's end")
    comes_back(z, w)


@exhibit("a pid that is taken")
def pid_taken(z):
    """The kernel gives a pid once; a restore needs the very same."""
    w = z.plain()
    w.dump(z.firn, "--leave-running", images=z.images)
    z.says(z.restore(z.images), 1, f"pid {w.pid} is taken by another task (mem_anon)", LEFT)
    z.works(w)


@exhibit("a port that is in use")
def port_in_use(z):
    """Another server was started there meanwhile."""
    w = z.program("tcp_listen", "4")
    inodes = {os.stat(f"/proc/{w.pid}/fd/{fd}").st_ino for fd in os.listdir(f"/proc/{w.pid}/fd")}
    lines = [line.split() for line in h.read_text("/proc/net/tcp").splitlines()[1:]]
    port = next(int(x[1].split(":")[1], 16) for x in lines if int(x[9]) in inodes and x[3] == "0A")
    w.dump(z.firn, images=z.images)
    with socket.socket() as other:
        other.bind(("", port))
        other.listen()
        z.says(z.restore(z.images), 1, f"TCP 127.0.0.1:{port}, listening: bind: Address already in use", LEFT)
    comes_back(z, w)


@exhibit("a file lock that another process holds at the restore")
def lock_held(z):
    """F_SETLKW waits for the holder, for ever if need be; firn asks with F_SETLK."""
    w = z.program("file_locks", "posix")
    w.dump(z.firn, "--file-locks", images=z.images)
    with open(z.work / "posix", "r+b") as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        z.says(z.restore(z.images, "--file-locks"), 1,
               "pid … (file_locks), fd …: its file lock cannot be taken again: fcntl: Resource temporarily unavailable", LEFT)
    w.restore(z.firn, "--file-locks", images=z.images)
    w.finish()


@exhibit("a terminal whose master is outside of the tree")
def console(z):
    """The terminal goes with who holds its master, and is another one, or none, at the restore."""
    master, slave = pty.openpty()
    w = z.start([h.PROGRAMS / "mem_anon", z.work], stdin=slave).wait_ready()
    os.close(slave)
    z.says(z.dump(w), 3, f"pid {w.pid} (mem_anon), fd 0 → /dev/pts/…: the master side of this terminal belongs to a process "
                         "outside the tree")
    z.works(w)
    os.close(master)


@exhibit("two restores at once")
def twice(z):
    """Each has some of the pids that the other one needs."""
    w = dumped(z, "mem_anon")
    with open(z.work / "other", "w", encoding="ascii") as err:
        other = subprocess.Popen([str(a) for a in z.restore_argv(z.images)], stdin=subprocess.DEVNULL, stdout=err, stderr=err)
        outcome = z.restore(z.images)
        code = other.wait(30)
    assert sorted((outcome.code, code)) in ([0, 1], [1, 1]), f"{outcome}\n{code}: {h.read_text(z.work / 'other')}"
    if outcome.ok:
        z.succeeds(outcome)
    else:
        z.says(outcome, 1, f"pid {w.pid} is taken by another task (…)", LEFT)
    if 0 not in (outcome.code, code):
        return comes_back(z, w)
    w.process, w.exit_code, w.restored = None, None, True
    (w.protocol / "restored").touch()
    w.finish()


@exhibit("init of a pid namespace with a member from outside")
def namespace_init(z):
    """An init that ends waits for all members of its namespace, also for one that nsenter brought in and nobody kills."""
    w = z.start(["unshare", "--pid", "--fork", "--kill-child", "sleep", "1000"])
    init = h.wait_for(lambda: h.children(w.pid), "the namespace")[0]
    h.wait_for(lambda: "sleep" in h.read_text(f"/proc/{init}/comm"), "sleep")
    member = subprocess.Popen(["nsenter", "-t", str(init), "-p", "sleep", "1000"], start_new_session=True)
    inside = h.wait_for(lambda: h.children(member.pid), "the member")[0]
    try:
        z.says(z.run(z.dump_argv(init)), 3, f"pid {init} (sleep) is in a pid namespace of its own (pid:[…]), which firn does not "
                                          "carry yet")
        assert not h.tracers(init) and h.state(init) == "S"
    finally:
        h.kill_tree(member.pid)
        member.wait()
        h.wait_for(lambda: h.gone(inside), "the member's end")      # else init of the namespace would never end
