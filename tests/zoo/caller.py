# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the caller has done to its streams, signals, limits and children."""

import os
import resource
import signal

import firn_harness as h
from keeper import exhibit, mount_namespace, own_streams


def all_blocked():
    signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))


def all_ignored():
    for s in range(1, 65):
        if s not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(s, signal.SIG_IGN)


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))


SHELL = ["/bin/bash", "-c"]
CALLERS = {
    "standard streams that are closed": ([*SHELL, 'exec "$@" <&- >&- 2>&-', "sh"], None),
    "standard output closed": ([*SHELL, 'exec "$@" >&-', "sh"], None),
    "standard error closed": ([*SHELL, 'exec "$@" 2>&-', "sh"], None),
    "a pipe whose reader is gone": ([*SHELL, '"$@" > >(:) 2> >(:)', "sh"], None),
    "a full disk behind every stream": ([*SHELL, 'exec "$@" >/dev/full 2>/dev/full', "sh"], None),
    "all signals blocked": ([], all_blocked),
    "all signals ignored": ([], all_ignored),
    "SIGCHLD blocked": ([], lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])),
    "SIGCHLD ignored": ([], lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)),
    "32 descriptors": ([], few_descriptors),
}


def calls(z, argv, how, log):
    """As z.run(), with what the caller does before it executes firn."""
    wrapper, before = how
    return z.run([*wrapper, *argv], log, preexec_fn=before)


@exhibit("a caller with {}", CALLERS)
def caller(z, how):
    """A front that trusts what it inherits waits for a signal that is blocked, or writes where nobody reads."""
    w = z.plain()
    z.remember(w)
    z.succeeds(calls(z, z.dump_argv(w.pid), CALLERS[how], "dump.log"))
    z.untouched(w)
    # an error has its code, too
    nobody = calls(z, z.firn.dump_argv(2 ** 22 - 1, z.work / "none"), CALLERS[how], None)
    assert nobody.code in (1, 2), nobody
    h.kill_tree(w.pid)
    h.wait_for(lambda: w.poll() is not None, "the tree's end")
    z.succeeds(calls(z, z.restore_argv(z.images), CALLERS[how], None))
    w.process, w.exit_code, w.restored = None, None, True
    w.rounds += 1
    (w.protocol / "restored").touch()
    assert not h.tracers(w.pid)
    w.finish()


@exhibit("a caller whose output is a full pipe that nobody reads")
def full_pipe(z):
    """A write to a full pipe waits for a reader: the one line that says how it went, the log, an error."""
    w = z.plain()
    z.remember(w)
    r, wr = os.pipe()
    os.set_blocking(wr, False)
    try:
        while True:
            os.write(wr, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(wr, True)
    try:
        for log_path in ("dump.log", "-", f"/proc/self/fd/{wr}"):
            argv = [*SHELL, f'exec "$@" >&{wr} 2>&{wr}', "sh", *z.dump_argv(w.pid, "-o", log_path)]
            z.succeeds(z.run(argv, pass_fds=[wr]))
            z.untouched(w)
    finally:
        os.close(r)
        os.close(wr)
    z.works(w)


@exhibit("a caller whose output is read inside the frozen tree")
def read_in_the_tree(z):
    """The reader stands still with the tree, and the writer with the reader."""
    r, wr = os.pipe()
    os.set_blocking(wr, False)
    w = z.start([h.PROGRAMS / "mem_anon", z.work], stdin=r).wait_ready()
    os.close(r)
    try:
        while True:
            os.write(wr, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(wr, True)
    z.remember(w)
    try:
        z.succeeds(z.run([*SHELL, f'exec "$@" >&{wr} 2>&{wr}', "sh", *z.dump_argv(w.pid, "-o", "-")], pass_fds=[wr]))
    finally:
        os.close(wr)
    z.works(w)


@exhibit("no /dev/null")
def no_dev_null(z):
    """In an image without /dev what is opened for want of a stream is not there."""
    inside = z.enter(mount_namespace("mount -t tmpfs none /dev"))
    z.images = z.work.parent / "images"         # the other is below /dev
    z.images.mkdir()
    w = z.start([*inside, *own_streams(z.work, h.PROGRAMS / "mem_anon", z.work)]).wait_ready()
    z.remember(w)
    z.succeeds(z.run([*inside, *z.dump_argv(w.pid)]))
    z.works(w)


@exhibit("a log on {}", ["/dev/full", "/nowhere/at/all", "/proc/1/status", "."])
def log(z, path):
    """The log cannot be written: that is said, and is no reason to fail."""
    w = z.plain()
    outcome = z.dump(w, "-o", path)
    z.succeeds(outcome)
    assert "log" in outcome.err, outcome
    z.works(w)


@exhibit("a parent that reaps every child")
def reaper(z):
    """Container managers wait for whatever ends, restored tasks included, before firn does."""
    w = z.plain()
    w.dump(z.firn, images=z.images)
    script = z.work / "reaper.py"
    script.write_text("""
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)     # PR_SET_CHILD_SUBREAPER
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
while True:
    p, status = os.waitpid(-1, 0)
    if p == pid:
        os._exit(os.waitstatus_to_exitcode(status))
""")
    z.succeeds(z.run(["/usr/bin/python3", script, *z.restore_argv(z.images)], None))
    w.process, w.exit_code, w.restored = None, None, True
    w.rounds += 1
    (w.protocol / "restored").touch()
    w.finish()
