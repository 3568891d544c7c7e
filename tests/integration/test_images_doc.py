# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/images.md is true: every image that firn writes and every field of its own is in it."""

import re

import firn_harness as h

PAGE = (h.ROOT / "docs/images.md").read_text(encoding="utf-8")
MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.M | re.S)


def fields():
    """{message: its fields from number 1000 on}"""
    found = {}
    for path in (h.ROOT / "proto").glob("*.proto"):
        for message, body in MESSAGE.findall(path.read_text()):
            names = set(re.findall(r"(firn_\w+) = \d{4,}", body))
            if names:
                found[message] = names
    return found


def test_every_field_of_its_own():
    said = {}
    part = PAGE.split("## Fields of firn's own")[1].split("\n## ")[0]
    for row in re.findall(r"^\| `.*\|$", part, re.M):
        message, text = row.split("|")[1:3]
        said[message.strip(" `")] = set(re.findall(r"`(firn_\w+)`", text))
    assert said == fields()


def test_every_image():
    """What a writer is opened for has a row."""
    magic = (h.ROOT / "src/image/magic.c").read_text()
    names = dict(re.findall(r'\[(IMAGE_\w+)\] = (?:\w+\(|\{ )"([\w-]+)"', magic))
    sources = "\n".join(p.read_text() for p in (h.ROOT / "src").rglob("*.c"))
    opened = set(re.findall(r"image_writer_open\([^;]*?(IMAGE_\w+)", sources))
    assert len(opened) > 15
    firsts = "\n".join(row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| ")) + "stats-"
    missing = {names[o] for o in opened if names[o] not in firsts}
    assert not missing, missing


def test_every_type_of_open_file():
    registered = set()
    for path in (h.ROOT / "src/kinds").glob("*.c"):
        registered |= set(re.findall(r"\.type = FD_TYPES__(\w+)", path.read_text()))
    registered.remove("UND")    # what is refused
    missing = {t for t in registered if f"`{t}`" not in PAGE}
    assert not missing, missing
