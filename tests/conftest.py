# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "integration"))

import firn_harness as h  # noqa: E402

DEFAULT_TIMEOUT = 120


def pytest_addoption(parser):
    parser.addoption("--dump-with", choices=list(h.ENGINES), default="firn", help="the engine that dumps")
    parser.addoption("--restore-with", choices=list(h.ENGINES), default="firn", help="the engine that restores")


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout(seconds): the test's own limit")
    config.addinivalue_line("markers", "long: too long for every run; chosen with -m long")
    h.become_subreaper()


def pytest_collection_modifyitems(config, items):
    if "long" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(reason="long: run with `make long`")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """No test runs for ever: the alarm fails it where it stands."""
    marker = item.get_closest_marker("timeout")
    seconds = marker.args[0] if marker else DEFAULT_TIMEOUT

    def expired(signum, frame):
        raise h.HarnessError(f"the test's limit of {seconds} s has passed")

    old = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.failed_call = report.failed


@pytest.fixture(scope="session", autouse=True)
def _machine():
    if os.geteuid() != 0:
        pytest.exit("the integration tests need root", 4)
    yield
    h.Folder.remove_all()


@pytest.fixture
def work(request):
    """The test's folder; kept when the test fails."""
    folder = h.Folder.make(request.node.name)
    yield folder
    if not getattr(request.node, "failed_call", True):
        h.Folder.remove(folder)


@pytest.fixture(autouse=True)
def nothing_left_behind(request):
    """After every test: no process of it, no mount, no System V segment, no lock in the packet filter. Who was killed could not remove his own."""
    before, segments, locks = h.mounts(), h.segments(), h.locks()
    yield
    workloads = request.node.__dict__.pop("workloads", [])
    for workload in workloads:
        workload.end()
    strays = h.end_strays()
    left = h.end_segments(segments, set().union(*(w.pids for w in workloads)))
    if left and all(w.exit_code == 0 for w in workloads):
        strays += [f"System V segment {i}" for i in left]
    locked = [name for name in h.locks() if name not in locks and h.Folder.made_lock(name)]
    for name in locked:
        h.remove_lock(name)
    # What was dumped and never restored is still locked: so it shall be.
    if locked and all(w.exit_code == 0 for w in workloads):
        strays += [f"packet filter table {name}" for name in locked]
    assert h.mounts() == before, "the mounts have changed"
    owned = request.node.__dict__.get("expected_strays", False)
    if strays and not owned and not getattr(request.node, "failed_call", True):
        pytest.fail("left behind: " + "; ".join(strays))


@pytest.fixture
def start(request, work):
    """start(argv, user=None, …): a workload that is ended when the test ends."""

    def start_(argv, user=None, folder=None, **kwargs):
        workload = h.Workload(folder or work, argv, user=user, **kwargs)
        request.node.__dict__.setdefault("workloads", []).append(workload)
        return workload

    return start_


@pytest.fixture
def program(start, work):
    """program(name, args…, user=None): a test program of tests/programs, ready for a dump."""

    def program_(name, *args, user=None, ready=True, inner=""):
        path = h.PROGRAMS / name
        if not path.exists():
            pytest.fail(f"{path} is not built")
        workload = start([path, work, *args], user=user, inner=inner)
        return workload.wait_ready() if ready else workload

    return program_


@pytest.fixture
def firn():
    return h.Firn()


@pytest.fixture
def criu():
    reason = h.Criu.missing()
    if reason:
        pytest.skip(reason)
    return h.Criu()


def _engine(name):
    if name == "criu" and h.Criu.missing():
        pytest.skip(h.Criu.missing())
    return h.ENGINES[name]()


@pytest.fixture
def dumper(request):
    return _engine(request.config.getoption("--dump-with"))


@pytest.fixture
def restorer(request):
    return _engine(request.config.getoption("--restore-with"))


@pytest.fixture(params=["root", "user"])
def user(request):
    """As root and as an ordinary user's process."""
    return None if request.param == "root" else h.USER


def pytest_report_header(config):
    version = subprocess.run([*h.Firn().command, "version"], capture_output=True, text=True, check=False) \
        if pathlib.Path(h.Firn().command[0]).exists() else None
    return [f"firn: {h.Firn().command[0]} ({version.stdout.strip() if version else 'not built'}), "
            f"peer: {h.Criu.missing() or h.PEER}"]
