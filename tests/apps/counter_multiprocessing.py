# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts into a file: each number goes through a duplex pipe to a child, through a manager's list and a queue, and back."""

import multiprocessing
import sys


def child(pipe, queue, shared, lock):
    while True:
        n = pipe.recv()
        with lock:
            shared["n"] = n
        queue.put(n)


def main():
    multiprocessing.set_start_method("fork")
    ours, theirs = multiprocessing.Pipe()
    queue = multiprocessing.Queue()
    with multiprocessing.Manager() as manager:
        shared, lock = manager.dict(), manager.Lock()
        multiprocessing.Process(target=child, args=(theirs, queue, shared, lock), daemon=True).start()
        with open(sys.argv[1], "w", buffering=1) as out:
            n = 0
            while True:
                n += 1
                ours.send(n)
                assert queue.get() == n
                with lock:
                    assert shared["n"] == n
                out.write(f"{n}\n")


main()
