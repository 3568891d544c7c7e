/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/raw_packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/cleanup.h"

/*
 * A packet that a raw socket sends to a local address keeps its route on the way through the loopback device, so that its
 * foreign source address is not looked at.
 */

static uint32_t sum_up(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Over the addresses, length and protocol as well. UDP's may not be zero, which means none; for TCP the two are one. */
static void put_checksum(const struct raw_packet *p, uint8_t *payload, size_t len, size_t at)
{
	size_t address = p->family == AF_INET6 ? 16 : 4;
	uint32_t sum = (uint32_t)len + p->protocol;
	uint16_t check;

	sum = sum_up(sum, p->source, address);
	sum = sum_up(sum, p->destination, address);
	check = (uint16_t)~sum_up(sum, payload, len);
	check = htons(check ? check : 0xffff);
	memcpy(payload + at, &check, sizeof(check));
}

static size_t put_four(const struct raw_packet *p, void *header, struct sockaddr_in *to)
{
	/* The kernel fills in the length and the checksum (man 7 raw). */
	struct iphdr h = { .version = 4, .ihl = 5, .ttl = p->ttl, .tos = p->tos, .protocol = p->protocol };

	memcpy(&h.saddr, p->source, 4);
	memcpy(&h.daddr, p->destination, 4);
	memcpy(header, &h, sizeof(h));
	to->sin_family = AF_INET;
	to->sin_addr.s_addr = h.daddr;
	return sizeof(h);
}

static size_t put_six(const struct raw_packet *p, size_t len, void *header, struct sockaddr_in6 *to)
{
	struct ip6_hdr h = { 0 };

	h.ip6_flow = htonl(6u << 28 | (uint32_t)p->tos << 20);
	h.ip6_plen = htons((uint16_t)len);
	h.ip6_nxt = p->protocol;
	h.ip6_hlim = p->ttl;
	memcpy(&h.ip6_src, p->source, 16);
	memcpy(&h.ip6_dst, p->destination, 16);
	memcpy(header, &h, sizeof(h));
	to->sin6_family = AF_INET6;
	to->sin6_addr = h.ip6_dst;
	to->sin6_scope_id = p->scope;
	return sizeof(h);
}

/* The route of an own IPv4 address is by way of lo; what is sent to any other this way goes nowhere. IPv6 routes of own
 * addresses are those of their interfaces, so it is asked whether a socket could have the address. */
static int stay_here(int fd, const struct raw_packet *p, const struct sockaddr_in6 *to)
{
	AUTOCLOSE int probe = -1;

	if (p->family == AF_INET)
		return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof("lo")) < 0 ? -errno : 0;
	probe = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (probe < 0)
		return -errno;
	if (IN6_IS_ADDR_MULTICAST(&to->sin6_addr) || bind(probe, (const struct sockaddr *)to, sizeof(*to)) < 0)
		return -EADDRNOTAVAIL;
	return 0;
}

int raw_packet_send(const struct raw_packet *p, uint8_t *payload, size_t len, size_t checksum_at)
{
	/* IPPROTO_RAW: the IP header is ours, for IPv6 as well. */
	AUTOCLOSE int fd = socket(p->family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	struct sockaddr_in6 to = { 0 };
	uint8_t header[sizeof(struct ip6_hdr)];
	struct iovec iov[] = { { .iov_base = header }, { .iov_base = payload, .iov_len = len } };
	struct msghdr msg = { .msg_name = &to, .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };
	bool v6 = p->family == AF_INET6;
	int r;

	if (fd < 0 || (p->mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &p->mark, sizeof(p->mark)) < 0))
		return -errno;
	iov[0].iov_len = v6 ? put_six(p, len, header, &to) : put_four(p, header, (struct sockaddr_in *)&to);
	msg.msg_namelen = v6 ? sizeof(to) : sizeof(struct sockaddr_in);
	r = stay_here(fd, p, &to);
	if (r < 0)
		return r;
	put_checksum(p, payload, len, checksum_at);
	return sendmsg(fd, &msg, MSG_DONTWAIT) < 0 ? -errno : 0;
}
