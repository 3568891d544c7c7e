# SPDX-License-Identifier: LGPL-2.1-or-later
"""nginx on a unix socket, and a client whose connection and request wait in the backlog: the workers are stopped. When the
file "go" appears they run again, and the reply goes to the file "reply"."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time


def wait_for(condition):
    while not condition():
        time.sleep(0.01)


def state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def main():
    work = pathlib.Path(sys.argv[1])
    nginx = subprocess.Popen([sys.argv[2], "-p", work, "-c", work / "nginx.conf", "-e", work / "error.log"])
    path = work / "nginx.sock"
    wait_for(path.exists)
    children = pathlib.Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children")
    wait_for(lambda: len(children.read_text().split()) == 2)
    workers = [int(p) for p in children.read_text().split()]
    with socket.socket(socket.AF_UNIX) as s:    # they are ready
        s.connect(str(path))
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert s.recv(100)
    for p in workers:
        os.kill(p, signal.SIGSTOP)
        wait_for(lambda p=p: state(p) == "T")
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))
    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    (work / "ready").touch()
    wait_for((work / "go").exists)
    for p in workers:
        os.kill(p, signal.SIGCONT)
    reply = b""
    while part := s.recv(10000):
        reply += part
    (work / "part").write_bytes(reply)
    os.rename(work / "part", work / "reply")
    nginx.wait()


main()
