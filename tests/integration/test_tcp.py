# SPDX-License-Identifier: LGPL-2.1-or-later
"""TCP connections beyond what the test programs see from the inside: the packet filter, the packets on the wire, engines
that die, and CRIU."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time

import pytest

import firn_harness as h

TCP = ("--tcp-established",)


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("scene", ["est", "full", "fin_wait1", "fin_wait2", "close_wait", "last_ack", "closing"])
def test_criu_restores(scene, where, program, firn, criu):
    """CRIU 4.1 cannot dump a TCP socket on newer kernels (SO_PASSCRED), but it restores what firn dumped, and removes the
    lock."""
    w = program("tcp_connections", "4", where, scene)
    w.dump(firn, *TCP)
    assert h.locks()
    w.restore(criu, *TCP)
    w.finish()
    assert not h.locks()


# CRIU 4.1 asks each socket for SO_PASSCRED (16) and SO_PASSSEC (34) and gives up when a TCP socket has no such option, which
# is so since Linux 6.16. Answered with 0, it dumps as ever.
PASS_OPTIONS = """
#define _GNU_SOURCE
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	long r = syscall(SYS_getsockopt, fd, level, option, value, len);
	if (r < 0 && level == SOL_SOCKET && (option == 16 || option == 34))
		return memset(value, 0, *len), 0;
	return (int)r;
}
"""


@pytest.fixture
def old_criu(criu):
    """The peer as it is on kernels where it dumps TCP."""
    library = h.Folder.cache() / "pass-options.so"
    if not library.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", library, "-"], input=PASS_OPTIONS, text=True, check=True)
    criu.command[1:1] = ["--preload", str(library)]
    return criu


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("scene", ["est", "full", "fin_wait1", "fin_wait2", "close_wait", "last_ack", "closing", "closed"])
def test_criu_dumps(scene, where, program, firn, old_criu):
    w = program("tcp_connections", "4", where, scene)
    w.dump(old_criu, *TCP, "--network-lock", "nftables")
    assert h.locks("CRIU-")
    w.restore(firn, *TCP)
    w.finish()
    assert not h.locks("CRIU-")


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("at_dump", ["--tcp-established", "--tcp-close"])
def test_tcp_close(at_dump, where, program, firn):
    """As with CRIU: the sockets are there, read nothing, write nothing, and have no address."""
    w = program("tcp_connections", "4", where, "tcp_close")
    w.dump(firn, at_dump)
    assert bool(h.locks()) == (at_dump == "--tcp-established")
    if at_dump == "--tcp-close":
        outcome = firn.restore(w.images())
        assert not outcome.ok and "--tcp-close" in outcome.err, outcome
    w.restore(firn, "--tcp-close")
    w.finish()


def test_restore_wants_the_option(program, firn):
    w = program("tcp_connections", "4", "inside", "est")
    w.dump(firn, *TCP)
    locks = h.locks()
    outcome = firn.restore(w.images())
    assert not outcome.ok and "--tcp-established" in outcome.err, outcome
    assert locks and h.locks() == locks, "a restore that fails leaves the lock as it was"
    w.restore(firn, *TCP)
    w.finish()


def test_dump_wants_the_option(program, firn):
    w = program("tcp_connections", "4", "inside", "est")
    outcome = firn.dump(w.pid, w.images())
    assert outcome.code == 3 and "is established" in outcome.err and "--tcp-established" in outcome.err, outcome
    outcome = firn.dump(w.pid, w.images(), *TCP, "--network-lock", "iptables")
    assert outcome.code != 0 and "--network-lock iptables" in outcome.err, outcome
    w.finish()


@pytest.mark.parametrize("scene,words", [("urgent", "urgent data"), ("mptcp", "MPTCP"), ("waiting", "wait to be accepted"),
                                         ("ulp", "TCP_ULP")])
def test_refused_by_name(scene, words, program, firn):
    w = program("tcp_connections", "4", "inside", scene)
    outcome = firn.dump(w.pid, w.images(), *TCP)
    assert outcome.code == 3 and words in outcome.err, outcome
    assert not h.locks()
    w.finish()


def test_skip_in_flight(program, firn):
    """The listener comes back with an empty queue."""
    w = program("tcp_connections", "4", "inside", "waiting")
    w.dump(firn, *TCP, "--skip-in-flight")
    w.restore(firn, *TCP)
    w.finish()


@pytest.mark.parametrize("scene", ["est", "full", "close_wait"])
def test_skip_the_lock(scene, program, firn):
    """Both ends inside: nobody is there who could answer."""
    w = program("tcp_connections", "4", "inside", scene)
    w.dump(firn, *TCP, "--network-lock", "skip")
    assert not h.locks()
    w.restore(firn, *TCP, "--network-lock", "skip")
    w.finish()


# Has the port, as firn itself would take it over from connections that nobody holds.
TAKER = """
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, 19, 1)         # TCP_REPAIR
s.bind(("127.0.0.1", int(sys.argv[1])))
s.setsockopt(socket.IPPROTO_TCP, 19, 0)
open("taken", "w").close()
time.sleep(1000)
"""


def listening_port(pid):
    own = {os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
    lines = [line.split() for line in h.read_text("/proc/net/tcp").splitlines()[1:]]
    return next(int(f[1].split(":")[1], 16) for f in lines if f[3] == "0A" and f"socket:[{f[9]}]" in own)


def test_port_of_another(program, firn, start, work):
    """A port is taken over from closed connections, never from a process."""
    w = program("tcp_listen", "left4")
    port = listening_port(w.pid)
    w.dump(firn)
    with subprocess.Popen(["/usr/bin/python3", "-c", TAKER, str(port)], cwd=work, stdin=subprocess.DEVNULL) as taker:
        try:
            h.wait_for(lambda: (work / "taken").exists() or taker.poll() is not None, "its port")
            outcome = firn.restore(w.images())
        finally:
            taker.kill()
    assert not outcome.ok and "Another process has that port" in outcome.err, outcome
    w.restore(firn)
    w.finish()


@pytest.mark.parametrize("kind", ["left4", "left6", "left"])
def test_port_without_privilege(kind, program, firn, monkeypatch):
    """Only CAP_NET_ADMIN can take the port over; the sentence says so."""
    w = program("tcp_listen", kind, user=h.USER)
    w.dump(firn)
    with monkeypatch.context() as m:
        m.setattr(firn, "command", ["/usr/bin/setpriv", "--bounding-set", "-net_admin", *firn.command])
        outcome = firn.restore(w.images())
    assert not outcome.ok and "Only CAP_NET_ADMIN" in outcome.err, outcome
    w.restore(firn)
    w.finish()


def kill_restore(w, firn, who, seconds):
    """A restore that is killed when @seconds have passed; its exit code, and what it said."""
    argv = [*firn.restore_argv(w.images(), *TCP), "--stall-timeout", "50"]
    w.images().joinpath("restore.log").unlink(missing_ok=True)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as front:
        def engines():
            return [p for p in h.children(front.pid) if "firn-engine" in h.status(p).get("Name", "")]

        h.wait_for(lambda: engines() or front.poll() is not None, "the engine", interval=0)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        # Both are stopped first, so that neither sees the other die.
        victims = [front.pid, *engines()] if who == "both" else engines()
        for sig in (signal.SIGSTOP, signal.SIGKILL):
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sig)
        said = front.communicate(timeout=20)[1]

    def settled():
        return not any("firn-" in h.status(p).get("Name", "") and h.alive(p) for p in h.children(os.getpid())) and \
            (h.gone(w.pid) or (h.alive(w.pid) and not h.tracers(w.pid)))

    h.wait_for(settled, f"the end after {seconds} s")
    return front.returncode, said + h.read_text(w.images() / "restore.log")


@pytest.mark.parametrize("who", ["engine", "both"])
@pytest.mark.parametrize("where,scene", [("outside", "full"), ("inside", "closing"), ("outside", "close_wait")])
def test_killed_restore(where, scene, who, program, firn):
    """A restore that is killed leaves no task, no socket and no lock of its own, and the dump's lock as it was. The last one
    comes to its end: the far end has not noticed anything."""
    w = program("tcp_connections", "4", where, scene)
    w.dump(firn, *TCP)
    lock = h.lock_of(w.images())
    hit = 0
    for i in range(100):
        code, said = kill_restore(w, firn, who, 0.0015 * i)
        h.wait_for(lambda: not [n for n in h.locks("firn-restore-") if not h.alive(int(n.split("-")[2]))], "the lock's end")
        if lock not in h.locks():
            # It had come to its end, or to the moment from which there is no return (docs/hangs.md).
            assert code == 0 or who == "both" or "in stage release" in said, f"point {i}, exit code {code}\n{said}"
            break
        h.wait_for(lambda: h.gone(w.pid), f"the tree's end after point {i}, exit code {code}\n{said}")
        hit += 1
    assert hit >= 3, f"only {hit} restores were hit\n{said}"
    if lock in h.locks():
        w.restore(firn, *TCP)
        code = 0
    if code == 0:
        w.process, w.exit_code, w.restored = None, None, True
        (w.protocol / "restored").touch()
        w.finish()
    else:
        h.kill_tree(w.pid)
        h.end_strays()              # the far end


@contextlib.contextmanager
def small_tmpfs(path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "firn-small", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.parametrize("who", ["engine", "both"])
@pytest.mark.parametrize("point", range(5))
def test_killed(who, point, program, firn):
    """An engine that is killed while its target's sockets are in repair mode, and the front with it or not: the connections
    go on, and no lock stays."""
    w = program("tcp_connections", "4", "outside", "full")
    argv = [*firn.command, "dump", "-t", str(w.pid), "-D", str(w.images()), "-o", "dump.log", "-v4", *TCP]
    w.images().mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as front:
        engine = h.wait_for(lambda: [p for p in h.children(front.pid) if "firn-engine" in h.status(p).get("Name", "")],
                            "the engine")[0]
        # The guard exists only while the sockets are held.
        h.wait_for(lambda: any("firn-guard" in h.status(p).get("Name", "") for p in h.children(front.pid))
                   or front.poll() is not None, "the guard", interval=0)
        end = time.monotonic() + point * 0.003
        while time.monotonic() < end:
            pass
        # Both are stopped first, so that neither sees the other die.
        for pid in (front.pid, engine) if who == "both" else (engine,):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        front.wait(20)
    h.wait_for(lambda: not any("firn-" in h.status(p).get("Name", "") and h.alive(p) for p in h.children(os.getpid())),
               "the guard's end")
    if w.poll() is not None:        # it had come to its end: a whole checkpoint, and the lock waits for the restore
        w.restored = False
        w.restore(firn, *TCP)
    assert not h.locks()
    w.finish()


@pytest.mark.parametrize("scene", ["est", "full", "close_wait"])
def test_failed_dump(scene, program, firn):
    """A dump that fails after the sockets were read: the images' folder takes nothing more."""
    w = program("tcp_connections", "4", "outside", scene)
    w.images().mkdir(parents=True)
    with small_tmpfs(w.images()):
        outcome = firn.dump(w.pid, w.images(), *TCP)
    assert not outcome.ok, outcome
    assert not h.locks()
    w.finish()


