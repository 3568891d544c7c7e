# SPDX-License-Identifier: LGPL-2.1-or-later
"""A job of an interactive shell: dumped with --shell-job, restored by the shell in the foreground, stopped by Ctrl-Z,
continued by fg, ended by Ctrl-C."""

import os
import pty
import select
import signal

import pytest

import firn_harness as h

COUNT = "import time\nn = 0\nwhile True:\n    n += 1\n    open('count', 'w').write(str(n))\n    time.sleep(0.01)\n"


class Shell:
    def __init__(self, folder):
        self.said = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve("/bin/bash", ["bash", "--norc", "-i"], {"PATH": "/usr/bin:/bin", "PS1": "ready$ ", "TERM": "dumb"})
        self.expect(b"ready$ ")

    def send(self, text):
        self.said = b""
        os.write(self.fd, text)

    def read(self):
        while select.select([self.fd], [], [], 0)[0]:
            try:
                self.said += os.read(self.fd, 4096)
            except OSError:
                return

    def expect(self, text):
        def there():
            self.read()
            return text in self.said

        h.wait_for(there, lambda: f"{text!r} in {self.said!r}", 20)

    def end(self):
        for pid in [*h.tree(self.pid), self.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def shell(work):
    s = Shell(work)
    yield s
    s.end()


def test_ctrl_z(shell, firn, work):
    (work / "count.py").write_text(COUNT)
    images = h.Folder.images(work) / "images"
    images.parent.mkdir(exist_ok=True)

    def count():
        text = h.read_text(work / "count")
        return int(text) if text else 0

    def goes_on():
        before = count()
        h.wait_for(lambda: count() > before + 2, lambda: f"it counts on after {before}\n{h.describe(shell.pid)}", 20)

    shell.send(b"/usr/bin/python3 count.py\n")
    h.wait_for(lambda: count() > 3, "the program", 20)
    job = h.children(shell.pid)[0]
    outcome = firn.dump(job, images, "--shell-job")
    assert outcome.ok, outcome
    shell.expect(b"ready$ ")
    shell.send(f"{firn.command[0]} restore -D {images} --shell-job; echo ended=$?\n".encode())
    h.wait_for(lambda: h.alive(job), "the restored job", 20)
    goes_on()
    shell.send(b"\x1a")
    shell.expect(b"Stopped")
    shell.expect(b"ready$ ")
    h.wait_for(lambda: h.state(job) == "T", "its stop", 20)
    shell.send(b"fg\n")
    goes_on()
    shell.send(b"\x03")
    h.wait_for(lambda: not h.alive(job), "its end", 20)
    shell.expect(b"ready$ ")
