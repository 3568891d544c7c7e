# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tasks in states in which they cannot be stopped or asked: a sentence within the limits, and they go on."""

import os
import pathlib
import re
import subprocess

import pytest

import firn_harness as h
from situations import group, mounts_of


def refused(outcome, *words, codes):
    assert outcome.code in codes, outcome
    for word in words:
        assert re.search(str(word), outcome.err), f"{word!r} is not in what it said\n{outcome}"


def test_tracer_in_the_tree(program, firn):
    """A task of the tree traces another: the tracer is named, and goes on tracing."""
    w = program("hard_states", "tracer")
    before = h.tracers(w.pid)
    assert list(before.values()) == [w.pid]
    refused(firn.dump(w.pid, w.images()), f"traced by pid {w.pid}", codes=(1, 3))
    assert h.tracers(w.pid) == before
    w.finish()


def test_refused_before_the_freeze(program, firn):
    """What /proc shows without the task being stopped is refused before it is."""
    w = program("not_carried", "userfaultfd")
    outcome = firn.dump(w.pid, w.images())
    refused(outcome, w.pid, "userfaultfd", codes=(3,))
    assert "seize: stage begins" not in outcome.log, outcome
    w.finish()


@pytest.mark.parametrize("mode", ["filter", "strict", "mixed"])
@pytest.mark.parametrize("without", ["capability", "kernel", "seccomp"])
def test_seccomp_that_cannot_be_suspended(mode, without, program, firn):
    """Found before the freeze: without CAP_SYS_ADMIN, without PTRACE_O_SUSPEND_SECCOMP, by a firn under seccomp itself."""
    w = program("seccomp", mode)
    env, prefix = dict(os.environ), []
    if without == "kernel":
        env["FIRN_WITHOUT"] = "ptrace_suspend_seccomp"
    elif without == "capability":
        prefix = ["/usr/sbin/capsh", "--drop=cap_sys_admin", "--", "-c", 'exec "$0" "$@"']
    else:
        prefix = [str(h.BUILD / "tests" / "programs" / "seccomp"), str(w.folder), "exec"]
    w.images().mkdir(exist_ok=True)
    outcome = h.run([*prefix, *firn.dump_argv(w.pid, w.images())], 30, w.images() / "dump.log", env=env)
    refused(outcome, "confined by seccomp",
            {"kernel": "no PTRACE_O_SUSPEND_SECCOMP", "capability": "CAP_SYS_ADMIN", "seccomp": "firn is under seccomp"}[without],
            codes=(3,))
    assert "seize: stage begins" not in outcome.log, outcome
    w.finish()


@pytest.mark.timeout(60)
def test_frozen_while_it_is_dumped(program, firn, work):
    """The group is frozen when firn is at work in the task: it is let go, and goes on as before when it is thawed."""
    parent = mounts_of("cgroup2")
    w = program("threads", "400")
    with group("midway", parent, "cgroup.freeze") as path:
        (path / "cgroup.procs").write_text(str(w.pid))
        w.images().mkdir()
        argv = firn.dump_argv(w.pid, w.images(), "--leave-running", "--stall-timeout", "1")
        front = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        try:
            h.wait_for(lambda: "puppet: stage begins" in h.read_text(w.images() / "dump.log"), "the stage")
            (path / "cgroup.freeze").write_text("1")
            assert front.wait(20) in (0, 4), h.read_text(w.images() / "dump.log")
        finally:
            (path / "cgroup.freeze").write_text("0")
            h.wait_for(lambda: not h.tracers(w.pid), "untraced")
            (pathlib.Path(parent) / "cgroup.procs").write_text(str(w.pid))
    w.finish()


def test_exec_and_exit_storm(firn, start, work):
    """Programs that execute others, fork and exit at any moment: a dump, or a sentence that names one."""
    for i in range(10):
        w = start(["/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true & exec_me=$(/bin/true); done; exec sleep 0.01"])
        outcome = firn.dump(w.pid, work / f"images{i}", "--leave-running")
        assert outcome.code in (0, 1, 3), outcome
        assert outcome.ok or re.search(r"pid \d+", outcome.err), outcome
        h.wait_for(lambda: w.poll() is not None, lambda: f"its end\n{h.describe(w.pid)}\n{outcome}")
        assert w.poll() == 0, f"it ended with {w.poll()}\n{outcome}"


def test_two_dumps_at_once(program, firn, work):
    """One of them may win; both answer, and the target goes on."""
    w = program("threads", "100")
    for i in range(5):
        folders = [h.Folder.images(work) / f"{i}-{k}" for k in range(2)]
        for f in folders:
            f.mkdir()
        both = [subprocess.Popen(firn.dump_argv(w.pid, f, "--leave-running"), stderr=subprocess.PIPE, text=True)
                for f in folders]
        for p in both:
            err = p.communicate(timeout=30)[1]
            assert p.returncode in (0, 1), err
            assert p.returncode == 0 or re.search("traced by pid", err), err
        assert not h.tracers(w.pid)
    w.finish()


def test_two_dumps_into_one_folder(program, firn, work):
    a = program("mem_anon")
    images = h.Folder.images(work) / "one"
    images.mkdir()
    both = [subprocess.Popen(firn.dump_argv(a.pid, images, "--leave-running"), stderr=subprocess.PIPE, text=True)
            for _ in range(4)]
    texts = [p.communicate(timeout=30)[1] for p in both]
    codes = [p.returncode for p in both]
    assert all(c in (0, 1) for c in codes), (codes, texts)
    a.finish()


@pytest.mark.timeout(60)
def test_two_restores_at_once(program, firn, request):
    """One gets the pids; the others say that they are taken, and leave alone what is not theirs."""
    w = program("tree_shapes")
    w.dump(firn)
    argv = firn.restore_argv(w.images())
    all_ = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    texts = [p.communicate(timeout=30)[1] for p in all_]
    codes = [p.returncode for p in all_]
    assert sorted(codes) in ([0, 1, 1, 1], [1, 1, 1, 1]), (codes, texts)
    for code, text in zip(codes, texts):
        assert code == 0 or re.search("pid .* taken|still held", text), text
    if 0 not in codes:
        return
    w.process, w.exit_code, w.restored = None, None, True
    w.rounds += 1
    (w.protocol / "restored").touch()
    w.finish()
