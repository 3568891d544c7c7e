# SPDX-License-Identifier: LGPL-2.1-or-later
"""Wrong pids, wrong folders, damaged images: one clear sentence each, an exit code other than 0, nothing changed, nothing left
behind."""

import base64
import os
import random
import re
import shutil
import struct
import subprocess

import pytest

import firn_harness as h
from situations import mounted, traced


def refused(outcome, *words, codes=(1, 2, 3, 4, 6)):
    assert outcome.code in codes, outcome
    for word in words:
        assert re.search(str(word), outcome.err), f"{word!r} is not in what it said\n{outcome}"
    assert len(outcome.err.strip().splitlines()) <= 40, f"more than a sentence and a report\n{outcome}"


def untouched(w):
    assert not h.tracers(w.pid), h.tracers(w.pid)
    assert not (w.images() / "inventory.img").exists()
    w.finish()


# ------------------------------------------------------------------------------------------------------------ pids


def test_no_such_pid(firn, work):
    p = subprocess.Popen(["/bin/true"])
    p.wait()
    refused(firn.dump(p.pid, work / "images"), p.pid, "no such|No such|does not exist|not there|gone")


@pytest.mark.parametrize("pid", ["0", "-1", "x", "99999999999", "1e3", ""])
def test_nonsense_pid(pid, firn, work):
    refused(firn.dump(pid, work / "images"), codes=(1, 2))


def test_itself(firn, work):
    (work / "images").mkdir()
    outcome = h.run(["/bin/sh", "-c", f"exec {firn.command[0]} dump -t $$ -D {work}/images"])
    refused(outcome, "itself|own")


def test_init(firn, work):
    refused(firn.dump(1, work / "images"))


def test_kernel_thread(firn, work):
    kthreads = [p for p in range(2, 200) if h.status(p).get("PPid") in ("0", "2") and not h.read_text(f"/proc/{p}/cmdline")
                and h.status(p).get("VmSize") is None and h.state(p) != "Z"]
    if not kthreads:
        pytest.skip("no kernel thread is visible here")
    refused(firn.dump(kthreads[0], work / "images"), kthreads[0], "kernel thread")


def test_thread_instead_of_process(program, firn):
    w = program("threads")
    tid = [t for t in h.threads(w.pid) if t != w.pid][0]
    refused(firn.dump(tid, w.images()), tid, "thread")
    untouched(w)


def test_traced_task(program, firn):
    """The tracer is named."""
    w = program("mem_anon")
    with traced(w.pid):
        refused(firn.dump(w.pid, w.images()), w.pid, os.getpid(), "trace")
        assert h.tracers(w.pid) == {w.pid: os.getpid()}
    untouched(w)


def test_traced_child(program, firn):
    """One task deep in the tree is traced: the others go on."""
    w = program("tree_shapes")
    child = h.tree(w.pid)[-1]
    with traced(child):
        refused(firn.dump(w.pid, w.images()), child, os.getpid(), "trace")
    untouched(w)


def test_ends_midway(firn, start, work):
    """A task that ends while it is dumped: a sentence, or a dump; never a hang, never a stray."""
    random.seed(3)
    for i in range(15):
        w = start(["/bin/sleep", f"{random.uniform(0.001, 0.06):.4f}"])
        outcome = firn.dump(w.pid, work / f"images{i}")
        assert outcome.code in (0, 1), outcome
        if not outcome.ok:
            assert str(w.pid) in outcome.err, outcome
        h.wait_for(lambda: w.poll() is not None, "its end")


# --------------------------------------------------------------------------------------------------------- folders


def test_folder_missing(program, firn, work):
    w = program("mem_anon")
    outcome = h.run(firn.dump_argv(w.pid, work / "nowhere" / "images"))
    refused(outcome, "nowhere", "No such file")
    untouched(w)


def test_folder_is_a_file(program, firn, work):
    w = program("mem_anon")
    (work / "file").write_text("x")
    refused(h.run(firn.dump_argv(w.pid, work / "file")), "file", "[Nn]ot a directory|folder")
    untouched(w)


def test_folder_read_only(program, firn, work):
    w = program("mem_anon")
    with mounted(work, "-o", "ro") as path:
        refused(h.run(firn.dump_argv(w.pid, path)), "mounted", "Read-only")
        untouched(w)


