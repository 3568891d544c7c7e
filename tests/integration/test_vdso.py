# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checkpoints of another build of the kernel, whose vdso has other code. A program is started with a vdso that no kernel
has (with_vdso.c, other_vdso.c), and its images are altered so that they say it was the kernel's."""

import re
import sys

import pytest

import firn_harness as h

REGULAR, VDSO, VVAR, ANON = 1 << 0, 1 << 3, 1 << 12, 1 << 9


def areas(pid):
    """The areas of a task: [(start, end, protection, name)]."""
    found = re.findall(r"^(\w+)-(\w+) (\S+) \w+ \S+ \d+ *(.*)$", h.read_text(f"/proc/{pid}/maps"), re.M)
    return [(int(start, 16), int(end, 16), prot, name) for start, end, prot, name in found]


def vdso_of(pid):
    (start, end), = [(start, end) for start, end, _, name in areas(pid) if name == "[vdso]"]
    return start, end


def alter(path, change):
    """Reads an image, lets @change alter its entries, writes it."""
    import pycriu

    image = h.show_image(path)
    change(image["entries"])
    with open(path, "wb") as f:
        pycriu.images.dump(image, f)
    (path.parent / "firn.manifest").unlink(missing_ok=True)


def make_kernels(images, pid, address):
    """The vdso at @address was the kernel's, and what was the kernel's is memory of the task."""

    def change(entries):
        mm = entries[0]
        mm["vmas"] = [v for v in mm["vmas"] if not v["status"] & VVAR]
        for v in mm["vmas"]:
            if v["status"] & VDSO:
                v["status"] = REGULAR | ANON
            if v["start"] == address:
                v["status"] = REGULAR | ANON | VDSO
            if v["end"] == address:
                v["status"] = REGULAR | ANON | VVAR
        assert [v["start"] for v in mm["vmas"] if v["status"] & VDSO] == [address], mm["vmas"]

    alter(images / f"mm-{pid}.img", change)


def vdso_in_pages(images, pid):
    """The pages file of a task, and where in it the vdso is."""
    vdso, = [v for v in h.show_image(images / f"mm-{pid}.img")["entries"][0]["vmas"] if v["status"] & VDSO]
    head, *entries = h.show_image(images / f"pagemap-{pid}.img")["entries"]
    at = 0
    for e in entries:
        if e["vaddr"] <= vdso["start"] < e["vaddr"] + 4096 * e["nr_pages"]:
            return images / f"pages-{head['pages_id']}.img", at + vdso["start"] - e["vaddr"], vdso
        at += 4096 * e["nr_pages"]
    raise AssertionError(f"no pages of the vdso: {entries}")


def make_other_build(images, pid):
    """The kernel's own vdso with another build id."""
    path, at, vdso = vdso_in_pages(images, pid)
    with open(path, "r+b") as f:
        f.seek(at)
        code = f.read(vdso["end"] - vdso["start"])
        f.seek(at + code.index(b"GNU\0") + 4)
        f.write(bytes(b ^ 0xff for b in code[code.index(b"GNU\0") + 4:][:20]))


def start_with(start, work, vdso, *argv):
    """Starts a program with another vdso; it, and the vdso's address."""
    w = start([h.PROGRAMS / "with_vdso", h.PROGRAMS / f"{vdso}.so", *argv]).wait_ready()
    return w, int(h.read_text(work / "stdout").split()[0], 16)


def restore_again(w, firn, rounds, *options):
    for _ in range(rounds):
        w.dump(firn, *options)
        w.restore(firn, *options)


def test_functions_lead_to_this_kernels(start, work, firn):
    """Every function, by both of its names, at other places than this kernel's; and again, which is memory like any other."""
    w, address = start_with(start, work, "other_vdso", h.PROGRAMS / "vdso_clocks", work, "mark")
    w.dump(firn)
    make_kernels(w.images(), w.pid, address)
    w.restore(firn)
    assert "lead to this kernel's" in w.last_restore.log
    old = [a for a in areas(w.pid) if a[0] <= address < a[1]]
    assert old and old[0][2] == "r-xp" and old[0][3] == "", areas(w.pid)
    new = vdso_of(w.pid)
    restore_again(w, firn, 2)
    assert vdso_of(w.pid) == new
    assert "lead to this kernel's" not in w.last_restore.log
    w.trigger()
    w.finish()


