# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real programs: dumped and restored, and dumped with --leave-running, as root and as an ordinary user; then used."""

import os
import pathlib
import pwd
import shutil
import socket
import sqlite3
import subprocess
import urllib.request

import pytest

import firn_harness as h

APPS = h.ROOT / "tests" / "apps"
PYTHON = "/usr/bin/python3"


def need(command):
    path = shutil.which(command)
    if not path:
        pytest.skip(f"{command} is not on this machine")
    return path


def numbers(path):
    """The whole lines of a growing file; each holds the next number."""
    text = h.read_text(path)
    lines = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
    for i, line in enumerate(lines):
        assert line == str(i + 1), f"line {i + 1} of {path} holds {line!r}"
    return len(lines)


class Counting:
    """A program that writes numbers to a growing file: nothing is lost, nothing is done twice."""

    options = ()
    warm_up = 20

    def __init__(self, work, start, user, argv, env=None):
        self.path = work / "numbers"
        self.w = start([*argv, self.path], user=user, env=env)
        self.w.wait_ready(lambda: self.path.exists() and numbers(self.path) >= self.warm_up, timeout=60)

    def use(self):
        have = numbers(self.path)
        h.wait_for(lambda: numbers(self.path) > have + 20 or self.w.poll() is not None,
                   lambda: f"it goes on after {numbers(self.path)}\n{h.describe(self.w.pid)}\n{self.w.context()}", 20)
        assert self.w.poll() is None, f"it ended with {self.w.poll()}\n{self.w.context()}"


class PythonThreads(Counting):
    def __init__(self, work, start, user):
        super().__init__(work, start, user, [PYTHON, APPS / "counter_threads.py"])


class PythonSubprocess(Counting):
    def __init__(self, work, start, user):
        super().__init__(work, start, user, [PYTHON, APPS / "counter_subprocess.py"])


class PythonSqlite(Counting):
    options = ("--file-locks",)

    def __init__(self, work, start, user):
        self.database = work / "db"
        super().__init__(work, start, user, [PYTHON, APPS / "counter_sqlite.py", self.database])

    def use(self):
        super().use()
        self.w.end()
        h.wait_for(lambda: self.w.poll() is not None, "its end")
        db = sqlite3.connect(self.database)
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        rows, total = db.execute("select count(*) from rows").fetchone()[0], db.execute("select n from total").fetchone()[0]
        assert rows == total >= numbers(self.path)


class BashPipeline(Counting):
    def __init__(self, work, start, user):
        super().__init__(work, start, user, [APPS / "pipeline.sh"])


class Node(Counting):
    def __init__(self, work, start, user):
        super().__init__(work, start, user, [need("node"), APPS / "counter.js"])


class Java(Counting):
    def __init__(self, work, start, user):
        need("java")
        classes = h.Folder.cache() / "java-classes"
        if not classes.exists():
            subprocess.run([need("javac"), "-d", classes, APPS / "Counter.java"], check=True)
        super().__init__(work, start, user, [need("java"), "-Xmx128m", "-cp", classes, "Counter"])


class Rust(Counting):
    def __init__(self, work, start, user):
        binary = h.Folder.cache() / "counter-rust"
        if not binary.exists():
            done = subprocess.run([need("rustc"), "-O", "-o", binary, APPS / "counter.rs"], capture_output=True, text=True,
                                  check=False)
            if done.returncode:
                pytest.skip(f"rustc: {done.stderr[-200:]}")
        super().__init__(work, start, user, [binary])


class Go(Counting):
    def __init__(self, work, start, user):
        binary = h.Folder.cache() / "counter-go"
        if not binary.exists():
            subprocess.run([need("go"), "build", "-o", binary, APPS / "counter.go"], check=True,
                           env={**os.environ, "GOCACHE": str(h.Folder.cache() / "go-cache"), "GO111MODULE": "off"})
        super().__init__(work, start, user, [binary])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Redis:
    options = ()

    def __init__(self, work, start, user):
        self.port = free_port()
        self.folder = work
        self.w = start([need("redis-server"), "--port", self.port, "--dir", work, "--bind", "127.0.0.1", "--save", "",
                        "--daemonize", "no"], user=user)
        self.w.wait_ready(lambda: answers(self.port) and self.cli("ping") == "PONG")
        for i in range(200):
            self.cli("set", f"key{i}", "v" * i)

    def cli(self, *args):
        return subprocess.run([need("redis-cli"), "-p", str(self.port), *args], capture_output=True, text=True,
                              check=False, timeout=20).stdout.strip()

    def use(self):
        h.wait_for(lambda: self.cli("ping") == "PONG", lambda: f"redis answers\n{self.w.context()}")
        assert self.cli("dbsize") == "200"
        assert self.cli("get", "key77") == "v" * 77
        assert self.cli("set", "new", "value") == "OK"
        assert "Background saving started" in self.cli("bgsave")
        h.wait_for(lambda: (self.folder / "dump.rdb").exists() and "rdb_bgsave_in_progress:0" in self.cli("info", "persistence"),
                   "the background save")
        assert "rdb_last_bgsave_status:ok" in self.cli("info", "persistence")


