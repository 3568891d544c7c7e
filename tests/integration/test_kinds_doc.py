# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/kinds.md is true: whatever the sources and the catalogue have is in it, and nothing else is said to be tested."""

import re

import pytest

import firn_harness as h
from catalogue import ENTRIES

PAGE = (h.ROOT / "docs/kinds.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ")]
TESTED = re.compile(r"`(\w+)`(?:: ([^;|`]+))?")


def names(folder, registry):
    """The .name of everything that the folder's registry lists."""
    listed = re.search(r"\{\n(.*?)\};", (h.ROOT / registry).read_text(), re.S).group(1)
    symbols = set(re.findall(r"&(\w+)", listed))
    found = {}
    for path in (h.ROOT / folder).glob("*.c"):
        for symbol, body in re.findall(r"^const struct \w+ (\w+) = \{\n(.*?)^\};", path.read_text(), re.S | re.M):
            if symbol in symbols:
                found[symbol] = re.search(r'\.name = "([^"]+)"', body).group(1)
    assert symbols == set(found), symbols ^ set(found)
    return sorted(found.values())


def first_cells():
    return [name.strip() for row in ROWS for name in row.split("|")[1].split(",")]


@pytest.mark.parametrize("folder, registry", [("src/kinds", "src/kinds/registry.c"),
                                              ("src/aspects", "src/aspects/registry.c")])
def test_everything_registered(folder, registry):
    missing = set(names(folder, registry)) - set(first_cells())
    assert not missing, f"docs/kinds.md has no row for {missing}"


def by_the_page():
    """{program: its arguments} as the page says."""
    said = {}
    for row in ROWS:
        cells = row.split("|")
        for program, words in TESTED.findall(cells[4]) if len(cells) > 5 else []:
            said.setdefault(program, set()).update(w.strip() for w in words.split(",") if w.strip())
    return said


def test_every_entry():
    said = by_the_page()
    known = {}
    for e in ENTRIES:
        known.setdefault(e.name, set()).update(e.args)
    del said["not_carried"]     # test_refused.py
    assert said == known


def test_every_reason_of_criu():
    missing = {e.criu for e in ENTRIES if e.criu and e.criu not in PAGE}
    assert not missing, missing


def test_every_refusal():
    """The names of kinds/refused.c, and the pieces of sentences in the catalogue."""
    text = (h.ROOT / "src/kinds/refused.c").read_text()
    found = set(re.findall(r'\{ "[^"]+", "([^"]+)"', text)) | set(re.findall(r'return "((?:an?|secret) [^"]+)"', text))
    assert len(found) > 20
    missing = {name for name in found if name not in PAGE} | {
        words for e in ENTRIES for words in (e.refused, e.killed_only) if words not in PAGE}
    assert not missing, missing


def test_every_quoted_sentence():
    """What the page quotes stands in the sources."""
    sources = "\n".join(p.read_text() for p in (h.ROOT / "src").rglob("*.c"))
    sources = re.sub(r'"\s*\n?\s*(?:PRIu64\s*)?"', "", sources)
    for quote in re.findall(r'"([^"|]{12,})"', PAGE):
        pieces = [p.strip() for p in re.split(r"…|\bN\b", quote)]
        assert all(p in sources for p in pieces if len(p) > 8), quote
