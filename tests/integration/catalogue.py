# SPDX-License-Identifier: LGPL-2.1-or-later
"""The test programs and what each needs. One line per program (and argument)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    name: str                   # the program
    args: tuple = ()
    options: tuple = ()         # for dump and restore
    root_only: bool = False     # sets up what an ordinary user may not
    criu: str = ""              # why the peer does not carry it; "" when it does

    @property
    def id(self):
        return "-".join((self.name, *self.args))


ENTRIES = [
    # descriptors
    Entry("fd_regular"),
    # memory
    Entry("mem_anon"),
    # the tree
    Entry("threads"),
]
