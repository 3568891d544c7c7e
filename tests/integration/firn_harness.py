# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts programs, dumps and restores them with an engine (firn, or CRIU as its peer), and proves that nothing is left
behind. See tests/programs/README.md for the protocol of the test programs."""

import ctypes
import functools
import json
import os
import pathlib
import pwd
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FIRN_BUILD", ROOT / "build"))
PROGRAMS = BUILD / "tests" / "programs"
PEER = pathlib.Path(os.environ.get("FIRN_PEER", "/var/cache/firn-tests/trixie"))
USER = os.environ.get("FIRN_TEST_USER", "nobody")

# Seconds. An engine that answers needs a fraction of these; a test fails long before the suite's own limit.
ENGINE_TIMEOUT = 60
READY_TIMEOUT = 30
RESULT_TIMEOUT = 15


def become_subreaper():
    """Restored trees become our children when their engine ends: we see their exit codes, and any stray."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


class HarnessError(AssertionError):
    pass


def wait_for(condition, what, timeout=READY_TIMEOUT, interval=0.002):
    """Polls @condition until it gives something true, and returns that."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise HarnessError(f"after {timeout} s still not: {what() if callable(what) else what}")
        time.sleep(interval)


# ---------------------------------------------------------------------------------------------------- /proc facts


def read_text(path, default=""):
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return default


def status(pid):
    """/proc/PID/status as a dict; {} when the process is gone."""
    lines = read_text(f"/proc/{pid}/status").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def state(pid):
    text = read_text(f"/proc/{pid}/stat")
    return text.rpartition(")")[2].split()[0] if text else ""


def children(pid):
    found = []
    for tid in threads(pid):
        found += [int(p) for p in read_text(f"/proc/{pid}/task/{tid}/children").split()]
    return found


def tree(pid):
    """The process and all its descendants, parents first."""
    pids = [pid]
    for p in pids:
        pids += children(p)
    return pids


def threads(pid):
    try:
        return sorted(int(t) for t in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return []


def tracers(pid):
    """Threads of the tree that somebody traces: {tid: tracer}."""
    found = {}
    for p in tree(pid):
        for tid in threads(p):
            text = read_text(f"/proc/{p}/task/{tid}/status")
            m = re.search(r"^TracerPid:\t(\d+)", text, re.M)
            if m and m.group(1) != "0":
                found[tid] = int(m.group(1))
    return found


def alive(pid):
    return state(pid) not in ("", "Z", "X")


def describe(pid):
    """Where every task of a tree stands; for failure messages."""
    lines = []
    for p in tree(pid):
        for tid in threads(p) or [p]:
            base = f"/proc/{p}/task/{tid}"
            lines.append(f"  {p}/{tid} {read_text(base + '/comm').strip()!r} state {state(tid)} "
                         f"wchan {read_text(base + '/wchan')} syscall {read_text(base + '/syscall').strip()}")
    return "\n".join(lines[:60])


def mounts():
    """Mounts that a test or firn may have made; others on the machine come and go, those of another run of tests too."""
    points = (line.split()[4] for line in read_text("/proc/self/mountinfo").splitlines())
    own = Folder.base.name if Folder.base else "firn-tests-none"
    return sorted(p for p in points if "firn" in p and ("firn-tests-" not in p or own in p))


# --------------------------------------------------------------------------------------------------------- engines


class Outcome:
    """What one run of an engine gave."""

    def __init__(self, argv, code, out, err, log_path, seconds):
        self.argv, self.code, self.out, self.err = argv, code, out, err
        self.log_path, self.seconds = log_path, seconds

    @property
    def ok(self):
        return self.code == 0

    @property
    def log(self):
        return read_text(self.log_path) if self.log_path else ""

    @property
    def text(self):
        """Everything it said."""
        return self.err + self.out + self.log

    @property
    def sentence(self):
        """The error that a person sees first."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return lines[0] if lines else ""

    def __repr__(self):
        return str(self)

    def __str__(self):
        tail = "\n".join(self.log.splitlines()[-60:])
        return (f"$ {' '.join(map(str, self.argv))}\nexit code {self.code} after {self.seconds:.2f} s\n"
                f"--- stdout\n{self.out}\n--- stderr\n{self.err}\n--- log {self.log_path}\n{tail}")


