# SPDX-License-Identifier: LGPL-2.1-or-later
"""firn check --config and --print-fragment."""

import gzip
import json
import lzma
import re
import shutil
import subprocess

import pytest

import firn_harness as h

RUNNING = "/proc/config.gz"
PACKAGES = ("linux-config-6.1", "linux-config-6.12")


def check(*args, data=None):
    return subprocess.run([*h.Firn().command, "check", *map(str, args)], input=data, capture_output=True, check=False,
                          timeout=20)


def config(text):
    """The report on a configuration, by option."""
    result = check("--json", "--config", "-", data=text.encode())
    report = json.loads(result.stdout)
    assert result.returncode == (0 if report["ok"] else 1) and not result.stderr, result
    return report, {o["name"]: o for o in report["options"]}


def fragment(arch="x86_64", *args):
    result = check("--print-fragment", arch, *args)
    assert result.returncode == 0 and not result.stderr, result
    return result.stdout.decode()


def whole(arch="x86_64", release="6.12.1"):
    """A whole configuration with every option on."""
    kernel = {"x86_64": "x86", "aarch64": "arm64"}[arch]
    return f"#\n# Linux/{kernel} {release} Kernel Configuration\n#\n" + fragment(arch)


def missing(options):
    return [o["name"] for o in options.values() if not o["there"] and o["need"] != "unused"]


NAMES = [o["name"] for o in config("CONFIG_NET=y\n")[0]["options"]]
X86_ONLY = {"CONFIG_MEM_SOFT_DIRTY", "CONFIG_IA32_EMULATION"}


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("form", [(), ("--kata",)], ids=["plain", "kata"])
def test_the_fragment_is_whole(arch, form):
    report, options = config(fragment(arch, *form))
    assert report["ok"] and report["fragment"] and report["arch"] == arch
    assert not missing(options)
    text = fragment(arch, *form)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"CONFIG_\w+=y", line) for line in lines)
    assert len(set(lines)) == len(lines)
    assert "!" not in text  # in the head of a fragment Kata excludes an architecture by it


def test_the_machine_is_the_default():
    assert check("--print-fragment").stdout.decode() == fragment(subprocess.check_output(["uname", "-m"], text=True).strip())
    assert check("--print-fragment=arm64").stdout.decode() == fragment("aarch64")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how, state", [("# {} is not set\n", "not set"), ("{}=n\n", "not set"), ("", "absent")],
                         ids=["not set", "n", "removed"])
def test_one_option_off(name, how, state):
    all_on = whole()
    before, all_options = config(all_on)
    assert before["ok"] and not missing(all_options)
    text = re.sub(rf"^{name}=y\n", "", all_on, flags=re.M) + how.format(name)
    report, options = config(text)
    o = options[name]
    assert o["state"] == state and not o["there"]
    assert [n for n in options if options[n]["there"] != all_options[n]["there"]] == \
        ([] if o["need"] == "unused" else [name])
    assert missing(options) == ([] if o["need"] == "unused" else [name])
    assert report["ok"] == (o["need"] != "needed")
    shown = check("--config", "-", data=text.encode())
    assert shown.returncode == (1 if o["need"] == "needed" else 0)
    line = next(line for line in shown.stdout.decode().splitlines() if line.startswith(f"  {name} "))
    assert state in line and o["need"] in line and o["purpose"] in line
    if o["need"] != "unused":
        assert line.endswith(f"; without: {o['missing']}")
        last = shown.stdout.decode().splitlines()[-1]
        assert last == f"{o['need'].capitalize()} and missing: {name}"


@pytest.mark.parametrize("name", NAMES)
def test_one_option_not_mentioned(name):
    text = re.sub(rf"^{name}=y\n", "", fragment(), flags=re.M)
    _, options = config(text)
    implied = options[name]["state"] == "implied"
    assert options[name]["state"] in ("implied", "not mentioned")
    assert missing(options) == ([] if implied or options[name]["need"] == "unused" else [name])


def test_modules_count():
    text = whole().replace("CONFIG_UNIX_DIAG=y", "CONFIG_UNIX_DIAG=m")
    report, options = config(text)
    assert report["ok"] and options["CONFIG_UNIX_DIAG"]["state"] == "m"
    assert "modprobe unix_diag" in options["CONFIG_UNIX_DIAG"]["detail"]


def test_other_kernels():
    _, options = config(re.sub(r"^CONFIG_MEM_SOFT_DIRTY=y\n", "", whole("aarch64"), flags=re.M))
    assert all(options[n]["state"] == "none" for n in X86_ONLY)
    _, options = config(re.sub(r"^CONFIG_PTE_MARKER_UFFD_WP=y\n", "", whole(release="5.15.1"), flags=re.M))
    assert options["CONFIG_PTE_MARKER_UFFD_WP"]["state"] == "none"
    report, _ = config(whole(release="5.10.1"))
    assert not report["ok"]


def test_the_list_of_a_report():
    """A kernel was given these, and its tools hung: each has an answer."""
    given = "CHECKPOINT_RESTORE EXPERT PROC_PAGE_MONITOR MEMBARRIER MEM_SOFT_DIRTY USERFAULTFD RSEQ TIME_NS".split()
    asked = "IA32_EMULATION COMPAT FHANDLE EVENTFD EPOLL INOTIFY_USER UNIX INET PACKET".split()
    report, options = config("".join(f"CONFIG_{n}=y\n" for n in given))
    assert not report["ok"]
    for name in given:
        assert options[f"CONFIG_{name}"]["state"] == "y"
    for name in asked:
        assert options[f"CONFIG_{name}"]["state"] == "not mentioned"
    assert "CONFIG_EXPERT" in options["CONFIG_EVENTFD"]["detail"]


