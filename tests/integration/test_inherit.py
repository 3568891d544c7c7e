# SPDX-License-Identifier: LGPL-2.1-or-later
"""What lies outside of the tree: --external names it at the dump, --inherit-fd gives another in its place at the restore."""

import contextlib
import os
import select
import subprocess
import sys

import pytest

import firn_harness as h

PAIRS = [("firn", "firn"), ("firn", "criu"), ("criu", "firn")]

# Its standard input is what is given. After the trigger it does what its argument says and ends.
PROGRAM = r"""
import fcntl, os, struct, sys, termios, time
tty = -1
if sys.argv[1].startswith("tty"):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if sys.argv[1] == "tty_open":
    tty = os.open("/dev/tty", os.O_RDWR)
open("ready", "w").close()
while not os.path.exists("trigger"):
    time.sleep(0.002)
if sys.argv[1] == "write":
    os.write(0, b"after")
    got = "PASS"
elif sys.argv[1] == "read":
    got = ""
    while True:
        data = os.read(0, 100).decode()
        if not data or data == "\n":
            break
        got += data
else:
    os.write(0, b"stdin ")
    if tty >= 0:
        os.write(tty, b"tty ")
    probe = os.open("/dev/tty", os.O_RDWR)
    os.write(probe, b"probe")
    sid = struct.unpack("i", fcntl.ioctl(probe, 0x5429, b"0000"))[0]
    got = "PASS" if sid == os.getpid() == os.tcgetpgrp(probe) and os.ttyname(0) == os.readlink("/proc/self/fd/0") else "?"
open("result.new", "w").write(got)
os.rename("result.new", "result")
"""


@pytest.fixture(params=PAIRS, ids=["-".join(p) for p in PAIRS])
def engines(request):
    if "criu" in request.param and h.Criu.missing():
        pytest.skip(h.Criu.missing())
    return [h.ENGINES[name]() for name in request.param]


@pytest.fixture
def given(start):
    def given_(what, stdin):
        return start([sys.executable, "-c", PROGRAM, what], stdin=stdin).wait_ready()
    return given_


@contextlib.contextmanager
def closing(*fds):
    try:
        yield fds
    finally:
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)


def read_all(fd, seconds=5):
    """Until the other end is closed."""
    data = b""
    while select.select([fd], [], [], seconds)[0]:
        try:
            more = os.read(fd, 4096)
        except OSError:
            break
        if not more:
            return data
        data += more
    return data


def pipe_key(fd):
    return f"pipe:[{os.fstat(fd).st_ino}]"


def tty_key(fd):
    st = os.fstat(fd)
    return f"tty[{st.st_rdev:x}:{st.st_dev:x}]"


def file_key(pid, fd=0):
    text = h.read_text(f"/proc/{pid}/fdinfo/{fd}")
    mnt_id = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("mnt_id:"))
    return f"file[{mnt_id:x}:{os.stat(f'/proc/{pid}/fd/{fd}').st_ino:x}]"


def end(w, result="PASS"):
    w.trigger()
    h.wait_for(lambda: w.poll() is not None, lambda: f"its end\n{w.context()}", 10)
    assert h.read_text(w.folder / "result") == result, w.context()


def test_write_end_of_a_pipe(given, engines):
    """What is written after the restore comes out of the pipe that was given, and then the end: nobody else holds it."""
    dumper, restorer = engines
    with closing(*os.pipe()) as (r, wr):
        w = given("write", wr)
        w.dump(dumper)
        with closing(*os.pipe()) as (r2, wr2):
            w.restore(restorer, "--inherit-fd", f"fd[{wr2}]:{pipe_key(wr)}", pass_fds=[wr2])
            os.close(wr2)
            end(w)
            assert read_all(r2) == b"after"
        os.close(wr)
        assert read_all(r) == b""


@pytest.mark.parametrize("form", ["pipe:[{}]", "pipe[{}]"])
def test_read_end_of_a_pipe(form, given, firn):
    """What waited in the pipe waits in an empty one that is given."""
    with closing(*os.pipe()) as (r, wr):
        os.write(wr, b"before ")
        w = given("read", r)
        w.dump(firn)
        with closing(*os.pipe()) as (r2, wr2):
            w.restore(firn, "--inherit-fd", f"fd[{r2}]:" + form.format(os.fstat(r).st_ino), pass_fds=[r2])
            os.write(wr2, b"after")
            os.close(wr2)
            end(w, "before after")


