# SPDX-License-Identifier: LGPL-2.1-or-later
"""What firn leaves behind to read: the stall report as text and as JSON, the log and its levels, and a log that is complete
up to the last event whoever is killed."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import firn_harness as h
from situations import dead_fuse

F_SETLEASE = 1024
LINE = re.compile(r"\((\d\d+\.\d{6})\) (Note |Error|Warn |Info |Debug|Trace) (-|\d+) ([a-z]+): (.*)")


def kernel_at_least(major, minor):
    return tuple(int(n) for n in re.match(r"(\d+)\.(\d+)", os.uname().release).groups()) >= (major, minor)


def lines_of(log):
    """(seconds, level, pid, stage, text) of each line; every line must be whole and have its form."""
    text = h.read_text(log)
    assert text.endswith("\n"), text[-200:]
    parsed = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(parsed), [line for line, m in zip(text.splitlines(), parsed) if not m][:5]
    return [(float(m[1]), m[2].strip(), int(m[3]) if m[3] != "-" else None, m[4], m[5]) for m in parsed]


def stuck_program(start, path):
    code = f"import os, time; os.open({str(path)!r}, os.O_PATH); open('ready', 'w'); time.sleep(1000)"
    return start([sys.executable, "-c", code]).wait_ready()


# ------------------------------------------------------------------------------------------------- the stall report


@pytest.mark.timeout(60)
def test_text(start, firn, work):
    """Log, standard error and file: stage, elapsed, task, call, descriptor → path → mount → server, and what to do."""
    with dead_fuse(work) as path:
        w = stuck_program(start, path)
        outcome = firn.dump(w.pid, w.images(), "--leave-running", "--stall-timeout", "1")
        assert outcome.code == 4 and outcome.seconds < 15, outcome
        report = h.read_text(w.images() / "stall-report.txt")
        fd = next(n for n in os.listdir(f"/proc/{w.pid}/fd") if os.readlink(f"/proc/{w.pid}/fd/{n}") == str(path))
        for pattern in (rf"stage +start, \d+\.\d s after the beginning", rf"task +pid {w.pid} \(python3", r"call +fstat, for",
                        rf"object +fd {fd} → {path}", rf"mount +fuse on {path} from dead, device 0:\d+",
                        r"server +FUSE connection \d+", rf"pid {os.getpid()} \(.*\): \w", r"engine +pid \d+, thread \d+ \(firn-engine\)",
                        rf"arguments \d+ → {path}, path at 0x", rf"its state +pid {w.pid}, .*system call 230 \(clock_nanosleep\)",
                        r"arguments 1, 0x1, 0x7\w+, ", r"likely cause a FUSE file system does not answer",
                        r"firn did +Nothing was changed", r"you can .*/sys/fs/fuse/connections/\d+/abort"):
            assert re.search(pattern, report), f"{pattern}\n{report}"
        if kernel_at_least(6, 18):
            assert "perhaps pid" not in report and f"pid {os.getpid()} (" in report
        # the same lines, but for what firn did, which was not known yet
        asked = [line for line in report.splitlines() if "firn did" not in line]
        logged = [line[4] for line in lines_of(w.images() / "dump.log") if line[1] == "Error"]
        for line in asked:
            assert line in outcome.err.splitlines(), f"not on standard error: {line}\n{outcome.err}"
            assert line in logged, f"not in the log: {line}"
        assert not h.tracers(w.pid)
        w.end()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("command", ["dump", "restore", "explain"])
def test_json(command, start, firn, work):
    """--report json: one line on standard error and a file, with the same facts."""
    with dead_fuse(work) as path:
        w = stuck_program(start, path)
        options = ["--report", "json", "--stall-timeout", "1", "-W", work]
        argv = {"dump": ["-t", w.pid, "-D", work], "restore": ["-D", path / "images"], "explain": ["-t", w.pid]}[command]
        outcome = h.run([*firn.command, command, *argv, *options], timeout=30)
        assert outcome.code == 4, outcome
        first, last = outcome.err.splitlines()
        assert last.startswith(f"firn: {command}: ") and first == h.read_text(work / "stall-report.json").strip()
        report = json.loads(first)
        assert report["format"] == 1 and report["report"] == "stall"
        assert set(report) == {"format", "report", "firn", "operation", "what", "limit", "stage", "elapsed", "call", "object", "task",
                               "engine", "tracer", "held", "tasks", "not_seen", "cause", "outcome", "advice"}
        assert report["limit"] == {"option": "stall-timeout", "seconds": 1.0} and report["elapsed"] >= 1
        assert report["object"]["mount"]["type"] == "fuse" and report["object"]["mount"]["point"] == str(path)
        assert os.getpid() in [s["pid"] for s in report["object"]["fuse"]["servers"]]
        assert report["not_seen"] is None and "Nothing was" in report["outcome"]
        assert report["engine"]["syscall"]["name"] in ("newfstatat", "openat", "openat2", "statx", "fstat")
        assert len(report["engine"]["syscall"]["values"]) >= 2 and str(path) in report["what"]
        if os.geteuid() == 0:
            assert any("fuse" in name or "request_wait_answer" in name for name in report["engine"]["stack"])
        if command != "restore":
            assert report["task"]["pid"] == report["object"]["pid"] == w.pid
            assert os.readlink(f"/proc/{w.pid}/fd/{report['object']['fd']}") == report["object"]["path"] == str(path)
            assert report["task"]["syscall"]["name"] == "clock_nanosleep"
        text = h.read_text(work / "stall-report.txt")
        assert report["what"] in text and report["advice"] in text
        w.end()


def test_unknown_form(firn):
    outcome = h.run([*firn.command, "dump", "-t", "1", "--report", "xml"])
    assert outcome.code == 2 and "--report xml: not a form (text or json)" in outcome.err, outcome


@pytest.mark.timeout(60)
def test_holder_of_a_lock(start, firn, work):
    """A restore opens a file for which somebody else has a lease, and does not give it up: who that is."""
    code = "import time; f = open('data', 'w'); open('ready', 'w'); time.sleep(1000)"
    w = start([sys.executable, "-c", code]).wait_ready()
    outcome = firn.dump(w.pid, w.images())
    assert outcome.ok, outcome
    h.wait_for(lambda: w.poll() is not None, "its end")
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    fd = os.open(w.folder / "data", os.O_RDONLY)
    try:
        fcntl.fcntl(fd, F_SETLEASE, fcntl.F_RDLCK)
        outcome = firn.restore(w.images(), "--stall-timeout", "1", "--report", "json")
        assert outcome.code == 4, outcome
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, signal.SIG_DFL)
    report = json.loads(h.read_text(w.images() / "stall-report.json"))
    locks = [(lock["pid"], lock["sort"], lock["breaking"]) for lock in report["object"]["locks"]]
    assert locks == [(os.getpid(), "lease", True)], locks
    assert "lock or a lease" in report["cause"], report["cause"]
    text = h.read_text(w.images() / "stall-report.txt")
    assert re.search(rf"lock +lease that is to be given up, held by pid {os.getpid()} \(", text), text
    outcome = firn.restore(w.images())
    assert outcome.ok, outcome
    h.kill_tree(w.pid)
    h.wait_for(lambda: h.gone(w.pid), "its end")


# ---------------------------------------------------------------------------------------------------------- the log


def test_every_stage_and_object(program, firn):
    """-v4: every stage begins with a line, and every open file of the images has been named, at the dump and the restore."""
    w = program("fd_regular")
    w.dump(firn)
    images = w.images(0)
    shown = json.loads(firn.show(images, "--json").out)
    paths = {d["text"].split(", ")[0] for t in shown["tasks"] for d in t["descriptors"] if d["text"].startswith("/")}
    assert len(paths) > 5
    w.restore(firn)
    for name, stages in (("dump.log", ("seize", "puppet", "files", "memory", "images", "release")),
                         ("restore.log", ("images", "objects", "tree", "memory", "state", "release"))):
        log = lines_of(images / name)
        times = [line[0] for line in log]
        # several processes and threads write; each record has its time before it has its place
        assert all(b - a > -0.1 for a, b in zip(times, times[1:]))
        begun = {line[3] for line in log if line[4] == "stage begins"}
        assert begun >= set(stages), f"{name}: {begun}"
        assert {line[3] for line in log} <= begun | {"start"}, name
        for path in paths:
            assert any(path in line[4] for line in log), f"{path} is not in {name}"
        assert any(line[2] == w.pid for line in log)
    w.finish()


TRACE = re.compile(r"thread (\d+): (\w+)\((.*)\) = (-?\d+ [A-Z0-9]+|-?\d+|0x[0-9a-f]+) <(\d+\.\d{6})(?: for (\d+) calls)?>")


def test_trace(program, firn):
    """--trace: each call made in a task with arguments, result and time; without it, none."""
    w = program("selfcheck")
    outcome = firn.dump(w.pid, w.images(), "--leave-running")
    assert outcome.ok and not [line for line in lines_of(w.images() / "dump.log") if line[1] == "Trace"]
    outcome = firn.dump(w.pid, w.images(), "--leave-running", "--trace")
    assert outcome.ok, outcome
    log = [line for line in lines_of(w.images() / "dump.log") if line[1] == "Trace"]
    calls = [(line, TRACE.fullmatch(line[4])) for line in log]
    assert all(m for _, m in calls), [line for line, m in calls if not m][:3]
    names = {m[2] for _, m in calls}
    assert {"mmap", "munmap", "rt_sigaction", "getitimer"} <= names, names
    threads = {int(m[1]) for _, m in calls}
    assert threads <= set(h.threads(w.pid)) | {t for p in h.tree(w.pid) for t in h.threads(p)}
    assert {line[2] for line, _ in calls} <= set(h.tree(w.pid))
    # a result that is an error has its name, and a batch's calls are as many as it says
    assert any(re.fullmatch(r"-\d+ E[A-Z]+", m[4]) for _, m in calls)
    many = [m for _, m in calls if m[6]]
    assert many and all(int(m[6]) > 1 for m in many)
    for key in {(m[1], m[5], m[6]) for m in many}:
        assert sum((m[1], m[5], m[6]) == key for m in many) % int(key[2]) == 0, key
    w.finish()


def engine_of(front):
    for pid in h.children(front.pid):
        if h.read_text(f"/proc/{pid}/comm").strip() == "firn-engine":
            return pid
    return None


def run_and_kill(firn, w, argv, seconds, who, err):
    """Starts a dump, and kills the engine, the front or both (stopped first) after so many seconds. True if it was hit."""
    with open(err, "wb") as out:
        front = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=out,
                                 start_new_session=True)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    engine = engine_of(front)
    victims = [engine] if who == "engine" else [front.pid] if who == "front" else [front.pid, engine]
    for sig in (signal.SIGSTOP, signal.SIGKILL) if who == "both" else (signal.SIGKILL,):
        for pid in victims:
            if pid:
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
    front.wait(30)
    # what is left of it, the scribe with it, is this process's child when the front has ended
    h.wait_for(lambda: not [p for p in h.children(os.getpid()) if p != w.pid and not h.gone(p)], "the end of all", 20)
    return engine is not None


@pytest.mark.timeout(120)
@pytest.mark.parametrize("where", ["file", "stderr"])
def test_log_of_a_killed_engine(where, program, firn, work):
    """The step that the front reads from the recorder after the engine's end is the last one of the log as well."""
    w = program("selfcheck")
    images = w.images()
    usual = min(firn.dump(w.pid, images, "--leave-running").seconds for _ in range(2))
    checked, n = 0, 25
    for i in range(n):
        argv = [*firn.command, "dump", "-t", w.pid, "-D", images, "-R", "-v4", "--stall-timeout", "50"]
        if where == "file":
            argv += ["-o", "dump.log"]
        run_and_kill(firn, w, argv, usual * (i + 0.5) / n, "engine", work / "err")
        said = re.search(r"the engine was killed by signal SIGKILL in stage (\w+)(?:, at (.*?))?\. (Nothing|It|The|\d)", h.read_text(work / "err"))
        if not said:
            continue
        log = h.read_text(images / "dump.log" if where == "file" else work / "err").splitlines()
        log = [LINE.fullmatch(line) for line in log]
        log = [m for m in log if m and m[2] in ("Debug", "Info ")]
        assert log and (where == "stderr" or log[-1][4] == said[1]), h.read_text(images / "dump.log")[-1000:]
        step = said[2] and re.fullmatch(r"(?:pid \d+(?: \(.*?\))?, )?(.*)", said[2])[1].replace(", ", ": ", 1)
        # between a step and the next nothing else is logged but what its own thread has found
        assert not step or step in [m[5] for m in log[-8:]], f"{step}\n" + "\n".join(m[0] for m in log[-8:])
        checked += 1
    assert checked >= n // 4, f"only {checked} dumps were hit"
    h.wait_for(lambda: not h.tracers(w.pid), "untraced")
    w.finish(60)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("who", ["front", "both"])
