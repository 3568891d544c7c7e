# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever the caller has done to its streams, signals, limits and children: firn answers, with the right code."""

import os
import resource
import signal
import subprocess

import pytest

import firn_harness as h


def shell(script, *args, timeout=30, **kwargs):
    p = subprocess.Popen(["/bin/bash", "-c", script, "sh", *[str(a) for a in args]], stdin=subprocess.DEVNULL, **kwargs)
    try:
        return p.wait(timeout)
    except subprocess.TimeoutExpired:
        where = h.describe(p.pid)
        h.kill_tree(p.pid)
        p.wait()
        raise h.HarnessError(f"no end\n{where}") from None


def low_limits():
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))


def low_file_size():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def ignore_sigchld():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def block_all():
    signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))


CALLERS = {
    "closed": ('exec "$@" <&- >&- 2>&-', None),
    "closed_out": ('exec "$@" >&-', None),
    "closed_error": ('exec "$@" 2>&-', None),
    "dev_full": ('exec "$@" >/dev/full 2>/dev/full', None),
    "read_end_closed": ('"$@" > >(:) 2> >(:)', None),
    "sigchld_ignored": ('exec "$@"', ignore_sigchld),
    "all_blocked": ('exec "$@"', block_all),
    "few_descriptors": ('exec "$@"', low_limits),
}


@pytest.mark.timeout(90)
@pytest.mark.parametrize("how", CALLERS)
def test_caller(how, program, firn, work):
    script, before = CALLERS[how]
    w = program("mem_anon" if how == "few_descriptors" else "fd_regular")
    images = w.images()
    images.mkdir()
    out = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "preexec_fn": before}
    code = shell(script, *firn.dump_argv(w.pid, images, "--leave-running"), **out)
    assert code == 0, h.read_text(images / "dump.log")
    assert not h.tracers(w.pid)
    # an error has its code, too
    assert shell(script, *firn.dump_argv(2 ** 22 - 1, h.Folder.images(work)), **out) in (1, 2)
    w.dump(firn)
    code = shell(script, *firn.restore_argv(images), **out)
    log = h.read_text(images / "restore.log")
    assert code == 0, log
    w.process, w.exit_code, w.restored = None, None, True
    w.rounds += 1
    (w.protocol / "restored").touch()
    assert not h.tracers(w.pid), log
    w.finish()


@pytest.mark.timeout(60)
def test_full_pipe(program, firn):
    """Standard output, standard error and the log are a pipe that is full and that nobody reads."""
    w = program("mem_anon")
    w.images().mkdir()
    r, wr = os.pipe()
    os.set_blocking(wr, False)
    try:
        while True:
            os.write(wr, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(wr, True)
    argv = [*firn.command, "dump", "-t", str(w.pid), "-D", str(w.images()), "--leave-running", "-v4"]
    for log in ([], ["-o", "-"], ["-o", f"/proc/self/fd/{wr}"]):
        p = subprocess.Popen(argv + log, stdin=subprocess.DEVNULL, stdout=wr, stderr=wr, pass_fds=[wr])
        assert p.wait(30) == 0
        assert not h.tracers(w.pid)
    os.close(r)
    os.close(wr)
    w.finish(60)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("log", ["/dev/full", "/nowhere/at/all", "/proc/1/status", "."])
def test_log_that_cannot_be_written(log, program, firn):
    w = program("mem_anon")
    w.images().mkdir()
    outcome = h.run([*firn.command, "dump", "-t", w.pid, "-D", w.images(), "--leave-running", "-v4", "-o", log])
    assert outcome.ok and "log" in outcome.err, outcome
    w.finish()


@pytest.mark.timeout(60)
def test_parent_that_reaps_everything(program, firn, work):
    """A sub-reaper that waits for every child as soon as it ends, as container managers do."""
    w = program("mem_anon")
    w.dump(firn)
    script = work / "reaper.py"
    script.write_text(f"""
import ctypes, os, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
code = None
while code is None:
    try:
        p, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        break
    if p == pid:
        code = os.waitstatus_to_exitcode(status)
os._exit(code)
""")
    code = subprocess.run(["/usr/bin/python3", script, *firn.restore_argv(w.images())], check=False, timeout=30).returncode
    assert code == 0, h.read_text(w.images() / "restore.log")
    w.process, w.exit_code, w.restored = None, None, True
    w.rounds += 1
    (w.protocol / "restored").touch()
    w.finish()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("owner", [None, h.USER])
def test_ordinary_user(owner, program, firn, work):
    """A restore by a user without privileges says so, and leaves nothing."""
    w = program("mem_anon", user=owner)
    w.dump(firn)
    uid, gid = h.user_ids(h.USER)
    images = w.images()
    for path in [images.parent.parent, images.parent, images, *images.iterdir()]:
        os.chmod(path, 0o755)
        os.chown(path, uid, gid)
    outcome = h.run(["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *firn.restore_argv(images)])
    assert outcome.code in (1, 3), outcome
    assert outcome.err.startswith("firn: restore: "), outcome
    assert "cap_" in outcome.err.lower() and "Nothing was left behind" in outcome.err, outcome


def test_dump_by_an_ordinary_user(program, firn, work):
    w = program("mem_anon")
    uid, gid = h.user_ids(h.USER)
    images = w.images()
    images.mkdir()
    os.chown(images, uid, gid)
    outcome = h.run(["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *firn.dump_argv(w.pid, images)])
    assert outcome.code in (1, 3), outcome
    assert str(w.pid) in outcome.err, outcome
    w.finish()
