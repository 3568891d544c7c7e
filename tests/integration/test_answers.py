# SPDX-License-Identifier: LGPL-2.1-or-later
"""What firn says and asks for besides images: the progress line, its folders, sessions, pids that are not free yet, a
machine without processor time to spare."""

import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
import time

import pytest

import firn_harness as h


def on_terminal(argv, columns):
    """Runs a program on a terminal of that width; everything that it wrote there, and its exit code."""
    pid, fd = pty.fork()
    if pid == 0:
        termios.tcsetwinsize(1, (24, columns))
        os.execv(str(argv[0]), [str(a) for a in argv])
    text, until = b"", time.monotonic() + 60
    while time.monotonic() < until:
        if select.select([fd], [], [], 1)[0]:
            try:
                text += os.read(fd, 65536)
            except OSError:
                break
    os.close(fd)
    return text.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("columns", [80, 30])
def test_progress_line(columns, program, firn):
    """On a terminal one line that is drawn over and never wraps; none when it is none."""
    w = program("threads", "700")
    w.images().mkdir()
    text, code = on_terminal([firn.command[0], "dump", "-t", w.pid, "-D", w.images(), "-R"], columns)
    assert code == 0, text
    lines = re.findall(r"\r\x1b\[K(dump: [^\r\n]*)", text)
    assert lines, f"no progress line in {text!r}"
    assert all(len(line) <= columns for line in lines), lines
    assert columns < 80 or any("tasks" in line or "task" in line for line in lines), lines
    assert re.search(r"\r\x1b\[Kdumped 1 task, \d+ threads: frozen for .*, wrote .*, took .*\r\n", text), text
    quiet = h.run([*firn.command, "dump", "-t", w.pid, "-D", w.images(), "-R"])
    assert quiet.ok and not quiet.err and quiet.out.count("\n") == 1, quiet
    w.finish(60)


def test_no_work_folder(program, firn, work):
    w = program("fd_eventfd")
    outcome = firn.dump(w.pid, w.images(), "-W", work / "nowhere")
    assert outcome.code == 1, outcome
    assert re.search("work folder .*/nowhere: open: No such file.* Nothing was changed", outcome.err), outcome
    w.dump(firn)
    outcome = firn.restore(w.images(0), "-W", work / "nowhere")
    assert outcome.code == 1 and "work folder" in outcome.err, outcome
    w.restore(firn)
    w.finish(60)


def test_shell_job_is_asked_for_again(work, firn):
    """A job of a session outside goes into that of its restorer, which has to be said."""
    job = work / "job"
    pid_file = work / "pid"
    script = f'sleep 300 </dev/null >/dev/null 2>&1 & echo $! >"{pid_file}"; while :; do sleep 0.05; done'
    leader = subprocess.Popen(["/bin/bash", "-c", script], start_new_session=True)
    try:
        h.wait_for(lambda: h.read_text(pid_file).strip(), "the job")
        pid = int(h.read_text(pid_file))
        h.wait_for(lambda: "sleep" in h.read_text(f"/proc/{pid}/comm"), "sleep")
        assert firn.dump(pid, job).code == 3
        outcome = firn.dump(pid, job, "--shell-job")
        assert outcome.ok, outcome
    finally:
        leader.kill()
        leader.wait()
    h.wait_for(lambda: h.gone(pid), "its end")
    outcome = firn.restore(job)
    assert outcome.code == 3 and "--shell-job" in outcome.err, outcome
    outcome = firn.restore(job, "--shell-job")
    assert outcome.ok, outcome
    h.kill_tree(pid)
    h.wait_for(lambda: h.gone(pid), "its end")


@pytest.mark.timeout(60)
def test_parent_reaps_a_moment_later(program, firn, work):
    """`firn dump && firn restore`: the killed root is a zombie until its parent gets round to wait()."""
    w = program("mem_anon")
    outcome = firn.dump(w.pid, w.images())
    assert outcome.ok, outcome
    assert h.state(w.pid) == "Z", h.describe(w.pid)
    log = w.images() / "restore.log"

    def reap_when_waited_for():
        h.wait_for(lambda: "to be reaped" in h.read_text(log), "the restore that waits")
        os.waitpid(w.pid, 0)

    reaper = threading.Thread(target=reap_when_waited_for)
    reaper.start()
    outcome = firn.restore(w.images())
    reaper.join()
    assert outcome.ok, outcome
    h.kill_tree(w.pid)
    h.wait_for(lambda: h.gone(w.pid), "its end")


@pytest.mark.timeout(120)
def test_no_unfinished_images_of_a_killed_engine(program, firn, work):
    """The front takes away what the engine wrote."""
    w = program("threads", "700")
    images = w.images()
    images.mkdir()
    front = subprocess.Popen([str(a) for a in firn.dump_argv(w.pid, images, "--leave-running")], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    h.wait_for(lambda: (images / ".firn-new").exists(), "images")
    for pid in h.children(front.pid):
        if h.read_text(f"/proc/{pid}/comm").strip() == "firn-engine":
            os.kill(pid, signal.SIGKILL)
    code = front.wait(30)
    assert code in (0, 1)
    assert not (images / ".firn-new").exists()
    assert code == 0 or not list(images.glob("*.img"))
    w.finish(60)


@pytest.mark.timeout(180)
def test_no_stall_without_processor_time(program, firn, work):
    """Idle-class firn beside a busy program on one processor: it may take long, but nothing is stuck."""
    w = program("fd_eventfd")
    cpu = min(os.sched_getaffinity(0))
    hog = subprocess.Popen(["taskset", "-c", str(cpu), "/bin/sh", "-c", "while :; do :; done"], start_new_session=True)
    try:
        images = w.images()
        images.mkdir()
        outcome = h.run(["taskset", "-c", str(cpu), "chrt", "--idle", "0",
                         *firn.dump_argv(w.pid, images, "--leave-running", "--stall-timeout", "0.3", "--timeout", "0")],
                        timeout=150, log_path=images / "dump.log")
    finally:
        os.killpg(hog.pid, signal.SIGKILL)
        hog.wait()
    assert outcome.ok, outcome
    w.finish(60)