def ended_within(pid, timeout):
    """Waits for the end of a child, to the moment (Popen.wait() with a timeout looks ever more seldom)."""
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    finally:
        os.close(fd)


def run(argv, timeout=ENGINE_TIMEOUT, log_path=None, cwd=None, env=None, pass_fds=(), preexec_fn=None):
    """Runs an engine to its end; one that does not end is a failure that shows where it stood."""
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as out, \
            tempfile.TemporaryFile("w+", errors="replace") as err:
        # Files, not pipes: a restored process that keeps the output open must not look like an engine that hangs.
        p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd,
                             env=env, start_new_session=True, pass_fds=pass_fds, preexec_fn=preexec_fn)
        if ended_within(p.pid, timeout):
            code = p.wait()
        else:
            where = describe(p.pid)
            for pid in reversed(tree(p.pid)):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            p.wait()
            code = None
        out.seek(0)
        err.seek(0)
        outcome = Outcome(argv, code, out.read(), err.read(), log_path, time.monotonic() - begin)
    if code is None:
        raise HarnessError(f"no end after {timeout} s; its tasks:\n{where}\n{outcome}")
    return outcome


class Engine:
    """Something that dumps and restores with CRIU's command line."""

    name = ""

    def __init__(self, command):
        self.command = [str(c) for c in command]

    def dump_argv(self, pid, images, *options):
        return [*self.command, "dump", "-t", str(pid), "-D", str(images), "-o", "dump.log", "-v4", *options]

    def dump(self, pid, images, *options, timeout=ENGINE_TIMEOUT):
        images = pathlib.Path(images)
        images.mkdir(exist_ok=True)
        return run(self.dump_argv(pid, images, *options), timeout, images / "dump.log")

    def restore_argv(self, images, *options):
        return [*self.command, "restore", "-D", str(images), "-o", "restore.log", "-v4", "-d", "--pidfile",
                "restored.pid", *options]

    def restore(self, images, *options, timeout=ENGINE_TIMEOUT, pass_fds=()):
        images = pathlib.Path(images)
        (images / "restored.pid").unlink(missing_ok=True)
        return run(self.restore_argv(images, *options), timeout, images / "restore.log", pass_fds=pass_fds)

    def frozen_seconds(self, images):
        """How long the tree stood still, from stats-dump."""
        text = show_image(pathlib.Path(images) / "stats-dump")
        return text["entries"][0]["dump"]["frozen_time"] / 1e6


class Firn(Engine):
    name = "firn"

    def __init__(self):
        super().__init__([os.environ.get("FIRN", BUILD / "firn")])

    def explain(self, pid, *options, timeout=ENGINE_TIMEOUT):
        return run([*self.command, "explain", "-t", str(pid), *options], timeout)

    def explain_json(self, pid, *options):
        """The answer, and the outcome it came from."""
        outcome = self.explain(pid, "--json", *options)
        assert outcome.code in (0, 3), outcome
        answer = json.loads(outcome.out)
        assert answer["ok"] == (outcome.code == 0) and bool(answer["refused"]) == (outcome.code == 3), outcome
        return answer, outcome

    def show(self, images, *options):
        return run([*self.command, "show", images, *options])

    def show_json(self, images):
        outcome = self.show(images, "--json")
        assert outcome.ok, outcome
        return json.loads(outcome.out)


