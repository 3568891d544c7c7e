/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/ip_options.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/socket.h"
#include "kinds/usual_socket.h"

/*
 * An option is written when it differs from what a socket has that firn makes at the same moment: defaults depend on
 * sysctls. CRIU 4.1 sets whatever it finds in its own fields, so these are left out as well when they are the default.
 *
 * What the kernel tells nobody, and so is lost: the interface of IP_MULTICAST_IF when it was given by its index alone,
 * IPV6_MTU, IPV6_PKTINFO as a sticky option, IP_ROUTER_ALERT.
 */

#ifndef IP_RECVERR_RFC4884
#define IP_RECVERR_RFC4884 26 /* Linux 5.9 */
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* Linux 6.3 */
#endif
#ifndef IPV6_RECVERR_RFC4884
#define IPV6_RECVERR_RFC4884 31
#endif
#ifndef IPV6_FLOWINFO
#define IPV6_FLOWINFO 11
#endif
#ifndef IPV6_FLOWINFO_SEND
#define IPV6_FLOWINFO_SEND 33
#endif
#define UDPLITE_SEND_CSCOV 10
#define UDPLITE_RECV_CSCOV 11

enum shape {
	VALUE,	     /* an int */
	IFINDEX,     /* an int, the index of an interface; the image has its name */
	IFINDEX_NET, /* the same in network order */
	DATA,	     /* bytes */
};

/* In the order in which a restore sets them. */
static const struct ip_option {
	const char *name;
	int level, option;
	enum shape shape;
	bool late;
	bool packets; /* a stream cannot set it, and its value may be another after accept() */
	bool only6;   /* of an IPv6 socket, which may speak IPv4 too; for IPv4 the message has a field */
} ip_options[] = {
#define OPT(LEVEL, OPTION, ...)                                                  \
	{                                                                        \
		.name = #OPTION, .level = LEVEL, .option = OPTION, ##__VA_ARGS__ \
	}
	OPT(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT),
	OPT(IPPROTO_IP, IP_TRANSPARENT),
	OPT(IPPROTO_IP, IP_TOS, .only6 = true),
	OPT(IPPROTO_IP, IP_TTL, .only6 = true),
	OPT(IPPROTO_IP, IP_PKTINFO, .only6 = true),
	OPT(IPPROTO_IP, IP_RECVTOS),
	OPT(IPPROTO_IP, IP_RECVTTL),
	OPT(IPPROTO_IP, IP_RECVOPTS),
	OPT(IPPROTO_IP, IP_RETOPTS),
	OPT(IPPROTO_IP, IP_PASSSEC),
	OPT(IPPROTO_IP, IP_RECVFRAGSIZE),
	OPT(IPPROTO_IP, IP_ORIGDSTADDR),
	OPT(IPPROTO_IP, IP_MTU_DISCOVER),
	OPT(IPPROTO_IP, IP_RECVERR),
	OPT(IPPROTO_IP, IP_RECVERR_RFC4884),
	OPT(IPPROTO_IP, IP_MULTICAST_TTL, .packets = true),
	OPT(IPPROTO_IP, IP_MULTICAST_LOOP),
	OPT(IPPROTO_IP, IP_MULTICAST_ALL),
	OPT(IPPROTO_IP, IP_MULTICAST_IF, .packets = true),
	OPT(IPPROTO_IP, IP_MINTTL, .late = true), /* firn itself sends to the socket */
	OPT(IPPROTO_IP, IP_LOCAL_PORT_RANGE),
	OPT(IPPROTO_IP, IP_UNICAST_IF, .shape = IFINDEX_NET),
	OPT(IPPROTO_IP, IP_OPTIONS, .shape = DATA),
	OPT(IPPROTO_IPV6, IPV6_TRANSPARENT),
	OPT(IPPROTO_IPV6, IPV6_RECVPKTINFO),
	OPT(IPPROTO_IPV6, IPV6_2292PKTINFO),
	OPT(IPPROTO_IPV6, IPV6_RECVHOPLIMIT),
	OPT(IPPROTO_IPV6, IPV6_2292HOPLIMIT),
	OPT(IPPROTO_IPV6, IPV6_RECVRTHDR),
	OPT(IPPROTO_IPV6, IPV6_2292RTHDR),
	OPT(IPPROTO_IPV6, IPV6_RECVHOPOPTS),
	OPT(IPPROTO_IPV6, IPV6_2292HOPOPTS),
	OPT(IPPROTO_IPV6, IPV6_RECVDSTOPTS),
	OPT(IPPROTO_IPV6, IPV6_2292DSTOPTS),
	OPT(IPPROTO_IPV6, IPV6_RECVTCLASS),
	OPT(IPPROTO_IPV6, IPV6_FLOWINFO),
	OPT(IPPROTO_IPV6, IPV6_RECVPATHMTU),
	OPT(IPPROTO_IPV6, IPV6_RECVORIGDSTADDR),
	OPT(IPPROTO_IPV6, IPV6_RECVFRAGSIZE),
	OPT(IPPROTO_IPV6, IPV6_UNICAST_HOPS),
	OPT(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, .packets = true),
	OPT(IPPROTO_IPV6, IPV6_MULTICAST_LOOP),
	OPT(IPPROTO_IPV6, IPV6_MULTICAST_ALL),
	OPT(IPPROTO_IPV6, IPV6_MULTICAST_IF, .shape = IFINDEX, .packets = true),
	OPT(IPPROTO_IPV6, IPV6_UNICAST_IF, .shape = IFINDEX_NET),
	OPT(IPPROTO_IPV6, IPV6_MTU_DISCOVER),
	OPT(IPPROTO_IPV6, IPV6_RECVERR),
	OPT(IPPROTO_IPV6, IPV6_RECVERR_RFC4884),
	OPT(IPPROTO_IPV6, IPV6_FLOWINFO_SEND),
	OPT(IPPROTO_IPV6, IPV6_AUTOFLOWLABEL),
	OPT(IPPROTO_IPV6, IPV6_DONTFRAG),
	OPT(IPPROTO_IPV6, IPV6_MINHOPCOUNT, .late = true),
	OPT(IPPROTO_IPV6, IPV6_ADDR_PREFERENCES),
	OPT(IPPROTO_IPV6, IPV6_HOPOPTS, .shape = DATA),
	OPT(IPPROTO_IPV6, IPV6_RTHDR, .shape = DATA),
	OPT(IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, .shape = DATA),
	OPT(IPPROTO_IPV6, IPV6_DSTOPTS, .shape = DATA),
	OPT(IPPROTO_IPV6, IPV6_HDRINCL),
	OPT(IPPROTO_RAW, IPV6_CHECKSUM),
	OPT(IPPROTO_UDP, UDP_ENCAP),
	OPT(IPPROTO_UDP, UDP_NO_CHECK6_TX),
	OPT(IPPROTO_UDP, UDP_NO_CHECK6_RX),
	OPT(IPPROTO_UDP, UDP_SEGMENT),
	OPT(IPPROTO_UDP, UDP_GRO),
	OPT(IPPROTO_UDP, UDPLITE_SEND_CSCOV),
	OPT(IPPROTO_UDP, UDPLITE_RECV_CSCOV),
	OPT(IPPROTO_UDP, UDP_CORK, .late = true),
	OPT(SOL_SOCKET, SO_PEEK_OFF, .late = true),
};

