// SPDX-License-Identifier: LGPL-2.1-or-later
/* udp_sockets FOLDER MODE: UDP sockets with addresses, peers, options, groups and shut halves. */
#include "sockets.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>

#define PROTO_UDPLITE 136

static struct snapshot shot[8];

static void loopback(int family, int port, struct sockaddr_in6 *a, socklen_t *len)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)a;

	memset(a, 0, sizeof(*a));
	if (family == AF_INET) {
		*a4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		*len = sizeof(*a4);
	} else {
		*a = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_loopback };
		*len = sizeof(*a);
	}
}

static int make(int family, int protocol)
{
	int fd = socket(family, SOCK_DGRAM, protocol);

	if (fd < 0)
		check_skip("family %d, protocol %d: %s", family, protocol, strerror(errno));
	return fd;
}

/* Bound to the loopback address and a port of the kernel's choice. */
static int bound(int family, int protocol, struct sockaddr_in6 *a, socklen_t *len)
{
	int fd = make(family, protocol);

	loopback(family, 0, a, len);
	if (bind(fd, (struct sockaddr *)a, *len))
		check_skip("bind: %s", strerror(errno));
	MUST(getsockname(fd, (struct sockaddr *)a, len));
	return fd;
}

static void check_name(int fd, const struct sockaddr_in6 *a, socklen_t len, bool peer)
{
	struct sockaddr_in6 now = { 0 };
	socklen_t l = sizeof(now);

	CHECK(!(peer ? getpeername : getsockname)(fd, (struct sockaddr *)&now, &l), "%s: %s", peer ? "peer" : "name", strerror(errno));
	CHECK(l == len && !memcmp(&now, a, len), "the %s is another", peer ? "peer" : "name");
}

static void check_way(int from, int to, const struct sockaddr_in6 *a, socklen_t len)
{
	char buf[16];

	CHECK(sendto(from, "hello", 5, 0, (const struct sockaddr *)a, len) == 5, "sendto: %s", strerror(errno));
	CHECK(receive(to, buf, sizeof(buf), 2000) == 5, "nothing came");
}

/* A server, a client that is connected to it, a socket that was never used, one that another process shares. */
static void plain(int family, int protocol)
{
	struct sockaddr_in6 server_name, client_name;
	socklen_t len;
	int server = bound(family, protocol, &server_name, &len), client = make(family, protocol), fresh = make(family, protocol);
	char buf[16];

	MUST(fcntl(server, F_SETFL, O_NONBLOCK));
	MUST(connect(client, (struct sockaddr *)&server_name, len));
	MUST(getsockname(client, (struct sockaddr *)&client_name, &len));
	snapshot_take(server, &shot[0]);
	snapshot_take(client, &shot[1]);
	snapshot_take(fresh, &shot[2]);
	check_ready();
	snapshot_compare(server, &shot[0], "server");
	snapshot_compare(client, &shot[1], "client");
	snapshot_compare(fresh, &shot[2], "fresh");
	check_name(server, &server_name, len, false);
	check_name(client, &client_name, len, false);
	check_name(client, &server_name, len, true);
	CHECK(getpeername(server, (struct sockaddr *)&client_name, &len) == -1 && errno == ENOTCONN, "the server has a peer");
	CHECK(recv(server, buf, sizeof(buf), 0) == -1 && errno == EAGAIN, "data from nowhere");
	CHECK(send(client, "one", 3, 0) == 3, "send: %s", strerror(errno));
	CHECK(receive(server, buf, sizeof(buf), 2000) == 3, "nothing came to the server");
	check_way(server, client, &client_name, len);
	/* The client takes nothing from strangers. */
	CHECK(sendto(fresh, "x", 1, 0, (struct sockaddr *)&client_name, len) == 1, "sendto: %s", strerror(errno));
	CHECK(receive(client, buf, sizeof(buf), 100) == -1, "the client takes what a stranger sent");
	check_way(fresh, server, &server_name, len);
}

