/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/igmp.h"
#include "kinds/common.h"
#include "kinds/ip_options.h"

/*
 * The kernel lists no socket's memberships, but it answers for each pair of group and interface with the filter that
 * this socket has there (MCAST_MSFILTER, RFC 3678), or that it is no member. Candidates are the groups that anybody on
 * the machine is a member of: /proc/net/igmp and igmp6.
 *
 * A socket without membership is the rule, so the tables are read anew for each that has none rather than kept: they
 * are short. Sources are rare, 64 of them enough for the first look.
 */

#define SOURCES_MAX 4096u /* far above net.ipv4.igmp_max_msf (10) and net.ipv6.mld_max_msf (64) */

static size_t address_size(uint32_t family)
{
	return family == AF_INET6 ? 16 : 4;
}

static void to_storage(uint32_t family, const void *address, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	ss->ss_family = (sa_family_t)family;
	if (family == AF_INET6)
		memcpy(&((struct sockaddr_in6 *)ss)->sin6_addr, address, 16);
	else
		memcpy(&((struct sockaddr_in *)ss)->sin_addr, address, 4);
}

static const void *from_storage(const struct sockaddr_storage *ss)
{
	return ss->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)ss)->sin6_addr
					 : (const void *)&((const struct sockaddr_in *)ss)->sin_addr;
}

static int fill_group(struct operation *op, const InetSkEntry *m, const struct group_filter *filter, const char *ifname,
		      const void *group, FirnIpGroup *g)
{
	size_t size = address_size(m->family);

	g->group.len = size;
	g->group.data = arena_memdup(&op->arena, group, size);
	g->ifname = arena_strdup(&op->arena, ifname);
	g->mode = filter->gf_fmode;
	g->n_sources = filter->gf_numsrc;
	g->sources = arena_array(&op->arena, g->n_sources ? g->n_sources : 1, sizeof(*g->sources));
	if (!g->group.data || !g->ifname || !g->sources)
		return raise_no_memory(op);
	for (size_t i = 0; i < g->n_sources; i++) {
		g->sources[i].len = size;
		g->sources[i].data = arena_memdup(&op->arena, from_storage(&filter->gf_slist[i]), size);
		if (!g->sources[i].data)
			return raise_no_memory(op);
	}
	return 0;
}

/* Asks the socket for one candidate; adds it when it is a member. */
static int ask(struct operation *op, const struct fd_facts *f, InetSkEntry *m, const struct igmp_group *c, size_t *room)
{
	const socklen_t size = GROUP_FILTER_SIZE(SOURCES_MAX);
	AUTOFREE struct group_filter *filter = calloc(1, size);
	socklen_t len = size;
	char name[IF_NAMESIZE];
	FirnIpGroup *g;
	int r;

	if (!filter)
		return raise_no_memory(op);
	filter->gf_interface = c->ifindex;
	filter->gf_numsrc = SOURCES_MAX;
	to_storage(m->family, c->address, &filter->gf_group);
	if (getsockopt(f->fd, m->family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP, MCAST_MSFILTER, filter, &len) < 0)
		return errno == EADDRNOTAVAIL || errno == ENOPROTOOPT || errno == ENODEV || errno == EINVAL
			       ? 0
			       : error_raise_call(op->error, errno, "getsockopt(MCAST_MSFILTER)", "%s",
						  facts_describe(op, f));
	if (filter->gf_numsrc > SOURCES_MAX)
		return error_raise(op->error, EOPNOTSUPP,
				   "%s: its multicast filter has %u sources, which firn does not carry",
				   facts_describe(op, f), filter->gf_numsrc);
	if (!if_indextoname(c->ifindex, name))
		return 0;
	if (m->n_firn_groups == *room) {
		*room = *room ? *room * 2 : 8;
		m->firn_groups =
			arena_grow(&op->arena, m->firn_groups, m->n_firn_groups, *room, sizeof(*m->firn_groups));
	}
	g = arena_alloc(&op->arena, sizeof(*g));
	if (!g || !m->firn_groups)
		return raise_no_memory(op);
	firn_ip_group__init(g);
	m->firn_groups[m->n_firn_groups++] = g;
	r = fill_group(op, m, filter, name, c->address, g);
	return r;
}

static int ask_all(struct operation *op, const struct fd_facts *f, InetSkEntry *m, bool v6, size_t *room)
{
	struct igmp_group *groups;
	size_t n;
	int r;

	r = v6 ? read_igmp6(&op->arena, &groups, &n) : read_igmp(&op->arena, &groups, &n);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return error_raise_call(op->error, -r, "read", v6 ? "/proc/net/igmp6" : "/proc/net/igmp");
	for (size_t i = 0; i < n && r == 0; i++)
		r = ask(op, f, m, &groups[i], room);
	return r;
}

int ip_groups_dump(struct operation *op, const struct fd_facts *f, InetSkEntry *m)
{
	size_t room = 0;

	return ask_all(op, f, m, m->family == AF_INET6, &room);
}

int ip_groups_decode(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	size_t size = address_size(m->family);

	for (size_t i = 0; i < m->n_firn_groups; i++) {
		const FirnIpGroup *g = m->firn_groups[i];

		if (g->group.len != size || strlen(g->ifname) >= IF_NAMESIZE || g->n_sources > SOURCES_MAX ||
		    (g->mode != MCAST_INCLUDE && g->mode != MCAST_EXCLUDE))
			return raise_damaged(op, f, "a multicast group of an IP socket");
		for (size_t k = 0; k < g->n_sources; k++) {
			if (g->sources[k].len != size)
				return raise_damaged(op, f, "a multicast source of an IP socket");
		}
	}
	return 0;
}

static int join_one(struct operation *op, const struct file *f, const InetSkEntry *m, const FirnIpGroup *g)
{
	int level = m->family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
	struct group_req req = { .gr_interface = if_nametoindex(g->ifname) };
	struct group_source_req source = { .gsr_interface = req.gr_interface };
	int how = g->mode == MCAST_INCLUDE ? MCAST_JOIN_SOURCE_GROUP : MCAST_BLOCK_SOURCE;

	if (req.gr_interface == 0)
		return error_raise_call(op->error, errno, "if_nametoindex", "%s, multicast group on interface %s",
					f->describe, g->ifname);
	to_storage(m->family, g->group.data, &req.gr_group);
	source.gsr_group = req.gr_group;
	if (g->mode == MCAST_EXCLUDE && setsockopt(f->fd, level, MCAST_JOIN_GROUP, &req, sizeof(req)) < 0)
		return error_raise_call(op->error, errno, "setsockopt(MCAST_JOIN_GROUP)", "%s, interface %s",
					f->describe, g->ifname);
	for (size_t i = 0; i < g->n_sources; i++) {
		to_storage(m->family, g->sources[i].data, &source.gsr_source);
		if (setsockopt(f->fd, level, how, &source, sizeof(source)) < 0)
			return error_raise_call(op->error, errno, "setsockopt",
						"%s, a multicast source on interface %s", f->describe, g->ifname);
	}
	return 0;
}

int ip_groups_join(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	int r = 0;

	for (size_t i = 0; i < m->n_firn_groups && r == 0; i++)
		r = join_one(op, f, m, m->firn_groups[i]);
	return r;
}