# ------------------------------------------------------------------------------------------------------- on the wire

ECHO = """
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("10.77.41.1", 4711))
s.listen()
open("listening", "w").close()
c = s.accept()[0]
while True:
    data = c.recv(65536)
    if not data:
        break
    c.sendall(data)
"""


class Wire:
    """Two network namespaces with one cable. Sockets of the far side, and what passes there."""

    def __init__(self):
        self.near, self.far = f"firn-near-{os.getpid()}", f"firn-far-{os.getpid()}"
        for name in (self.near, self.far):
            self.ip("netns", "add", name)
        self.ip("link", "add", "firn0", "netns", self.near, "type", "veth", "peer", "name", "firn1", "netns", self.far)
        for name, device, address in ((self.near, "firn0", "10.77.41.1/24"), (self.far, "firn1", "10.77.41.2/24")):
            self.ip("-n", name, "addr", "add", address, "dev", device)
            self.ip("-n", name, "link", "set", device, "up")
            self.ip("-n", name, "link", "set", "lo", "up")

    @staticmethod
    def ip(*args):
        subprocess.run(["ip", *args], check=True)

    def inside(self, name, make):
        """What @make gives, called in that namespace."""
        setns = ctypes.CDLL(None, use_errno=True).setns
        with open("/proc/self/ns/net", "rb") as back, open(f"/run/netns/{name}", "rb") as there:
            assert setns(there.fileno(), 0) == 0
            try:
                return make()
            finally:
                assert setns(back.fileno(), 0) == 0

    def sniffer(self):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        s.bind(("firn1", 0x0800))
        s.setblocking(False)
        return s

    def close(self):
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture
def wire():
    w = Wire()
    yield w
    w.close()