@pytest.mark.parametrize("size", ["4k", "64k", "200k"])
def test_folder_full(size, program, firn, work):
    """A full file system: the target runs on, and what was written is removed."""
    w = program("mem_anon")
    with mounted(work, "-o", f"size={size}") as path:
        outcome = h.run([*firn.command, "dump", "-t", w.pid, "-D", path, "-o", work / "dump.log"], log_path=work / "dump.log")
        if outcome.ok:
            pytest.fail(f"it fit into {size}\n{outcome}")
        refused(outcome, "No space left")
        left = [p.name for p in path.iterdir() if p.suffix == ".img"]
        assert not left, f"left behind: {left}\n{outcome}"
        untouched(w)


# ---------------------------------------------------------------------------------------------------------- images


@pytest.fixture
def checkpoint(program, firn):
    """A small checkpoint with threads, children, a pipe and open files, whose tree was killed."""
    w = program("fd_regular")
    w.dump(firn)
    return w


def restore_damaged(firn, w, images, *words, may_succeed=False, options=()):
    outcome = firn.restore(images, *options)
    if outcome.ok and may_succeed:
        pid = int(h.read_text(images / "restored.pid") or 0)
        if pid > 0:
            h.kill_tree(pid)
    else:
        assert outcome.code in (1, 3, 6), outcome
        assert outcome.err.strip(), f"no sentence\n{outcome}"
        for word in words:
            assert word in outcome.err, f"{word!r} is not in what it said\n{outcome}"
    strays = [s for s in h.end_strays() if not outcome.ok]
    assert not strays, f"left behind: {strays}\n{outcome}"
    return outcome


def copies(images, work):
    """A fresh copy of a folder of images at each call."""
    path = h.Folder.images(work) / "damaged"

    def copy():
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(images, path)
        return path

    return copy


def test_restore_from_nothing(firn, work):
    (work / "empty").mkdir()
    refused(firn.restore(work / "empty"), "empty|inventory")
    refused(h.run(firn.restore_argv(work / "nowhere")), "nowhere")