def test_the_same_pipe_again(given, firn):
    """It lived on with what was in it: that is not put in twice."""
    with closing(*os.pipe()) as (r, wr):
        os.write(wr, b"before ")
        w = given("read", r)
        w.dump(firn)
        w.restore(firn, "--inherit-fd", f"fd[{r}]:{pipe_key(r)}", pass_fds=[r])
        os.write(wr, b"after")
        os.close(wr)
        end(w, "before after")


@pytest.mark.parametrize("what", ["tty", "tty_open"])
def test_terminal(what, given, engines):
    """Another terminal: it becomes the controlling one of the restored session, with its foreground group."""
    dumper, restorer = engines
    if what == "tty_open" and "criu" in (dumper.name, restorer.name):
        pytest.skip("CRIU: ctty inheritance detected")
    with closing(*os.openpty()) as (m, s), closing(*os.openpty()) as (m2, s2):
        w = given(what, s)
        if dumper.name == "firn":
            outcome = dumper.dump(w.pid, w.images())
            assert outcome.code == 3 and "outside the tree" in outcome.err and "--external" in outcome.err, outcome
        w.dump(dumper, "--external", tty_key(s))
        if restorer.name == "firn":
            outcome = restorer.restore(w.images())
            assert not outcome.ok and f"--inherit-fd 'fd[N]:{tty_key(s)}'" in outcome.err, outcome
        w.restore(restorer, "--inherit-fd", f"fd[{s2}]:{tty_key(s)}", pass_fds=[s2])
        os.close(s2)
        end(w)
        assert read_all(m2) == (b"stdin probe" if what == "tty" else b"stdin tty probe")
        assert not select.select([m], [], [], 0)[0]


def test_terminal_again(given, firn):
    """What was given is dumped and given once more."""
    with closing(*os.openpty()) as (m, s):
        w = given("tty_open", s)
        for _ in range(3):
            w.dump(firn, "--external", tty_key(s))
            w.restore(firn, "--inherit-fd", f"fd[{s}]:{tty_key(s)}", pass_fds=[s])
        end(w)
        os.close(s)
        assert read_all(m) == b"stdin tty probe"


def make(path, text, position=0):
    path.write_text(text)
    fd = os.open(path, os.O_RDWR)
    os.lseek(fd, position, os.SEEK_SET)
    return fd


def test_external_file(given, engines, work):
    """The position is the old one, the file is the new one."""
    dumper, restorer = engines
    with closing(make(work / "old", "0123456789", 3), make(work / "new", "abcdefghij"), make(work / "short", "abc")) as (
            old, new, short):
        w = given("read", old)
        key = file_key(w.pid)
        w.dump(dumper, "--external", key)
        (work / "old").unlink()
        if restorer.name == "firn":
            outcome = restorer.restore(w.images())
            assert not outcome.ok and f"--inherit-fd 'fd[N]:{key}'" in outcome.err, outcome
            outcome = restorer.restore(w.images(), "--inherit-fd", f"fd[{short}]:{key}", pass_fds=[short])
            assert not outcome.ok and "3 bytes" in outcome.err, outcome
        w.restore(restorer, "--inherit-fd", f"fd[{new}]:{key}", pass_fds=[new])
        end(w, "defghij")


@pytest.mark.parametrize("slash", ["", "/"])
def test_file_by_path(slash, given, engines, work):
    """What is given for a path stays where it is."""
    dumper, restorer = engines
    if slash and "criu" in (dumper.name, restorer.name):
        pytest.skip("CRIU knows paths without the first slash alone")
    with closing(make(work / "old", "0123456789", 3), make(work / "new", "abcdefghij")) as (old, new):
        w = given("read", old)
        w.dump(dumper)
        (work / "old").unlink()
        os.lseek(new, 5, os.SEEK_SET)
        w.restore(restorer, "--inherit-fd", f"fd[{new}]:{slash}{str(work / 'old').lstrip('/')}", pass_fds=[new])
        end(w, "fghij")


