# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every test program, dumped and restored, left running, and taken through two rounds."""

import pytest

from catalogue import ENTRIES


CARRIED = [pytest.param(e, id=e.id) for e in ENTRIES if not e.refused]


def cases():
    for entry in ENTRIES:
        if entry.refused:
            continue
        for user in ("root",) if entry.root_only else ("root", "nobody"):
            yield pytest.param(entry, None if user == "root" else user, id=f"{entry.id}-{user}")


@pytest.mark.parametrize("entry,as_user", cases())
def test_restore(entry, as_user, program, dumper, restorer):
    w = program(entry.name, *entry.args, user=as_user, inner=entry.inner)
    w.dump(dumper, *entry.options)
    w.restore(restorer, *entry.options)
    w.finish()


@pytest.mark.parametrize("entry,as_user", cases())
def test_leave_running(entry, as_user, program, dumper):
    w = program(entry.name, *entry.args, user=as_user, inner=entry.inner)
    if entry.killed_only:
        outcome = dumper.dump(w.pid, w.images(), "--leave-running", *entry.options)
        assert outcome.code == 3 and entry.killed_only in outcome.err, outcome
    else:
        w.dump(dumper, "--leave-running", *entry.options)
    w.finish()


@pytest.mark.parametrize("entry", CARRIED)
def test_two_rounds(entry, program, dumper, restorer):
    """What was restored can be dumped again, first left running, then for good."""
    w = program(entry.name, *entry.args, inner=entry.inner)
    for _ in range(2):
        w.dump(dumper, *entry.options)
        w.restore(restorer, *entry.options)
    w.finish()


@pytest.mark.parametrize("entry", [pytest.param(e, id=e.id) for e in ENTRIES if e.refused])
def test_refused(entry, program, firn):
    """By name, and the program goes on. When it is carried, the mark in the catalogue goes."""
    w = program(entry.name, *entry.args, inner=entry.inner)
    outcome = firn.dump(w.pid, w.images(), *entry.options)
    assert outcome.code == 3 and entry.refused in outcome.err, outcome
    w.finish()
