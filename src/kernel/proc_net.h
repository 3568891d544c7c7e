/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/*
 * The tables of IP sockets in /proc/net: raw, raw6, icmp, icmp6, udp, udp6, udplite, udplite6. They tell what neither
 * getpeername() nor SOCK_DIAG says: the peer of a socket that is connected to port 0, and raw sockets where the kernel
 * has no INET_RAW_DIAG.
 */
struct proc_net_socket {
	uint64_t ino;
	uint8_t state;              /* TCP_ESTABLISHED: connected; TCP_CLOSE */
	uint32_t peer[4];           /* in network order; IPv4 takes the first */
	uint16_t peer_port;
};

/* 0, -EINVAL or -ENOMEM. Appends to what @ret holds; ret: NULL and 0 at first. */
int parse_proc_net(const char *text, size_t len, struct arena *a, struct proc_net_socket **ret, size_t *ret_n);
/* All tables that this kernel has, ascending by inode. 0 or -errno, nothing raised. */
int read_proc_net(struct arena *a, struct proc_net_socket **ret, size_t *ret_n);