static void set_ip(int fd)
{
	set(fd, IPPROTO_IP, IP_TOS, 0x10);
	set(fd, IPPROTO_IP, IP_TTL, 7);
	set(fd, IPPROTO_IP, IP_RECVTOS, 1);
	set(fd, IPPROTO_IP, IP_RECVTTL, 1);
	set(fd, IPPROTO_IP, IP_RECVOPTS, 1);
	set(fd, IPPROTO_IP, IP_RETOPTS, 1);
	set(fd, IPPROTO_IP, IP_PKTINFO, 1);
	set(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, 1);
	set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
	set(fd, IPPROTO_IP, IP_RECVERR, 1);
	set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 5);
	set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
	set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
	set(fd, IPPROTO_IP, IP_MINTTL, 3);
	set(fd, IPPROTO_IP, IP_FREEBIND, 1);
	set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	set(fd, IPPROTO_IP, IP_RECVFRAGSIZE, 1);
	try_set(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
	try_set(fd, IPPROTO_IP, 26 /* IP_RECVERR_RFC4884 */, 1);
	try_set(fd, IPPROTO_IP, 51 /* IP_LOCAL_PORT_RANGE */, 45000 << 16 | 40000);
	try_set(fd, IPPROTO_IP, IP_UNICAST_IF, htonl(if_nametoindex("lo")));
}

static void set_ipv6(int fd)
{
	static const int ones[] = { IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVRTHDR, IPV6_RECVHOPOPTS, IPV6_RECVDSTOPTS,
				    IPV6_RECVTCLASS, IPV6_RECVPATHMTU, IPV6_RECVORIGDSTADDR, IPV6_RECVERR, IPV6_DONTFRAG,
				    IPV6_FREEBIND, IPV6_RECVFRAGSIZE, IPV6_V6ONLY };

	for (size_t i = 0; i < sizeof(ones) / sizeof(ones[0]); i++)
		set(fd, IPPROTO_IPV6, ones[i], 1);
	try_set(fd, IPPROTO_IPV6, 33 /* IPV6_FLOWINFO_SEND */, 1);
	try_set(fd, IPPROTO_IPV6, 11 /* IPV6_FLOWINFO */, 1);
	try_set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
	try_set(fd, IPPROTO_IPV6, 31 /* IPV6_RECVERR_RFC4884 */, 1);
	set(fd, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
	set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9);
	set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 8);
	set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);
	set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
	set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)if_nametoindex("lo"));
	set(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, (int)htonl(if_nametoindex("lo")));
	set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
	set(fd, IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0);
	set(fd, IPPROTO_IPV6, 73 /* IPV6_MINHOPCOUNT */, 2);
	set(fd, IPPROTO_IPV6, 72 /* IPV6_ADDR_PREFERENCES */, 2 /* IPV6_PREFER_SRC_PUBLIC */);
	/* hop-by-hop options: a router alert; needs CAP_NET_RAW */
	(void)setsockopt(fd, IPPROTO_IPV6, IPV6_HOPOPTS, (char[]){ 0, 0, 5, 2, 0, 0, 1, 0 }, 8);
}

static void options(int family)
{
	struct sockaddr_in6 a;
	socklen_t len;
	int fd = make(family, 0), other = make(family, 0), free_bound = make(family, 0);
	struct sockaddr_in elsewhere = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr("198.51.100.7") };

	set_ip(fd);
	if (family == AF_INET6)
		set_ipv6(fd);
	set(fd, IPPROTO_UDP, UDP_CORK, 1);
	set(fd, IPPROTO_UDP, 103 /* UDP_SEGMENT */, 1000);
	set(fd, IPPROTO_UDP, 104 /* UDP_GRO */, 1);
	set(fd, IPPROTO_UDP, 101 /* UDP_NO_CHECK6_TX */, 1);
	set(fd, IPPROTO_UDP, 102 /* UDP_NO_CHECK6_RX */, 1);
	set(fd, SOL_SOCKET, SO_PEEK_OFF, 3);
	(void)setsockopt(other, IPPROTO_IP, IP_OPTIONS, (char[]){ 7, 7, 4, 0, 0, 0, 0, 0 }, 8);
	if (family == AF_INET) {
		set(other, IPPROTO_IP, IP_MULTICAST_IF, (int)htonl(INADDR_LOOPBACK));
		set(free_bound, IPPROTO_IP, IP_FREEBIND, 1);
		MUST(bind(free_bound, (struct sockaddr *)&elsewhere, sizeof(elsewhere)));
	}
	loopback(family, 0, &a, &len);
	MUST(bind(fd, (struct sockaddr *)&a, len));
	snapshot_take(fd, &shot[0]);
	snapshot_take(other, &shot[1]);
	snapshot_take(free_bound, &shot[2]);
	check_ready();
	snapshot_compare(fd, &shot[0], "bound");
	snapshot_compare(other, &shot[1], "other");
	snapshot_compare(free_bound, &shot[2], "freely bound");
}