class Nginx:
    options = ()

    def __init__(self, work, start, user):
        self.port = free_port()
        (work / "html").mkdir()
        (work / "html" / "index.html").write_text("served by a restored worker\n")
        (work / "temp").mkdir()
        conf = work / "nginx.conf"
        temps = "".join(f"{kind}_temp_path {work}/temp/{kind};\n"
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf.write_text(f"""
daemon off; master_process on; worker_processes 2; pid {work}/nginx.pid; error_log {work}/error.log;
{'user nobody nogroup;' if not user else ''}
events {{ worker_connections 64; }}
http {{ access_log {work}/access.log; {temps}
server {{ listen 127.0.0.1:{self.port}; root {work}/html; }} }}
""")
        if user:
            uid, gid = h.user_ids(user)
            for path in (work, *work.rglob("*")):
                os.chown(path, uid, gid)
        self.w = start([need("nginx"), "-p", work, "-c", conf, "-e", work / "error.log"], user=user)
        self.w.wait_ready(lambda: answers(self.port))
        self.use()

    def use(self):
        for _ in range(10):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10) as reply:
                assert reply.read() == b"served by a restored worker\n"
        assert len(h.tree(self.w.pid)) == 3, h.describe(self.w.pid)


class Postgres:
    options = ("--file-locks",)

    def __init__(self, work, start, user):
        if not user:
            pytest.skip("postgres does not run as root")
        bins = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not bins:
            pytest.skip("postgres is not on this machine")
        self.bin = bins[-1].parent
        self.port = free_port()
        uid, gid = h.user_ids(user)
        os.chown(work, uid, gid)
        self.user = pwd.getpwuid(uid).pw_name
        data = work / "data"
        subprocess.run([self.bin / "initdb", "-D", data, "-A", "trust", "-U", "test", "--no-sync"], check=True, user=uid, group=gid,
                       extra_groups=[], stdout=subprocess.DEVNULL, cwd=work, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
        self.w = start([self.bin / "postgres", "-D", data, "-p", self.port, "-k", work, "-c", "fsync=off",
                        "-h", "127.0.0.1"], user=user, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
        self.w.wait_ready(lambda: self.sql("select 1") == "1", timeout=60)
        self.sql("create table t as select generate_series(1, 10000) n")

    def sql(self, text):
        return subprocess.run([self.bin / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "test", "-d", "postgres",
                               "-Atc", text], capture_output=True, text=True, check=False, timeout=30).stdout.strip()

    def use(self):
        h.wait_for(lambda: self.sql("select 1") == "1", lambda: f"postgres answers\n{self.w.context()}")
        assert self.sql("select sum(n) from t") == "50005000"
        self.sql("insert into t values (1)")
        assert self.sql("select sum(n) from t") == "50005001"
        assert self.sql("checkpoint; select 'done'").endswith("done")


CASES = [PythonThreads, PythonSubprocess, PythonSqlite, BashPipeline, Redis, Nginx, Postgres, Node, Java, Rust, Go]


@pytest.fixture(params=CASES, ids=lambda c: c.__name__)
def app(request, work, start, user):
    return request.param(work, start, user)


@pytest.mark.timeout(180)
def test_restore(app, firn):
    app.w.dump(firn, *app.options)
    app.w.restore(firn, *app.options)
    app.use()


@pytest.mark.timeout(180)
def test_leave_running(app, firn):
    for _ in range(2):
        app.w.dump(firn, "--leave-running", *app.options)
    app.w.crit()
    app.use()