def test_log_of_a_killed_front(who, program, firn, work):
    """Whole lines to the end, however far the dump had come."""
    w = program("selfcheck")
    images = w.images()
    usual = min(firn.dump(w.pid, images, "--leave-running").seconds for _ in range(2))
    lengths, n = [], 12
    for i in range(n):
        (images / "dump.log").unlink(missing_ok=True)
        run_and_kill(firn, w, firn.dump_argv(w.pid, images, "--leave-running", "--stall-timeout", "50"),
                     usual * (i + 0.5) / n, who, work / "err")
        log = lines_of(images / "dump.log") if (images / "dump.log").exists() else []
        lengths.append(len(log))
        assert not log or log[0][1] == "Note"
    # a machine that is busier than it was when the time was taken: later, until one had got under way
    for i in range(40):
        if max(lengths) > 20:
            break
        (images / "dump.log").unlink(missing_ok=True)
        run_and_kill(firn, w, firn.dump_argv(w.pid, images, "--leave-running", "--stall-timeout", "50"),
                     usual * (1 + i / 4), who, work / "err")
        lengths.append(len(lines_of(images / "dump.log")) if (images / "dump.log").exists() else 0)
    assert max(lengths) > 20, lengths
    h.wait_for(lambda: not h.tracers(w.pid), "untraced")
    w.finish(60)
