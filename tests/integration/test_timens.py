# SPDX-License-Identifier: LGPL-2.1-or-later
"""CLOCK_MONOTONIC and CLOCK_BOOTTIME of a restored tree: the machine's on the same boot, else they go on from the dump."""

import os
import re
import subprocess
import time

import pytest

import firn_harness as h

UNPRIVILEGED = ("/usr/bin/setpriv", "--bounding-set", "-sys_time")


@pytest.fixture(autouse=True)
def _time_namespaces():
    if not os.path.exists("/proc/self/timens_offsets"):
        pytest.skip("a kernel without time namespaces")


def namespace(pid):
    return os.readlink(f"/proc/{pid}/ns/time")


def offsets(pid):
    """How far the clocks of a task are from the machine's, in seconds."""
    rows = [line.split() for line in h.read_text(f"/proc/{pid}/timens_offsets").splitlines()]
    return {name: int(s) + int(ns) / 1e9 for name, s, ns in rows}


def clocks(pid):
    own = offsets(pid)
    return {"monotonic": time.clock_gettime(time.CLOCK_MONOTONIC) + own["monotonic"],
            "boottime": time.clock_gettime(time.CLOCK_BOOTTIME) + own["boottime"]}


def change(path, function):
    import pycriu
    with open(path, "rb") as f:
        image = pycriu.images.load(f)
    function(image["entries"][0])
    with open(path, "wb") as f:
        pycriu.images.dump(image, f)


def write_image(images, number, entry):
    """timens-N.img in place of the one that is there; crit's Debian does not know the fields of firn's own."""
    import pycriu
    for old in images.glob("timens-*.img"):
        old.unlink()
    with open(images / f"timens-{number}.img", "wb") as f:
        pycriu.images.dump({"magic": "TIMENS", "entries": [entry]}, f)
    (images / "firn.manifest").unlink(missing_ok=True)


def timens(images):
    path, = images.glob("timens-*.img")
    return path, h.show_image(path)["entries"][0]


def as_from_another_boot(images):
    """Without the number of this boot; as CRIU's images are."""
    write_image(images, 0, timens(images)[1])


def as_from_another_machine(images):
    """A tree of a time namespace becomes one of a machine that has these clocks."""
    write_image(images, 0, timens(images)[1])
    for path in images.glob("ids-*.img"):
        change(path, lambda e: e.update(time_ns_id=5))


def let_time_pass(seconds=1.0):
    end = time.monotonic() + seconds
    h.wait_for(lambda: time.monotonic() > end, "time to pass")


def round_trip(w, dumper, restorer, prepare=lambda images: None):
    """Dump and restore with time in between, and how far the tree's clocks went on meanwhile: not back, and not further than
    the dump and the restore took."""
    begun = time.monotonic()
    before = clocks(w.pid)
    w.dump(dumper)
    took = time.monotonic() - begun
    prepare(w.images())
    let_time_pass()
    begun = time.monotonic()
    w.restore(restorer)
    after = clocks(w.pid)
    took += time.monotonic() - begun
    for name, value in after.items():
        assert 0 <= value - before[name] <= took, f"{name}: {value - before[name]:.6f} s in {took:.6f} s"


@pytest.mark.parametrize("pair", ["firn-firn", "firn-criu", "criu-firn"])
@pytest.mark.parametrize("mode", ["own", "behind"])
def test_own_namespace(mode, pair, program, request):
    """It goes on from the dump, as often as one likes."""
    dumper, restorer = (request.getfixturevalue(name) for name in pair.split("-"))
    w = program("clocks", mode)
    for _ in range(2):
        round_trip(w, dumper, restorer)
        assert namespace(w.pid) != namespace("self")
    w.finish()


def test_same_boot(program, firn):
    """The machine's clocks, which went on."""
    w = program("clocks", "points")
    w.dump(firn)
    let_time_pass()
    w.restore(firn)
    assert namespace(w.pid) == namespace("self")
    w.finish()


def test_another_boot(program, firn):
    w = program("clocks", "points")
    round_trip(w, firn, firn, as_from_another_boot)
    assert namespace(w.pid) != namespace("self")
    assert namespace("self") == namespace(os.getpid())
    w.finish()


@pytest.mark.parametrize("boot", ["00000000-0000-4000-8000-000000000000", "", "x" * 5000])
def test_another_boot_id(boot, program, firn):
    """The number itself is what is compared."""
    def other(images):
        path, entry = timens(images)
        write_image(images, 0, entry)
        data = path.read_bytes()
        text = boot.encode()
        size = len(text)
        field = b"\xc2\x3e" + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + text
        message = data[12:] + field
        path.write_bytes(data[:8] + len(message).to_bytes(4, "little") + message)

    w = program("clocks", "host")
    round_trip(w, firn, firn, other)
    assert namespace(w.pid) != namespace("self")
    w.finish()


@pytest.mark.parametrize("mode", ["own_points", "behind"])
def test_another_machine(mode, program, firn):
    """Whose clocks were ahead, or behind."""
    w = program("clocks", mode)
    round_trip(w, firn, firn, as_from_another_machine)
    w.finish()


def test_seen_from_another_namespace(program, firn, monkeypatch):
    """Who dumps is in a time namespace: the tree's clocks are written, and those of who restores do not matter."""
    w = program("clocks", "points")
    before = clocks(w.pid)
    with monkeypatch.context() as m:
        m.setattr(firn, "command", ["/usr/bin/unshare", "-T", "--monotonic", "5000", "--boottime", "6000", *firn.command])
        w.dump(firn)
        entry = timens(w.images())[1]
        for name, value in before.items():
            assert 0 <= entry[name]["tv_sec"] + entry[name]["tv_nsec"] / 1e9 - value < 60
        w.restore(firn)
    assert 0 <= clocks(w.pid)["monotonic"] - before["monotonic"] < 60
    w.finish()


