// SPDX-License-Identifier: LGPL-2.1-or-later
/* raw_sockets FOLDER 4|6|ping: raw IP sockets with headers, filters, peers and groups; sockets for echo requests. */
#include "sockets.h"

#include <linux/icmp.h>
#include <netinet/icmp6.h>

static struct snapshot shot[6];

static int make(int family, int type, int protocol)
{
	int fd = socket(family, type, protocol);

	if (fd < 0)
		check_skip("family %d, type %d, protocol %d: %s", family, type, protocol, strerror(errno));
	return fd;
}

static unsigned short checksum(const unsigned char *p, size_t len)
{
	unsigned sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += p[i] | p[i + 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (unsigned short)~sum;
}

static void four(void)
{
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, now;
	int icmp = make(AF_INET, SOCK_RAW, IPPROTO_ICMP), header = make(AF_INET, SOCK_RAW, IPPROTO_RAW),
	    mine = make(AF_INET, SOCK_RAW, 253), peer = make(AF_INET, SOCK_RAW, 253), odd = make(AF_INET, SOCK_RAW, 254);
	struct icmp_filter filter = { .data = ~(1u << ICMP_ECHO) };
	unsigned char echo[8] = { ICMP_ECHO, 0, 0, 0, 0x12, 0x34, 0, 1 }, buf[64];
	unsigned short sum = checksum(echo, 8);
	socklen_t len = sizeof(now);

	memcpy(echo + 2, &sum, 2);
	MUST(setsockopt(icmp, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter)));
	set(icmp, IPPROTO_IP, IP_RECVERR, 1);
	set(icmp, IPPROTO_IP, IP_TTL, 33);
	MUST(connect(icmp, (struct sockaddr *)&local, sizeof(local)));    /* port 0: getpeername() denies it */
	MUST(bind(mine, (struct sockaddr *)&local, sizeof(local)));
	set(mine, IPPROTO_IP, IP_HDRINCL, 1);
	set(mine, IPPROTO_IP, 22 /* IP_NODEFRAG */, 1);
	set(mine, IPPROTO_IP, 23 /* IP_CHECKSUM */, 1);
	set(header, IPPROTO_IP, IP_HDRINCL, 0);
	set(odd, IPPROTO_IP, IP_PKTINFO, 1);
	attach_filter(odd, 22);
	for (int i = 0; i < 5; i++)
		snapshot_take((int[]){ icmp, header, mine, peer, odd }[i], &shot[i]);
	check_ready();
	for (int i = 0; i < 5; i++)
		snapshot_compare((int[]){ icmp, header, mine, peer, odd }[i], &shot[i],
				 (const char *[]){ "icmp", "header", "mine", "peer", "odd" }[i]);
	len = sizeof(filter);
	filter.data = 0;
	CHECK(!getsockopt(icmp, SOL_RAW, ICMP_FILTER, &filter, &len) && filter.data == ~(1u << ICMP_ECHO), "filter: %x", filter.data);
	len = sizeof(now);
	CHECK(!getsockname(mine, (struct sockaddr *)&now, &len) && now.sin_addr.s_addr == htonl(INADDR_LOOPBACK), "name");
	CHECK(send(icmp, echo, 8, 0) == 8, "the connected socket sends: %s", strerror(errno));
	CHECK(receive(icmp, buf, sizeof(buf), 2000) == 28 && buf[20] == ICMP_ECHO, "no echo request");
	CHECK(receive(icmp, buf, sizeof(buf), 100) == -1, "the filter lets replies through");
	CHECK(sendto(peer, "data", 4, 0, (struct sockaddr *)&local, sizeof(local)) == 4, "sendto: %s", strerror(errno));
	CHECK(receive(mine, buf, sizeof(buf), 2000) == 24, "nothing came");
	check_filter(odd, 22);
}

static void six(void)
{
	struct sockaddr_in6 local = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback }, now;
	int icmp = make(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), mine = make(AF_INET6, SOCK_RAW, 253), header = make(AF_INET6, SOCK_RAW, IPPROTO_RAW);
	struct icmp6_filter filter, after;
	unsigned char echo[8] = { ICMP6_ECHO_REQUEST, 0, 0, 0, 0x12, 0x34, 0, 1 }, buf[64];
	socklen_t len = sizeof(now);

	ICMP6_FILTER_SETBLOCKALL(&filter);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
	MUST(setsockopt(icmp, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)));
	MUST(connect(icmp, (struct sockaddr *)&local, sizeof(local)));
	set(icmp, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
	MUST(bind(mine, (struct sockaddr *)&local, sizeof(local)));
	set(mine, IPPROTO_RAW, IPV6_CHECKSUM, 2);
	try_set(header, IPPROTO_IPV6, 36 /* IPV6_HDRINCL */, 1);
	for (int i = 0; i < 3; i++)
		snapshot_take((int[]){ icmp, mine, header }[i], &shot[i]);
	check_ready();
	for (int i = 0; i < 3; i++)
		snapshot_compare((int[]){ icmp, mine, header }[i], &shot[i], (const char *[]){ "icmp", "mine", "header" }[i]);
	len = sizeof(after);
	CHECK(!getsockopt(icmp, IPPROTO_ICMPV6, ICMP6_FILTER, &after, &len) && !memcmp(&filter, &after, sizeof(filter)), "filter");
	len = sizeof(now);
	CHECK(!getsockname(mine, (struct sockaddr *)&now, &len) && !memcmp(&now.sin6_addr, &in6addr_loopback, 16), "name");
	CHECK(send(icmp, echo, 8, 0) == 8, "send: %s", strerror(errno));
	CHECK(receive(icmp, buf, sizeof(buf), 2000) == 8 && buf[0] == ICMP6_ECHO_REPLY, "no echo reply");
}

static void ping(void)
{
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, name, now;
	unsigned char echo[8] = { ICMP_ECHO, 0, 0, 0, 0, 0, 0, 1 }, buf[64];
	int fd = make(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), other = make(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	socklen_t len = sizeof(name);

	MUST(bind(fd, (struct sockaddr *)&local, sizeof(local)));
	MUST(getsockname(fd, (struct sockaddr *)&name, &len));
	MUST(connect(other, (struct sockaddr *)&local, sizeof(local)));
	set(other, IPPROTO_IP, IP_RECVTTL, 1);
	snapshot_take(fd, &shot[0]);
	snapshot_take(other, &shot[1]);
	check_ready();
	snapshot_compare(fd, &shot[0], "bound");
	snapshot_compare(other, &shot[1], "connected");
	len = sizeof(now);
	CHECK(!getsockname(fd, (struct sockaddr *)&now, &len) && !memcmp(&now, &name, sizeof(now)), "the name is another");
	CHECK(sendto(fd, echo, 8, 0, (struct sockaddr *)&local, sizeof(local)) == 8, "sendto: %s", strerror(errno));
	CHECK(receive(fd, buf, sizeof(buf), 2000) == 8 && buf[0] == ICMP_ECHOREPLY, "no echo reply");
	CHECK(send(other, echo, 8, 0) == 8 && receive(other, buf, sizeof(buf), 2000) == 8, "connected: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "4";

	check_begin(argc, argv);
	if (!strcmp(mode, "4"))
		four();
	else if (!strcmp(mode, "6"))
		six();
	else if (!strcmp(mode, "ping"))
		ping();
	else
		DIE("no such mode");
	return check_end();
}
