# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every call of firn that can fail is made to fail, one at a time: each ends in one sentence and a complete rollback, or
in a dump or restore that is as good as without it. With `make long`: a
sample of the ways through firn, then all calls."""

import os
import shutil

import pytest

import faults
import firn_harness as h

OPTIONS = ("--tcp-established", "--stall-timeout", "20")


def chosen(sites, long):
    """(site, which of its calls): all, or one of the first calls of every twentieth way."""
    if long:
        return [(s, n) for s in sites for n in range(1, min(s.count, 40) + 1)]
    return [(s, 1) for s in sorted(sites, key=lambda s: s.identity)[::20]]


def empty(folder):
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def check_words(outcome):
    """Success, or one sentence that a person can act on; never a signal."""
    assert outcome.code is not None and 0 <= outcome.code <= 6, f"exit code {outcome.code}"
    # a scribe that gets no processor time for seconds drops lines, and says so
    lines = [line for line in outcome.err.splitlines() if " Warn " not in line and "log is incomplete" not in line]
    if outcome.code:
        assert lines and lines[0].startswith("firn: "), "it says nothing"
        assert len(lines) == 1 or "stall" in outcome.err, "more than one line"


def others(w):
    """Children that are not the program's root: what firn has left, unless they end."""
    return [p for p in h.children(os.getpid()) if not (w and p == w.pid) and not h.gone(p)]


def check_untouched(w, lines, locks, outcome):
    h.wait_for(lambda: not h.tracers(w.pid) and not any(h.state(t) in "tT" for p in h.tree(w.pid) for t in h.threads(p)),
               lambda: f"untraced and running\n{h.describe(w.pid)}", 10)
    assert w.poll() is None, f"the program ended with {w.poll()}\n{w.output()}"
    # a ptrace() or write to /proc/PID/mem that fails once, as no kernel's does, may leave it
    area_left = "memory of firn that is left, unused, in pid" in outcome.err
    assert area_left or len(h.read_text(f"/proc/{w.pid}/maps").splitlines()) <= lines, "something is left mapped"
    h.wait_for(lambda: not others(w), lambda: f"no other process: {others(w)}", 10)
    assert h.locks() == locks, f"locks are left: {h.locks()}"


def fault_in_dump(box, engine, firn, w, images, site, nth):
    lines, locks = len(h.read_text(f"/proc/{w.pid}/maps").splitlines()) + 1, h.locks()
    box.arm(site, nth)
    outcome = engine.dump(w.pid, images, "--leave-running", *OPTIONS)
    try:
        check_words(outcome)
        check_untouched(w, lines, locks, outcome)
        left = sorted(p.name for p in images.iterdir() if p.suffix != ".log")
        if outcome.ok or "The images are complete" in outcome.err:
            assert firn.show(images).ok, "no good checkpoint"
        else:
            assert not left, f"left in the folder: {left}"
    except AssertionError as e:
        return outcome, str(e)
    finally:
        empty(images)
    return outcome, ""


def report(what, results):
    """Prints the figure, and fails with every case that was not right."""
    hit = [r for r in results if r[3]]
    wrong = [r for r in hit if r[2]]
    print(f"{what}: {len(hit)} calls failed, {len(hit) - len(wrong)} survived, "
          f"{sum(r[1].code != 0 for r in hit)} of them with a sentence, {len(results) - len(hit)} not met again")
    if os.environ.get("FIRN_FAULTS_LIST"):
        with open(os.environ["FIRN_FAULTS_LIST"], "a", encoding="utf-8") as f:
            for site, outcome, why, _ in hit:
                f.write(f"{site}\n    {outcome.code} {outcome.err.strip()}\n    {why}\n")
    assert not wrong, "\n".join(f"{site}\n  {why}\n  {outcome.code}: {outcome.err}" for site, outcome, why, _ in wrong[:20])
    assert len(hit) >= len(results) // 2


def sites_of(box, run):
    box.arm()
    outcome = run()
    assert outcome.ok, outcome
    return box.sites()


@pytest.fixture
def box(work):
    if not faults.LIBRARY.exists():
        pytest.skip("libfirn-faults.so is not built")
    return faults.Faults(h.Folder.images(work) / "faults")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_dump_call_fails(box, program, firn):
    dump_faults(box, program, firn, True)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_dump_calls_fail(box, program, firn):
    dump_faults(box, program, firn, False)


def dump_faults(box, program, firn, long):
    w = program("selfcheck", "64", "tree")
    images, engine = w.images(), box.engine()
    sites = sites_of(box, lambda: engine.dump(w.pid, images, "--leave-running", *OPTIONS))
    empty(images)
    results = []
    for site, nth in chosen(sites, long):
        outcome, why = fault_in_dump(box, engine, firn, w, images, site, nth)
        results.append((site, outcome, why, box.hit()))
        assert w.poll() is None, f"{site}\n{outcome}\n{w.output()}"
    report("dump", results)
    w.finish(60)


def fault_in_restore(box, engine, w, site, nth):
    """True when the tree was restored all the same."""
    before = sorted(os.listdir(w.folder))
    box.arm(site, nth)
    outcome = engine.restore(w.images(), *OPTIONS)
    try:
        check_words(outcome)
        if outcome.ok:
            w.process, w.exit_code, w.restored = None, None, True
            check_untouched(w, 10 ** 6, h.locks(), outcome)
            return outcome, ""
        h.wait_for(lambda: h.gone(w.pid) and not others(None), lambda: f"no task is left: {others(None)}", 10)
        assert not h.locks("firn-"), f"locks are left: {h.locks()}"
        assert sorted(os.listdir(w.folder)) == before, f"left: {os.listdir(w.folder)}"
    except AssertionError as e:
        return outcome, str(e)
    return outcome, ""


def restore_faults(box, program, firn, long):
    w = program("selfcheck", "64", "tree")
    engine = box.engine()
    w.dump(firn, *OPTIONS)
    sites = sites_of(box, lambda: w.restore(engine, *OPTIONS, images=w.images()).ok and w.last_restore)
    w.rounds = 0
    results = []
    for site, nth in chosen(sites, long):
        if h.alive(w.pid):
            w.dump(firn, *OPTIONS)
        outcome, why = fault_in_restore(box, engine, w, site, nth)
        results.append((site, outcome, why, box.hit()))
    report("restore", results)
    if not h.alive(w.pid):
        w.restore(firn, *OPTIONS)
    w.finish(60)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_restore_call_fails(box, program, firn):
    restore_faults(box, program, firn, True)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_restore_calls_fail(box, program, firn):
    restore_faults(box, program, firn, False)
