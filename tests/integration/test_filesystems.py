# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files on other file systems than the usual one: overlayfs, where device and inode numbers are not those of the mount, and
tmpfs. Deleted files, watches and removed folders there."""

import subprocess

import pytest

import firn_harness as h

PROGRAMS = [
    ("fd_regular",), ("fd_ghost", "plain"), ("fd_ghost", "links"), ("fd_ghost", "folders"), ("fd_ghost", "remade"),
    ("fd_ghost", "kinds"), ("fd_ghost", "nameless"), ("fd_inotify", "basic"), ("fd_inotify", "beside"),
    ("mem_file", "named"), ("mem_file", "deleted"),
]


def overlay(base):
    for name in ("lower", "upper", "inner", "merged"):
        (base / name).mkdir(mode=0o755)
    layers = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/inner"
    return ["mount", "-t", "overlay", "overlay", "-o", layers, base / "merged"]


def tmpfs(base):
    (base / "merged").mkdir(mode=0o755)
    return ["mount", "-t", "tmpfs", "tmpfs", base / "merged"]


@pytest.fixture(params=[overlay, tmpfs], ids=["overlay", "tmpfs"])
def mounted(request, work, nothing_left_behind):
    """A folder on the file system, unmounted after the program has ended."""
    made = subprocess.run(request.param(work), capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(made.stderr.strip())
    yield work / "merged"
    for w in request.node.__dict__.get("workloads", []):
        w.end()
    subprocess.run(["umount", "-l", work / "merged"], check=True)


@pytest.mark.parametrize("argv", PROGRAMS, ids="-".join)
def test_restore(argv, mounted, start, firn):
    w = start([h.PROGRAMS / argv[0], mounted, *argv[1:]], folder=mounted).wait_ready()
    for _ in range(2):
        w.dump(firn)
        w.restore(firn)
    w.finish()


def test_watch_that_must_be_searched(request, work, start, firn):
    """On overlayfs no handle leads to the watched file, and nobody has anything open beside it."""
    made = subprocess.run(overlay(work), capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(made.stderr.strip())
    try:
        far = work / "merged" / "far" / "away"
        far.mkdir(parents=True)
        (far / "file").write_text("x")
        inside = work / "work"
        inside.mkdir(mode=0o755)
        w = start([h.PROGRAMS / "fd_inotify", inside, "elsewhere", far / "file"], folder=inside).wait_ready()
        outcome = firn.dump(w.pid, w.images())
        if not outcome.ok:
            assert outcome.code == 3 and "whose path cannot be found" in outcome.err, outcome
            assert "--irmap-scan-path" in outcome.err, outcome
            w.dump(firn, "--irmap-scan-path", str(work / "merged"))
        w.poll()
        w.restore(firn)
        w.finish()
    finally:
        for w in request.node.__dict__.get("workloads", []):
            w.end()
        subprocess.run(["umount", "-l", work / "merged"], check=True)
