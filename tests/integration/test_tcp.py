# SPDX-License-Identifier: LGPL-2.1-or-later
"""TCP connections beyond what the test programs see from the inside: the packet filter, the packets on the wire, engines
that die, and CRIU."""

import subprocess

import pytest

import firn_harness as h

TCP = ("--tcp-established",)


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("scene", ["est", "full", "fin_wait1", "fin_wait2", "close_wait", "last_ack", "closing"])
def test_criu_restores(scene, where, program, firn, criu):
    """CRIU 4.1 cannot dump a TCP socket on newer kernels (SO_PASSCRED), but it restores what firn dumped, and removes the
    lock."""
    w = program("tcp_connections", "4", where, scene)
    w.dump(firn, *TCP)
    assert h.locks()
    w.restore(criu, *TCP)
    w.finish()
    assert not h.locks()


# CRIU 4.1 asks each socket for SO_PASSCRED (16) and SO_PASSSEC (34) and gives up when a TCP socket has no such option, which
# is so since Linux 6.16. Answered with 0, it dumps as ever.
PASS_OPTIONS = """
#define _GNU_SOURCE
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	long r = syscall(SYS_getsockopt, fd, level, option, value, len);
	if (r < 0 && level == SOL_SOCKET && (option == 16 || option == 34))
		return memset(value, 0, *len), 0;
	return (int)r;
}
"""


@pytest.fixture
def old_criu(criu):
    """The peer as it is on kernels where it dumps TCP."""
    library = h.Folder.cache() / "pass-options.so"
    if not library.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", library, "-"], input=PASS_OPTIONS, text=True, check=True)
    criu.command[1:1] = ["--preload", str(library)]
    return criu


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("scene", ["est", "full", "fin_wait1", "fin_wait2", "close_wait", "last_ack", "closing", "closed"])
def test_criu_dumps(scene, where, program, firn, old_criu):
    w = program("tcp_connections", "4", where, scene)
    w.dump(old_criu, *TCP, "--network-lock", "nftables")
    assert h.locks("CRIU-")
    w.restore(firn, *TCP)
    w.finish()
    assert not h.locks("CRIU-")
