# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images of unix sockets that lie: peers that are themselves, circles, numbers of 2^31, places in backlogs that are not there.
A restore or a sentence; never a crash, a hang or a stray. firn's own fields are changed too, which crit would drop."""

import os
import shutil
import subprocess
import sys

import pytest

import firn_harness as h
from test_bad_input import copies, restore_damaged

BIG = [0, 1, 2, 3, 5, 7, 10, 255, 4096, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]


@pytest.fixture(scope="session")
def messages(tmp_path_factory):
    """firn's own .proto files, as a set of descriptors; pycriu knows less of them."""
    protoc = shutil.which("protoc") or shutil.which("protoc-c")
    if not protoc:
        pytest.skip("no protobuf compiler is on this machine")
    out = tmp_path_factory.mktemp("messages") / "set"
    proto = h.ROOT / "proto"
    subprocess.run([protoc, f"-I{proto}", f"--descriptor_set_out={out}", "--include_imports", *proto.glob("*.proto")], check=True)
    return out


EDIT = """
import random, struct, sys
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

files = descriptor_pb2.FileDescriptorSet.FromString(open(sys.argv[1], "rb").read())
pool = descriptor_pool.DescriptorPool()
for f in files.file:
    pool.Add(f)
factory = message_factory.MessageFactory(pool)
file_entry = factory.GetPrototype(pool.FindMessageTypeByName("file_entry"))
sk_packet_entry = factory.GetPrototype(pool.FindMessageTypeByName("sk_packet_entry"))

def load(path, kind):
    data, pos, items = open(path, "rb").read(), 8, []
    while pos < len(data):
        n = struct.unpack_from("<I", data, pos)[0]
        m = kind()
        m.ParseFromString(data[pos + 4:pos + 4 + n])
        pos += 4 + n
        raw = b""
        if kind is sk_packet_entry:
            raw = data[pos:pos + m.length]
            pos += m.length
        items.append([m, raw])
    return data[:8], items

def save(path, head, items):
    with open(path, "wb") as f:
        f.write(head)
        for m, raw in items:
            data = m.SerializeToString()
            f.write(struct.pack("<I", len(data)) + data + raw)

images = sys.argv[2]
head, files = load(images + "/files.img", file_entry)
all_sockets = [m.usk for m, _ in files if m.HasField("usk")]
sockets = [u for u in all_sockets if not u.uflags]
try:
    queue_head, queue = load(images + "/sk-queues.img", sk_packet_entry)
except FileNotFoundError:
    queue_head, queue = None, []
packets = [m for m, _ in queue]
exec(sys.argv[3])
save(images + "/files.img", head, files)
if queue_head:
    save(images + "/sk-queues.img", queue_head, queue)
"""

ANY = """
random.seed(%r)
BIG = %r
for _ in range(random.randint(1, 4)):
    m = random.choice(all_sockets + packets)
    field = random.choice(m.DESCRIPTOR.fields)
    name, value = field.name, random.choice(BIG + [u.ino for u in all_sockets] + [u.id for u in all_sockets])
    if name == "length":
        continue
    if field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64):
        if field.label == field.LABEL_REPEATED:
            getattr(m, name).append(value)
        else:
            setattr(m, name, value)
    elif field.cpp_type == field.CPPTYPE_BOOL:
        setattr(m, name, bool(value & 1))
    elif field.cpp_type == field.CPPTYPE_ENUM:
        setattr(m, name, value & 3)
    elif field.type == field.TYPE_BYTES:
        setattr(m, name, random.choice([b"", b"x", b"\\0y", b"/", b"/tmp/", b"..", b"a/" * 50, b"\\0" * 108, b"p" * 200]))
    elif field.type == field.TYPE_STRING:
        setattr(m, name, random.choice(["", "/", "x", "/nowhere/at/all", "/" + "d" * 5000, "/proc/self/fd"]))
    elif name == "scm":
        m.scm.add(type=1, rights=[random.choice(BIG + [u.id for u in all_sockets]) for _ in range(random.choice([1, 2, 300]))])
"""

