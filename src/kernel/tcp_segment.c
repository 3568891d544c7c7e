/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/tcp_segment.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

/*
 * The segment has no timestamp option: the kernel takes such a segment also on a connection that uses timestamps
 * (tcp_validate_incoming() looks at them only where they are), and what it knows of the far end's clock stays as it is.
 *
 * A packet that a raw socket sends to a local address keeps its route on the way through the loopback device, so that its
 * foreign source address is not looked at.
 */

static uint32_t sum(uint32_t so_far, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		so_far += (uint32_t)p[i] << 8 | p[i + 1];
	return so_far;
}

static uint16_t checksum(const struct tcp_ends *e, const struct tcphdr *h)
{
	size_t len = e->family == AF_INET6 ? 16 : 4;
	uint32_t s = sum(0, e->remote, len);

	s = sum(s, e->local, len);
	s = sum(s, h, sizeof(*h));
	s += IPPROTO_TCP + sizeof(*h);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return htons((uint16_t)~s);
}

static size_t put_ip(const struct tcp_ends *e, uint8_t *buf)
{
	if (e->family == AF_INET6) {
		struct ip6_hdr h = { 0 };

		h.ip6_flow = htonl(6u << 28);
		h.ip6_plen = htons(sizeof(struct tcphdr));
		h.ip6_nxt = IPPROTO_TCP;
		h.ip6_hlim = 64;
		memcpy(&h.ip6_src, e->remote, 16);
		memcpy(&h.ip6_dst, e->local, 16);
		memcpy(buf, &h, sizeof(h));
		return sizeof(h);
	}
	/* The kernel fills in the length and the checksum (man 7 raw). */
	struct iphdr h = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP };

	memcpy(&h.saddr, e->remote, 4);
	memcpy(&h.daddr, e->local, 4);
	memcpy(buf, &h, sizeof(h));
	return sizeof(h);
}

static socklen_t put_address(const struct tcp_ends *e, uint32_t scope, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *in = (struct sockaddr_in *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = (sa_family_t)e->family;
	if (e->family == AF_INET6) {
		memcpy(&in6->sin6_addr, e->local, 16);
		in6->sin6_scope_id = scope;
		return sizeof(*in6);
	}
	memcpy(&in->sin_addr, e->local, 4);
	return sizeof(*in);
}

int tcp_segment_send(const struct tcp_ends *ends, uint32_t scope, uint32_t seq, uint32_t ack, uint8_t flags)
{
	/* IPPROTO_RAW: the IP header is ours, for IPv6 as well. */
	AUTOCLOSE int fd = socket(ends->family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	const uint32_t mark = PACKET_FILTER_MARK;
	struct sockaddr_storage to;
	struct tcphdr tcp = { 0 };
	uint8_t packet[64];
	socklen_t to_len;
	size_t len;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
		return -errno;
	tcp.source = htons(ends->remote_port);
	tcp.dest = htons(ends->local_port);
	tcp.seq = htonl(seq);
	tcp.ack_seq = htonl(ack);
	tcp.doff = sizeof(tcp) / 4;
	tcp.fin = !!(flags & SEGMENT_FIN);
	tcp.rst = !!(flags & SEGMENT_RST);
	tcp.ack = !!(flags & SEGMENT_ACK);
	tcp.window = htons(UINT16_MAX);
	tcp.check = checksum(ends, &tcp);
	len = put_ip(ends, packet);
	memcpy(packet + len, &tcp, sizeof(tcp));
	len += sizeof(tcp);
	to_len = put_address(ends, scope, &to);
	if (sendto(fd, packet, len, MSG_DONTWAIT, (struct sockaddr *)&to, to_len) < 0)
		return -errno;
	return 0;
}
