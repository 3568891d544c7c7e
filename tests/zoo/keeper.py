# SPDX-License-Identifier: LGPL-2.1-or-later
"""The zoo's keeper. An exhibit makes one known way of getting stuck and runs firn in it; the keeper asserts four things:

1. an answer within the limit;
2. the sentence that names stage, task, call and object, word for word;
3. every target works afterwards, untraced, and holds what it held before;
4. nothing else is left: no process, mount, table of the packet filter or file.

The rows that come of it are the table in docs/hangs.md."""

import contextlib
import os
import pathlib
import re
import subprocess
import threading
import time

import pytest

import firn_harness as h

ZOO = h.BUILD / "tests" / "zoo"
STALL = 1           # --stall-timeout, seconds
# Seconds: the stall, two for the engine's end, one each for tasks and log. What this machine stood still comes on top.
ANSWER = 8

EXHIBITS = {}       # name → Exhibit, in the order of the files
ROWS = {}           # name → Row, of the exhibits that were run

LEFT_BY_A_FAILURE = {"dump.log", "restore.log", "stall-report.txt"}


class Exhibit:
    def __init__(self, name, group, play, cause):
        self.name, self.group, self.play, self.cause = name, group, play, cause


class Row:
    """What one exhibit gave, for the table."""

    def __init__(self, outcome, seconds, sentence):
        self.outcome, self.seconds, self.sentence = outcome, seconds, sentence


def exhibit(name, cases=None):
    """Makes a function an exhibit, or one for each of @cases, with which its name is formatted. Its docstring is the cause as
    docs/hangs.md explains it."""

    def add(play):
        group = pathlib.Path(play.__code__.co_filename).stem
        for case in [()] if cases is None else [(c,) for c in cases]:
            title = name.format(*case)
            assert title not in EXHIBITS and play.__doc__, title
            cause = " ".join(play.__doc__.split())
            EXHIBITS[title] = Exhibit(title, group, lambda stage, case=case: play(stage, *case), cause)
        return play

    return add


def held(pid):
    """What a task has that firn could leave something in: descriptors, memory areas, control groups, signal mask."""
    fds = {}
    for name in os.listdir(f"/proc/{pid}/fd") if os.path.exists(f"/proc/{pid}/fd") else []:
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            # its sign for the test is open for a moment
            if not target.endswith("/ready"):
                fds[name] = target
    status = h.status(pid)
    return {"descriptors": fds, "cgroup": h.read_text(f"/proc/{pid}/cgroup"),
            "areas": [line.split()[0] for line in h.read_text(f"/proc/{pid}/maps").splitlines() if "[heap]" not in line],
            "signals": [status.get(k) for k in ("SigIgn", "SigCgt")], "seccomp": status.get("Seccomp")}


class Clock(threading.Thread):
    """How long this machine kept one waiting who only wanted to sleep: firn does not count that time either."""

    def __init__(self):
        super().__init__(daemon=True)
        self.late, self.over = 0, threading.Event()

    def run(self):
        then = time.monotonic()
        while not self.over.wait(0.1):
            now = time.monotonic()
            self.late += max(0, now - then - 0.1)
            then = now

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


