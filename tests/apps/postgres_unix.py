# SPDX-License-Identifier: LGPL-2.1-or-later
"""A postgres and a psql connected to it over its unix socket, which counts into a file by queries."""

import subprocess
import sys
import time


def main():
    out, psql, data, sockets = sys.argv[5], sys.argv[2], sys.argv[3], sys.argv[4]
    server = subprocess.Popen([sys.argv[1], "-D", data, "-k", sockets, "-c", "fsync=off", "-h", "", "-p", "5999"])
    while True:
        client = subprocess.Popen([psql, "-h", sockets, "-p", "5999", "-U", "test", "-d", "postgres", "-Atq"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        client.stdin.write("create temporary table t (n int); insert into t values (0); select 'begun';\n")
        if client.stdout.readline() == "begun\n":
            break
        client.wait()
        time.sleep(0.05)
    with open(out, "w", buffering=1) as f:
        n = 0
        while server.poll() is None:
            n += 1
            client.stdin.write("update t set n = n + 1; select n from t;\n")
            line = client.stdout.readline()
            assert line == f"{n}\n", line
            f.write(line)


main()
