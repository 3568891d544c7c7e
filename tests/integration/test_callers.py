# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who calls without privileges is told so. What else a caller can have done is in the zoo (tests/zoo/caller.py)."""

import os

import pytest

import firn_harness as h


@pytest.mark.timeout(60)
@pytest.mark.parametrize("owner", [None, h.USER])
def test_ordinary_user(owner, program, firn, work):
    """A restore by a user without privileges says so, and leaves nothing."""
    w = program("mem_anon", user=owner)
    w.dump(firn)
    uid, gid = h.user_ids(h.USER)
    images = w.images()
    for path in [images.parent.parent, images.parent, images, *images.iterdir()]:
        os.chmod(path, 0o755)
        os.chown(path, uid, gid)
    outcome = h.run(["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *firn.restore_argv(images)])
    assert outcome.code in (1, 3), outcome
    assert outcome.err.startswith("firn: restore: "), outcome
    assert "cap_" in outcome.err.lower() and "Nothing was left behind" in outcome.err, outcome


def test_dump_by_an_ordinary_user(program, firn, work):
    w = program("mem_anon")
    uid, gid = h.user_ids(h.USER)
    images = w.images()
    images.mkdir()
    os.chown(images, uid, gid)
    outcome = h.run(["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *firn.dump_argv(w.pid, images)])
    assert outcome.code in (1, 3), outcome
    assert str(w.pid) in outcome.err, outcome
    w.finish()
