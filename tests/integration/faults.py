# SPDX-License-Identifier: LGPL-2.1-or-later
"""firn with libfirn-faults.so: notes the calls it makes, and lets one of them fail (tests/faults/faults.h)."""

import os
import re
import struct
import subprocess

import firn_harness as h

LIBRARY = h.BUILD / "tests" / "faults" / "libfirn-faults.so"
CALLS = h.ROOT / "tests" / "faults" / "calls.h"

SITES, FRAMES = 16384, 10       # as faults.h has them
HEADER = struct.Struct("=QIIIIQ")
SITE = struct.Struct(f"=QII{FRAMES}Q")


def names():
    """The calls, in the order of the enum."""
    return re.findall(r"^X\((\w+),", CALLS.read_text(), re.M)


class Site:
    """A call and the way to it inside the program."""

    def __init__(self, identity, name, count, frames):
        self.identity, self.name, self.count, self.frames = identity, name, count, frames

    def __str__(self):
        lines = subprocess.run(["addr2line", "-s", "-p", "-f", "-e", h.Firn().command[0],
                                *(hex(f - 1) for f in self.frames)], capture_output=True, text=True, check=False).stdout
        return f"{self.name} ({self.count} calls): " + " < ".join(re.sub(r" at .*?(\w+\.c:\d+).*", r" \1", line)
                                                                 for line in lines.splitlines())


class Faults:
    """A file that the preloaded library and the test share."""

    def __init__(self, path):
        self.path = path

    def engine(self):
        engine = h.Firn()
        engine.command = ["env", f"LD_PRELOAD={LIBRARY}", f"FIRN_FAULTS={self.path}", *engine.command]
        return engine

    def arm(self, site=None, nth=1):
        """The next run notes everything; the @nth call of @site fails."""
        with open(self.path, "wb") as f:
            f.write(HEADER.pack(site.identity if site else 0, nth, 0, 0, 0, 0))
            f.truncate(HEADER.size + SITES * SITE.size)

    def hit(self):
        with open(self.path, "rb") as f:
            return HEADER.unpack(f.read(HEADER.size))[2] != 0

    def sites(self):
        with open(self.path, "rb") as f:
            data = f.read()
        assert not HEADER.unpack_from(data)[3], "more sites than the file has room for"
        found, known = [], names()
        for at in range(HEADER.size, len(data), SITE.size):
            identity, count, call, *frames = SITE.unpack_from(data, at)
            if identity:
                found.append(Site(identity, known[call], count, [f for f in frames if f]))
        return found
