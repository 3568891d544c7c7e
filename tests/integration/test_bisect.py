# SPDX-License-Identifier: LGPL-2.1-or-later
"""firn bisect: the smallest command that fails as the given one does; the tasks run on."""

import pytest

import firn_harness as h


def bisect(firn, *words):
    return h.run([*firn.command, "bisect", "--", *words])


def row(outcome, name):
    return next(line[12:] for line in outcome.out.splitlines() if line.startswith(name))


@pytest.fixture
def tree(start, work):
    """A shell with two children, one of which has something that firn refuses; its pid and that child's."""
    refused, plain = work / "refused", work / "plain"
    for folder in (refused, plain):
        folder.mkdir()
    w = start(["sh", "-c", f"{h.PROGRAMS}/not_carried {refused} userfaultfd & "
                           f"{h.PROGRAMS}/fd_ghost {plain} content & wait"])
    w.wait_ready(lambda: all((f / "ready").exists() for f in (refused, plain)))
    by_name = {h.status(p)["Name"]: p for p in h.children(w.pid)}
    return w, by_name["not_carried"], by_name["fd_ghost"]


def check_untouched(w):
    assert not h.tracers(w.pid) and w.poll() is None
    assert not [t for p in h.tree(w.pid) for t in h.threads(p) if h.state(t) in "tT"]


def test_refused(tree, firn, work):
    """What explain sees is found without a freeze: one task of three, and none of the options."""
    w, bad, _ = tree
    outcome = bisect(firn, "dump", "-t", w.pid, "-D", work / "images", "--file-locks", "-v4", "--ghost-limit", "2M")
    assert outcome.code == 3, outcome
    assert row(outcome, "it fails").startswith(f"pid {bad} (not_carried)") and "userfaultfd" in row(outcome, "it fails")
    assert row(outcome, "smallest") == f"firn dump -t {bad}", outcome
    assert "0 of 2 are part of it; it fails as well without --file-locks --ghost-limit 2M" == row(outcome, "options")
    assert "by itself" in row(outcome, "tasks") and "nothing was stopped" in row(outcome, "tried"), outcome
    check_untouched(w)


def test_option(start, firn, work):
    """Only the option that makes it fail is left: the limit is below what the deleted file holds."""
    w = start(["sh", "-c", "exec 3<>gone; rm gone; echo 0123456789abcdef0123 >&3; touch ready; exec sleep 1000"]).wait_ready()
    outcome = bisect(firn, "dump", f"--tree={w.pid}", "--tcp-established", "--ghost-limit", "16", "--shell-job", "-o", "x")
    assert outcome.code == 3, outcome
    assert row(outcome, "smallest") == f"firn dump -t {w.pid} --ghost-limit 16", outcome
    assert "it fails as well without --tcp-established --shell-job" in row(outcome, "options"), outcome
    assert "the whole tree" in row(outcome, "tasks"), outcome
    check_untouched(w)
    w.dump(firn)
    w.restore(firn)


def test_real_dumps(program, firn, work, monkeypatch):
    """What only a dump tells is tried with dumps; nothing is left of them."""
    monkeypatch.setenv("TMPDIR", str(work))
    w = program("fd_regular")
    outcome = bisect(firn, "dump", "-t", w.pid, "--file-locks", "--deadline", "0.001")
    assert outcome.code == 4, outcome
    assert row(outcome, "smallest").endswith(" --deadline 0.001"), outcome
    assert "the tasks run on" in row(outcome, "tried"), outcome
    assert not list(work.glob("firn-bisect-*"))
    check_untouched(w)
    w.dump(firn)
    w.restore(firn)
    w.finish()


def test_does_not_fail(program, firn):
    w = program("fd_regular")
    outcome = bisect(firn, "dump", "-t", w.pid)
    assert outcome.ok and outcome.out.startswith("it does not fail"), outcome
    w.finish()


@pytest.mark.parametrize("words", [[], ["--"], ["--", "restore"], ["dump"], ["--", "dump"], ["--", "dump", "-t", "1", "x"],
                                   ["--", "dump", "-t", "1", "--no-such-option"]])
def test_wrong_command_line(words, firn):
    outcome = h.run([*firn.command, "bisect", *words])
    assert outcome.code == 2 and outcome.err, outcome
