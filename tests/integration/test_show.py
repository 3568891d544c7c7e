# SPDX-License-Identifier: LGPL-2.1-or-later
"""firn show: on the checkpoint of CRIU in tests/images, and on what is no checkpoint."""
import json
import os
import shutil
import subprocess

import pytest

import firn_harness as h

SAMPLE = h.ROOT / "tests" / "images" / "criu-4.1"
FIRN = os.environ.get("FIRN", str(h.BUILD / "firn"))


def show(*args):
    return subprocess.run([FIRN, "show", *map(str, args)], capture_output=True, text=True, timeout=20)


@pytest.fixture
def sample(tmp_path):
    return shutil.copytree(SAMPLE, tmp_path / "images")


def test_text():
    r = show(SAMPLE)
    assert r.returncode == 0 and r.stderr == ""
    assert "3 tasks" in r.stdout and "zombie, exit code 3" in r.stdout
    assert "fd 10   /tmp/firn-sample-ghost (deleted), read write, at 12" in r.stdout


def test_json():
    r = show("--json", "-D", SAMPLE)
    assert r.returncode == 0 and r.stderr == ""
    d = json.loads(r.stdout)
    assert (d["format"], d["maker"], d["present"], d["shared_present"]) == (1, "criu", 139264, 12288)
    assert [t["state"] for t in d["tasks"]] == ["running", "zombie", "stopped"]
    root, zombie, stopped = d["tasks"]
    assert zombie["exit_status"] == 3 << 8 and zombie["memory"] is None
    assert stopped["ppid"] == zombie["ppid"] == root["pid"]
    assert root["argv"] == ["/tmp/img/sample"] and len(root["threads"]) == 2
    assert {f["fd"]: f["type"] for f in root["descriptors"]} == {
        0: "file", 1: "file", 2: "file", 3: "pipe", 4: "pipe", 5: "unix socket", 6: "unix socket", 7: "eventfd",
        8: "epoll", 9: "memfd", 10: "file"}


def test_wrong_usage():
    assert show().returncode == 2
    assert show(SAMPLE, SAMPLE).returncode == 2
    assert show("--yaml", SAMPLE).returncode == 2
    assert show("--help").returncode == 0


def test_missing_folder(tmp_path):
    r = show(tmp_path / "none")
    assert r.returncode == 1 and r.stdout == ""
    assert "No such file or directory" in r.stderr and r.stderr.count("\n") == 1


def test_no_checkpoint(tmp_path):
    r = show(tmp_path)
    assert r.returncode == 6 and r.stdout == ""
    assert "not a complete checkpoint" in r.stderr and r.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["inventory.img", "pstree.img", "files.img", "core-31532.img", "mm-31532.img",
                                  "pagemap-31532.img", "fdinfo-2.img", "ids-31532.img", "fs-31532.img", "memfd.img"])
def test_damaged(sample, name):
    content = (sample / name).read_bytes()
    for damaged in (content[:-1], content[:6], b"\0" * len(content), content[:8] + b"\xff\xff\xff\x7f" + content[12:]):
        (sample / name).write_bytes(damaged)
        r = show(sample)
        assert r.returncode == 6 and r.stdout == "", (name, damaged[:16], r.stderr)
        assert name in r.stderr and r.stderr.count("\n") == 1


def test_control_characters_are_shown_not_sent(sample):
    content = (sample / "files.img").read_bytes()
    (sample / "files.img").write_bytes(content.replace(b"firn-sample-ghost", b"firn\x1b[2J\nle-ghost"))
    r = show(sample)
    assert r.returncode == 0
    assert "\x1b" not in r.stdout and r"firn\x1b[2J\x0ale-ghost" in r.stdout
    paths = [f["text"] for f in json.loads(show("--json", sample).stdout)["tasks"][0]["descriptors"]]
    assert any("firn\x1b[2J\nle-ghost" in p for p in paths)