def test_dumped_and_restored_inside(start, work, firn, monkeypatch):
    """Firn and the tree are in the same namespace: the tree comes back to it, on the same boot."""
    with subprocess.Popen(["/usr/bin/unshare", "-T", "--monotonic", "5000", "sleep", "1000"], stdin=subprocess.DEVNULL) as other:
        try:
            h.wait_for(lambda: namespace(other.pid) != namespace("self"), "a time namespace")
            enter = ["/usr/bin/nsenter", f"--time=/proc/{other.pid}/ns/time"]
            w = start([*enter, h.PROGRAMS / "clocks", work, "points"]).wait_ready()
            monkeypatch.setattr(firn, "command", [*enter, *firn.command])
            w.dump(firn)
            w.restore(firn)
            assert namespace(w.pid) == namespace(other.pid)
            w.finish()
        finally:
            other.kill()


# ---- without the possibility


def unprivileged(firn, monkeypatch):
    monkeypatch.setattr(firn, "command", [*UNPRIVILEGED, *firn.command])


def test_own_namespace_without_privilege(program, firn, monkeypatch):
    w = program("clocks", "own")
    w.dump(firn)
    with monkeypatch.context() as m:
        unprivileged(firn, m)
        outcome = firn.restore(w.images())
    assert outcome.code and "CLOCK_MONOTONIC goes on at" in outcome.err and "CAP_SYS_TIME" in outcome.err, outcome
    w.restore(firn)
    w.finish()


def test_clock_that_would_go_back(program, firn, monkeypatch):
    """Refused, unless the caller says that it may: waits for points in time would not end for years."""
    w = program("timers", "posix", user="nobody")
    w.dump(firn)
    _, entry = timens(w.images())
    entry["monotonic"]["tv_sec"] += 100000000
    write_image(w.images(), 0, entry)
    with monkeypatch.context() as m:
        unprivileged(firn, m)
        outcome = firn.restore(w.images())
    assert outcome.code and "CLOCK_MONOTONIC goes on at" in outcome.err and "--skip-timens" in outcome.err, outcome
    outcome = w.restore(firn, "--skip-timens")
    assert re.search(r"CLOCK_MONOTONIC goes back by (99999|10000)\d+\.\d+ s", outcome.log), outcome
    assert namespace(w.pid) == namespace("self")
    w.finish()


@pytest.mark.parametrize("how", ["unprivileged", "--skip-timens"])
def test_clock_that_goes_forward(how, program, firn, monkeypatch):
    """Points in time pass, as for a program that was stopped: the log says so."""
    w = program("clocks", "behind")
    w.dump(firn)
    as_from_another_machine(w.images())
    if how == "unprivileged":
        unprivileged(firn, monkeypatch)
    outcome = w.restore(firn, *(() if how == "unprivileged" else (how,)))
    assert "CLOCK_MONOTONIC goes forward by" in outcome.log, outcome
    assert namespace(w.pid) == namespace("self")
    w.finish()


def test_own_namespace_given_up(program, firn):
    w = program("clocks", "behind")
    w.dump(firn)
    assert "CLOCK_MONOTONIC goes forward by" in w.restore(firn, "--skip-timens").log
    assert namespace(w.pid) == namespace("self")
    w.finish()


# ---- refused


@pytest.mark.parametrize("argv, words", [
    (("unshare", "-T", "-f", "sleep", "1000"), "has another time namespace for its children"),
    (("sh", "-c", "unshare -T sleep 1000 & wait"), "is in a time namespace of its own"),
])
def test_more_than_one(argv, words, start, firn):
    w = start(argv)
    h.wait_for(lambda: any(h.read_text(f"/proc/{p}/comm") == "sleep\n" for p in h.tree(w.pid)), "the child")
    outcome = firn.dump(w.pid, w.images())
    assert outcome.code == 3 and words in outcome.err, outcome
    assert not h.tracers(w.pid)
    answer, _ = firn.explain_json(w.pid)
    assert any(words in f"{r['object']} {r['reason']}" for r in answer["refused"]), answer


# ---- images that make no sense


@pytest.mark.parametrize("name, field, value", [
    ("monotonic", "tv_sec", (1 << 63) // 10**9), ("monotonic", "tv_sec", (1 << 64) - 1), ("boottime", "tv_sec", 1 << 62),
    ("monotonic", "tv_nsec", 10**9), ("boottime", "tv_nsec", (1 << 64) - 1),
])
def test_times_that_make_no_sense(name, field, value, program, firn):
    w = program("timers", "posix")
    w.dump(firn)
    _, entry = timens(w.images())
    good = entry[name][field]
    entry[name][field] = value
    write_image(w.images(), 0, entry)
    outcome = firn.restore(w.images())
    assert outcome.code == 6 and "a time that no clock shows" in outcome.err, outcome
    entry[name][field] = good
    write_image(w.images(), 0, entry)
    w.restore(firn)
    w.finish()


def test_own_namespace_without_its_image(program, firn):
    w = program("clocks", "own")
    w.dump(firn)
    path, entry = timens(w.images())
    path.unlink()
    (w.images() / "firn.manifest").unlink()
    outcome = firn.restore(w.images())
    assert outcome.code and path.name in outcome.err, outcome
    write_image(w.images(), 9, entry)
    w.restore(firn)
    w.finish()