def test_the_running_kernel():
    try:
        with gzip.open(RUNNING) as f:
            text = f.read().decode()
    except OSError as e:
        pytest.skip(f"{RUNNING}: {e.strerror}")
    report, options = config(text)
    assert not report["fragment"]
    packed = check("--json", "--config", RUNNING)
    assert json.loads(packed.stdout)["options"] == report["options"]
    for name, o in options.items():
        setting = re.search(rf"^{name}=(.)$", text, re.M)
        assert o["state"] == (setting.group(1) if setting else o["state"])
        assert o["there"] == (setting is not None or o["state"] == "none")
    # This kernel runs the tests: what they need is there.
    features = subprocess.run([*h.Firn().command, "check", "--json"], capture_output=True, check=False, timeout=20)
    if json.loads(features.stdout)["ok"]:
        assert report["ok"], missing(options)


@pytest.fixture(scope="module", params=PACKAGES)
def debian(request, tmp_path_factory):
    """{name: text} of the configurations in a Debian package."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.skip("no apt-get or dpkg-deb")
    folder = tmp_path_factory.mktemp(request.param)
    result = subprocess.run(["apt-get", "download", "-q", request.param], cwd=folder, stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, check=False, timeout=120)
    packages = list(folder.glob("*.deb"))
    if result.returncode or not packages:
        pytest.skip(f"{request.param} cannot be had: {result.stderr.strip().splitlines()[-1:]}")
    subprocess.run(["dpkg-deb", "-x", packages[0], folder], check=True, timeout=60)
    found = {p.stem: lzma.open(p).read().decode() for p in folder.glob("usr/src/*/config.*.xz")}
    assert found
    return found


def test_debian(debian):
    for name, text in debian.items():
        report, options = config(text)
        assert report["ok"], (name, missing(options))
        assert report["arch"] == "x86_64" and not report["fragment"]
        # Debian keeps the configuration in /boot; real-time kernels exclude two options.
        lacks = set(missing(options)) - ({"CONFIG_TRANSPARENT_HUGEPAGE", "CONFIG_SCHED_AUTOGROUP"} if "_rt_" in name else set())
        assert lacks == {"CONFIG_IKCONFIG", "CONFIG_IKCONFIG_PROC"}, name
        assert options["CONFIG_UNIX_DIAG"]["state"] == options["CONFIG_NF_TABLES"]["state"] == "m"
        off = re.sub(r"^CONFIG_CHECKPOINT_RESTORE=y$", "# CONFIG_CHECKPOINT_RESTORE is not set", text, flags=re.M)
        report, options = config(off)
        assert not report["ok"] and not options["CONFIG_CHECKPOINT_RESTORE"]["there"]


@pytest.mark.parametrize("data, why", [
    (b"", "no line sets an option"),
    (b"\x7fELF\0\0\0", "no text"),
    (b"x" * (3 << 20), "no line sets an option"),
    (b"CONFIG_A=y\n" * (1 << 20), "larger than"),
    (gzip.compress(b"\n" * (64 << 20)), "larger than"),
    (gzip.compress(b"CONFIG_NET=y\n")[:-6], "damaged or cut short"),
    (lzma.compress(b"CONFIG_NET=y\n"), "xz -dc"),
    (b"CONFIG_NET=y\nCONFIG_EPOLL=maybe\n", "line 2: CONFIG_EPOLL"),
    (b"CONFIG_EPOLL=m\n", "y or n"),
], ids=["empty", "binary", "one long line", "huge", "bomb", "cut", "xz", "value", "module"])
def test_hostile_files(tmp_path, data, why):
    path = tmp_path / "config"
    path.write_bytes(data)
    result = check("--config", path)
    assert result.returncode == 2 and not result.stdout
    assert why in result.stderr.decode() and len(result.stderr.splitlines()) == 1, result.stderr


@pytest.mark.parametrize("path", ["/dev/zero", "/", "/nonexistent"])
def test_no_files(path):
    result = check("--config", path)
    assert result.returncode == 2 and path in result.stderr.decode() and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("args", [("--config",), ("--print-fragment", "vax"), ("--kata",), ("--config", "-", "--feature", "x"),
                                  ("--print-fragment", "--json"), ("--confg", "x")], ids=" ".join)
def test_wrong_usage(args):
    result = check(*args)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1


def test_what_sources_name_is_known():
    named = set()
    for path in (h.ROOT / "src").rglob("*.c"):
        for literal in re.findall(r'"(?:[^"\\\n]|\\.)*"', path.read_text(encoding="utf-8")):
            named |= set(re.findall(r"CONFIG_[A-Z][A-Z0-9_]+", literal))
    assert named - {"CONFIG_X86_64", "CONFIG_ARM64"} <= set(NAMES), named - set(NAMES)


def test_the_page_names_every_option():
    text = (h.ROOT / "docs/kernel-config.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.M) == [n.removeprefix("CONFIG_") for n in NAMES]
    for o in config("CONFIG_NET=y\n")[1].values():
        assert f"| `{o['name'][7:]}` | {o['need']} | {o['purpose']} | {o['missing']} |" in text, o["name"]
