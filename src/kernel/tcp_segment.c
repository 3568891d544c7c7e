/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/tcp_segment.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>

#include "kernel/raw_packet.h"

/*
 * The segment has no timestamp option: the kernel takes such a segment also on a connection that uses timestamps
 * (tcp_validate_incoming() looks at them only where they are), and what it knows of the far end's clock stays as it is.
 */
int tcp_segment_send(const struct tcp_ends *ends, uint32_t scope, uint32_t seq, uint32_t ack, uint8_t flags)
{
	const struct raw_packet p = { .family = ends->family,
				      .source = ends->remote,
				      .destination = ends->local,
				      .scope = scope,
				      .protocol = IPPROTO_TCP,
				      .ttl = 64,
				      .mark = PACKET_FILTER_MARK };
	struct tcphdr tcp = { 0 };
	uint8_t payload[sizeof(tcp)];

	tcp.source = htons(ends->remote_port);
	tcp.dest = htons(ends->local_port);
	tcp.seq = htonl(seq);
	tcp.ack_seq = htonl(ack);
	tcp.doff = sizeof(tcp) / 4;
	tcp.fin = !!(flags & SEGMENT_FIN);
	tcp.rst = !!(flags & SEGMENT_RST);
	tcp.ack = !!(flags & SEGMENT_ACK);
	tcp.window = htons(UINT16_MAX);
	memcpy(payload, &tcp, sizeof(tcp));
	return raw_packet_send(&p, payload, sizeof(payload), offsetof(struct tcphdr, check));
}
