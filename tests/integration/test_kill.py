# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whoever is killed at whatever moment: the target runs on as before, untraced, with every register, page and signal in
place (tests/programs/selfcheck.c checks itself all the time); a restore that dies leaves nothing behind."""

import os
import signal
import subprocess
import time

import pytest

import firn_harness as h


def spin_until(deadline):
    while time.monotonic() < deadline:
        pass


def start_engine(argv, log):
    with open(log, "ab") as out:
        return subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                start_new_session=True)


def kill(pid, sig=signal.SIGKILL):
    try:
        os.kill(pid, sig)
        return True
    except ProcessLookupError:
        return False


def helpers_of(front, name):
    """Its children of that name: firn-engine (firn, until it says so), firn-scribe, firn-guard."""
    found = {p: h.read_text(f"/proc/{p}/comm").strip() for p in h.children(front.pid)}
    return [p for p, comm in found.items() if comm == f"firn-{name}" or (name == "engine" and comm == "firn")]


def send(front, who, sig):
    """Sends the signal to the front, to one of its children (engine, scribe, guard), or to front and engine at once."""
    victims = [front.pid] if who == "front" else helpers_of(front, "engine" if who == "both" else who)
    if who == "both":
        # stopped first: neither is to see the other's end
        for pid in (front.pid, *victims):
            kill(pid, signal.SIGSTOP)
        victims = [*(helpers_of(front, "engine") or victims), front.pid]
    return any([kill(pid, sig) for pid in victims])


def check_running(w, what):
    """Every thread runs untraced, and its rounds go on."""
    def running():
        return not h.tracers(w.pid) and not any(h.state(t) in "tT" for p in h.tree(w.pid) for t in h.threads(p))

    h.wait_for(running, lambda: f"untraced and running after {what}\n{h.describe(w.pid)}", 10)
    assert w.poll() is None, f"it ended with {w.poll()} after {what}\n{w.output()}"


def rounds(w):
    text = h.read_text(w.folder / "rounds").strip()
    return int(text) if text else 0


def sweep(firn, w, work, n, who, sig, codes, *options):
    """@n dumps, ended at points spread evenly over the time that a dump takes."""
    folder = h.Folder.images(work)
    usual = min(firn.dump(w.pid, folder / "images", "--leave-running", *options).seconds for _ in range(3))
    ended = finished = 0
    for i in range(n):
        images = folder / "images"
        log = work / "engine.out"
        before = rounds(w)
        # a machine without processor time for seconds must not look like a stall: that is not what is tested here
        front = start_engine(firn.dump_argv(w.pid, images, "--leave-running", "--stall-timeout", "50", *options), log)
        spin_until(time.monotonic() + usual * (i + 0.5) / n)
        hit = send(front, who, sig)
        since = time.monotonic()
        what = f"point {i} of {n} ({usual * i / n * 1000:.1f} ms)"
        try:
            code = front.wait(60)
        except subprocess.TimeoutExpired:
            kill(front.pid)
            raise h.HarnessError(f"the front does not end after {what}\n{h.read_text(log)[-3000:]}") from None
        ended += hit and code != 0
        finished += code == 0
        # the machine was busier when it was measured
        if code == 0:
            usual = min(usual, usual * (i + 0.5) / n + time.monotonic() - since)
        assert code == 0 or code in codes, f"exit code {code} after {what}\n{h.read_text(log)[-3000:]}"
        check_running(w, what)
        if i % 10 == 0:
            h.wait_for(lambda: rounds(w) > before, f"rounds that go on after {what}")
        # an engine whose front was killed ends too
        h.wait_for(lambda: not [p for p in h.children(os.getpid()) if p != w.pid and not h.gone(p)],
                   lambda: f"the engine's end after {what}", 20)
    return ended, finished


@pytest.mark.timeout(300)
@pytest.mark.parametrize("who", ["engine", "both", "front"])
def test_killed_dump(who, program, firn, work):
    w = program("selfcheck")
    ended, finished = sweep(firn, w, work, 50 if who == "engine" else 20, who, signal.SIGKILL, (1, -signal.SIGKILL))
    w.finish(60)
    assert ended >= (ended + finished) // 4, f"only {ended} dumps were hit"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["leader_exits child", "leader_exits root", "seccomp threads", "seccomp trap", "mem_late seal",
                                  "mem_late future", "futexes pi"])
def test_killed_dump_of_others(name, program, firn, work):
    """The first thread has ended; filters that allow what firn does; and others: they go on, and pass their own checks."""
    w = program(*name.split())
    images = w.images()
    usual = min(firn.dump(w.pid, images, "--leave-running").seconds for _ in range(2))
    for i in range(16):
        front = start_engine(firn.dump_argv(w.pid, images, "--leave-running", "--stall-timeout", "50"), work / "engine.out")
        spin_until(time.monotonic() + usual * (i + 0.5) / 16)
        send(front, "engine", signal.SIGKILL)
        front.wait(60)
        check_running(w, f"point {i}")
    w.finish(60)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("who", ["engine", "both"])
def test_killed_dump_leaves_a_checkpoint(who, program, firn, work):
    """Into the folder of an older one: that, or the new one, is complete whenever the dump is killed."""
    w = program("selfcheck")
    images = w.images()
    usual = min(firn.dump(w.pid, images, "--leave-running").seconds for _ in range(3))
    kept, n = 0, 20
    for i in range(n):
        old = (images / "inventory.img").stat().st_ino if (images / "inventory.img").exists() else 0
        front = start_engine(firn.dump_argv(w.pid, images, "--leave-running", "--stall-timeout", "50"), work / "engine.out")
        spin_until(time.monotonic() + usual * (i + 0.5) / n)
        send(front, who, signal.SIGKILL)
        front.wait(60)
        check_running(w, f"point {i}")
        h.wait_for(lambda: not [p for p in h.children(os.getpid()) if p != w.pid and not h.gone(p)], "the engine's end", 20)
        outcome = firn.show(images)
        assert outcome.ok, f"no checkpoint after point {i}\n{outcome}"
        kept += (images / "inventory.img").exists() and (images / "inventory.img").stat().st_ino == old
    assert kept >= n // 4, f"only {kept} dumps were hit"
    h.kill_tree(w.pid)
    h.wait_for(lambda: w.poll() is not None, "the tree's end")
    w.restore(firn)
    w.finish(60)


TREE_KILLS = {"engine": 20, "front": 6, "both": 6, "guard": 4, "scribe": 4}


def kill_everybody(firn, program, work, times):
    """A tree with a child, TCP and unix connections and timers, which checks itself: whoever dies, it runs on."""
    w = program("selfcheck", "64", "tree")
    total = hits = 0
    for who, n in TREE_KILLS.items():
        ended, finished = sweep(firn, w, work, n * times, who, signal.SIGKILL, (1, -signal.SIGKILL), "--tcp-established")
        total += ended + finished
        hits += ended
        h.wait_for(lambda: not h.locks("firn-"), f"no lock after {who} was killed")
    w.finish(60)
    return total, hits


@pytest.mark.timeout(300)
def test_killed_dump_of_a_tree(program, firn, work):
    kill_everybody(firn, program, work, 1)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_killed_thousands_of_times(program, firn, work):
    total, hits = kill_everybody(firn, program, work, int(os.environ.get("FIRN_KILLS", "1000")) // 40)
    print(f"{total} dumps, {hits} of them ended by SIGKILL of engine, front, both, guard or scribe: no task lost or changed")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_signalled_dump(sig, program, firn, work):
    w = program("selfcheck")
    sweep(firn, w, work, 12, "front", sig, (5, 1, -sig))
    w.finish(60)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("who,sig", [("front", signal.SIGINT), ("front", signal.SIGKILL), ("engine", signal.SIGKILL)],
                         ids=["front-SIGINT", "front-SIGKILL", "engine-SIGKILL"])
def test_ended_while_the_tasks_are_asked(who, sig, program, firn, work):
    """So many threads that the end comes while firn's calls run in one of them: those go on, and nothing of firn is left."""
    w = program("threads", "400")
    log = w.images() / "dump.log"
    maps = h.read_text(f"/proc/{w.pid}/maps")
    for i in range(4):
        log.unlink(missing_ok=True)
        w.images().mkdir(exist_ok=True)
        front = start_engine(firn.dump_argv(w.pid, w.images(), "--leave-running"), work / "engine.out")
        h.wait_for(lambda: "puppet: stage begins" in h.read_text(log) or front.poll() is not None, "the stage", 20)
        send(front, who, sig)
        code = front.wait(20)
        assert code in (0, 1, 5, -sig), h.read_text(log)
        check_running(w, f"round {i}")
        h.wait_for(lambda: not [p for p in h.children(os.getpid()) if p != w.pid and not h.gone(p)], "the engine's end", 20)
        # a killed engine cannot take its area away
        assert who == "engine" or h.read_text(f"/proc/{w.pid}/maps") == maps
    w.finish(60)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("who", ["engine", "front", "both"])
