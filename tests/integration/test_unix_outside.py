# SPDX-License-Identifier: LGPL-2.1-or-later
"""Unix sockets whose other end is outside of the tree: --ext-unix-sk, --external unix[INODE] and --inherit-fd."""

import os
import re
import socket

import pytest

import firn_harness as h


@pytest.fixture
def server(work):
    """A stand-in for /dev/log."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(work / "outside"))
        os.chmod(work / "outside", 0o777)
        s.settimeout(10)
        yield s


def inode(pid, kind="socket"):
    """Of the program's one socket."""
    found = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
    return [re.fullmatch(rf"{kind}:\[(\d+)\]", link).group(1) for link in found if link.startswith(kind)][0]


@pytest.mark.parametrize("as_user", [None, h.USER])
def test_datagrams_to_a_name(as_user, server, program, dumper, restorer):
    w = program("unix_outside", "dgram", user=as_user)
    assert server.recv(100) == b"before"
    w.dump(dumper, "--ext-unix-sk")
    w.restore(restorer, "--ext-unix-sk")
    w.finish()
    assert server.recv(100) == b"after"


@pytest.mark.parametrize("way", ["firn_to_criu", "criu_to_firn"])
def test_datagrams_to_a_name_by_both(way, server, program, firn, criu):
    first, second = (firn, criu) if way == "firn_to_criu" else (criu, firn)
    w = program("unix_outside", "dgram")
    assert server.recv(100) == b"before"
    w.dump(first, "--ext-unix-sk")
    w.restore(second, "--ext-unix-sk")
    w.finish()
    assert server.recv(100) == b"after"


def test_datagrams_left_running(server, program, firn):
    w = program("unix_outside", "dgram")
    w.dump(firn, "--ext-unix-sk", "--leave-running")
    w.crit()
    w.finish()
    assert server.recv(100) == b"before"
    assert server.recv(100) == b"after"


def test_datagrams_refused(server, program, firn):
    w = program("unix_outside", "dgram")
    outcome = firn.dump(w.pid, w.images())
    assert outcome.code == 3 and "connected to" in outcome.err and "--ext-unix-sk" in outcome.err, outcome
    w.finish()


def test_the_server_is_away(server, work, program, firn):
    """The restore says what is missing, leaves nothing, and works when it is there."""
    w = program("unix_outside", "dgram")
    w.dump(firn, "--ext-unix-sk")
    os.rename(work / "outside", work / "away")
    outcome = firn.restore(w.images(), "--ext-unix-sk")
    assert not outcome.ok and "outside" in outcome.err and "start it first" in outcome.err, outcome
    os.rename(work / "away", work / "outside")
    outcome = firn.restore(w.images())
    assert not outcome.ok and "--ext-unix-sk" in outcome.err, outcome
    w.restore(firn, "--ext-unix-sk")
    w.finish()


@pytest.fixture
def stream(start, work):
    """A program whose stream socket is half of a pair of ours."""
    ours, theirs = socket.socketpair()
    os.dup2(theirs.fileno(), 99, inheritable=True)
    w = start([h.PROGRAMS / "unix_outside", work, "stream"], pass_fds=[99])
    os.close(99)
    theirs.close()
    with ours:
        ours.settimeout(10)
        yield w.wait_ready(), ours


def test_stream_refused(stream, firn):
    w, ours = stream
    for options in ((), ("--ext-unix-sk",), ("--external", "unix[1]")):
        outcome = firn.dump(w.pid, w.images(), *options)
        assert outcome.code == 3 and f"--external unix[{inode(w.pid)}]" in outcome.err, outcome
    w.finish()
    assert ours.recv(100) == b"beforeafter"


def restored_with(engine, w, number, *options):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        w.restore(engine, "--inherit-fd", f"fd[{theirs.fileno()}]:socket:[{number}]", *options, pass_fds=[theirs.fileno()])
        theirs.close()
        w.finish()
        assert ours.recv(100) == b"after"
        assert ours.recv(100) == b""        # nobody else holds the other end


@pytest.mark.parametrize("way", ["firn_to_firn", "firn_to_criu", "criu_to_firn"])
def test_stream_inherited(way, stream, firn, request):
    w, _ = stream
    criu = request.getfixturevalue("criu") if "criu" in way else None
    first, second = [{"firn": firn, "criu": criu}[name] for name in way.split("_to_")]
    number = inode(w.pid)
    w.dump(first, "--external", f"unix[{number}]")
    restored_with(second, w, number, *(["-x"] if second is criu else []))


def test_stream_not_given(stream, firn):
    w, _ = stream
    number = inode(w.pid)
    w.dump(firn, "--external", f"unix[{number}]")
    for options in ((), ("--ext-unix-sk",)):
        outcome = firn.restore(w.images(), *options)
        assert not outcome.ok and f"--inherit-fd fd[N]:socket:[{number}]" in outcome.err, outcome
    with socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0] as other:
        os.set_inheritable(other.fileno(), True)
        outcome = firn.restore(w.images(), "--inherit-fd", f"fd[{other.fileno()}]:socket:[{number}]", pass_fds=[other.fileno()])
        assert not outcome.ok and "no unix socket of the same type" in outcome.err, outcome
    restored_with(firn, w, number)


def test_stream_with_data(stream, firn):
    """What waits in it could not be put into another socket."""
    w, ours = stream
    ours.send(b"unread")
    outcome = firn.dump(w.pid, w.images(), "--external", f"unix[{inode(w.pid)}]")
    assert outcome.code == 3 and "6 bytes wait" in outcome.err, outcome
    w.finish()