def flags(sniffer):
    """The flags of the TCP segments that have passed: what the near side has sent."""
    found = []
    while True:
        try:
            packet, address = sniffer.recvfrom(65536)
        except BlockingIOError:
            return found
        if address[2] != socket.PACKET_OUTGOING and packet[9] == socket.IPPROTO_TCP:
            found.append(packet[(packet[0] & 15) * 4 + 13])


def test_no_reset_on_the_wire(wire, start, firn, work):
    """While the tree is gone and until it is back nothing leaves the machine, whatever the far end sends."""
    enter = ["nsenter", f"--net=/run/netns/{wire.near}"]
    firn.command[0:0] = enter
    w = start([*enter, "/usr/bin/python3", "-c", ECHO], folder=work)
    w.wait_ready(lambda: (work / "listening").exists())
    sniffer = wire.inside(wire.far, wire.sniffer)
    client = wire.inside(wire.far, socket.socket)
    with sniffer, client:
        client.settimeout(30)
        client.connect(("10.77.41.1", 4711))
        client.sendall(b"before")
        assert client.recv(6, socket.MSG_WAITALL) == b"before"
        flags(sniffer)
        w.dump(firn, *TCP)
        seen = flags(sniffer)
        client.sendall(b"x" * 40000)
        # The far end has sent it again at least once.
        h.wait_for(lambda: client.getsockopt(socket.IPPROTO_TCP, 11, 104)[2] >= 2, "a retransmission")
        seen += flags(sniffer)
        w.restore(firn, *TCP)
        got = b""
        while len(got) < 40000:
            got += client.recv(65536)
        seen += flags(sniffer)
        assert got == b"x" * 40000
        assert not [f for f in seen if f & 5], f"RST or FIN was sent: {seen}"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    h.wait_for(lambda: w.poll() is not None, "its end")
    assert w.exit_code == 0


STRANGER = """
import ctypes, socket, sys, time
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
back = open(sys.argv[1])
assert ctypes.CDLL(None).setns(back.fileno(), 0) == 0
open("listening", "w").close()
time.sleep(1000)
"""


def test_other_namespace(wire, start, firn, work):
    """A socket of another network namespace than its holder's is refused by name."""
    w = start(["nsenter", f"--net=/run/netns/{wire.near}", "/usr/bin/python3", "-c", STRANGER, f"/proc/{os.getpid()}/ns/net"],
              folder=work)
    w.wait_ready(lambda: (work / "listening").exists())
    outcome = firn.dump(w.pid, w.images(), *TCP)
    assert outcome.code == 3 and "a socket of another network namespace is not carried" in outcome.err, outcome