def test_external_device(given, firn):
    """What is refused for its kind can be left out."""
    with closing(os.open("/dev/fuse", os.O_RDWR)) as (fd,):
        w = given("read", fd)
        assert firn.dump(w.pid, w.images()).code == 3
        key = file_key(w.pid)
        assert firn.explain(w.pid, "--external", key).code == 0
        w.dump(firn, "--external", key)
        with closing(*os.pipe()) as (r, wr):
            w.restore(firn, "--inherit-fd", f"fd[{r}]:{key}", pass_fds=[r])
            os.write(wr, b"from a pipe")
            os.close(wr)
            end(w, "from a pipe")


@pytest.mark.parametrize("argument, code, word", [
    ("fd[999]:pipe:[1]", 2, "no such descriptor is open"),
    ("fd[]:pipe:[1]", 2, "not of the form"),
    ("fd[1]", 2, "not of the form"),
    ("fd[1]:", 2, "not of the form"),
    ("fd[-1]:x", 2, "not of the form"),
    ("fd[99999999999999999999]:x", 2, "not of the form"),
    ("pipe:[1]", 2, "not of the form"),
])
def test_command_line(argument, code, word, firn, work):
    outcome = firn.restore(work, "--inherit-fd", argument)
    assert outcome.code == code and word in outcome.err, outcome


def test_wrong_thing(given, firn):
    """A file for a pipe: one sentence, nothing is left, and then the right one."""
    with closing(*os.pipe()) as (r, wr), closing(*os.pipe()) as (r2, wr2):
        w = given("write", wr)
        w.dump(firn)
        with open("/dev/null", "wb") as null:
            outcome = firn.restore(w.images(), "--inherit-fd", f"fd[{null.fileno()}]:{pipe_key(wr)}",
                                   pass_fds=[null.fileno()])
            assert outcome.code == 1 and "no pipe" in outcome.err and "Nothing was left behind" in outcome.err, outcome
        w.restore(firn, "--inherit-fd", f"fd[{wr2}]:{pipe_key(wr)}", pass_fds=[wr2])
        end(w)
        os.close(wr2)
        assert read_all(r2) == b"after"


def test_not_for_the_tree(given, firn):
    """What nothing in the images asks for changes nothing."""
    with closing(*os.pipe()) as (r, wr), closing(*os.pipe()) as (r2, wr2):
        w = given("write", wr)
        w.dump(firn)
        w.restore(firn, "--inherit-fd", f"fd[{wr2}]:pipe:[1]", "--inherit-fd", f"fd[{wr}]:{pipe_key(wr)}", pass_fds=[wr, wr2])
        end(w)
        os.close(wr)
        assert read_all(r) == b"after"


def test_orphan_pts_master(firn, work):
    """Its answer goes through CRIU's RPC, which firn does not speak."""
    outcome = firn.restore(work, "--orphan-pts-master")
    assert outcome.code == 3 and "--orphan-pts-master is not supported" in outcome.err, outcome


def test_the_front_lets_go(given, firn):
    """While firn waits for the restored tree, the pipe that was given is the tree's alone."""
    with closing(*os.pipe()) as (r, wr), closing(*os.pipe()) as (r2, wr2):
        w = given("write", wr)
        w.dump(firn)
        argv = [*firn.command, "restore", "-D", w.images(), "--inherit-fd", f"fd[{wr2}]:{pipe_key(wr)}"]
        front = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, pass_fds=[wr2])
        inode = f"pipe:[{os.fstat(wr2).st_ino}]"

        def holders(pid):
            try:
                return [fd for fd in os.listdir(f"/proc/{pid}/fd") if os.readlink(f"/proc/{pid}/fd/{fd}") == inode]
            except OSError:
                return []

        h.wait_for(lambda: holders(w.pid) and not h.tracers(w.pid), "restored", 20)
        h.wait_for(lambda: not [p for p in h.children(front.pid) if p != w.pid], "the engine has ended", 20)
        assert not holders(front.pid)
        assert holders(w.pid) == ["0"]
        os.close(wr2)
        w.trigger()
        assert read_all(r2) == b"after"
        assert front.wait(20) == 0
        assert h.read_text(w.folder / "result") == "PASS"
