/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * A packet from a far end to this machine, as if it had come over the network: what a restored socket is told of, and what
 * waits in its queue, came from somebody else. Packets of a raw socket may have any source (man 7 raw), and what the kernel
 * routes to itself it delivers without a look at where the sender lives.
 *
 * None leaves the machine, whatever the addresses are. Needs CAP_NET_RAW, and CAP_NET_ADMIN for a mark; does not block.
 */
struct raw_packet {
	int family;			     /* AF_INET, AF_INET6 */
	const uint8_t *source, *destination; /* 4 or 16 bytes in network order */
	uint32_t scope;			     /* interface of a link-local destination, else 0 */
	uint8_t protocol, ttl, tos;
	uint32_t mark; /* SO_MARK; 0: none */
};

/* @payload begins with the protocol's header, whose checksum, zero until then, is at @checksum_at. 0 or -errno:
 * -EADDRNOTAVAIL when the destination is none of this machine's (IPv6; such a packet of IPv4 goes nowhere). */
int raw_packet_send(const struct raw_packet *p, uint8_t *payload, size_t len, size_t checksum_at);