#define DATA_MAX 2048u /* extension headers of IPv6; the options of IPv4 have 40 bytes */

/* The levels that the protocol understands. UDP's is the same number for UDP-Lite; SOL_RAW has other options for IPv4. */
static bool option_fits(const InetSkEntry *m, const struct ip_option *o)
{
	bool v6 = m->family == AF_INET6;

	if (o->packets && m->type == SOCK_STREAM)
		return false;
	switch (o->level) {
	case IPPROTO_IP:
		return v6 ? m->type != SOCK_RAW : !o->only6;
	case IPPROTO_IPV6:
		return v6;
	case IPPROTO_UDP:
		return m->type == SOCK_DGRAM && (m->proto == IPPROTO_UDP || m->proto == IPPROTO_UDPLITE);
	case IPPROTO_RAW:
		return v6 && m->type == SOCK_RAW && m->proto != IPPROTO_ICMPV6;
	default:
		return o->level == SOL_SOCKET;
	}
}

static FirnIpOption *option_add(struct operation *op, const struct ip_option *o, InetSkEntry *m)
{
	FirnIpOption *e = arena_alloc(&op->arena, sizeof(*e));

	/* The table bounds their number. */
	if (!m->firn_options)
		m->firn_options = arena_array(&op->arena, ARRAY_SIZE(ip_options), sizeof(*m->firn_options));
	if (!e || !m->firn_options) {
		(void)raise_no_memory(op);
		return NULL;
	}
	firn_ip_option__init(e);
	e->level = (uint32_t)o->level;
	e->option = (uint32_t)o->option;
	m->firn_options[m->n_firn_options++] = e;
	return e;
}