/* The options of SOL_SOCKET, a filter, and its lock. */
static void generic(void)
{
	struct sockaddr_in6 a;
	socklen_t len;
	int fd = bound(AF_INET, 0, &a, &len), sender = make(AF_INET, 0);
	static const int ones[] = { SO_BROADCAST, SO_DONTROUTE, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_RXQ_OVFL, SO_WIFI_STATUS,
				    SO_SELECT_ERR_QUEUE, SO_ZEROCOPY, SO_NOFCS, 75 /* SO_RCVMARK */, 82 /* SO_RCVPRIORITY */,
				    SO_REUSEADDR, SO_REUSEPORT, SO_TIMESTAMPNS };
	struct timeval tv = { 3, 500000 };
	struct linger linger = { 1, 7 };
	struct { int clock; unsigned flags; } txtime = { CLOCK_MONOTONIC, 2 };
	unsigned long rate = 1000000;
	char buf[16];

	for (size_t i = 0; i < sizeof(ones) / sizeof(ones[0]); i++)
		try_set(fd, SOL_SOCKET, ones[i], 1);
	set(fd, SOL_SOCKET, SO_PRIORITY, 5);
	set(fd, SOL_SOCKET, SO_RCVLOWAT, 4);
	set(fd, SOL_SOCKET, SO_SNDBUF, 50000);
	set(fd, SOL_SOCKET, SO_RCVBUF, 60000);
	try_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20);
	try_set(fd, SOL_SOCKET, SO_MARK, 0x1234);
	try_set(fd, SOL_SOCKET, SO_BUSY_POLL, 50);
	try_set(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, 1);
	try_set(fd, SOL_SOCKET, SO_DEBUG, 1);
	try_set(fd, SOL_SOCKET, 74 /* SO_TXREHASH */, 0);
	set(fd, SOL_SOCKET, SO_TIMESTAMPING, 0x98);
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	MUST(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)));
	MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	MUST(setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate)));
	MUST(setsockopt(fd, SOL_SOCKET, SO_TXTIME, &txtime, sizeof(txtime)));
	(void)setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
	set(sender, SOL_SOCKET, 64 /* SO_TIMESTAMPNS_NEW */, 1);
	set(sender, SOL_SOCKET, 65 /* SO_TIMESTAMPING_NEW */, 0x98);
	set(sender, SOL_SOCKET, 72 /* SO_BUF_LOCK */, 1);
	MUST(fchown(sender, getuid(), getgid()));
	attach_filter(fd, 8 + 3);    /* a UDP filter sees the header */
	set(fd, SOL_SOCKET, SO_LOCK_FILTER, 1);
	snapshot_take(fd, &shot[0]);
	snapshot_take(sender, &shot[1]);
	check_ready();
	snapshot_compare(fd, &shot[0], "socket");
	snapshot_compare(sender, &shot[1], "sender");
	check_filter(fd, 8 + 3);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){ 0 }, sizeof(int)) == -1 && errno == EPERM, "the filter is not locked");
	CHECK(sendto(sender, "ab", 2, 0, (struct sockaddr *)&a, len) == 2, "sendto: %s", strerror(errno));
	CHECK(sendto(sender, "abc", 3, 0, (struct sockaddr *)&a, len) == 3, "sendto: %s", strerror(errno));
	CHECK(receive(fd, buf, sizeof(buf), 2000) == 3, "the filter does not filter");
}

