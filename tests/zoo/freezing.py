# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tree does not stop, or stops and makes no call."""

import contextlib
import os
import pathlib
import signal
import subprocess

import firn_harness as h
from keeper import exhibit, waits_in
from situations import group, mounts_of


@exhibit("a vfork parent whose child pauses")
def vfork(z):
    """The parent of a vfork() sleeps where no signal reaches it until the child has called exec() or ended."""
    w = z.program("hard_states", "vfork")
    z.says(z.dump(w), 3, f"pid {w.pid} (hard_states), thread {w.pid} waits for its child of a vfork(), and cannot be stopped "
                         "until that calls exec() or ends")
    z.works(w)


@exhibit("a task in {} on a FUSE server that never answers", ["read", "stat", "fault"])
def fuse_wait(z, call):
    """A request that a FUSE server has taken and does not answer can be ended by SIGKILL alone: the task cannot be stopped."""
    fuse = z.fuse()
    w = z.stuck(call, fuse.path)
    fuse.silence()
    (w.folder / "go").touch()
    waits_in(w.pid, "request_wait_answer", "folio_wait_bit_common")
    outcome = z.dump(w)
    if call == "read":
        z.stalls(outcome, f"start: pid {w.pid} (stuck), fstat, fd 3 → {fuse.path}/data on fuse")
    elif call == "fault":
        z.stalls(outcome, f"start: pid {w.pid} (stuck), statx, mapping … → {fuse.path}/data")
    else:
        z.stalls(outcome, f"seize: pid {w.pid} (stuck), waitpid, thread {w.pid} to stop")
    assert "Likely cause: a FUSE file system does not answer" in outcome.err, outcome
    z.untouched(w)
    fuse.speak()
    w.finish()


@exhibit("memory behind a userfaultfd that nobody serves")
def userfault(z):
    """A thread faults where a userfaultfd watches, and its monitor does not fill the page."""
    w = z.stuck("userfault")
    waits_in(w.pid, "handle_userfault")
    z.says(z.dump(w), 3, f"pid {w.pid} (stuck), fd 3 → anon_inode:[userfaultfd]: a userfaultfd cannot be carried by this "
                         "version of firn")
    z.works(w)


@exhibit("a task stopped by SIGSTOP")
def stopped(z):
    """A stopped task makes no call for anybody; it stays stopped."""
    w = z.plain()
    os.kill(w.pid, signal.SIGSTOP)
    h.wait_for(lambda: h.state(w.pid) == "T", "stopped")
    z.succeeds(z.dump(w))
    assert h.state(w.pid) == "T"
    os.kill(w.pid, signal.SIGCONT)
    z.works(w)


@contextlib.contextmanager
def frozen(version, pid):
    """The task is in a control group that is frozen already."""
    if version == "v2":
        parent, name, freeze, thaw = mounts_of("cgroup2"), "cgroup.freeze", "1", "0"
    else:
        parent, name, freeze, thaw = mounts_of("cgroup", "freezer"), "freezer.state", "FROZEN", "THAWED"
    with group(f"zoo-{version}", parent, name) as path:
        (path / "cgroup.procs").write_text(str(pid))
        try:
            (path / name).write_text(freeze)
            h.wait_for(lambda: h.read_text(f"/proc/{pid}/wchan") in ("do_freezer_trap", "get_signal") or
                       h.state(pid) in "DT", "frozen")
            yield path / name
        finally:
            (path / name).write_text(thaw)
            h.wait_for(lambda: not h.tracers(pid), "untraced")
            (pathlib.Path(parent) / "cgroup.procs").write_text(str(pid))


@exhibit("a {} control group that is frozen already", ["v1", "v2"])
def frozen_group(z, version):
    """A task in a frozen group is not stopped by ptrace (version 1), or is and makes no call (version 2)."""
    w = z.plain()
    z.remember(w)
    with frozen(version, w.pid) as state:
        was = state.read_text()
        z.says(z.dump(w), 3, f"pid {w.pid} (mem_anon) is in a frozen control group ({state.parent}), where it cannot answer")
        assert state.read_text() == was, "the group is no longer as it was"
    z.works(w)