def test_truncated_at_every_file(checkpoint, firn, work):
    copy = copies(checkpoint.images(), work)
    names = sorted(p.name for p in checkpoint.images().iterdir() if p.suffix == ".img")
    for name in names:
        size = (checkpoint.images() / name).stat().st_size
        for at in sorted({0, 4, 9, size // 2, size - 1} & set(range(size))):
            images = copy()
            os.truncate(images / name, at)
            restore_damaged(firn, checkpoint, images, name)


def test_missing_files(checkpoint, firn, work):
    copy = copies(checkpoint.images(), work)
    for path in sorted(checkpoint.images().glob("*.img")):
        images = copy()
        (images / path.name).unlink()
        restore_damaged(firn, checkpoint, images, path.name)


def test_flipped_bits(checkpoint, firn, work):
    """With the manifest each flip outside of the pages is found by name."""
    random.seed(11)
    copy = copies(checkpoint.images(), work)
    for path in sorted(checkpoint.images().glob("*.img")):
        if path.name.startswith("pages-"):
            continue
        for _ in range(2):
            images = copy()
            data = bytearray(path.read_bytes())
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
            (images / path.name).write_bytes(data)
            restore_damaged(firn, checkpoint, images, path.name)


def test_flipped_bits_without_manifest(checkpoint, firn, work):
    """As a folder of CRIU's: whatever is in it, firn neither crashes nor hangs, and a failure leaves nothing behind."""
    random.seed(12)
    copy = copies(checkpoint.images(), work)
    for path in sorted(checkpoint.images().glob("*.img")):
        if path.name.startswith("pages-"):
            continue
        for _ in range(6):
            images = copy()
            (images / "firn.manifest").unlink(missing_ok=True)
            data = bytearray(path.read_bytes())
            data[random.randrange(8, max(len(data), 9)) % len(data)] ^= 1 << random.randrange(8)
            (images / path.name).write_bytes(data)
            restore_damaged(firn, checkpoint, images, may_succeed=True)


def test_huge_counts(checkpoint, firn, work):
    """Each length in front of a message becomes 2^31, 2^32-1, and a little more than there is."""
    copy = copies(checkpoint.images(), work)
    for path in sorted(checkpoint.images().glob("*.img")):
        if path.name.startswith("pages-"):
            continue
        data = path.read_bytes()
        for count in (1 << 31, (1 << 32) - 1, len(data) + 1):
            images = copy()
            (images / "firn.manifest").unlink(missing_ok=True)
            damaged = bytearray(data)
            if len(damaged) < 12:
                continue
            struct.pack_into("<I", damaged, 8, count)
            (images / path.name).write_bytes(damaged)
            restore_damaged(firn, checkpoint, images, path.name, may_succeed=path.name in UNREAD)


# what a restore does not need
UNREAD = ("cgroup.img", "seccomp.img", "tty-info.img")


def test_huge_numbers_inside(checkpoint, firn, work):
    """Numbers of pages, pids and descriptors of 2^31 and more, in well-formed messages."""
    import pycriu
    copy = copies(checkpoint.images(), work)
    done = 0
    for path in sorted(checkpoint.images().glob("*.img")):
        if path.name.split("-")[0] not in ("pagemap", "pstree.img", "fdinfo", "mm", "core", "inventory.img"):
            continue
        for key in ("nr_pages", "pages_id", "pid", "fd", "id", "vaddr", "start", "end", "threads", "size"):
            with open(path, "rb") as f:
                image = pycriu.images.load(f)
            if not poison(image["entries"], key):
                continue
            images = copy()
            (images / "firn.manifest").unlink(missing_ok=True)
            with open(images / path.name, "wb") as f:
                pycriu.images.dump(image, f)
            restore_damaged(firn, checkpoint, images, may_succeed=True)
            done += 1
    assert done > 5


def poison(value, key):
    """Sets the first number called @key to 2^31 - 1 (what a signed field still takes)."""
    if isinstance(value, dict):
        for k, v in value.items():
            if k == key and isinstance(v, int) and not isinstance(v, bool):
                value[k] = (1 << 31) - 1
                return True
            if k == key and isinstance(v, list) and v and isinstance(v[0], int):
                v[0] = (1 << 31) - 1
                return True
            if poison(v, key):
                return True
    if isinstance(value, list):
        return any(poison(v, key) for v in value)
    return False


def test_random_garbage(firn, work):
    random.seed(5)
    images = work / "garbage"
    images.mkdir()
    for name in ("inventory.img", "pstree.img", "core-1.img", "mm-1.img", "files.img", "pagemap-1.img"):
        (images / name).write_bytes(random.randbytes(3000))
    refused(firn.restore(images), "inventory.img", codes=(1, 6))
    refused(firn.show(images), codes=(1, 6))


def test_show_of_damaged_images(checkpoint, firn, work):
    random.seed(13)
    copy = copies(checkpoint.images(), work)
    for path in sorted(checkpoint.images().glob("*.img")):
        images = copy()
        (images / "firn.manifest").unlink(missing_ok=True)
        data = bytearray(path.read_bytes())
        for _ in range(3):
            if data:
                data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        (images / path.name).write_bytes(data)
        outcome = firn.show(images)
        assert outcome.code in (0, 1, 3, 6), outcome


def test_older_dump_in_the_folder(program, firn):
    """A second dump into the same folder replaces the first."""
    w = program("mem_anon")
    w.dump(firn, "--leave-running")
    stray = w.images() / "core-1.img"
    stray.write_bytes(b"old")
    w.dump(firn)
    assert not stray.exists() and not (w.images() / ".firn-new").exists()
    w.restore(firn)
    w.finish()


def test_older_dump_stays_when_the_next_fails(program, firn, work):
    """A second dump into the same folder that fails halfway leaves the first, and it is restored."""
    w = program("mem_anon")
    w.dump(firn, "--leave-running")
    first = contents(w.images())
    # files larger than 8 KiB cannot be written: pages, after the freeze
    argv = ["/usr/bin/prlimit", "--fsize=8192", *firn.dump_argv(w.pid, w.images(), "--leave-running", "-o", "/dev/null")]
    refused(h.run(argv), "File too large")
    assert contents(w.images()) == first
    assert not (w.images() / ".firn-new").exists()
    h.kill_tree(w.pid)
    h.wait_for(lambda: w.poll() is not None, "the tree's end")
    w.restore(firn)
    w.finish()


def contents(images):
    return {p.name: p.read_bytes() for p in images.iterdir() if p.suffix in (".img", ".manifest")}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["fd_pty session", "unix_sockets passed", "fd_ghost plain", "tcp_listen both", "tree_shapes",
                                  "udp_sockets options6", "udp_sockets groups4", "raw_sockets 6", "netlink_sockets plain",
                                  "packet_sockets plain", "packet_sockets ring2", "bpf_maps maps", "vsock_sockets plain",
                                  "seccomp threads", "seccomp family", "leader_exits child"])
def test_changed_numbers_of_other_kinds(name, program, firn, work):
    """Any number of any image becomes another one: a restore or a sentence, never a crash, a hang or a stray."""
    import pycriu
    random.seed(name)
    w = program(*name.split())
    w.dump(firn)
    copy = copies(w.images(), work)
    paths = [p for p in sorted(w.images().glob("*.img")) if not p.name.startswith("pages-")]
    for _ in range(15):
        images = copy()
        (images / "firn.manifest").unlink(missing_ok=True)
        path = random.choice(paths)
        with open(path, "rb") as f:
            image = pycriu.images.load(f)
        places = list(numbers(image["entries"]))
        if not places:
            continue
        holder, key = random.choice(places)
        holder[key] = random.choice([0, 1, 2, 255, 4096, 1 << 20, (1 << 31) - 1])
        with open(images / path.name, "wb") as f:
            pycriu.images.dump(image, f)
        outcome = restore_damaged(firn, w, images, may_succeed=True)
        assert "killed by signal" not in outcome.err, outcome


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name,images_of", [("mem_late guard", "mm-"), ("mem_late seal", "mm-"), ("leader_exits child", "core-"),
                                            ("seccomp chain", "seccomp"), ("attributes mce_kill", "core-")])