/* Two sockets of one port, by SO_REUSEADDR that is off again, and two by SO_REUSEPORT; a port for both families. */
static void shared(void)
{
	struct sockaddr_in6 a, b, c;
	struct sockaddr_in any = { .sin_family = AF_INET };
	socklen_t len, len6;
	int one[2], two[2], v4, v6 = socket(AF_INET6, SOCK_DGRAM, 0);

	for (int i = 0; i < 2; i++) {
		one[i] = make(AF_INET, 0);
		set(one[i], SOL_SOCKET, SO_REUSEADDR, 1);
		two[i] = make(AF_INET, 0);
		set(two[i], SOL_SOCKET, SO_REUSEPORT, 1);
	}
	loopback(AF_INET, 0, &a, &len);
	MUST(bind(one[0], (struct sockaddr *)&a, len));
	MUST(getsockname(one[0], (struct sockaddr *)&a, &len));
	MUST(bind(one[1], (struct sockaddr *)&a, len));
	set(one[0], SOL_SOCKET, SO_REUSEADDR, 0);
	set(one[1], SOL_SOCKET, SO_REUSEADDR, 0);
	loopback(AF_INET, 0, &b, &len);
	MUST(bind(two[0], (struct sockaddr *)&b, len));
	MUST(getsockname(two[0], (struct sockaddr *)&b, &len));
	MUST(bind(two[1], (struct sockaddr *)&b, len));
	if (v6 >= 0) {
		set(v6, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		loopback(AF_INET6, 0, &c, &len6);
		c.sin6_addr = in6addr_any;
		MUST(bind(v6, (struct sockaddr *)&c, len6));
		MUST(getsockname(v6, (struct sockaddr *)&c, &len6));
		v4 = make(AF_INET, 0);
		any.sin_port = c.sin6_port;
		MUST(bind(v4, (struct sockaddr *)&any, sizeof(any)));
		snapshot_take(v6, &shot[4]);
		snapshot_take(v4, &shot[5]);
	}
	for (int i = 0; i < 2; i++) {
		snapshot_take(one[i], &shot[i]);
		snapshot_take(two[i], &shot[2 + i]);
	}
	check_ready();
	for (int i = 0; i < 2; i++) {
		snapshot_compare(one[i], &shot[i], "one");
		snapshot_compare(two[i], &shot[2 + i], "two");
		check_name(one[i], &a, len, false);
		check_name(two[i], &b, len, false);
	}
	if (v6 >= 0) {
		snapshot_compare(v6, &shot[4], "v6");
		snapshot_compare(v4, &shot[5], "v4");
		check_name(v6, &c, len6, false);
	}
}

static void halves(void)
{
	static const struct {
		int how;
		bool peer;
	} cases[] = { { SHUT_RD, true }, { SHUT_WR, true }, { SHUT_RDWR, true }, { SHUT_RD, false }, { SHUT_RDWR, false } };
	struct sockaddr_in6 server_name;
	socklen_t len;
	int server = bound(AF_INET, 0, &server_name, &len), fd[5];

	for (size_t i = 0; i < 5; i++) {
		fd[i] = make(AF_INET, 0);
		if (cases[i].peer)
			MUST(connect(fd[i], (struct sockaddr *)&server_name, len));
		CHECK(!shutdown(fd[i], cases[i].how) || errno == ENOTCONN, "shutdown: %s", strerror(errno));
	}
	check_ready();
	for (size_t i = 0; i < 5; i++) {
		struct pollfd p = { .fd = fd[i], .events = POLLIN | POLLOUT | POLLRDHUP };
		bool in = cases[i].how != SHUT_WR, out = cases[i].how != SHUT_RD;
		ssize_t n;

		CHECK(poll(&p, 1, 0) == 1, "poll");
		CHECK(!(p.revents & POLLRDHUP) == !in, "case %zu: POLLRDHUP: %x", i, p.revents);
		CHECK(!(p.revents & POLLHUP) == !(in && out), "case %zu: POLLHUP: %x", i, p.revents);
		n = cases[i].peer ? send(fd[i], "x", 1, MSG_NOSIGNAL)
				  : sendto(fd[i], "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&server_name, len);
		CHECK(out ? n == -1 && errno == EPIPE : n == 1, "case %zu: send: %zd, %s", i, n, strerror(errno));
	}
	close(server);
}

/* Joined groups: by index, with blocked sources, and for one source only. */
static void groups(int family)
{
	int fd = make(family, 0), stranger = make(family, 0), lo = (int)if_nametoindex("lo"), level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	struct sockaddr_in6 a, from[3], group[3];
	static const char *const names[2][6] = {
		{ "239.1.2.3", "239.1.2.4", "232.1.2.5", "192.0.2.77", "192.0.2.78", "127.0.0.1" },
		{ "ff11::123", "ff11::124", "ff31::125", "2001:db8::7", "2001:db8::8", "::1" } };
	struct group_filter *f = calloc(1, GROUP_FILTER_SIZE(16));
	socklen_t len;
	char buf[16];
	bool sends;

	for (int i = 0; i < 6; i++) {
		struct sockaddr_in6 *x = i < 3 ? &group[i] : &from[i - 3];

		loopback(family, 0, x, &len);
		if (family == AF_INET)
			inet_pton(AF_INET, names[0][i], &((struct sockaddr_in *)x)->sin_addr);
		else
			inet_pton(AF_INET6, names[1][i], &x->sin6_addr);
	}
	loopback(family, 0, &a, &len);
	if (family == AF_INET)
		((struct sockaddr_in *)&a)->sin_addr.s_addr = 0;
	else
		a.sin6_addr = in6addr_any;
	MUST(bind(fd, (struct sockaddr *)&a, len));
	MUST(getsockname(fd, (struct sockaddr *)&a, &len));
	set(stranger, level, family == AF_INET ? IP_MULTICAST_ALL : IPV6_MULTICAST_ALL, 0);
	set(fd, level, family == AF_INET ? IP_MULTICAST_ALL : IPV6_MULTICAST_ALL, 0);
	for (int i = 0; i < 2; i++) {
		struct group_req req = { .gr_interface = lo };

		memcpy(&req.gr_group, &group[i], len);
		if (setsockopt(fd, level, MCAST_JOIN_GROUP, &req, sizeof(req)))
			check_skip("join: %s", strerror(errno));
	}
	for (int i = 0; i < 3; i++) {
		struct group_source_req req = { .gsr_interface = lo };

		memcpy(&req.gsr_group, &group[i < 2 ? 1 : 2], len);
		memcpy(&req.gsr_source, &from[i], len);
		MUST(setsockopt(fd, level, i < 2 ? MCAST_BLOCK_SOURCE : MCAST_JOIN_SOURCE_GROUP, &req, sizeof(req)));
	}
	/* Not every machine has a route for groups of IPv6 on its loopback device. */
	if (family == AF_INET) {
		set(stranger, IPPROTO_IP, IP_MULTICAST_IF, (int)htonl(INADDR_LOOPBACK));
		((struct sockaddr_in *)&group[0])->sin_port = ((struct sockaddr_in *)&a)->sin_port;
	} else {
		set(stranger, IPPROTO_IPV6, IPV6_MULTICAST_IF, lo);
		group[0].sin6_port = a.sin6_port;
	}
	sends = sendto(stranger, "group", 5, 0, (struct sockaddr *)&group[0], len) == 5;
	CHECK(!sends || receive(fd, buf, sizeof(buf), 2000) == 5, "nothing came to the group before");
	check_ready();
	for (int i = 0; i < 3; i++) {
		socklen_t l = GROUP_FILTER_SIZE(16);

		memset(f, 0, l);
		f->gf_interface = lo;
		f->gf_numsrc = 16;
		memcpy(&f->gf_group, &group[i], len);
		CHECK(!getsockopt(fd, level, MCAST_MSFILTER, f, &l), "group %d: %s", i, strerror(errno));
		CHECK_EQ(f->gf_fmode, i < 2 ? MCAST_EXCLUDE : MCAST_INCLUDE, "mode");
		CHECK_EQ(f->gf_numsrc, (i == 0 ? 0 : i == 1 ? 2 : 1), "number of sources");
		f->gf_numsrc = 16;
		CHECK(getsockopt(stranger, level, MCAST_MSFILTER, f, &l) == -1 && errno == EADDRNOTAVAIL, "a member that was none");
	}
	/* What is sent to the first group arrives. */
	CHECK(!sends || sendto(stranger, "group", 5, 0, (struct sockaddr *)&group[0], len) == 5, "sendto: %s", strerror(errno));
	CHECK(!sends || receive(fd, buf, sizeof(buf), 2000) == 5, "nothing came to the group");
}

/* Coverage of checksums; UDP-Lite alone has it. */
static void lite(void)
{
	struct sockaddr_in6 a;
	socklen_t len;
	int fd = bound(AF_INET, PROTO_UDPLITE, &a, &len), other = make(AF_INET, PROTO_UDPLITE);

	set(fd, PROTO_UDPLITE, 10 /* UDPLITE_SEND_CSCOV */, 20);
	set(fd, PROTO_UDPLITE, 11 /* UDPLITE_RECV_CSCOV */, 12);
	set(other, PROTO_UDPLITE, 10, 30);
	snapshot_take(fd, &shot[0]);
	snapshot_take(other, &shot[1]);
	check_ready();
	snapshot_compare(fd, &shot[0], "bound");
	snapshot_compare(other, &shot[1], "other");
	check_name(fd, &a, len, false);
	check_way(other, fd, &a, len);
}

/* Connected to port 0, which getpeername() denies; connected by broadcast; bound to a link-local address. */
static void odd(void)
{
	struct sockaddr_in6 zero, local = { .sin6_family = AF_INET6 };
	struct sockaddr_in broadcast = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = INADDR_BROADCAST };
	socklen_t len, l = sizeof(local);
	int fd = make(AF_INET, 0), shout = make(AF_INET, 0), self = bound(AF_INET, 0, &zero, &len), link = -1;
	char *before, buf[8];
	FILE *f = fopen("/proc/net/if_inet6", "r");
	char hex[64], dev[32];
	unsigned index, plen, scope, flags;

	MUST(connect(self, (struct sockaddr *)&zero, len));
	loopback(AF_INET, 0, &zero, &len);
	MUST(connect(fd, (struct sockaddr *)&zero, len));
	set(shout, SOL_SOCKET, SO_BROADCAST, 1);
	if (connect(shout, (struct sockaddr *)&broadcast, sizeof(broadcast)))
		close(shout), shout = -1;
	while (f && link < 0 && fscanf(f, "%63s %x %x %x %x %31s", hex, &index, &plen, &scope, &flags, dev) == 6) {
		if (scope != 0x20)
			continue;
		for (int i = 0; i < 16; i++)
			sscanf(hex + 2 * i, "%2hhx", &local.sin6_addr.s6_addr[i]);
		local.sin6_scope_id = index;
		link = make(AF_INET6, 0);
		MUST(bind(link, (struct sockaddr *)&local, sizeof(local)));
		MUST(getsockname(link, (struct sockaddr *)&local, &l));
	}
	if (f)
		fclose(f);
	before = proc_line("/proc/net/udp", "nothing");
	free(before);
	check_ready();
	CHECK(recv(fd, buf, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "recv: %s", strerror(errno));
	CHECK(send(fd, "x", 1, 0) == 1, "not connected to port 0: %s", strerror(errno));
	CHECK(send(self, "x", 1, 0) == 1 && receive(self, buf, 8, 2000) == 1, "to itself: %s", strerror(errno));
	if (shout >= 0) {
		struct sockaddr_in now;

		l = sizeof(now);
		CHECK(!getpeername(shout, (struct sockaddr *)&now, &l) && now.sin_addr.s_addr == INADDR_BROADCAST, "broadcast peer");
	}
	if (link >= 0)
		check_name(link, &local, sizeof(local), false);
}

/* What waits to be read, with its senders: one that is gone, one that is connected; an empty one; a large one. */
static void queued(int family)
{
	struct sockaddr_in6 a, b, any, from, names[2];
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len, l;
	int fd = bound(family, 0, &a, &len), wide = make(family, 0), senders[2] = { bound(family, 0, &names[0], &len), bound(family, 0, &names[1], &len) };
	int joined = bound(family, 0, &b, &len), v4 = make(AF_INET, 0);
	static char big[20000], buf[30000];
	char control[256];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct pollfd p = { .events = POLLIN };

	pattern_fill(big, sizeof(big), 5);
	loopback(family, 0, &any, &len);
	if (family == AF_INET)
		((struct sockaddr_in *)&any)->sin_addr.s_addr = 0;
	else
		any.sin6_addr = in6addr_any;
	MUST(bind(wide, (struct sockaddr *)&any, len));
	MUST(getsockname(wide, (struct sockaddr *)&any, &len));
	set(wide, IPPROTO_IP, IP_PKTINFO, 1);
	set(wide, IPPROTO_IP, IP_RECVTTL, 1);
	set(senders[1], family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, family == AF_INET ? IP_TTL : IPV6_UNICAST_HOPS, 44);
	MUST(connect(joined, (struct sockaddr *)&names[1], len));
	MUST(sendto(senders[0], "one", 3, 0, (struct sockaddr *)&a, len));
	MUST(sendto(senders[1], "", 0, 0, (struct sockaddr *)&a, len));
	MUST(sendto(senders[0], big, sizeof(big), 0, (struct sockaddr *)&a, len));
	MUST(sendto(senders[1], "four", 4, 0, (struct sockaddr *)&a, len));
	MUST(sendto(senders[1], "peer", 4, 0, (struct sockaddr *)&b, len));
	set(v4, IPPROTO_IP, IP_TTL, 33);
	four.sin_port = family == AF_INET ? ((struct sockaddr_in *)&any)->sin_port : any.sin6_port;
	four.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 4);
	MUST(sendto(v4, "v4", 2, 0, (struct sockaddr *)&four, sizeof(four)));
	close(senders[0]);
	snapshot_take(fd, &shot[0]);
	check_ready();
	snapshot_compare(fd, &shot[0], "receiver");
	for (int i = 0; i < 4; i++) {
		static const ssize_t sizes[] = { 3, 0, sizeof(big), 4 };

		memset(&from, 0, sizeof(from));
		l = sizeof(from);
		CHECK_EQ(recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &l), sizes[i], "length");
		CHECK(l == len && !memcmp(&from, &names[i % 2], len), "sender %d", i);
		if (i == 2)
			CHECK_PATTERN(buf, sizeof(big), 5, "content");
	}
	CHECK(recv(fd, buf, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "more than there was");
	CHECK(recv(joined, buf, sizeof(buf), MSG_DONTWAIT) == 4 && !memcmp(buf, "peer", 4), "the connected one has nothing");
	p.fd = wide;
	CHECK(poll(&p, 1, 0) == 1 && recvmsg(wide, &msg, MSG_DONTWAIT) == 2, "the wide one has nothing");
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL)
			CHECK_EQ(*(int *)CMSG_DATA(c), 33, "TTL");
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			CHECK(((struct in_pktinfo *)CMSG_DATA(c))->ipi_addr.s_addr == four.sin_addr.s_addr, "destination");
	}
}

