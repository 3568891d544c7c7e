# SPDX-License-Identifier: LGPL-2.1-or-later
"""counter.py FILE: one thread counts and sends each number through a pipe, the other writes it to a growing file."""
import os
import sys
import threading
import time

os.closerange(3, 1024)  # what the shell left open is not part of the show
reader, writer = os.pipe()


def produce():
    number = 0
    while True:
        number += 1
        os.write(writer, b"%d\n" % number)
        time.sleep(0.02)


def consume(out):
    with os.fdopen(reader) as numbers:
        for line in numbers:
            # the clock tells the gap between dump and restore
            out.write(f"{line.strip()} at {time.strftime('%H:%M:%S')}, thread {threading.get_native_id()}\n")
            out.flush()


with open(sys.argv[1], "w", encoding="ascii") as log:
    threading.Thread(target=produce, daemon=True).start()
    consume(log)