def test_flipped_bits_of_own_fields(name, images_of, program, firn, work):
    """Fields that other readers do not know, at the end of their messages."""
    random.seed(name)
    w = program(*name.split())
    w.dump(firn)
    copy = copies(w.images(), work)
    paths = sorted(w.images().glob(images_of + "*"))
    for i in range(24):
        images = copy()
        (images / "firn.manifest").unlink(missing_ok=True)
        path = paths[i % len(paths)]
        data = bytearray(path.read_bytes())
        data[-1 - random.randrange(min(len(data) - 12, 120))] ^= 1 << random.randrange(8)
        (images / path.name).write_bytes(data)
        outcome = restore_damaged(firn, w, images, may_succeed=True)
        assert "killed by signal" not in outcome.err, outcome


CONNECTIONS = ("--tcp-established",)


def change_number(path, value):
    """One number of an image's messages; False when it has none. What follows the messages stays."""
    import pycriu
    with open(path, "rb") as f:
        image = pycriu.images.load(f)
    places = list(numbers(image["entries"]))
    if not places:
        return False
    holder, key = random.choice(places)
    holder[key] = value
    with open(path, "wb") as f:
        pycriu.images.dump(image, f)
    return True


def change_stream_number(path, value):
    """The message in tcp-stream-*.img, which has its queues behind it."""
    from pycriu.images import pb
    data = path.read_bytes()
    size = int.from_bytes(data[8:12], "little")
    message = pb.tcp_stream_entry()
    message.ParseFromString(data[12:12 + size])
    field = random.choice([d.name for d, _ in message.ListFields() if not isinstance(getattr(message, d.name), bool)])
    setattr(message, field, value)
    new = message.SerializeToString()
    path.write_bytes(data[:8] + len(new).to_bytes(4, "little") + new + data[12 + size:])


def flip(path, rounds):
    data = bytearray(path.read_bytes())
    for _ in range(rounds):
        data[8 + random.randrange(len(data) - 8)] ^= 1 << random.randrange(8)
    path.write_bytes(data)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["tcp_connections 4 inside full", "tcp_connections 6 inside fin_wait2",
                                  "tcp_connections 4 inside closing", "tcp_connections 4 inside reset",
                                  "tcp_connections 4 inside options", "tcp_listen left4", "udp_sockets queued6",
                                  "udp_sockets odd", "udp_sockets groups6"])