static int dump_data(struct operation *op, const struct fd_facts *f, const struct ip_option *o, InetSkEntry *m)
{
	uint8_t data[DATA_MAX];
	socklen_t len = sizeof(data);
	FirnIpOption *e;

	if (getsockopt(f->fd, o->level, o->option, data, &len) < 0 || len == 0)
		return 0;
	e = option_add(op, o, m);
	if (!e)
		return -ENOMEM;
	e->has_data = true;
	e->data.len = len;
	e->data.data = arena_memdup(&op->arena, data, len);
	return e->data.data ? 0 : raise_no_memory(op);
}

static int dump_value(struct operation *op, const struct fd_facts *f, struct usual_socket *usual,
		      const struct ip_option *o, InetSkEntry *m)
{
	int value, common;
	char name[IF_NAMESIZE];
	FirnIpOption *e;

	if (socket_get_int(f->fd, o->level, o->option, &value) < 0)
		return 0;
	if (usual_get_int(op, usual, o->level, o->option, &common) == 0 && common == value)
		return 0;
	e = option_add(op, o, m);
	if (!e)
		return -ENOMEM;
	e->has_value = true;
	e->value = value;
	if (o->shape == VALUE)
		return 0;
	if (!if_indextoname(o->shape == IFINDEX ? (unsigned)value : ntohl((uint32_t)value), name)) {
		m->n_firn_options--; /* the interface is gone, and what is sent goes nowhere */
		return 0;
	}
	e->ifname = arena_strdup(&op->arena, name);
	return e->ifname ? 0 : raise_no_memory(op);
}

/* The fields that CRIU has. */
static void dump_known(struct operation *op, int fd, struct usual_socket *usual, InetSkEntry *m)
{
	IpOptsEntry *ip = m->ip_opts;
	bool v6 = m->family == AF_INET6;
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, ttl = v6 ? IPV6_UNICAST_HOPS : IP_TTL, value, common;

	if (socket_get_int(fd, level, v6 ? IPV6_FREEBIND : IP_FREEBIND, &value) == 0) {
		ip->has_freebind = true;
		ip->freebind = value != 0;
	}
	if (socket_get_int(fd, level, v6 ? IPV6_TCLASS : IP_TOS, &value) == 0 && value > 0) {
		ip->has_tos = true;
		ip->tos = (uint32_t)value;
	}
	if (v6 && m->type != SOCK_STREAM)
		return;
	if (socket_get_int(fd, level, ttl, &value) == 0 && value > 0 &&
	    (usual_get_int(op, usual, level, ttl, &common) < 0 || common != value)) {
		ip->has_ttl = true;
		ip->ttl = (uint32_t)value;
	}
	if (!v6 && socket_get_int(fd, level, IP_PKTINFO, &value) == 0 && value)
		ip->has_pktinfo = ip->pktinfo = true;
}

int ip_options_dump(struct operation *op, const struct fd_facts *f, InetSkEntry *m)
{
	int value, number, r = 0;
	struct usual_socket *usual = usual_socket(op, (int)m->family, (int)m->type, (int)m->proto, &number);

	/* A ping socket may be forbidden to firn (net.ipv4.ping_group_range). */
	if (!usual)
		usual = usual_socket(op, (int)m->family, SOCK_DGRAM, 0, &number);
	if (!usual)
		return error_raise_call(op->error, number, "socket", "to compare options with those of %s",
					facts_describe(op, f));
	m->ip_opts = arena_alloc(&op->arena, sizeof(*m->ip_opts));
	if (!m->ip_opts)
		return raise_no_memory(op);
	ip_opts_entry__init(m->ip_opts);
	if (m->family == AF_INET6) {
		r = socket_get_int(f->fd, IPPROTO_IPV6, IPV6_V6ONLY, &value);
		if (r < 0)
			return error_raise_call(op->error, -r, "getsockopt(IPV6_V6ONLY)", "%s", facts_describe(op, f));
		m->has_v6only = true;
		m->v6only = value != 0;
	}
	dump_known(op, f->fd, usual, m);
	for (size_t i = 0; i < ARRAY_SIZE(ip_options) && r == 0; i++) {
		const struct ip_option *o = &ip_options[i];

		if (option_fits(m, o))
			r = o->shape == DATA ? dump_data(op, f, o, m) : dump_value(op, f, usual, o, m);
	}
	return r;
}