/* Data that waits for more cannot be carried. */
static void corked(void)
{
	struct sockaddr_in6 a;
	socklen_t len;
	int server = bound(AF_INET, 0, &a, &len), fd = make(AF_INET, 0);
	char buf[16];

	MUST(connect(fd, (struct sockaddr *)&a, len));
	MUST(send(fd, "half", 4, MSG_MORE));
	check_ready();
	MUST(send(fd, "done", 4, 0));
	CHECK_EQ(receive(server, buf, sizeof(buf), 2000), 8, "bytes");
}

/* An error that waits to be told is not taken away by a look. */
static void error(void)
{
	struct sockaddr_in6 a;
	socklen_t len;
	int server = bound(AF_INET, 0, &a, &len), fd = make(AF_INET, 0);
	struct pollfd p = { .fd = fd };
	char byte;

	MUST(connect(fd, (struct sockaddr *)&a, len));
	close(server);
	MUST(send(fd, "x", 1, 0));
	CHECK_EQ(poll(&p, 1, 10000), 1, "the error comes");
	check_ready();
	CHECK(recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED, "recv: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "4";

	check_begin(argc, argv);
	if (!strcmp(mode, "4"))
		plain(AF_INET, 0);
	else if (!strcmp(mode, "6"))
		plain(AF_INET6, 0);
	else if (!strcmp(mode, "lite4"))
		plain(AF_INET, PROTO_UDPLITE);
	else if (!strcmp(mode, "lite6"))
		plain(AF_INET6, PROTO_UDPLITE);
	else if (!strcmp(mode, "lite"))
		lite();
	else if (!strcmp(mode, "options4"))
		options(AF_INET);
	else if (!strcmp(mode, "options6"))
		options(AF_INET6);
	else if (!strcmp(mode, "generic"))
		generic();
	else if (!strcmp(mode, "shared"))
		shared();
	else if (!strcmp(mode, "halves"))
		halves();
	else if (!strcmp(mode, "groups4"))
		groups(AF_INET);
	else if (!strcmp(mode, "groups6"))
		groups(AF_INET6);
	else if (!strcmp(mode, "odd"))
		odd();
	else if (!strcmp(mode, "queued4"))
		queued(AF_INET);
	else if (!strcmp(mode, "queued6"))
		queued(AF_INET6);
	else if (!strcmp(mode, "corked"))
		corked();
	else if (!strcmp(mode, "error"))
		error();
	else
		DIE("no such mode");
	return check_end();
}
