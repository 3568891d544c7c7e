# SPDX-License-Identifier: LGPL-2.1-or-later
"""The images are CRIU's format: CRIU restores what firn dumped, firn restores what CRIU dumped, and crit reads them all."""

import pytest

from catalogue import ENTRIES

CARRIED = [pytest.param(e, id=e.id) for e in ENTRIES if not e.criu and not e.refused]


def go_through(program, entry, dumper, restorer):
    w = program(entry.name, *entry.args, inner=entry.inner)
    w.dump(dumper, *entry.options)
    w.restore(restorer, *entry.options)
    w.finish()


@pytest.mark.long
@pytest.mark.parametrize("entry", CARRIED)
def test_criu_to_criu(entry, program, criu):
    """The baseline: what the catalogue says of CRIU is true."""
    go_through(program, entry, criu, criu)


@pytest.mark.parametrize("entry", CARRIED)
def test_firn_to_criu(entry, program, firn, criu):
    go_through(program, entry, firn, criu)


@pytest.mark.parametrize("entry", CARRIED)
def test_criu_to_firn(entry, program, firn, criu):
    go_through(program, entry, criu, firn)


@pytest.mark.parametrize("entry", [pytest.param(e, id=e.id) for e in ENTRIES if not e.refused])
def test_crit_reads(entry, program, dumper):
    w = program(entry.name, *entry.args, inner=entry.inner)
    if entry.killed_only:
        w.dump(dumper, *entry.options)
        w.crit()
        return
    w.dump(dumper, "--leave-running", *entry.options)
    w.crit()
    w.finish()


@pytest.mark.parametrize("mode", ["root", "child"])
def test_ended_first_thread_to_criu(mode, program, firn, criu):
    """The peer cannot dump such a process, but restores what firn wrote: a first thread that calls exit()."""
    w = program("leader_exits", mode)
    w.dump(firn)
    w.restore(criu)
    w.finish()
