# SPDX-License-Identifier: LGPL-2.1-or-later
"""Includes point downward only: the table in docs/architecture.md is compared with the sources, both ways."""

import re

import pytest

import firn_harness as h

SOURCES = h.ROOT / "src"
ROW = re.compile(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|", re.M)
INCLUDE = re.compile(r'^\s*#\s*include\s+"(\w+)/(\w+\.h)"', re.M)


def table():
    """{folder: (folders that any file may include, {(file, header)} allowed besides)}, in the order of the table."""
    text = (h.ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rules = {}
    for folder, allowed, besides in ROW.findall(text):
        pairs = re.findall(r"`([\w/.]+)` → `([\w/.]+)`", besides)
        rules[folder] = (set(re.findall(r"`(\w+)`", allowed)), set(pairs))
    return rules


def includes(folder):
    """(file, header) of every include of another folder."""
    for path in sorted((SOURCES / folder).glob("*.[chS]")):
        for other, header in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if other != folder:
                yield f"{folder}/{path.name}", f"{other}/{header}"


RULES = table()


def test_every_folder_has_a_row():
    assert list(RULES), "no table in docs/architecture.md"
    assert set(RULES) == {p.name for p in SOURCES.iterdir() if p.is_dir()}


def test_the_table_points_downward():
    seen = set()
    for folder, (allowed, _) in RULES.items():
        assert allowed <= seen, f"{folder} may include {allowed - seen}, which come after it"
        seen.add(folder)


@pytest.mark.parametrize("folder", list(RULES))
def test_includes(folder):
    allowed, besides = RULES[folder]
    found = set(includes(folder))
    wrong = sorted(f"{file} → {header}" for file, header in found
                   if header.split("/")[0] not in allowed and (file, header) not in besides)
    assert not wrong, f"not in the table of docs/architecture.md: {wrong}"
    assert besides <= found, f"allowed there, but not so any more: {besides - found}"
