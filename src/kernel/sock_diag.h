/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/*
 * SOCK_DIAG for unix sockets (man 7 sock_diag): who is connected to whom, under which name, and what waits in the
 * queues. The kernel answers from its own tables: nothing here can be blocked by a task or a file system.
 */

struct unix_diag {
	uint32_t ino;                    /* of the socket, as in "socket:[INO]"; 0 while it waits to be accepted */
	uint8_t type;                    /* SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET */
	uint8_t state;                   /* TCP_ESTABLISHED, TCP_LISTEN, TCP_CLOSE */
	uint8_t shutdown;                /* bit 0: receiving, bit 1: sending */
	bool has_vfs, has_peer;
	uint32_t vfs_ino, vfs_dev;       /* the socket file it is bound to; dev as the kernel counts: major << 20 | minor */
	uint32_t peer;                   /* its inode; 0 with has_peer: the other end waits to be accepted or is closed */
	uint32_t rqueue, wqueue;         /* listeners: waiting connections and backlog; others: bytes to read and sent */
	const uint8_t *name;             /* sun_path as it was bound, "\0…" when abstract; NULL when unnamed */
	size_t name_len;
	const uint32_t *icons;           /* listeners: the inodes of those that wait to be accepted */
	size_t n_icons;
};

/* One answer of the kernel: struct unix_diag_msg and its attributes. 0, -EINVAL or -ENOMEM. */
int parse_unix_diag(const void *buf, size_t len, struct arena *a, struct unix_diag *ret);

/* Every unix socket of the caller's network namespace. 0 or -errno, nothing raised. */
int read_unix_diag(struct arena *a, struct unix_diag **ret, size_t *ret_n);