@exhibit("a stopped task in a frozen v2 control group")
def stopped_in_frozen_group(z):
    """Stopped by SIGSTOP and frozen: the state T of the one hides the other."""
    w = z.plain()
    z.remember(w)
    os.kill(w.pid, signal.SIGSTOP)
    h.wait_for(lambda: h.state(w.pid) == "T", "stopped")
    with frozen("v2", w.pid) as state:
        z.says(z.dump(w), 3, f"pid {w.pid} (mem_anon) is in a frozen control group ({state.parent}), where it cannot answer")
    assert h.state(w.pid) == "T"
    os.kill(w.pid, signal.SIGCONT)
    z.works(w)


@exhibit("a storm of {}", ["forks", "thread starts", "exits"])
def storm(z, of):
    """The tree changes faster than it is stopped: tasks begin and end between a look and the stop."""
    w = z.stuck(of)
    outcome = z.run(z.dump_argv(w.pid, "--timeout", "3"))
    if outcome.code == 4 and of == "forks":
        # they may stay ahead for so long on a machine that has little time for firn
        z.says(outcome, 4, "the tree was not stopped within 3.0 s (--timeout) in stage seize: pid … (stuck), …",
               "Nothing was changed…")
        assert "Likely cause: the tree keeps changing" in outcome.err, outcome
    else:
        z.succeeds(outcome)
    z.works(w)


@exhibit("a task traced by {}", ["strace", "gdb"])
def traced_by(z, tool):
    """A task has one tracer, and firn cannot be the second."""
    w = z.plain()
    argv = ["strace", "-o", "/dev/null", "-p", str(w.pid)] if tool == "strace" else ["gdb", "-nx", "-q", "-p", str(w.pid)]
    tracer = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True)
    try:
        h.wait_for(lambda: h.tracers(w.pid), "traced")
        z.says(z.dump(w), 1, f"pid {w.pid} (mem_anon), thread {w.pid} is traced by pid {tracer.pid} ({tool}) already")
        assert h.tracers(w.pid) == {w.pid: tracer.pid}
    finally:
        if tool == "strace":
            tracer.send_signal(signal.SIGINT)
        else:
            tracer.stdin.write(b"detach\nquit\n")
        tracer.stdin.close()
        tracer.wait(20)
    z.works(w)


@exhibit("a dump of firn's own ancestor")
def ancestor(z):
    """Who dumps a tree stands outside of it: the ancestor would stop firn with itself."""
    z.says(z.run(z.dump_argv(os.getpid())), 1, f"pid {os.getpid()} (…) is firn itself or one of its ancestors")


@exhibit("firn inside the tree's own pid namespace")
def own_namespace(z):
    """`docker exec … firn dump -t 1`: the init of the namespace is an ancestor of firn."""
    shell = ["/bin/sh", "-c", '"$@"; exit $?', "sh"]
    z.says(z.run(["unshare", "--pid", "--fork", "--mount-proc", *shell, *z.dump_argv(1)]), 1,
           "pid 1 (sh) is firn itself or one of its ancestors")


@exhibit("an exiting thread-group leader")
def exited_leader(z):
    """The first thread has ended, and nothing can be asked of it; the others go on."""
    w = z.program("leader_exits", "child")
    z.succeeds(z.dump(w))
    z.works(w)


@exhibit("a zombie whose parent outside never reaps")
def zombie(z):
    """What has ended cannot be dumped, and stays for as long as its parent does not wait for it."""
    w = z.start(["/bin/true"])
    h.wait_for(lambda: h.state(w.pid) == "Z", "a zombie")
    z.says(z.run(z.dump_argv(w.pid)), 1, f"pid {w.pid} (true) has ended already and only waits for its parent")


@exhibit("zombies in the tree")
def zombies(z):
    """Their parents in the tree have not waited for them: they have no memory, no descriptors and cannot be traced."""
    w = z.program("zombies")
    z.succeeds(z.dump(w))
    z.works(w)