def test_killed_restore(who, program, firn, work):
    """A restore that was killed before the tree was released leaves no task."""
    w = program("selfcheck")
    w.dump(firn)
    outcome = w.restore(firn)
    usual = outcome.seconds
    images = w.images(0)
    n = 15
    for i in range(n):
        h.kill_tree(w.pid)
        h.wait_for(lambda: h.gone(w.pid), "the tree's end")
        front = start_engine(firn.restore_argv(images), work / "engine.out")
        spin_until(time.monotonic() + usual * (i + 0.5) / n)
        send(front, who, signal.SIGKILL)
        code = front.wait(20)

        def settled():
            """Either nothing is left, or the whole tree runs on its own."""
            for p in h.children(os.getpid()):
                if not h.gone(p) and p != w.pid:
                    return False
            return not h.alive(w.pid) or (not h.tracers(w.pid) and code == 0) or \
                (not h.tracers(w.pid) and len(h.threads(w.pid)) == 9)

        h.wait_for(settled, lambda: f"settled after point {i}, exit code {code}\n{h.describe(w.pid)}", 20)
    h.kill_tree(w.pid)
    h.wait_for(lambda: h.gone(w.pid), "the tree's end")
    w.restore(firn, images=images)
    w.finish(60)


@pytest.mark.timeout(120)
def test_killed_restore_leaves_no_names(program, firn, work):
    """Deleted files get a name for a moment: the front removes it when the engine is killed then."""
    w = program("fd_ghost", "links")
    w.dump(firn)
    usual = w.restore(firn).seconds
    images = w.images(0)
    n = 25
    for i in range(n):
        h.kill_tree(w.pid)
        h.wait_for(lambda: h.gone(w.pid), "the tree's end")
        h.end_strays()
        before = sorted(os.listdir(work))
        front = start_engine(firn.restore_argv(images), work / "engine.out")
        spin_until(time.monotonic() + usual * (i + 0.5) / n)
        send(front, "engine", signal.SIGKILL)
        if front.wait(20) != 0:
            assert sorted({*before, "engine.out"}) == sorted({*os.listdir(work), "engine.out"}), f"point {i}"
    h.kill_tree(w.pid)
    h.wait_for(lambda: h.gone(w.pid), "the tree's end")
    h.end_strays()
    w.restore(firn, images=images)
    w.finish(60)
