# SPDX-License-Identifier: LGPL-2.1-or-later
"""Threads with queues and locks that pass numbers on; the last writes them to a growing file."""
import queue
import sys
import threading
import time

stages = [queue.Queue(maxsize=3) for _ in range(5)]
lock = threading.RLock()
local = threading.local()


def pass_on(i):
    local.seen = 0
    while True:
        n = stages[i].get()
        with lock:
            local.seen += 1
            assert local.seen == n, (local.seen, n)
        stages[i + 1].put(n)


def write():
    with open(sys.argv[1], "w", encoding="ascii") as out:
        while True:
            out.write(f"{stages[-1].get()}\n")
            out.flush()


for i in range(len(stages) - 1):
    threading.Thread(target=pass_on, args=(i,), daemon=True).start()
threading.Thread(target=write, daemon=True).start()
number = 0
while True:
    number += 1
    stages[0].put(number)
    time.sleep(0.002)