def test_hostile_connections(name, program, firn, work):
    """Sockets of IP whose images are changed: a restore or a sentence; and no lock is lost or left by one that fails."""
    random.seed(name)
    w = program(*name.split())
    w.dump(firn, *CONNECTIONS)
    lock = h.lock_of(w.images())
    locked, succeeded = lock in h.locks(), 0
    copy = copies(w.images(), work)
    streams = sorted(p.name for p in w.images().glob("tcp-stream-*"))
    values = [0, 1, 2, 14, 15, 255, 4096, 65535, 65536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
    for i in range(30):
        images = copy()
        (images / "firn.manifest").unlink(missing_ok=True)
        if streams and i % 3 == 0:
            change_stream_number(images / random.choice(streams), random.choice(values))
        elif i % 3 == 1:
            change_number(images / "files.img", random.choice(values[:-2]))
        else:
            flip(images / random.choice(["files.img", *streams]), random.choice([1, 1, 3]))
        outcome = restore_damaged(firn, w, images, may_succeed=True, options=CONNECTIONS)
        assert "killed by signal" not in outcome.err, outcome
        succeeded += outcome.ok
        locked = locked and not outcome.ok
        assert (lock in h.locks()) == locked, outcome
        assert not [n for n in h.locks("firn-restore-") if not h.alive(int(n.split("-")[2]))], outcome
    # A copy that ran has ended the connection, and the machine remembers it for a while.
    if not succeeded:
        w.restore(firn, *CONNECTIONS)
        w.finish()
    assert not succeeded or lock not in h.locks()


def text_of(data):
    """As pycriu has bytes."""
    return base64.encodebytes(data).decode()


@pytest.mark.parametrize("change,words", [
    (lambda f: f[0].update(prev=len(f)), "filter 0: the one after it is not there"),
    (lambda f: f[0].update(prev=0), "without an end"),
    (lambda f: f[0].update(prev=len(f) - 1), "without an end"),
    (lambda f: f[1].update(flags=4), "filter 1: unknown flags"),
    (lambda f: f[1].update(filter=text_of(b"")), "filter 1: its length"),
    (lambda f: f[1].update(filter=text_of(b"1234567")), "filter 1: its length"),
    (lambda f: f[1].update(filter=text_of(bytes(8 * 4097))), "filter 1: its length"),
    (lambda f: f[1].update(filter=text_of(b"\xff" * 32)), "seccomp.*Invalid argument"),
    (lambda f: f[1].update(filter=text_of(bytes([6, 0, 0, 0, 0, 0, 0xc0, 0x7f]))), "filter 1 asks a supervisor"),
    (lambda f: f.__delitem__(slice(1, None)), "without an end"),
])
def test_seccomp_filters_that_make_no_sense(change, words, program, firn, work):
    import pycriu
    w = program("seccomp", "chain")
    w.dump(firn)
    images = copies(w.images(), work)()
    (images / "firn.manifest").unlink()
    with open(images / "seccomp.img", "rb") as f:
        image = pycriu.images.load(f)
    change(image["entries"][0].setdefault("seccomp_filters", []))
    with open(images / "seccomp.img", "wb") as f:
        pycriu.images.dump(image, f)
    outcome = restore_damaged(firn, w, images)
    assert re.search(words, outcome.err), outcome
    w.restore(firn)
    w.finish()


def test_group_that_cannot_be_rebuilt(checkpoint, firn, work):
    """The error comes while a helper is held, that is not in the tree: it must be ended as well."""
    import pycriu
    images = copies(checkpoint.images(), work)()
    (images / "firn.manifest").unlink()
    with open(images / "pstree.img", "rb") as f:
        image = pycriu.images.load(f)
    image["entries"][0]["pgid"] = 255
    with open(images / "pstree.img", "wb") as f:
        pycriu.images.dump(image, f)
    restore_damaged(firn, checkpoint, images, "setpgid")


def numbers(value):
    """Where the numbers of an image's entries are: (dict or list, key or index)."""
    places = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, v in places:
        if isinstance(v, int) and not isinstance(v, bool):
            yield value, key
        else:
            yield from numbers(v)
