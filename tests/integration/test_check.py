# SPDX-License-Identifier: LGPL-2.1-or-later
"""firn check."""

import json
import os
import pwd
import subprocess

import pytest

import firn_harness as h


def check(*args, user=None, **env):
    ids = {}
    if user:
        ids = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    return subprocess.run([*h.Firn().command, "check", *args], capture_output=True, text=True, check=False, timeout=20,
                          env={**os.environ, **env}, **ids)


def features(**kwargs):
    result = check("--json", **kwargs)
    report = json.loads(result.stdout)
    assert result.returncode == (0 if report["ok"] else 1)
    return report, {f["name"]: f for f in report["features"]}


def test_one_line_per_feature():
    report, by_name = features()
    lines = check().stdout.splitlines()
    listed = [line.split()[:2] for line in lines if line.startswith("  ")]
    assert listed == [[f["name"], f["state"]] for f in report["features"]]
    assert len(by_name) == len(report["features"])
    for f in report["features"]:
        assert f["purpose"] and f["missing"], f


def test_a_plain_tree_is_possible_as_root():
    report, by_name = features()
    assert report["ok"], [f for f in report["features"] if f["required"] and f["state"] == "no"]
    assert by_name["ptrace"]["state"] == "yes"
    assert by_name["choose_pid"]["state"] == "yes"


def test_as_an_ordinary_user():
    report, by_name = features(user=h.USER)
    assert not report["ok"]
    assert by_name["CAP_CHECKPOINT_RESTORE"]["state"] == "no"
    assert by_name["choose_pid"]["state"] == "no"
    last = check(user=h.USER).stdout.splitlines()[-1]
    assert "choose_pid" in last and "CAP_CHECKPOINT_RESTORE" in last


def test_every_kernel_feature_can_be_turned_off():
    report, _ = features()
    names = [f["name"] for f in report["features"] if f["group"] == "kernel" and f["name"] != "linux"]
    assert "pagemap_scan" in names
    for name in names:
        off_report, off = features(FIRN_WITHOUT=name)
        assert off[name]["state"] == "no"
        assert off[name]["detail"] == "turned off by FIRN_WITHOUT"
        if off[name]["required"]:
            assert not off_report["ok"]


def test_wrong_usage():
    result = check(FIRN_WITHOUT="pagemap_scam")
    assert result.returncode == 2
    assert "pagemap_scam" in result.stderr
    result = check("--jsonn")
    assert result.returncode == 2
    assert "Did you mean --json?" in result.stderr
    assert check("--feature").returncode == 2
    assert check("--feature", "warp").returncode == 2


@pytest.mark.parametrize("name, code", [("ptrace", 0), ("pidfd_getfd", 0)])
def test_one_feature(name, code):
    result = check("--feature", name)
    assert result.returncode == code
    assert result.stdout.split()[0] == name
    assert check("--feature", name, FIRN_WITHOUT="pidfd_getfd").returncode == (1 if name == "pidfd_getfd" else code)


def test_a_full_output_is_an_error():
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run([*h.Firn().command, "check"], stdout=full, stderr=subprocess.PIPE, check=False,
                                timeout=20)
    assert result.returncode == 1
    assert b"No space left" in result.stderr


def test_names_of_criu():
    result = check("--feature", "fdinfo_lock")
    assert result.returncode == 0 and "linux" in result.stdout
    result = check("--feature", "autofs")
    assert result.returncode == 1 and "not carried" in result.stdout
