# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line: help, names, exit codes; and that the pages in docs/ say what it does."""

import re
import shutil
import subprocess

import pytest

import firn_harness as h

COMMANDS = ("dump", "restore", "show", "check", "version")
MAN = h.ROOT / "docs/man"


def firn(*args, program=None):
    return subprocess.run([program or h.Firn().command[0], *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, timeout=20)


def page(name):
    return (MAN / name).read_text(encoding="utf-8").replace("\\-", "-").replace("\\fR", "").replace("\\fI", "")


def help_options(command):
    return re.findall(r"--([a-z][a-z-]+)", firn(command, "--help").stdout)


@pytest.mark.parametrize("args", [("--help",), ("help",), ("-h",), ("version",), ("--version",), ("-V",),
                                  *((c, "--help") for c in COMMANDS)], ids=" ".join)
def test_called_as_criu(args, work):
    """A symbolic link named criu behaves the same."""
    (work / "criu").symlink_to(h.Firn().command[0])
    result = firn(*args)
    assert result.returncode == 0 and result.stdout and not result.stderr, result
    assert firn(*args, program=work / "criu").stdout == result.stdout


@pytest.mark.parametrize("args,near", [
    (("dump", "--leave-runing"), "--leave-running"),
    (("dump", "--hlp"), "--help"),
    (("restore", "--restore-detatched"), "--restore-detached"),
    (("show", "--jsn"), "--json"),
    (("check", "--fature"), "--feature"),
    (("version", "--hlp"), "--help"),
    (("dumb",), "dump"),
])
def test_unknown_names_the_nearest(args, near):
    result = firn(*args)
    assert result.returncode == 2 and not result.stdout, result
    assert f"Did you mean {near}?" in result.stderr, result
    assert len(result.stderr.splitlines()) == 1, result


@pytest.mark.parametrize("args", [(), ("dump",), ("dump", "-t", "x"), ("dump", "-Z"), ("show",), ("show", "-D"), ("show", "a", "b"),
                                  ("check", "--feature"), ("version", "x")], ids=" ".join)
def test_wrong_usage(args):
    result = firn(*args)
    assert result.returncode == 2 and result.stderr.startswith("firn: "), result
    assert len(result.stderr.splitlines()) == 1, result


@pytest.mark.parametrize("command", ["dump", "restore"])
def test_options_are_in_the_pages(command):
    text = page("firn.8") + page(f"firn-{command}.8")
    missing = [o for o in help_options(command) if f"--{o}" not in text]
    assert not missing, f"in --help and in no page: {missing}"


@pytest.mark.parametrize("command", ["show", "check"])
def test_options_are_in_the_page(command):
    missing = [o for o in help_options(command) if f"--{o}" not in page(f"firn-{command}.8")]
    assert not missing, f"in --help and not in the page: {missing}"


def test_exit_codes_are_documented():
    codes = re.findall(r"^\tEXIT_\w+ = (\d+),", (h.ROOT / "src/base/exit_codes.h").read_text(encoding="utf-8"), re.M)
    assert len(codes) == 7
    status = page("firn.8").split(".SH EXIT STATUS")[1].split(".SH")[0]
    readme = (h.ROOT / "README.md").read_text(encoding="utf-8").split("## Exit status")[1].split("##")[0]
    for code in codes:
        assert f".B {code}\n" in status, code
        assert re.search(rf"(^|; ){code} ", readme.replace("\n", " ").strip()), code
        for command in ("dump", "restore"):
            assert re.search(rf"[:;] {code} ", firn(command, "--help").stdout.replace("\n", " ")), (command, code)


@pytest.mark.parametrize("name", sorted(p.name for p in MAN.iterdir()))
def test_page_renders(name):
    if not shutil.which("man"):
        pytest.skip("no man")
    result = subprocess.run(["man", "-l", "--warnings", str(MAN / name)], capture_output=True, text=True, check=False, timeout=20)
    assert result.returncode == 0 and result.stdout and not result.stderr, result.stderr


def test_links_lead_somewhere():
    for path in (h.ROOT / "README.md", *(h.ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
            assert target.startswith("http") or (path.parent / target).exists(), f"{path.name}: {target}"