class Criu(Engine):
    name = "criu"

    def __init__(self):
        libs = f"{PEER}/usr/lib/x86_64-linux-gnu"
        super().__init__([f"{PEER}/lib64/ld-linux-x86-64.so.2", "--library-path", libs, f"{PEER}/usr/sbin/criu"])

    @staticmethod
    @functools.cache
    def missing():
        """Why it cannot be used, or ''."""
        if not (PEER / "usr/sbin/criu").exists():
            return f"no peer in {PEER}: scripts/install-peer.sh"
        # It waits for ever for a hardware breakpoint on a machine whose hypervisor has none; this makes it step instead.
        for fault in ({}, {"CRIU_FAULT": "130"}):
            if Criu._dumps_something({**os.environ, **fault}):
                os.environ.update(fault)
                return ""
        return "the peer does not dump a plain process on this machine"

    @staticmethod
    def _dumps_something(env):
        with tempfile.TemporaryDirectory() as images, subprocess.Popen(
                ["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True) as target:
            try:
                argv = [*Criu().command, "dump", "-t", target.pid, "-D", images, "-o", "dump.log", "--leave-running"]
                return run(argv, 20, env=env).ok
            except HarnessError:
                return False
            finally:
                target.kill()


ENGINES = {"firn": Firn, "criu": Criu}


def check_images(images):
    """`crit show` of every image, and `crit x … ps|fds|mems`, as Debian's criu package has them."""
    import contextlib
    import io
    import pycriu
    from pycriu import cli

    images = pathlib.Path(images)
    for path in sorted(images.iterdir()):
        if path.suffix != ".img" and path.name != "stats-dump" or path.name.startswith("pages-"):
            continue
        try:
            with open(path, "rb") as f:
                pycriu.images.load(f, pretty=True)
        except BaseException as e:      # crit ends with SystemExit
            raise HarnessError(f"crit show {path.name}: {type(e).__name__}: {e}") from e
    entries = show_image(images / "pstree.img")["entries"]
    dead = 2    # CRIU's TASK_DEAD, a zombie
    zombies = [p["pid"] for p in entries
               if show_image(images / f"core-{p['pid']}.img")["entries"][0]["tc"]["task_state"] == dead]
    # crit looks for descriptors and memory of zombies too, and finds none, in CRIU's images as in firn's; CRIU dies of
    # SIGSEGV when they are there.
    # A sort of file that is younger than this crit (pidfds) comes without its type, which `crit x fds` wants.
    young = any("type" not in e for e in show_image(images / "files.img")["entries"])
    for what in ("ps",) if zombies else ("ps", "mems") if young else ("ps", "fds", "mems"):
        out = io.StringIO()
        cli.files_img = None
        cli.files_cache.clear()
        for kind in cli.file_types.values():
            kind["img"] = None
        try:
            with contextlib.redirect_stdout(out):
                cli.explorers[what]({"dir": str(images), "what": what})
        except BaseException as e:
            raise HarnessError(f"crit x {what}: {type(e).__name__}: {e}\n{out.getvalue()}") from e
        assert out.getvalue().strip(), f"crit x {what} printed nothing"


def show_image(path):
    """An image file as `crit show` reads it (Debian's criu package)."""
    import pycriu
    with open(path, "rb") as f:
        return pycriu.images.load(f, pretty=False)


# ----------------------------------------------------------------------------------------------------- workloads


def user_ids(user):
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


class Workload:
    """A process tree under test: started, dumped, restored, and at last ended and accounted for."""

    def __init__(self, folder, argv, user=None, env=None, stdin=subprocess.DEVNULL, session=True, inner="",
                 pass_fds=()):
        self.folder = pathlib.Path(folder)
        self.protocol = self.folder / inner     # where ready, trigger and result are
        self.user = user
        self.argv = [str(a) for a in argv]
        self.restored = False
        self.last_dump = self.last_restore = None
        self.rounds = 0
        self.exit_code = None
        kwargs = {}
        if user and user != "root":
            uid, gid = user_ids(user)
            os.chown(self.folder, uid, gid)
            kwargs = {"user": uid, "group": gid, "extra_groups": []}
        with open(self.folder / "stdout", "ab") as out, open(self.folder / "stderr", "ab") as err:
            for f in (out, err):
                if kwargs:
                    os.fchown(f.fileno(), kwargs["user"], kwargs["group"])
            self.process = subprocess.Popen(self.argv, stdin=stdin, stdout=out, stderr=err, cwd=self.folder,
                                            start_new_session=session, env=env, pass_fds=pass_fds, **kwargs)
        self.pid = self.process.pid
        self.pids = {self.pid}      # every task that it was ever seen to have

    # -- facts

    def output(self):
        text = ""
        for path in (self.protocol / "result", self.folder / "stdout", self.folder / "stderr"):
            name, content = path.name, read_text(path)
            if content:
                text += f"--- the program's {name}\n" + "\n".join(content.splitlines()[-40:]) + "\n"
        return text

    def poll(self):
        """The exit code once it has ended, else None. As subprocess: negative for a signal."""
        if self.exit_code is None:
            if self.process is not None:
                self.exit_code = self.process.poll()
            else:
                try:
                    pid, wait_status = os.waitpid(self.pid, os.WNOHANG)
                    if pid:
                        self.exit_code = os.waitstatus_to_exitcode(wait_status)
                except ChildProcessError:
                    self.exit_code = -255
        return self.exit_code

    def images(self, round_=None):
        return Folder.images(self.folder) / f"images{self.rounds if round_ is None else round_}"

    # -- life

    def wait_ready(self, condition=None, timeout=READY_TIMEOUT):
        import pytest

        def ready():
            if (self.protocol / "ready").exists() if condition is None else condition():
                return True
            if self.poll() is not None:
                result = read_text(self.protocol / "result")
                if result.startswith("SKIP: "):
                    pytest.skip(result[6:].strip())
                raise HarnessError(f"ended with {self.exit_code} before it was ready: {self.argv}\n{self.output()}")
            return False

        wait_for(ready, lambda: f"ready: {self.argv}\n{describe(self.pid)}\n{self.output()}", timeout)
        return self

    def dump(self, engine, *options, images=None):
        """Dumps and checks what follows from the options: killed, or untraced and running."""
        images = images or self.images()
        before = tree(self.pid)
        self.pids.update(before)
        states = {p: state(p) for p in before}
        outcome = engine.dump(self.pid, images, *options)
        if not outcome.ok:
            raise HarnessError(f"{engine.name} dump failed\n{outcome}\n{self.output()}")
        self.last_dump = outcome
        if "--leave-running" in options or "-R" in options:
            assert not tracers(self.pid), f"still traced after the dump: {tracers(self.pid)}\n{outcome}"
            for p in before:
                now = state(p)
                # a child may end by itself meanwhile; the program's own checks tell whether that was right
                assert (now or p != self.pid) and (now == states[p] or now not in "tT" or not now), \
                    f"{p} was {states[p]} and is {now or 'gone'} after a dump that leaves it running\n{outcome}"
        elif not ("--leave-stopped" in options or "-s" in options):
            code = wait_for(lambda: (self.poll() is not None) and (self.exit_code,),
                            lambda: f"killed after the dump\n{describe(self.pid)}\n{outcome}")[0]
            assert code == -signal.SIGKILL, f"the dumped root ended with {code}, not SIGKILL\n{outcome}"
            for p in sorted({*before[1:], *(p for p in children(os.getpid()) if state(p) == "Z")}):
                wait_for(lambda: gone(p), lambda: f"{p} of the dumped tree killed\n{outcome}")
        return outcome

    def restore(self, engine, *options, images=None, pass_fds=()):
        images = images or self.images()
        outcome = engine.restore(images, *options, pass_fds=pass_fds)
        if not outcome.ok:
            raise HarnessError(f"{engine.name} restore failed\n{outcome}\n{self.output()}")
        counts = [re.match(r"(dumped|restored) (.*?):", o.out or "") for o in (self.last_dump, outcome) if o]
        if len(counts) == 2 and all(counts):
            assert counts[0][2] == counts[1][2], f"{counts[0][0]} and {counts[1][0]}"
        self.last_restore = outcome
        pid = int(read_text(pathlib.Path(images) / "restored.pid").strip() or 0)
        assert pid == self.pid, f"restored as pid {pid}, not {self.pid}\n{outcome}"
        assert pathlib.Path(f"/proc/{pid}").exists(), f"pid {pid} is not there after the restore\n{outcome}"
        assert not tracers(pid), f"traced after the restore: {tracers(pid)}\n{outcome}"
        self.process, self.exit_code, self.restored = None, None, True
        self.rounds += 1
        (self.protocol / "restored").touch()
        return outcome

    def crit(self, images=None):
        """What was dumped is read by CRIU's own tool, every file of it."""
        check_images(images or self.images())

    def trigger(self):
        (self.protocol / "trigger").touch()

    def finish(self, timeout=RESULT_TIMEOUT):
        """Lets a test program verify itself; fails with all that it says."""
        import pytest
        self.trigger()
        try:
            wait_for(lambda: self.poll() is not None,
                     lambda: f"the program's end\n{describe(self.pid)}", timeout)
        except HarnessError as e:
            raise HarnessError(f"{e}\n{self.context()}") from None
        result = read_text(self.protocol / "result").strip()
        if result.startswith("SKIP: "):
            pytest.skip(result[6:])
        if result != "PASS" or self.exit_code != 0:
            raise HarnessError(f"result {result!r}, exit code {self.exit_code}\n{self.context()}")

    def context(self):
        text = self.output()
        for name in ("last_dump", "last_restore"):
            if getattr(self, name):
                text += f"=== {name}\n{getattr(self, name)}\n"
        return text

    def end(self):
        """Kills what is left of the tree and reaps it."""
        pids = tree(self.pid)
        self.pids.update(pids)
        kill_tree(self.pid)
        wait_for(lambda: self.poll() is not None or not alive(self.pid), f"the end of {self.pid}", 20)
        for p in pids[1:]:
            wait_for(lambda: gone(p) or state(p) == "Z", f"the end of {p}", 20)


def reap(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def gone(pid):
    """No longer there, or a zombie that is ours: then it is reaped, so that its pid is free."""
    reap(pid)
    return state(pid) == ""


def kill_tree(pid):
    """Stopped first, until a look finds nobody new: what forks all the time must not get away."""
    seen = []
    while True:
        new = [p for p in tree(pid) if p not in seen]
        for p in new:
            try:
                os.kill(p, signal.SIGSTOP)
            except ProcessLookupError:
                pass
        seen += new
        if not new:
            break
    for p in seen:
        try:
            os.kill(p, signal.SIGKILL)
        except ProcessLookupError:
            pass


def end_strays(known=()):
    """Ends every child of this process that no test owns; gives their descriptions."""
    strays = []
    for _ in range(100):
        left = [p for p in children(os.getpid()) if p not in known]
        if not left:
            break
        for p in left:
            if alive(p) and not any(s.startswith(f"{p} ") for s in strays):
                strays.append(f"{p} {read_text(f'/proc/{p}/cmdline').replace(chr(0), ' ')[:100]} state {state(p)}")
            kill_tree(p)
            reap(p)
        time.sleep(0.005)
    return strays


def segments():
    """The System V shared memory segments: id → (key, owner, pid that made it, pid that used it last)."""
    with open("/proc/sysvipc/shm") as f:
        rows = [[int(x) for x in line.split()[:2]] + [int(x) for x in line.split()[4:8]] for line in f.readlines()[1:]]
    return {shmid: (key & 0xffffffff, uid, cpid, lpid) for key, shmid, cpid, lpid, _, uid in rows}


def _nftables(kind, flags, payload=b""):
    """Sends one nf_tables message, in a batch when it changes something; gives what the kernel answers."""
    def message(type_, flags, family, res_id, rest=b""):
        body = struct.pack("=BBH", family, 0, socket.htons(res_id)) + rest
        return struct.pack("=IHHII", 16 + len(body), type_, flags, 1, 0) + body

    text = message(10 << 8 | kind, flags | 1, 1, 0, payload)      # NFNL_SUBSYS_NFTABLES, NLM_F_REQUEST, NFPROTO_INET
    if kind == 2:
        text = message(16, 1, 0, 10) + text + message(17, 1, 0, 10)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as s:    # NETLINK_NETFILTER
        s.settimeout(5)
        s.bind((0, 0))
        s.send(text)
        while True:
            data = s.recv(65536)
            while data:
                length, type_ = struct.unpack_from("=IH", data)
                yield type_, data[16:length]
                data = data[(length + 3) & ~3:]


def locks(*beginnings):
    """The tables of the packet filter in which firn locks TCP connections: those of a dump, and those that wait for a
    restore. They have CRIU's name and a number that says who made them."""
    found = []
    for type_, body in _nftables(1, 0x300):         # NFT_MSG_GETTABLE, NLM_F_DUMP
        if type_ == 3:
            break
        if type_ == 2:
            raise HarnessError(f"nf_tables: error {struct.unpack_from('=i', body)[0]}")
        length, = struct.unpack_from("=H", body, 4)
        found.append(body[8:4 + length].rstrip(b"\0").decode())
    return sorted(n for n in found if n.startswith(beginnings or ("firn-", "CRIU-6669726e")))


def lock_of(images):
    """The name of the lock that the dump with these images has left, whether it is there or not."""
    found = re.search(rb"6669726e(-[0-9a-f]+){4}", (pathlib.Path(images) / "inventory.img").read_bytes())
    return f"CRIU-{found[0][:21].decode()}" if found else ""


def remove_lock(name):
    value = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(value), 1) + value + b"\0" * (-len(value) % 4)
    for type_, _ in _nftables(2, 4, attribute):     # NFT_MSG_DELTABLE, NLM_F_ACK
        if type_ == 2:
            break


def remove_segment(shmid):
    ctypes.CDLL(None, use_errno=True).shmctl(shmid, 0, None)    # IPC_RMID


def end_segments(before, pids):
    """Removes the segments that are new since @before and were made or used last by one of @pids; gives their ids."""
    left = [i for i, (_, _, cpid, lpid) in segments().items() if i not in before and (cpid in pids or lpid in pids)]
    for i in left:
        remove_segment(i)
    return left


class Folder:
    """A folder for one test that an ordinary user can reach, on a disk, and one for its images, on tmpfs (a disk that is
    busy with other things would be what is tested). Both are removed when the test passed."""

    base = None
    images_base = None
    run_ids = set()     # of the checkpoints in folders that are removed

    @classmethod
    def made_lock(cls, name):
        """Does the packet filter's table belong to a checkpoint of these folders? Others on this machine may have theirs."""
        for base in (cls.base, cls.images_base):
            cls.note_run_ids(base)
        return any(i.startswith(name.removeprefix("CRIU-")) for i in cls.run_ids)

    @classmethod
    def note_run_ids(cls, path):
        for inventory in path.rglob("inventory.img") if path else []:
            try:
                cls.run_ids.update(i.decode() for i in re.findall(rb"6669726e-[0-9a-f-]+", inventory.read_bytes()))
            except OSError:
                pass

    @classmethod
    def images(cls, work):
        path = cls.images_base / work.parent.name
        path.mkdir(exist_ok=True)
        return path

    @classmethod
    def make(cls, name):
        if cls.base is None:
            cls.base = pathlib.Path(tempfile.mkdtemp(prefix="firn-tests-"))
            os.chmod(cls.base, 0o755)
            tmpfs = os.access("/dev/shm", os.W_OK)
            cls.images_base = pathlib.Path("/dev/shm" if tmpfs else cls.base) / cls.base.name
            cls.images_base.mkdir(exist_ok=True)
        path = cls.base / re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:56]     # names of sockets have 108 bytes
        n = 0
        while path.exists():
            n += 1
            path = path.with_name(f"{path.name}.{n}")
        path.mkdir(mode=0o755)
        work = path / "work"
        work.mkdir(mode=0o755)
        return work

    @classmethod
    def remove(cls, work):
        for path in (work.parent, cls.images(work)):
            cls.note_run_ids(path)
        shutil.rmtree(work.parent, ignore_errors=True)
        shutil.rmtree(cls.images(work), ignore_errors=True)

    @classmethod
    def cache(cls):
        """What several tests share: compiled programs."""
        path = cls.base / "cache"
        path.mkdir(exist_ok=True)
        return path

    @classmethod
    def remove_all(cls):
        """At the end: the base too, unless a failed test left something in it."""
        if cls.base:
            shutil.rmtree(cls.base / "cache", ignore_errors=True)
        for base in (cls.images_base, cls.base):
            try:
                if base:
                    base.rmdir()
            except OSError:
                pass


def debug(*args):
    print(*args, file=sys.stderr, flush=True)
