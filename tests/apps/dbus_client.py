# SPDX-License-Identifier: LGPL-2.1-or-later
"""A dbus-daemon and a client of it that asks for the credentials of itself, again and again, and counts into a file. The
little of the protocol that this needs is here: no library of it is on every machine."""

import os
import pathlib
import socket
import struct
import subprocess
import sys
import time


def padded(data, to):
    return data + b"\0" * (-len(data) % to)


def header_string(code, signature, text):
    return struct.pack("<BB1sxI", code, 1, signature, len(text)) + text + b"\0"


def call(serial, member, body=b"", signature=b""):
    fields = b""
    for code, kind, text in ((1, b"o", b"/org/freedesktop/DBus"), (2, b"s", b"org.freedesktop.DBus"), (3, b"s", member),
                             (6, b"s", b"org.freedesktop.DBus")):
        fields = padded(fields, 8) + header_string(code, kind, text)
    if signature:
        fields = padded(fields, 8) + struct.pack("<BB1sxB", 8, 1, b"g", len(signature)) + signature + b"\0"
    return padded(struct.pack("<BBBBIII", ord("l"), 1, 0, 1, len(body), serial, len(fields)) + fields, 8) + body


class Client:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        while self.s.connect_ex(path):
            time.sleep(0.01)
        self.buf, self.serial = b"", 0
        self.s.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        while b"\r\n" not in self.buf:
            self.buf += self.s.recv(1000)
        assert self.buf.startswith(b"OK "), self.buf
        self.buf = b""
        self.s.sendall(b"BEGIN\r\n")
        self.name = self.ask(b"Hello")[4:].rstrip(b"\0")

    def take(self, n):
        while len(self.buf) < n:
            part = self.s.recv(10000)
            assert part, "the bus is gone"
            self.buf += part
        taken, self.buf = self.buf[:n], self.buf[n:]
        return taken

    def ask(self, member, body=b"", signature=b""):
        self.serial += 1
        self.s.sendall(call(self.serial, member, body, signature))
        while True:
            _, kind, _, _, length, _, fields = struct.unpack("<BBBBIII", self.take(16))
            header = self.take(fields + -fields % 8)
            data = self.take(length)
            assert kind != 3, (header, data)
            if kind == 2:
                return data


def main():
    work = pathlib.Path(sys.argv[1])
    daemon = subprocess.Popen(["dbus-daemon", "--session", "--nofork", f"--address=unix:path={work}/bus"])
    c = Client(str(work / "bus"))
    argument = struct.pack("<I", len(c.name)) + c.name + b"\0"
    with open(sys.argv[2], "w", buffering=1) as f:
        n = 0
        while daemon.poll() is None:
            n += 1
            assert struct.unpack("<I", c.ask(b"GetConnectionUnixProcessID", argument, b"s"))[0] == os.getpid()
            f.write(f"{n}\n")


main()
