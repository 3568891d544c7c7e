# SPDX-License-Identifier: LGPL-2.1-or-later
"""firn watch: another checkpointer that gets stuck is told apart, explained, ended, and what it held runs on."""

import contextlib
import fcntl
import os
import re
import signal
import subprocess

import pytest

import firn_harness as h
from situations import dead_fuse
from test_hard_states import mounts_of

STUCK = h.PROGRAMS / "seize_and_wait"


def watch(firn, *args, timeout=60):
    return h.run([*firn.command, "watch", *args], timeout=timeout)


def stuck_argv(pid, work, how="wait", file="-"):
    return [STUCK, pid, work / "files.img", how, file]


@contextlib.contextmanager
def running(argv):
    with subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as p:
        try:
            yield p
        finally:
            p.kill()


def held(pid):
    return h.wait_for(lambda: h.tracers(pid), f"a tracer of {pid}")


def runs_on(w):
    """Untraced, and at its end it finds nothing wrong with itself."""
    assert not h.tracers(w.pid), h.describe(w.pid)
    w.finish()


# ---------------------------------------------------------------------------------------------- commands that end


def test_passes_through(firn):
    p = subprocess.run([*firn.command, "watch", "--", "sh", "-c", "cat; echo err >&2; exit 7"], input="in\n",
                       capture_output=True, text=True, timeout=30, check=False)
    assert (p.returncode, p.stdout, p.stderr) == (7, "in\n", "err\n")


def test_ends_well(firn):
    outcome = watch(firn, "--", "true")
    assert outcome.code == 0 and not outcome.text, outcome


def test_killed(firn):
    assert watch(firn, "--", "sh", "-c", "kill -KILL $$").code == 128 + 9


def test_not_there(firn, work):
    outcome = watch(firn, "--", work / "nothing")
    assert outcome.code == 127 and "execvp: No such file" in outcome.err, outcome
    (work / "text").write_text("")
    assert watch(firn, "--", work / "text").code == 126


@pytest.mark.parametrize("args, word", [
    ([], "needed"), (["--"], "needed"), (["-p", "x", ], "not a pid"), (["-p", "1", "--", "true"], "needed"),
    (["--rescu", "--", "true"], "Did you mean --rescue"), (["--deadline", "soon", "--", "true"], "seconds"),
    (["true"], "behind --"),
])
def test_command_line(args, word, firn):
    outcome = watch(firn, *args)
    assert outcome.code == 2 and word in outcome.err, outcome


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_forwarded(signo, firn, work):
    name = signo.name[3:]
    script = f"trap 'exit 42' {name}; touch {work}/ready; while :; do sleep 0.05; done"
    with running([*firn.command, "watch", "--", "sh", "-c", script]) as p:
        h.wait_for((work / "ready").exists, "the command")
        p.send_signal(signo)
        assert p.wait(10) == 42


# ------------------------------------------------------------------------------------------------------ a stall


def test_busy_is_not_stuck(firn):
    """Writes, computes, and asks again and again: none of them stands still for a second."""
    outcome = watch(firn, "--stall-timeout", "0.5", "--", "sh", "-c",
                    "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do echo $i; sleep 0.1; done", timeout=30)
    assert outcome.code == 0 and not outcome.err, outcome


def test_reports_once_and_waits_on(firn, work):
    fifo = work / "fifo"
    os.mkfifo(fifo)
    argv = [*firn.command, "watch", "--stall-timeout", "0.4", "-o", work / "log", "-W", work, "--", "cat", fifo]
    with running(argv) as p:
        h.wait_for(lambda: "watch report" in h.read_text(work / "log"), "the report")
        fd = os.open(fifo, os.O_WRONLY)
        os.write(fd, b"text")
        os.close(fd)
        assert p.wait(10) == 0
        out, err = p.communicate()
    assert out == b"text"
    err = err.decode()
    assert err.count("watch report") == 1 and f'openat(AT_FDCWD, "{fifo}"' in err, err
    assert "is a FIFO whose other end nobody has opened" in err, err
    assert "watch report" in h.read_text(work / "stall-report.txt")


