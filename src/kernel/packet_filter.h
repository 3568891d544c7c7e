/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A lock on TCP connections: a table of nftables (family inet) that drops every segment of the named connections, in both
 * directions, without a word to either end. Nobody but its maker knows the table's name, so it disturbs no other rules,
 * and none of theirs can let a segment through: a drop is final in whatever table it stands.
 *
 * The table is one of the caller's network namespace. Segments with PACKET_FILTER_MARK (SO_MARK of the sending socket)
 * pass; it is the mark that CRIU's locks let through as well.
 */

#define PACKET_FILTER_MARK 0xc114u

/* The two ends of a connection; IPv4 addresses are the first four bytes. An IPv4 address mapped into IPv6 is AF_INET. */
struct tcp_ends {
	int family; /* AF_INET or AF_INET6 */
	uint8_t local[16], remote[16];
	uint16_t local_port, remote_port;
};

/*
 * The netlink socket for the calls below, close-on-exec, or -errno. A table that is @owned (Linux 5.12) vanishes when the
 * last copy of the socket that made it is closed, and nobody else can change it.
 */
int packet_filter_open(void);
/* Makes the table @name; -EEXIST when there is one. On any error there is none. Never blocks on others for long: the kernel
 * answers in the sender's context. Nothing is raised by these functions: 0 or -errno. */
int packet_filter_lock(int netlink, const char *name, bool owned, const struct tcp_ends *ends, size_t n);
/* Removes it; -ENOENT when there is none. Takes no memory from the heap: a forked child of a threaded process may call it. */
int packet_filter_unlock(int netlink, const char *name);
