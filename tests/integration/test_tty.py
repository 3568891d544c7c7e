# SPDX-License-Identifier: LGPL-2.1-or-later
"""Terminals, seen from outside."""

import os
import pathlib

import pytest

import firn_harness as h


def rewrite(images, name, change):
    """Changes the entries of an image; the manifest goes, as for an image of CRIU's."""
    import pycriu
    path = pathlib.Path(images) / name
    image = pycriu.images.loads(path.read_bytes())
    for entry in image["entries"]:
        change(entry)
    path.write_bytes(pycriu.images.dumps(image))
    (pathlib.Path(images) / "firn.manifest").unlink(missing_ok=True)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/ptmx", "/etc/passwd", "/dev/no-such-device"])
def test_device_is_another(path, program, firn):
    """The path of a console in the image leads to something else: it is not opened, and nothing is left."""
    w = program("fd_tty", "console")
    w.dump(firn)

    def change(entry):
        if entry.get("reg", {}).get("name") == "/dev/console":
            entry["reg"]["name"] = path

    rewrite(w.images(), "files.img", change)
    outcome = firn.restore(w.images())
    assert outcome.code in (1, 6) and path in outcome.err and "Nothing was left behind" in outcome.err, outcome


def test_number_taken(program, firn):
    """The number of a pty is another program's by now: it is named, and once it is free the restore goes on."""
    w = program("fd_tty", "several")
    w.dump(firn)
    masters = [os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY) for _ in range(2)]
    try:
        outcome = firn.restore(w.images())
        assert outcome.code == 1 and "is in use by another program" in outcome.err, outcome
    finally:
        for fd in masters:
            os.close(fd)
    w.restore(firn)
    w.finish()


def test_dump_leaves_the_terminal(program, firn):
    """After a dump that lets the tree run on, what waited still waits, in the same modes."""
    for kind in ("packet", "lines"):
        w = program("fd_tty", kind)
        for _ in range(3):
            w.dump(firn, "--leave-running")
        w.finish()
        for name in ("ready", "trigger", "result"):
            (w.folder / name).unlink()
        assert h.state(w.pid) == ""