def test_deadline(firn):
    outcome = watch(firn, "--stall-timeout", "0", "--deadline", "0.5", "--", "sleep", "2")
    assert outcome.code == 0 and "not done within its deadline of 0.5 s" in outcome.err, outcome


def test_orphans_are_watched(firn):
    """Who was left by his parent is still the command's: it is reported while the command itself waits."""
    outcome = watch(firn, "--stall-timeout", "0.5", "--", "sh", "-c", "(sleep 1.5 & exec true); sleep 2")
    assert len(re.findall(r"\(sleep\), child of", outcome.err)) >= 1, outcome


@pytest.mark.parametrize("how", ["wait", "fifo", "flock", "lockf"])
def test_rescue(how, program, firn, work):
    w = program("selfcheck")
    file = work / "object"
    with contextlib.ExitStack() as stack:
        if how == "fifo":
            os.mkfifo(file)
        else:
            holder = stack.enter_context(open(file, "w", encoding="ascii"))
            (fcntl.flock if how == "flock" else fcntl.lockf)(holder, fcntl.LOCK_EX)
        outcome = watch(firn, "--stall-timeout", "1", "--rescue", "--", *stuck_argv(w.pid, work, how, file))
    assert outcome.code == 4, outcome
    err = outcome.err
    assert re.search(r"nothing moved for \d", err) and f"pid {w.pid} (selfcheck), t (" in err, outcome
    assert re.search(r"files\.img \(EMPTY: 0 bytes, at 0, for writing\)", err), outcome
    assert {
        "wait": f"tracee: pid {w.pid} (selfcheck), t (",
        "fifo": f'"{file}"',
        "flock": f"flock(5 → {file}, LOCK_EX)",
        "lockf": f"fcntl(5 → {file}, F_SETLKW)",
    }[how] in err, outcome
    if "lock" in how:
        assert f"held by pid {os.getpid()} (" in err, outcome
    assert re.search(rf"pid {w.pid}, thread {w.pid} .*tracer 0, got a processor \d+ times since: free$", err, re.M), outcome
    assert "every task that it held is free and runs" in err, outcome
    runs_on(w)


def test_many_threads(program, firn, work):
    w = program("threads")
    n = len(h.threads(w.pid))
    outcome = watch(firn, "--stall-timeout", "1", "--rescue", "--", *stuck_argv(w.pid, work))
    assert outcome.code == 4 and len(re.findall(r": free$", outcome.err, re.M)) == n, outcome
    runs_on(w)


def test_pid(program, firn, work):
    w = program("selfcheck")
    with running(stuck_argv(w.pid, work)) as p:
        held(w.pid)
        # it is on its way to where it waits
        outcome = h.wait_for(lambda: (o := watch(firn, "-p", p.pid)).code == 4 and o, "the report of a stuck one")
        assert "STUCK" in outcome.err and "holds        1 task\n" in outcome.err, outcome
        assert h.tracers(w.pid)
        outcome = watch(firn, "-p", p.pid, "--rescue")
        assert outcome.code == 4 and "done: the checkpointer is gone" in outcome.err, outcome
        assert p.wait(10) in (-signal.SIGTERM, -signal.SIGKILL)
    runs_on(w)


def test_pid_that_holds_nobody(firn):
    """The workload's pid, say, given by mistake: it is not ended."""
    with running(["sleep", "1000"]) as p:
        outcome = watch(firn, "-p", p.pid, "--rescue", "--stall-timeout", "1")
        assert outcome.code == 1 and "holds no task and no frozen control group: it is not ended" in outcome.err, outcome
        assert p.poll() is None


def test_pid_that_moves(program, firn):
    with running(["sh", "-c", "while :; do :; done"]) as p:
        outcome = watch(firn, "-p", p.pid, "--rescue")
        assert outcome.code == 0 and "it moves" in outcome.err and p.poll() is None, outcome


