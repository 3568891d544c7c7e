/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/*
 * SOCK_DIAG (man 7 sock_diag) for other sockets than unix ones. The kernel answers from its own tables: nothing here can
 * be blocked by a task. Parsers return 0, -EINVAL or -ENOMEM; read_… 0 or -errno (-ENOENT: the kernel lacks the module),
 * nothing raised.
 */

/* UDP and UDP-Lite. */
struct inet_diag {
	uint32_t ino;
	uint8_t family, state;
	uint8_t shutdown;               /* bit 0: receiving, bit 1: sending */
	uint32_t rqueue, wqueue;
};
int parse_inet_diag(const void *buf, size_t len, struct inet_diag *ret);
/* Every socket of the protocol with a port, of both families. */
int read_inet_diag(int protocol, struct arena *a, struct inet_diag **ret, size_t *ret_n);

/* AF_NETLINK. A socket that was neither bound nor connected is in no table. */
struct netlink_diag {
	uint32_t ino;
	uint8_t protocol, state;        /* state 1: connected */
	uint32_t portid, dst_portid, dst_group, flags;    /* NDIAG_FLAG_… */
};
int parse_netlink_diag(const void *buf, size_t len, struct netlink_diag *ret);
int read_netlink_diag(struct arena *a, struct netlink_diag **ret, size_t *ret_n);

struct packet_group {
	uint32_t ifindex, count;
	uint16_t type, len;
	uint8_t address[32];
};

struct packet_ring_diag {
	uint32_t block_size, block_nr, frame_size, frame_nr, retire_tmo, sizeof_priv, features;
};

/* AF_PACKET. */
struct packet_diag {
	uint32_t ino;
	uint8_t type;
	uint16_t protocol;
	bool has_info, has_rx, has_tx, has_fanout;
	uint32_t index, version, reserve, copy_thresh, tstamp, flags;    /* PDI_… */
	uint32_t fanout;                /* id, type and flags, as setsockopt() takes them */
	struct packet_ring_diag rx, tx;
	struct packet_group *groups;
	size_t n_groups;
};
int parse_packet_diag(const void *buf, size_t len, struct arena *a, struct packet_diag *ret);
int read_packet_diag(struct arena *a, struct packet_diag **ret, size_t *ret_n);
