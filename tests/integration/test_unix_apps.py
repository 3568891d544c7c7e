# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that live by unix sockets, in the middle of their work: dumped and restored, or left running; then used."""

import os
import pathlib
import re
import socket
import subprocess

import pytest

import firn_harness as h
import test_apps
from test_apps import APPS, PYTHON, need


class Multiprocessing(test_apps.Counting):
    def __init__(self, work, start, user):
        super().__init__(work, start, user, [PYTHON, APPS / "counter_multiprocessing.py"])


class Dbus(test_apps.Counting):
    def __init__(self, work, start, user):
        need("dbus-daemon")
        super().__init__(work, start, user, [PYTHON, APPS / "dbus_client.py", work])

    def use(self):
        super().use()
        need("dbus-send")
        done = subprocess.run(["dbus-send", f"--bus=unix:path={self.path.parent}/bus", "--print-reply", "--dest=org.freedesktop.DBus",
                               "/", "org.freedesktop.DBus.ListNames"], capture_output=True, text=True, timeout=20, check=False)
        assert done.stdout.count("string") >= 3 or self.w.user, done


class Postgres(test_apps.Counting):
    options = ("--file-locks",)

    def __init__(self, work, start, user):
        if not user:
            pytest.skip("postgres does not run as root")
        bins = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not bins:
            pytest.skip("postgres is not on this machine")
        uid, gid = h.user_ids(user)
        os.chown(work, uid, gid)
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        subprocess.run([bins[-1].parent / "initdb", "-D", work / "data", "-A", "trust", "-U", "test", "--no-sync"], check=True, user=uid,
                       group=gid, extra_groups=[], stdout=subprocess.DEVNULL, cwd=work, env=env)
        super().__init__(work, start, user, [PYTHON, APPS / "postgres_unix.py", bins[-1], bins[-1].parent / "psql", work / "data",
                                             work], env=env)


class SshAgent:
    options = ()

    def __init__(self, work, start, user):
        self.user, self.path = user, work / "agent"
        if user:
            uid, gid = h.user_ids(user)
            os.chown(work, uid, gid)
        subprocess.run([need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", work / "key"], check=True)
        if user:
            os.chown(work / "key", uid, gid)
        self.w = start([need("ssh-agent"), "-D", "-a", self.path], user=user)
        self.w.wait_ready(self.path.exists)
        assert "Identity added" in self.ask(work / "key")

    def ask(self, *args):
        kwargs = {}
        if self.user:
            kwargs = dict(zip(("user", "group"), h.user_ids(self.user)), extra_groups=[])
        done = subprocess.run([need("ssh-add"), *args], env={**os.environ, "SSH_AUTH_SOCK": str(self.path)}, capture_output=True,
                              text=True, timeout=20, check=False, stdin=subprocess.DEVNULL, **kwargs)
        return done.stdout + done.stderr

    def use(self):
        assert "ED25519" in self.ask("-l")
        assert "Identity removed" in self.ask("-d", self.path.parent / "key") or "All identities" in self.ask("-D")
        assert "no identities" in self.ask("-l")


# What a program needs besides that may not be carried yet: the words of the refusal.
NOT_YET = {"Dbus": "netlink socket cannot be carried|inotify instance cannot be carried"}

CASES = [Multiprocessing, Dbus, Postgres, SshAgent]


@pytest.fixture(params=CASES, ids=lambda c: c.__name__)
def app(request, work, start, user):
    return request.param(work, start, user)


def refused_for_now(app, firn, *options):
    """True when it was refused for such a thing, by name; it goes on."""
    words = NOT_YET.get(type(app).__name__)
    outcome = firn.dump(app.w.pid, app.w.images(), "--leave-running", *app.options, *options) if words else None
    if not outcome or outcome.ok:
        return False
    assert outcome.code == 3 and re.search(words, outcome.err), outcome
    app.use()
    return True


@pytest.mark.timeout(180)
def test_restore(app, firn):
    if refused_for_now(app, firn):
        pytest.xfail(NOT_YET[type(app).__name__])
    app.w.dump(firn, *app.options)
    app.w.restore(firn, *app.options)
    app.use()


@pytest.mark.timeout(180)
def test_leave_running(app, firn):
    if refused_for_now(app, firn):
        pytest.xfail(NOT_YET[type(app).__name__])
    for _ in range(2):
        app.w.dump(firn, "--leave-running", *app.options)
    app.w.crit()
    app.use()


def test_nginx_with_a_request_in_its_backlog(work, start, user, firn):
    (work / "html").mkdir()
    (work / "html" / "index.html").write_text("served to a client of before\n")
    (work / "temp").mkdir()
    temps = "".join(f"{kind}_temp_path {work}/temp/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (work / "nginx.conf").write_text(f"""
daemon off; master_process on; worker_processes 2; pid {work}/nginx.pid; error_log {work}/error.log;
{'user nobody nogroup;' if not user else ''}
events {{ worker_connections 64; }}
http {{ access_log {work}/access.log; {temps}
server {{ listen unix:{work}/nginx.sock; root {work}/html; }} }}
""")
    if user:
        for path in (work, *work.rglob("*")):
            os.chown(path, *h.user_ids(user))
    w = start([PYTHON, APPS / "nginx_unix.py", work, need("nginx")], user=user)
    w.wait_ready()
    outcome = firn.dump(w.pid, w.images(), "--leave-running")
    assert outcome.code == 3 and "data waits in a connection" in outcome.err, outcome
    w.dump(firn)
    w.restore(firn)
    (work / "go").touch()
    h.wait_for((work / "reply").exists, lambda: f"the reply\n{w.context()}", 20)
    assert (work / "reply").read_bytes().endswith(b"served to a client of before\n")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(work / "nginx.sock"))
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"200 OK" in s.recv(1000)
