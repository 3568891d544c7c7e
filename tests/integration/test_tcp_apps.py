# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers with clients that are connected while the server is gone: no client sees more than a pause."""

import http.client
import socket
import subprocess

import pytest

import firn_harness as h
import test_apps as apps

TCP = ("--tcp-established",)


def away(app, firn, *options):
    app.w.dump(firn, *TCP, *options)
    app.w.restore(firn, *TCP, *options)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def read_exactly(s, n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        assert piece, f"the end after {len(data)} bytes"
        data += piece
    return data


@pytest.mark.timeout(180)
def test_redis(work, start, firn):
    """A pipeline cut in the middle of a command, a client that is blocked, one that has subscribed."""
    app = apps.Redis(work, start, None)
    with connect(app.port) as pipe, connect(app.port) as blocked, connect(app.port) as subscriber:
        blocked.sendall(b"BLPOP list 0\r\n")
        subscriber.sendall(b"SUBSCRIBE news\r\n")
        subscriber.recv(1000)
        pipe.sendall(b"SET a 1\r\nGET a\r\nINC")
        assert read_exactly(pipe, 12) == b"+OK\r\n$1\r\n1\r\n"
        h.wait_for(lambda: "blocked_clients:1" in app.cli("info", "clients"), "a blocked client")
        app.w.dump(firn, *TCP)
        pipe.sendall(b"R a\r\nGET a\r\n")           # while it is gone
        app.w.restore(firn, *TCP)
        assert read_exactly(pipe, 11) == b":2\r\n$1\r\n2\r\n"
        app.cli("rpush", "list", "x")
        assert read_exactly(blocked, 21) == b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n"
        app.cli("publish", "news", "hello")
        assert b"hello" in subscriber.recv(1000)
    app.cli("del", "a")
    app.use()


def test_nginx(work, start, firn):
    """A response of which the client has read a part, and a connection that is kept alive."""
    app = apps.Nginx(work, start, None)
    body = bytes(range(256)) * 40000
    (work / "html" / "large").write_bytes(body)
    kept = http.client.HTTPConnection("127.0.0.1", app.port, timeout=20)
    kept.request("GET", "/")
    kept.getresponse().read()
    local = kept.sock.getsockname()
    with connect(app.port) as s:
        s.sendall(b"GET /large HTTP/1.0\r\n\r\n")
        data = read_exactly(s, 100000)
        away(app, firn)
        while piece := s.recv(65536):
            data += piece
    assert data.endswith(b"\r\n\r\n" + body)
    kept.request("GET", "/")
    assert kept.getresponse().read() == b"served by a restored worker\n"
    assert kept.sock.getsockname() == local, "it had to connect again"
    kept.close()


def test_postgres(work, start, firn):
    """A session in a transaction, with a lock, a temporary table and what it has not committed."""
    app = apps.Postgres(work, start, h.USER)
    argv = [app.bin / "psql", "-h", "127.0.0.1", "-p", app.port, "-U", "test", "-d", "postgres", "-At"]
    with subprocess.Popen(list(map(str, argv)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as psql:
        def ask(sql):
            psql.stdin.write(sql + "; select 'end';\n")
            psql.stdin.flush()
            lines = []
            while (line := psql.stdout.readline().strip()) != "end":
                assert line or psql.poll() is None, lines
                lines.append(line)
            return lines

        ask("begin; create temp table mine (n int); insert into mine values (7); insert into t values (1000)")
        away(app, firn, *app.options)
        assert ask("select n from mine") == ["7"]
        assert ask("select sum(n) from t") == ["50006000"]
        assert app.sql("select sum(n) from t") == "50005000"
        assert "COMMIT" in ask("commit")
        psql.stdin.close()
        assert psql.wait(20) == 0
    assert app.sql("select sum(n) from t") == "50006000"


NODE = """
const http = require('http');
let n = 0;
http.createServer((q, r) => r.end(String(++n))).listen(+process.argv[1], '127.0.0.1').keepAliveTimeout = 100000;
"""

ASYNCIO = """
import asyncio, sys
async def serve(r, w):
    n = 0
    while line := await r.readline():
        n += 1
        w.write(b"%d " % n + line)
        await w.drain()
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1])) as s:
        await s.serve_forever()
asyncio.run(main())
"""


class Server:
    def __init__(self, start, argv, port):
        self.port = port
        self.w = start(argv)
        self.w.wait_ready(lambda: apps.answers(port))


def test_node(start, firn):
    port = apps.free_port()
    app = Server(start, [apps.need("node"), "-e", NODE, str(port)], port)
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    kept.request("GET", "/")
    first = int(kept.getresponse().read())
    local = kept.sock.getsockname()
    away(app, firn)
    kept.request("GET", "/")
    assert int(kept.getresponse().read()) == first + 1
    assert kept.sock.getsockname() == local, "it had to connect again"
    kept.close()


@pytest.mark.parametrize("clients", [3, 200])
def test_asyncio(clients, start, firn):
    port = apps.free_port()
    app = Server(start, [apps.PYTHON, "-c", ASYNCIO, str(port)], port)
    all_ = [connect(port) for _ in range(clients)]
    for i, s in enumerate(all_):
        s.sendall(b"client %d\n" % i)
    for i, s in enumerate(all_):
        want = b"1 client %d\n" % i
        assert read_exactly(s, len(want)) == want
        s.sendall(b"half")
    app.w.dump(firn, *TCP)
    for s in all_[::2]:
        s.sendall(b" done\n")
    app.w.restore(firn, *TCP)
    for s in all_[1::2]:
        s.sendall(b" done\n")
    for s in all_:
        assert read_exactly(s, 12) == b"2 half done\n"
        s.close()