class Stage:
    """What an exhibit plays on."""

    def __init__(self, work, firn, program, start):
        self.work, self.firn, self.program, self.start = work, firn, program, start
        self.images = h.Folder.images(work) / "zoo"
        self.images.mkdir()
        self.outcomes, self.row = [], None
        self.before = {}            # pid → held(), before the first dump
        self.strays = contextlib.ExitStack()
        self.clock = Clock()

    # -- the stage is set

    def stuck(self, *args):
        """The program that waits (stuck.c)."""
        w = self.start([ZOO / "stuck", self.work, *args])
        return w.wait_ready()

    def plain(self):
        """An ordinary program: whatever is stuck, it is not that."""
        return self.program("mem_anon")

    def enter(self, manager):
        """Enters a context manager that is left after the exhibit, before the keeper looks at what is left."""
        return self.strays.enter_context(manager)

    def fuse(self):
        return self.enter(fuse_server(self.work))

    # -- firn plays

    def note(self, outcome):
        self.outcomes.append(outcome)
        return outcome

    def remember(self, *workloads):
        for w in workloads:
            self.before.setdefault(w.pid, held(w.pid))

    def dump_argv(self, pid, *options):
        return self.firn.dump_argv(pid, self.images, "--leave-running", "--stall-timeout", str(STALL), *options)

    def dump(self, w, *options):
        self.remember(w)
        return self.run(self.dump_argv(w.pid, *options), "dump.log")

    def restore_argv(self, images, *options):
        return self.firn.restore_argv(images, "--stall-timeout", str(STALL), *options)

    def restore(self, images, *options):
        return self.run(self.restore_argv(images, *options), None)

    def run(self, argv, log="dump.log", **kwargs):
        return self.note(h.run(argv, log_path=log and self.images / log, **kwargs))

    def run_until(self, argv, log, words, action):
        """As run(), and when these words are in the log something happens."""
        (self.images / log).unlink(missing_ok=True)
        done = []

        def watch():
            h.wait_for(lambda: words in h.read_text(self.images / log), f"{words!r} in the log", 20, 0.0005)
            action()
            done.append(True)

        watcher = threading.Thread(target=watch)
        watcher.start()
        outcome = self.run(argv, log)
        watcher.join()
        assert done, f"{words!r} never came\n{outcome}"
        return outcome

    # -- and answers

    def says(self, outcome, code, sentence, end="Nothing was changed"):
        """Word for word; … stands for what differs from run to run."""
        verb = outcome.argv[[str(a) in ("dump", "restore") for a in outcome.argv].index(True)]
        want = f"firn: {verb}: {sentence}. {end}."
        pattern = ".*?".join(re.escape(part) for part in want.split("…"))
        sentence = next((line for line in outcome.err.splitlines() if line.startswith("firn: ")), "")
        assert outcome.code == code, outcome
        match = re.match(pattern, sentence)
        assert match, f"it does not say\n  {want}\nbut\n  {sentence}\n{outcome}"
        said = match[0].removeprefix(f"firn: {verb}: ")
        self.row = Row({3: "refused", 4: "stall"}.get(code, "error"), outcome.seconds, said)

    def stalls(self, outcome, sentence, end="Nothing was changed"):
        self.says(outcome, 4, f"nothing moved for {STALL}.0 s in stage {sentence}", end)
        assert (self.images / "stall-report.txt").exists(), outcome

    def succeeds(self, outcome):
        assert outcome.code == 0, outcome
        self.row = Row("done", outcome.seconds, outcome.out.partition(":")[0])

    # -- and the keeper looks

    def untouched(self, *workloads):
        """The targets are neither traced nor frozen, and hold what they held."""
        for w in workloads:
            assert not h.tracers(w.pid), f"still traced: {h.tracers(w.pid)}\n{self.outcomes}"
            if w.pid in self.before:
                now = held(w.pid)
                for what, then in self.before[w.pid].items():
                    assert now[what] == then, f"{what} of {w.pid} changed from\n{then}\nto\n{now[what]}"

    def works(self, *workloads):
        """As untouched(), and each verifies itself and ends well."""
        self.untouched(*workloads)
        for w in workloads:
            w.finish()

    def check_answers(self):
        assert self.outcomes, "firn did not play"
        for outcome in self.outcomes:
            limit = ANSWER + 4 * self.clock.late
            assert outcome.seconds < limit, f"no answer within {limit:.1f} s\n{outcome}"

    def check_files(self):
        if any(self.images.glob("*.img")) and any(o.ok or "restore" in map(str, o.argv) for o in self.outcomes):
            return
        left = {p.name for p in self.images.iterdir()} - LEFT_BY_A_FAILURE
        assert not left, f"left in the images folder: {sorted(left)}"

    def check_processes(self):
        def ours():
            return [p for p in h.tree(os.getpid())[1:] if h.read_text(f"/proc/{p}/comm").startswith("firn")
                    and h.alive(p)]

        h.wait_for(lambda: not ours(), lambda: f"processes of firn end: {ours()}", 5)


