/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "check.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* What the programs about sockets share: every option is read before and after, set or not. */

#define OPTIONS_MAX 4096

struct option_value {
	int level, option, error;
	socklen_t len;
	unsigned char data[128];
};

struct snapshot {
	size_t n;
	struct option_value values[OPTIONS_MAX];
	struct stat st;
	int flags;
};

/* Options that change by themselves, or are told in another way. */
static inline bool option_moves(int level, int option)
{
	if (level != SOL_SOCKET)
		return (level == IPPROTO_IP && option == IP_PKTOPTIONS) || (level == IPPROTO_IP && option == IP_MTU) ||
		       (level == IPPROTO_IPV6 && option == IPV6_MTU) || (level == IPPROTO_IPV6 && option == IPV6_PATHMTU);
	return option == SO_ERROR || option == 49 /* SO_INCOMING_CPU */ || option == 55 /* SO_MEMINFO */ ||
	       option == 57 /* SO_COOKIE */ || option == 56 /* SO_INCOMING_NAPI_ID */;
}

static inline void snapshot_take(int fd, struct snapshot *s)
{
	static const int levels[] = { SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IPPROTO_RAW, IPPROTO_ICMPV6, 263, 270 };

	memset(s, 0, sizeof(*s));
	for (size_t l = 0; l < sizeof(levels) / sizeof(levels[0]); l++) {
		for (int o = 1; o < 130; o++) {
			struct option_value *v = &s->values[s->n];

			if (option_moves(levels[l], o))
				continue;
			*v = (struct option_value){ .level = levels[l], .option = o, .len = sizeof(v->data) };
			if (getsockopt(fd, v->level, v->option, v->data, &v->len) < 0) {
				v->error = errno;
				v->len = 0;
			}
			s->n++;
		}
	}
	MUST(fstat(fd, &s->st));
	s->flags = fcntl(fd, F_GETFL);
}

static inline void snapshot_compare(int fd, const struct snapshot *before, const char *what)
{
	static struct snapshot now;

	snapshot_take(fd, &now);
	for (size_t i = 0; i < before->n; i++) {
		const struct option_value *a = &before->values[i], *b = &now.values[i];
		int x, y;

		memcpy(&x, a->data, sizeof(x));
		memcpy(&y, b->data, sizeof(y));
		CHECK(a->error == b->error, "%s: level %d option %d: error %d instead of %d", what, a->level, a->option, b->error,
		      a->error);
		CHECK(a->len == b->len && !memcmp(a->data, b->data, a->len), "%s: level %d option %d: %d (%u bytes) instead of %d (%u)",
		      what, a->level, a->option, y, b->len, x, a->len);
	}
	CHECK_EQ(now.st.st_uid, before->st.st_uid, "uid of the socket");
	CHECK_EQ(now.st.st_gid, before->st.st_gid, "gid of the socket");
	CHECK_EQ(now.flags, before->flags, "flags");
}

/*
 * The options at IPPROTO_IP and IPPROTO_IPV6 alone, as TCP sockets have them, but for IPV6_2292PKTOPTIONS, which is of one
 * packet; IP_MULTICAST_TTL and its like, which are not for streams; IPV6_V6ONLY, which bind() to an address sets for good.
 */
struct ip_snapshot {
	struct option_value values[2][90];
};

static inline void ip_snapshot_take(int fd, struct ip_snapshot *s)
{
	for (int l = 0; l < 2; l++) {
		for (int o = 1; o < 90; o++) {
			struct option_value *v = &s->values[l][o];

			*v = (struct option_value){ .level = l ? IPPROTO_IPV6 : IPPROTO_IP, .option = o, .len = sizeof(v->data) };
			if (option_moves(v->level, o) || (l && (o == 6 || o == IPV6_V6ONLY)) ||
			    o == (l ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL))
				v->len = 0;
			else if (getsockopt(fd, v->level, o, v->data, &v->len) < 0) {
				v->error = errno;
				v->len = 0;
			}
		}
	}
}

