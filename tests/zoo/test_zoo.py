# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every exhibit of the zoo, under its keeper."""

import importlib

import pytest

import firn_harness as h
import keeper

for group in ("freezing", "descriptors", "caller", "injection", "restore"):
    importlib.import_module(group)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", keeper.EXHIBITS)
def test_exhibit(name, work, firn, program, start):
    keeper.keep(name, keeper.Stage(work, firn, program, start))


def test_every_exhibit_is_in_the_docs():
    """`make zoo` has written it there."""
    text = h.read_text(h.ROOT / "docs" / "hangs.md").split(keeper.BEGIN)[1].split(keeper.END)[0]
    missing = [name for name, e in keeper.EXHIBITS.items() if f"| {name} | {e.cause} |" not in text]
    assert not missing, f"not in docs/hangs.md: {missing}"