/* ---- restore ---- */

static const struct ip_option *option_find(const FirnIpOption *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(ip_options); i++) {
		if ((uint32_t)ip_options[i].level == e->level && (uint32_t)ip_options[i].option == e->option)
			return &ip_options[i];
	}
	return NULL;
}

int ip_options_decode(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	if (m->ip_opts &&
	    ((m->ip_opts->has_tos && m->ip_opts->tos > 255) || (m->ip_opts->has_ttl && m->ip_opts->ttl > 255)))
		return raise_damaged(op, f, "an option of an IP socket");
	if (m->n_firn_options > ARRAY_SIZE(ip_options))
		return raise_damaged(op, f, "the list of options of an IP socket");
	for (size_t i = 0; i < m->n_firn_options; i++) {
		const FirnIpOption *e = m->firn_options[i];
		const struct ip_option *o = option_find(e);

		if (!o || !option_fits(m, o) || (o->shape == DATA ? !e->has_data : !e->has_value) ||
		    e->data.len > DATA_MAX || (o->shape > VALUE && o->shape < DATA && !e->ifname) ||
		    (e->ifname && strlen(e->ifname) >= IF_NAMESIZE))
			return raise_damaged(op, f, "an option of an IP socket");
	}
	return 0;
}

static int set_int(struct operation *op, const struct file *f, int level, int option, const char *name, int value)
{
	int now;

	if (socket_get_int(f->fd, level, option, &now) == 0 && now == value)
		return 0;
	if (setsockopt(f->fd, level, option, &value, sizeof(value)) < 0)
		return error_raise_call(op->error, errno, "setsockopt", "%s, %s", f->describe, name);
	return 0;
}

static int apply_one(struct operation *op, const struct file *f, const struct ip_option *o, const FirnIpOption *e)
{
	unsigned index = 0;

	if (o->shape == DATA) {
		if (setsockopt(f->fd, o->level, o->option, e->data.data, (socklen_t)e->data.len) < 0)
			return error_raise_call(op->error, errno, "setsockopt", "%s, %s", f->describe, o->name);
		return 0;
	}
	if (o->shape != VALUE) {
		index = if_nametoindex(e->ifname);
		if (index == 0)
			return error_raise_call(op->error, errno, "if_nametoindex", "%s, %s, interface %s", f->describe,
						o->name, e->ifname);
	}
	return set_int(op, f, o->level, o->option, o->name,
		       o->shape == VALUE     ? e->value
		       : o->shape == IFINDEX ? (int)index
					     : (int)htonl(index));
}

static int apply_all(struct operation *op, const struct file *f, const InetSkEntry *m, bool late)
{
	int r = 0;

	for (size_t i = 0; i < m->n_firn_options && r == 0; i++) {
		const struct ip_option *o = option_find(m->firn_options[i]);

		if (o && o->late == late)
			r = apply_one(op, f, o, m->firn_options[i]);
	}
	return r;
}

int ip_options_apply(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	const IpOptsEntry *ip = m->ip_opts;
	bool v6 = m->family == AF_INET6;
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, r = 0;

	if (v6 && m->has_v6only)
		r = set_int(op, f, level, IPV6_V6ONLY, "IPV6_V6ONLY", m->v6only);
	if (r == 0 && ip && ip->has_freebind && ip->freebind)
		r = set_int(op, f, level, v6 ? IPV6_FREEBIND : IP_FREEBIND, "IP_FREEBIND", 1);
	if (r == 0 && ip && ip->has_tos)
		r = set_int(op, f, level, v6 ? IPV6_TCLASS : IP_TOS, v6 ? "IPV6_TCLASS" : "IP_TOS", (int)ip->tos);
	if (r == 0 && ip && ip->has_ttl && ip->ttl)
		r = set_int(op, f, level, v6 ? IPV6_UNICAST_HOPS : IP_TTL, "IP_TTL", (int)ip->ttl);
	if (r == 0 && ip && ip->has_pktinfo && ip->pktinfo)
		r = set_int(op, f, level, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, "IP_PKTINFO", 1);
	return r == 0 ? apply_all(op, f, m, false) : r;
}

int ip_options_apply_late(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	return apply_all(op, f, m, true);
}