static inline void ip_snapshot_compare(int fd, const struct ip_snapshot *before)
{
	static struct ip_snapshot now;

	ip_snapshot_take(fd, &now);
	for (int l = 0; l < 2; l++) {
		for (int o = 1; o < 90; o++) {
			const struct option_value *a = &before->values[l][o], *b = &now.values[l][o];
			int x, y;

			memcpy(&x, a->data, sizeof(x));
			memcpy(&y, b->data, sizeof(y));
			CHECK(a->error == b->error && a->len == b->len && !memcmp(a->data, b->data, a->len),
			      "level %d option %d: %d (error %d, %u bytes) instead of %d (%d, %u)", a->level, o, y, b->error,
			      b->len, x, a->error, a->len);
		}
	}
}

static inline void set(int fd, int level, int option, int value)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)))
		DIE("setsockopt(%d, %d, %d): %s", level, option, value, strerror(errno));
}

/* A value that is no default for every option of IP that a TCP socket takes; how many this kernel and user have. */
static inline int ip_options_set(int fd, int family)
{
	static const struct {
		int level, option, value;
	} table[] = {
		{ IPPROTO_IP, IP_TOS, 0x10 },
		{ IPPROTO_IP, IP_TTL, 31 },
		{ IPPROTO_IP, IP_PKTINFO, 1 },
		{ IPPROTO_IP, IP_RECVTOS, 1 },
		{ IPPROTO_IP, IP_RECVTTL, 1 },
		{ IPPROTO_IP, IP_RECVOPTS, 1 },
		{ IPPROTO_IP, IP_RETOPTS, 1 },
		{ IPPROTO_IP, IP_RECVORIGDSTADDR, 1 },
		{ IPPROTO_IP, IP_RECVERR, 1 },
		{ IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT },
		{ IPPROTO_IP, IP_MINTTL, 20 },
		{ IPPROTO_IP, IP_FREEBIND, 1 },
		{ IPPROTO_IP, IP_TRANSPARENT, 1 },
		{ IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1 },
		{ IPPROTO_IP, IP_RECVFRAGSIZE, 1 },
		{ IPPROTO_IP, IP_MULTICAST_LOOP, 0 },
		{ IPPROTO_IP, IP_MULTICAST_ALL, 0 },
		{ IPPROTO_IP, 51 /* IP_LOCAL_PORT_RANGE */, (int)(50000u << 16 | 40000u) },
		{ IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33 },
		{ IPPROTO_IPV6, IPV6_TCLASS, 0x20 },
		{ IPPROTO_IPV6, IPV6_RECVPKTINFO, 1 },
		{ IPPROTO_IPV6, IPV6_RECVTCLASS, 1 },
		{ IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1 },
		{ IPPROTO_IPV6, IPV6_RECVRTHDR, 1 },
		{ IPPROTO_IPV6, IPV6_RECVHOPOPTS, 1 },
		{ IPPROTO_IPV6, IPV6_RECVDSTOPTS, 1 },
		{ IPPROTO_IPV6, IPV6_RECVERR, 1 },
		{ IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT },
		{ IPPROTO_IPV6, IPV6_DONTFRAG, 1 },
		{ IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0 },
		{ IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, 1 /* IPV6_PREFER_SRC_TMP */ },
		{ IPPROTO_IPV6, IPV6_MINHOPCOUNT, 20 },
		{ IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1 },
		{ IPPROTO_IPV6, IPV6_TRANSPARENT, 1 },
		{ IPPROTO_IPV6, IPV6_FREEBIND, 1 },
	};
	int n = 0;

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		if (table[i].level == IPPROTO_IP || family == AF_INET6)
			n += setsockopt(fd, table[i].level, table[i].option, &table[i].value, sizeof(int)) == 0;
	}
	return n;
}

/* Where a kernel or an ordinary user may not have it. */
static inline void try_set(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

/* Accepts what is at least @len bytes long, whole. */
static inline void attach_filter(int fd, int len)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, len, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { .len = 4, .filter = code };

	MUST(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
}

static inline void check_filter(int fd, int len)
{
	struct sock_filter code[16];
	socklen_t n = 16;

	CHECK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, code, &n) == 0, "filter: %s", strerror(errno));
	CHECK(n == 4 && code[1].k == (unsigned)len && code[1].jf == 1 && code[2].k == 0xffff, "the filter is another");
}

/* One that waits for @ms at most; its length, -1 when nothing came. */
static inline ssize_t receive(int fd, void *buf, size_t size, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0 ? recv(fd, buf, size, MSG_DONTWAIT) : -1;
}
