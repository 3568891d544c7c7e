# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numbers go through children (cat, and another Python) by pipes and come back; each round also starts a short child."""
import subprocess
import sys

cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
double = subprocess.Popen(
    [sys.executable, "-c", "import sys\nfor line in sys.stdin:\n print(int(line) * 2, flush=True)"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE)

with open(sys.argv[1], "w", encoding="ascii") as out:
    number = 0
    while True:
        number += 1
        for child in (cat, double):
            child.stdin.write(b"%d\n" % number)
            child.stdin.flush()
        assert int(cat.stdout.readline()) == number
        assert int(double.stdout.readline()) == 2 * number
        if number % 10 == 0:
            assert subprocess.run(["/bin/sh", "-c", "exit 3"], check=False).returncode == 3
        out.write(f"{number}\n")
        out.flush()
