# SPDX-License-Identifier: LGPL-2.1-or-later
"""`firn explain` lists all that a dump would refuse, and touches nothing."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

import firn_harness as h
from situations import dead_fuse
from test_refused import KINDS as NOT_CARRIED

KINDS = ("perf", "userfaultfd", "flock", "exit_signal")


def reasons(answer, word):
    return [r for r in answer["refused"] if re.search(word, f"{r['object']}: {r['reason']}")]


def facts(pid):
    """What a tracer, a stop or a call made in the task would change."""
    return {p: (h.state(p) in "tTZX", sorted(os.listdir(f"/proc/{p}/fd")), h.read_text(f"/proc/{p}/maps"),
                h.status(p)["SigPnd"], h.status(p)["ShdPnd"], h.status(p)["TracerPid"]) for p in h.tree(pid)}


def test_everything_at_once(program, firn):
    """Several refused objects, in several tasks: each with its object, its reason and what helps."""
    w = program("not_carried", *KINDS)
    before = facts(w.pid)
    answer, outcome = firn.explain_json(w.pid)
    assert facts(w.pid) == before
    assert outcome.code == 3 and not outcome.err, outcome
    for word in ("perf event", "userfaultfd", "file lock", "instead of SIGCHLD"):
        found = reasons(answer, word)
        # the child has a copy of the descriptor that was locked
        assert len({r["pid"] for r in found}) == len(found) == (2 if word == "file lock" else 1), f"{word}: {found}\n{outcome}"
        for r in found:
            assert r["pid"] in h.tree(w.pid) and r["object"].startswith(f"pid {r['pid']} ("), r
    assert reasons(answer, "file lock")[0]["option"] == "--file-locks"
    assert reasons(answer, "perf event")[0]["option"] is None
    assert re.search(r", fd \d+ → .*/locked$", reasons(answer, "file lock")[0]["object"])

    fewer, _ = firn.explain_json(w.pid, "--file-locks")
    assert not reasons(fewer, "file lock") and len(fewer["refused"]) == len(answer["refused"]) - 2

    text = firn.explain(w.pid)
    assert text.code == 3 and f"{len(answer['refused'])} things cannot be carried" in text.out, text
    assert all(r["reason"] in text.out for r in answer["refused"]), text
    w.finish()


def test_dump_says_how_many(program, firn):
    """The dump names the first, before it stops anything, and counts the others."""
    w = program("not_carried", *KINDS)
    answer, _ = firn.explain_json(w.pid)
    outcome = firn.dump(w.pid, w.images())
    assert outcome.code == 3 and "seize: stage begins" not in outcome.log, outcome
    first = answer["refused"][0]
    assert first["object"] in outcome.err and first["reason"] in outcome.err, outcome
    assert f"{len(answer['refused']) - 1} more things would be refused" in outcome.err, outcome
    w.finish()


@pytest.mark.parametrize("name", ["mem_anon", "threads", "tree_shapes", "fd_many"])
def test_carried(name, program, firn):
    """Exit code 0, and the estimate fits what the dump then does."""
    w = program(name)
    before = facts(w.pid)
    answer, outcome = firn.explain_json(w.pid)
    assert outcome.code == 0, outcome
    assert facts(w.pid) == before
    assert answer["tasks"] == len(h.tree(w.pid))
    w.dump(firn)
    pages = sum(p.stat().st_size for p in w.images().glob("pages-*.img"))
    assert abs(answer["page_bytes"] - pages) <= 0.1 * pages + 65536, f"{answer} and {pages} bytes\n{outcome}"
    # an estimate: of the same order, on a machine that may have much else to do
    frozen = firn.frozen_seconds(w.images()) * 1e6
    print(f"{name}: {answer['frozen_us']} us thought, {frozen:.0f} us taken")
    assert frozen / 20 < answer["frozen_us"] < frozen * 20, (answer, frozen)
    w.restore(firn)
    w.finish()


def test_leaves_nothing(program, firn, work):
    w = program("mem_anon")
    before = sorted(work.iterdir())
    outcome = h.run([*firn.command, "explain", "-t", w.pid], cwd=work)
    assert outcome.code == 0 and sorted(work.iterdir()) == before, outcome
    w.finish()


@pytest.mark.timeout(60)
def test_tree_that_changes(program, firn):
    """It always answers: with a whole look, or with what it has and why that is not all."""
    w = program("churn")
    for _ in range(5):
        outcome = firn.explain(w.pid)
        assert outcome.code in (0, 1), outcome
        assert not h.tracers(w.pid)
        if outcome.code == 1:
            assert "pid" in outcome.err and "Nothing was changed" in outcome.err, outcome
    w.finish()


@pytest.mark.timeout(60)
def test_stuck_descriptor(start, firn, work):
    """A descriptor on a file system that does not answer: a stall report, in time."""
    with dead_fuse(work) as path:
        code = f"import os, time; os.open({str(path)!r}, os.O_PATH); open('ready', 'w'); time.sleep(1000)"
        w = start([sys.executable, "-c", code]).wait_ready()
        outcome = firn.explain(w.pid, "--stall-timeout", "1", "-W", str(work), timeout=30)
        assert outcome.code == 4 and str(path) in outcome.err and str(w.pid) in outcome.err, outcome
        assert outcome.seconds < 15, outcome
        assert not h.tracers(w.pid) and h.state(w.pid) == "S"
        w.end()


@pytest.mark.timeout(60)
def test_deadline(program, firn, work):
    """--deadline counts too."""
    with dead_fuse(work) as path:
        w = program("mem_anon")
        outcome = firn.explain(w.pid, "--deadline", "0.5", "-o", str(path / "log"), timeout=30)
        assert outcome.seconds < 15 and outcome.code in (0, 4), outcome
        w.finish()


@pytest.mark.parametrize("argv, code, word", [
    ((), 2, "-t PID is missing"),
    (("-t", "0"), 2, "not a pid"),
    (("-t", str(2**22 + 1)), 1, "no such process"),
    (("--help",), 0, "--json"),
    (("-t", "1", "--jsn"), 2, "--json"),
])
def test_command_line(argv, code, word, firn):
    outcome = h.run([*firn.command, "explain", *argv])
    assert outcome.code == code and word in outcome.text, outcome


def test_man_page(program, firn):
    page = (pathlib.Path(h.ROOT) / "docs/man/firn-explain.8").read_text()
    w = program("not_carried", "none")
    answer, _ = firn.explain_json(w.pid)
    w.finish()
    for key in answer:
        assert key in page, key


def test_traced(program, firn):
    """The tracer of a task is named."""
    w = program("hard_states", "tracer")
    answer, outcome = firn.explain_json(w.pid)
    assert reasons(answer, f"traced by pid {w.pid}"), outcome
    w.finish()


@pytest.mark.parametrize("kind", NOT_CARRIED)
def test_same_as_the_dump(kind, program, firn):
    """Whatever a dump refuses before it stops anything is in the list, in the same words; and the other way round."""
    w = program("not_carried", kind)
    answer, outcome = firn.explain_json(w.pid)
    dump = firn.dump(w.pid, w.images(), "--leave-running")
    before = dump.code == 3 and "seize: stage begins" not in dump.log
    assert bool(answer["refused"]) == before, f"{outcome}\n{dump}"
    if before:
        assert answer["refused"][0]["reason"] in dump.err, f"{outcome}\n{dump}"
    w.finish()


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.timeout(60)
def test_ended_midway(sig, program, firn):
    """Whenever it is ended, the tree does not notice."""
    w = program("selfcheck")
    for delay in range(0, 20, 2):
        p = subprocess.Popen([*firn.command, "explain", "-t", str(w.pid)], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + delay / 1000
        while time.monotonic() < until and p.poll() is None:
            pass
        for pid in (*h.children(p.pid), p.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)
        p.wait(20)
        assert not h.tracers(w.pid) and h.state(w.pid) not in "tT"
    w.finish()


def test_another_user(program, firn, work):
    """Whose process it is not gets a sentence, and no list that looks whole."""
    w = program("mem_anon")
    uid, gid = h.user_ids(h.USER)
    done = subprocess.run([*firn.command, "explain", "-t", str(w.pid)], user=uid, group=gid, extra_groups=[], cwd="/",
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    assert done.returncode == 1 and str(w.pid) in done.stderr and not done.stdout, done
    w.finish()