def keep(name, stage):
    """Runs an exhibit and asserts what there is to assert. Mounts, packet filter tables, System V segments and strays are
    looked at by the fixture of every test, nothing_left_behind."""
    with stage.clock, stage.strays:
        EXHIBITS[name].play(stage)
        stage.check_processes()
    stage.check_answers()
    stage.check_files()
    assert stage.row, "the exhibit asserted no answer"
    ROWS[name] = stage.row


# ------------------------------------------------------------------------------------------------------- situations


class Fuse:
    """A FUSE file system with a server that can fall silent."""

    def __init__(self, path, server):
        self.path, self.server = path, server

    def silence(self):
        self.server.send_signal(10)     # SIGUSR1
        h.wait_for(lambda: "sigsuspend" in h.read_text(f"/proc/{self.server.pid}/wchan"), "the server is silent")

    def speak(self):
        self.server.send_signal(12)     # SIGUSR2


@contextlib.contextmanager
def fuse_server(work):
    path = work.parent / "dead"
    path.mkdir()
    server = subprocess.Popen([ZOO / "fuse_server", path], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        h.wait_for(lambda: os.path.ismount(path) or server.poll() is not None, "the mount")
        if server.poll() is not None:
            pytest.skip(f"fuse: {server.stderr.read()}")
        yield Fuse(path, server)
    finally:
        server.kill()
        server.wait()
        server.stderr.close()
        subprocess.run(["umount", "-l", path], check=False, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def mount_namespace(script):
    """A mount namespace in which that was done; gives what to put before a command that shall run there."""
    holder = subprocess.Popen(["unshare", "--mount", "/bin/sh", "-c", f"{script} && echo done && exec sleep 1000"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if holder.stdout.readline() != "done\n":
            pytest.skip(f"a mount namespace: {holder.stderr.read()}")
        yield ["nsenter", "-t", str(holder.pid), "--mount", f"--wd={os.getcwd()}"]
    finally:
        holder.kill()
        holder.communicate()


def own_streams(work, *argv):
    """A command whose streams are opened where it runs: a descriptor belongs to the mount namespace of its open()."""
    (work / "in").touch()
    return ["/bin/sh", "-c", f'exec "$@" <{work}/in >{work}/out 2>&1', "sh", *argv]


def waits_in(pid, *functions):
    """Waits until some thread of a task sleeps in one of these functions of the kernel."""
    h.wait_for(lambda: any(h.read_text(f"/proc/{pid}/task/{t}/wchan") in functions for t in h.threads(pid)),
               lambda: f"{pid} in {functions}\n{h.describe(pid)}")


# ------------------------------------------------------------------------------------------------------------ table


def normal(text):
    """Without what differs from run to run."""
    text = re.sub(r"/\S*?firn-tests-[^/ ]*/[^/ ]+/(work/|zoo/)?", "/…/", text)
    text = re.sub(r"\b((?:pid|thread|session|task|group)s?) \d+", r"\1 N", text)
    text = re.sub(r"/proc/\d+", "/proc/N", text)
    text = re.sub(r"\bmapping [0-9a-f]+", "mapping ADDRESS", text)
    text = re.sub(r"firn-test-\d+-[a-z]+-v", "group-v", text)
    text = re.sub(r"(\d\.\d+):\d+", r"\1:PORT", re.sub(r"\[\d{6,}\]", "[N]", text))
    return text


def table():
    lines = ["| exhibit | what gets stuck | outcome | s | firn says |", "|---|---|---|---|---|"]
    for name, e in EXHIBITS.items():
        row = ROWS.get(name, Row("not here", 0, "this machine cannot make it"))
        cells = (name, e.cause, row.outcome, f"{row.seconds:.1f}", normal(row.sentence))
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines)


BEGIN, END = "<!-- zoo: begin -->", "<!-- zoo: end -->"


def write_table(path):
    path = pathlib.Path(path)
    before, rest = path.read_text().split(BEGIN)
    path.write_text(before + BEGIN + "\n" + table() + "\n" + END + rest.split(END)[1])