def test_pid_that_is_none(firn):
    with subprocess.Popen(["true"]) as p:
        p.wait()
    assert watch(firn, "-p", p.pid).code == 1
    outcome = watch(firn, "-p", os.getpid(), "--rescue")
    assert outcome.code == 2 and "runs below it" in outcome.err, outcome


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("before", [False, True], ids=["by_it", "before"])
def test_frozen_group(version, before, program, firn, work):
    """What it froze is thawed; what was frozen before it began stays so."""
    parent, name, ice, water = ((mounts_of("cgroup2"), "cgroup.freeze", "1", "0") if version == "v2" else
                                (mounts_of("cgroup", "freezer"), "freezer.state", "FROZEN", "THAWED"))
    if not parent:
        pytest.skip(f"no freezer of control groups {version}")
    parent = parent[0] if isinstance(parent, (list, tuple)) else parent
    group = type(work)(parent) / f"firn-watch-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as e:
        pytest.skip(f"{group}: {e}")
    w = program("selfcheck")
    try:
        (group / "cgroup.procs").write_text(str(w.pid))
        if before:
            (group / name).write_text(ice)
        script = f"echo {ice} > {group}/{name}; exec sleep 100"
        outcome = watch(firn, "--stall-timeout", "1", "--rescue", "--", "sh", "-c", script, "criu", "-t", w.pid)
        assert str(group) in outcome.err, outcome
        state = (group / name).read_text().strip()
        if before:
            assert "frozen before it began, and left so" in outcome.err and state == ice, outcome
        else:
            assert f"control group {group} (" in outcome.err and "thawed" in outcome.err and state == water, outcome
            assert outcome.code == 4, outcome
    finally:
        (group / name).write_text(water)
        (group.parent / "cgroup.procs").write_text(str(w.pid))
        h.wait_for(lambda: not (group / "cgroup.procs").read_text(), "an empty group")
        group.rmdir()
    runs_on(w)


# ---------------------------------------------------------------------------------------------------- real CRIU


@pytest.mark.timeout(90)
def test_criu_on_a_dead_file_system(program, firn, criu, work):
    """Its images folder is on a FUSE mount whose server does not answer."""
    w = program("selfcheck")
    with dead_fuse(work) as path:
        outcome = watch(firn, "--stall-timeout", "1", "--rescue", "--",
                        *criu.dump_argv(w.pid, path / "images"))
    assert outcome.code == 4, outcome
    assert f'{path}/images' in outcome.err and "on fuse, source dead" in outcome.err, outcome
    runs_on(w)


@pytest.mark.timeout(90)
def test_criu_that_holds_tasks(program, firn, criu, work):
    """It asks its action script when the tasks are frozen, and that one never answers."""
    w = program("selfcheck")
    fifo, script = work / "fifo", work / "script"
    os.mkfifo(fifo)
    script.write_text(f"#!/bin/sh\n[ $CRTOOLS_SCRIPT_ACTION = post-dump ] && read x < {fifo}\nexit 0\n")
    script.chmod(0o755)
    w.images().mkdir(exist_ok=True)
    outcome = watch(firn, "--stall-timeout", "2", "--rescue", "--",
                    *criu.dump_argv(w.pid, w.images(), "--action-script", script, "--leave-running"))
    assert outcome.code == 4 and f"pid {w.pid} (selfcheck), t (" in outcome.err, outcome
    assert str(fifo) in outcome.err and "every task that it held is free and runs" in outcome.err, outcome
    runs_on(w)


@pytest.mark.timeout(90)
def test_criu_without_hardware_breakpoints(firn, criu, work):
    """In a virtual machine that has none it waits for ever, with an empty files.img."""
    env = {k: v for k, v in os.environ.items() if k != "CRIU_FAULT"}
    if len(env) == len(os.environ):
        pytest.skip("this machine has hardware breakpoints: CRIU does not get stuck")
    (work / "images").mkdir()
    with subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, start_new_session=True) as target:
        try:
            argv = [*firn.command, "watch", "--stall-timeout", "2", "--rescue", "--",
                    *criu.dump_argv(target.pid, work / "images", "--leave-running")]
            outcome = h.run(argv, env=env)
            assert outcome.code == 4 and "wait4(-1)" in outcome.err, outcome
            assert f"tracee: pid {target.pid} (sleep)" in outcome.err and "CRIU_FAULT=130" in outcome.err, outcome
            assert "files.img (EMPTY: 0 bytes" in outcome.err, outcome
            assert target.poll() is None and not h.tracers(target.pid)
        finally:
            target.kill()