CASES = {
    "each is its own peer": "for u in sockets: u.peer = u.ino",
    "all have the same peer": "for u in sockets: u.peer = sockets[0].ino",
    "a row without an end": "for a, b in zip(sockets, sockets[1:] + sockets[:1]): a.peer = b.ino; a.type = 2; a.state = 7; a.name = b'\\0firn-hostile-%d' % a.id",
    "two of one inode": "sockets[1].ino = sockets[0].ino",
    "no peer that is there": "sockets[0].peer = 0xfffffff0",
    "all listen": "for u in sockets: u.state = 10",
    "all are closed clients": "for u in sockets: u.firn_closed = True",
    "all wait at one place": "for u in sockets: u.firn_backlog_place = 1 << 31",
    "a backlog of 2^31": "for u in sockets: u.backlog = 1 << 31",
    "a backlog of 2^31 - 1": "for u in sockets: u.backlog = (1 << 31) - 1",
    "packets for one that waits": "for p in packets: p.firn_backlog_of = sockets[0].id",
    "packets for nobody": "for p in packets: p.id_for = 0",
    "packets of nobody's file": "for p in packets: p.scm.add(type=1, rights=[1 << 31])",
    "packets with each socket": "for p in packets: del p.scm[:]; p.scm.add(type=1, rights=[u.id for u in sockets])",
    "every socket in every queue": "for p in packets: del p.scm[:]; p.scm.add(type=1, rights=([u.id for u in sockets] * 253)[:253])",
    "groups without end": "for u in sockets: u.firn_peer_groups.extend(range(70000))",
    "the pid of init": "for u in sockets: u.firn_peer_pid = 1; u.firn_peer_uid = 0; u.firn_peer_gid = 0",
    "pids of 2^31": "for u in sockets: u.firn_peer_pid = 1 << 31",
    "pids of nobody": "for u in sockets: u.firn_peer_pid = (1 << 31) - 1",
    "a file in /proc": "for u in sockets: u.name = b'/x'; u.firn_path = '/proc/1/x'",
    "a file in no folder": "for u in sockets: u.name = b'/x'; u.firn_path = '/no/such/folder/x'; u.deleted = False",
    "a way of many folders": "for u in sockets: u.name = b'a/' * 53 + b'x'; u.name_dir = '/'; u.deleted = True",
    "a way up and up": "for u in sockets: u.name = b'../' * 35 + b'x'; u.name_dir = '/'; u.deleted = True",
    "a name that is a folder": "for u in sockets: u.name = b'/tmp/'; u.deleted = True",
    "no name": "for u in sockets: u.name = b''",
    "a name too long": "for u in sockets: u.name = b'/' * 110",
    "all external": "for u in sockets: u.uflags = 1",
    "flags of nobody": "for u in sockets: u.uflags = 0xfffffffe",
    "a peek beyond": "for u in sockets: u.firn_peek_off = 1 << 31",
}


def edited(messages, copy, code):
    images = copy()
    (images / "firn.manifest").unlink(missing_ok=True)
    subprocess.run([sys.executable, "-c", EDIT, messages, images, code], check=True)
    return images


SUBJECTS = ["unix_sockets passed", "unix_pending data", "unix_pending passed", "unix_queues senders", "unix_rights nested"]


def restored_or_not(firn, w, images):
    outcome = restore_damaged(firn, w, images, may_succeed=True)
    assert "killed by signal" not in outcome.err and "SIGSEGV" not in outcome.err, outcome
    return outcome


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SUBJECTS)
def test_lies(name, program, firn, work, messages):
    w = program(*name.split())
    w.dump(firn)
    copy = copies(w.images(), work)
    for code in CASES.values():
        restored_or_not(firn, w, edited(messages, copy, code))
    assert not list(work.rglob(".firn-*")), "a passing folder was left"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SUBJECTS)
def test_any_number(name, program, firn, work, messages):
    w = program(*name.split())
    w.dump(firn)
    copy = copies(w.images(), work)
    for seed in range(int(os.environ.get("FIRN_HOSTILE_ROUNDS", "25"))):
        restored_or_not(firn, w, edited(messages, copy, ANY % (f"{name} {seed}", BIG)))
