# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dumped and restored again and again: nothing wears out, nothing grows."""

import pytest

import firn_harness as h


def size(images):
    return sum(p.stat().st_size for p in images.glob("*.img"))


def go_round(program, firn, rounds):
    w = program("all_kinds")
    sizes = []
    for number in range(rounds):
        images = w.images(number % 2)
        w.dump(firn, "--file-locks", images=images)
        sizes.append(size(images))
        w.restore(firn, "--file-locks", images=images)
        (w.folder / "check").touch()
        h.wait_for(lambda: not (w.folder / "check").exists() or w.poll() is not None,
                   lambda: f"checked in round {number + 1}\n{h.describe(w.pid)}\n{w.output()}", 20)
        errors = h.read_text(w.folder / "stderr")
        assert w.poll() is None and not errors, f"round {number + 1}\n{errors}\n{w.context()}"
    w.finish()
    assert sizes[-1] <= sizes[0] * 1.05, f"the images grow: {sizes}"


@pytest.mark.timeout(180)
def test_ten(program, firn):
    go_round(program, firn, 10)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_hundred(program, firn):
    go_round(program, firn, 100)
