# SPDX-License-Identifier: LGPL-2.1-or-later
"""firn makes its calls in a task that does not want them, has no room for them, or ends meanwhile."""

import os
import signal
import subprocess

import pytest

import firn_harness as h
from keeper import exhibit

FILTERS = {"fail by errno": "filter", "kill": "kill", "trap": "trap", "confine to read, write and exit (strict mode)": "strict"}


@exhibit("a task with seccomp filters that {} for calls of the stub", FILTERS)
def filters(z, what):
    """The filter would meet firn's calls in the task as it meets the task's own; it is suspended for them."""
    w = z.program("seccomp", FILTERS[what])
    z.succeeds(z.dump(w))
    z.works(w)


@exhibit("a task with a seccomp filter that notifies a supervisor")
def notify(z):
    """A supervisor decides about calls, and may never answer."""
    w = z.program("seccomp", "notify")
    z.says(z.dump(w), 3, f"pid {w.pid} (seccomp), thread {w.pid} has a seccomp filter that asks a supervisor (SECCOMP_RET_USER_NOTIF), whose "
           "listener firn cannot give back")
    z.works(w)


@exhibit("a task killed in the middle of a batch")
def killed(z):
    """Its threads vanish while firn waits for them."""
    w = z.program("threads", "400")
    outcome = z.run_until(z.dump_argv(w.pid), "dump.log", "puppet: stage begins", lambda: os.kill(w.pid, signal.SIGKILL))
    # the first call that meets its end says so
    end = ": No such process" if "No such process" in outcome.err else " ended …"
    z.says(outcome, 1, f"pid {w.pid}…thread …{end}", "Nothing was changed; … of … threads ended meanwhile")
    h.wait_for(lambda: w.poll() is not None, "its end")
    assert w.poll() == -signal.SIGKILL


@exhibit("a signal that arrives in the middle of a batch")
def signalled(z):
    """It must neither end firn's calls nor be lost with them."""
    w = z.stuck("signalled")
    z.remember(w)
    outcome = z.run_until(z.dump_argv(w.pid), "dump.log", "puppet: stage begins", lambda: os.kill(w.pid, signal.SIGUSR1))
    z.succeeds(outcome)
    z.works(w)


@exhibit("a task under ulimit -v")
def limited(z):
    """The area that firn's calls need does not fit below the limit."""
    w = z.program("hard_states", "as")
    z.says(z.dump(w), 1, f"pid {w.pid} (hard_states): room for firn's stub in the task: mmap: Cannot allocate memory")
    z.works(w)


@exhibit("a task whose address space is taken to the last page")
def full(z):
    """There is no room for firn's area."""
    w = z.stuck("full")
    z.says(z.dump(w), 1, f"pid {w.pid} (stuck): room for firn's stub in the task: mmap: Cannot allocate memory")
    z.works(w)


@exhibit("a task that uses a hardware breakpoint")
def breakpoint_user(z):
    """It is a perf event, which belongs to the kernel."""
    w = z.stuck("breakpoint")
    z.says(z.dump(w), 3, f"pid {w.pid} (stuck), fd 3 → anon_inode:[perf_event]: a perf event cannot be carried by this version of "
                         "firn")
    z.works(w)


@exhibit("a 32-bit task")
def narrow(z):
    """The stub is 64-bit code; the task's calls have other numbers."""
    source, program = z.work / "narrow.c", z.work / "narrow"
    source.write_text("void _start(void) { for (;;) __asm__ volatile(\"int $0x80\" : : \"a\"(29)); }\n")
    done = subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-ffreestanding", "-o", program, source],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"gcc -m32: {done.stderr}")
    try:
        p = subprocess.Popen([program], start_new_session=True)
    except OSError as e:
        pytest.skip(f"a 32-bit program: {e}")
    try:
        outcome = z.run(z.dump_argv(p.pid))
        z.says(outcome, 3, f"pid {p.pid} (narrow), …runs 32-bit code, which firn does not carry yet")
        assert "seize: stage begins" not in outcome.log, outcome
        assert not h.tracers(p.pid) and p.poll() is None
    finally:
        p.kill()
        p.wait()