def test_same_shape_other_code(program, firn):
    """The same functions at the same places, in another build; three times, so that one leads to the next."""
    w = program("vdso_clocks")
    places = set()
    for _ in range(3):
        places.add(vdso_of(w.pid))
        w.dump(firn)
        make_other_build(w.images(), w.pid)
        w.restore(firn)
        assert "lead to this kernel's" in w.last_restore.log
    assert len({*places, vdso_of(w.pid)}) == 4, places
    restore_again(w, firn, 1)
    w.trigger()
    w.finish()


@pytest.mark.parametrize("name, args", [("leader_exits", ["root"]), ("threads", []), ("tree_shapes", []),
                                        ("clone_sharing", ["vm"]), ("mem_sysv", ["partial"]), ("timers", ["posix"])])
def test_programs(program, firn, name, args):
    """Programs that have nothing to do with it, with threads, children and shared memory: all of them are led."""
    w = program(name, *args)
    w.dump(firn)
    for path in w.images().glob("pagemap-[0-9]*.img"):
        make_other_build(w.images(), int(path.stem.split("-")[1]))
    w.restore(firn)
    restore_again(w, firn, 1)
    w.trigger()
    w.finish()


PYTHON = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
clocks = [time.CLOCK_REALTIME, time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME]
last = [time.clock_gettime_ns(c) for c in clocks]
(folder / "ready").touch()
wrong = []
while not (folder / "trigger").exists():
    now = [time.clock_gettime_ns(c) for c in clocks]
    wrong += [(a, b) for a, b in zip(last, now) if b < a or b > a + 60 * 10**9]
    last = now
    time.sleep(0.001)
(folder / "now").write_text(f"{time.time()} {time.monotonic()} {len(wrong)}")
(folder / "result").write_text("PASS\\n" if not wrong else f"FAIL: {wrong}\\n")
"""


def test_python(start, work, firn):
    """An interpreter goes on reading clocks, and they are right."""
    import time

    w, address = start_with(start, work, "other_vdso", sys.executable, "-c", PYTHON, work)
    w.dump(firn)
    make_kernels(w.images(), w.pid, address)
    w.restore(firn)
    before = time.time(), time.monotonic()
    w.trigger()
    w.finish()
    now = [float(word) for word in h.read_text(work / "now").split()[:2]]
    assert before[0] <= now[0] <= time.time() and before[1] <= now[1] <= time.monotonic(), (before, now)


def test_threads_that_read_clocks(program, firn):
    """Threads that are in the vdso again and again: a dump meets each of them outside."""
    w = program("vdso_clocks", "loop")
    for _ in range(3):
        w.dump(firn, "--leave-running")
        w.rounds += 1
    w.dump(firn)
    make_other_build(w.images(), w.pid)
    w.restore(firn)
    restore_again(w, firn, 2)
    w.trigger()
    w.finish()


def refused(w, firn, *words):
    outcome = firn.restore(w.images())
    assert outcome.code == 3, outcome
    for word in ("vdso cannot be given back", *words):
        assert word in outcome.err, outcome
    assert not h.alive(w.pid)


def test_unknown_function(start, work, firn):
    """A function that this kernel lacks, and that is no system call."""
    w, address = start_with(start, work, "unknown_vdso", h.PROGRAMS / "vdso_clocks", work, "mark")
    w.dump(firn)
    make_kernels(w.images(), w.pid, address)
    refused(w, firn, "this kernel has no __vdso_not_led_anywhere")


def test_thread_inside(program, firn):
    """A thread that stands in the middle of a function."""
    w = program("vdso_clocks")
    w.dump(firn)
    make_other_build(w.images(), w.pid)
    path, at, vdso = vdso_in_pages(w.images(), w.pid)

    def change(entries):
        entries[0]["thread_info"]["gpregs"]["ip"] = vdso["start"] + 1

    alter(w.images() / f"core-{w.pid}.img", change)
    refused(w, firn, "a thread stood inside")


def test_hostile_code(program, firn):
    """Any of its pages may hold anything: an answer, and no task is left."""
    w = program("vdso_clocks")
    w.dump(firn)
    path, at, vdso = vdso_in_pages(w.images(), w.pid)
    whole = path.read_bytes()
    for fill in (b"\0", b"\xff", b"\x7fELF\2"):
        size = vdso["end"] - vdso["start"]
        path.write_bytes(whole[:at] + (fill * size)[:size] + whole[at + size:])
        refused(w, firn, "no vdso")
