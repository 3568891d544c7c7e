/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/inet_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "kinds/common.h"

/*
 * A link-local IPv6 address means nothing without its interface. The image has one name for both ends, and one is
 * enough: such a socket is bound to the interface, so both its addresses are of the same link.
 */

static unsigned words_of(uint32_t family)
{
	return family == AF_INET6 ? 4 : 1;
}

void inet_address_text(const struct sockaddr_storage *ss, char *buf, size_t size)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
	char host[INET6_ADDRSTRLEN] = "?";

	if (ss->ss_family == AF_INET6)
		(void)snprintf(buf, size, "[%s]:%u", inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)),
			       ntohs(in6->sin6_port));
	else
		(void)snprintf(buf, size, "%s:%u", inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)),
			       ntohs(in->sin_port));
}

const char *inet_ends_text(struct operation *op, int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	char here[INET_ADDRESS_TEXT] = "", there[INET_ADDRESS_TEXT] = "";
	const char *text;

	if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
		inet_address_text(&ss, here, sizeof(here));
	len = sizeof(ss);
	if (getpeername(fd, (struct sockaddr *)&ss, &len) == 0)
		inet_address_text(&ss, there, sizeof(there));
	text = arena_printf(&op->arena, "%s%s%s", here, there[0] ? " → " : "", there);
	return text ? text : "";
}

static int store(struct operation *op, const struct fd_facts *f, const struct sockaddr_storage *ss, InetSkEntry *m,
		 uint32_t *address, uint32_t *ret_port)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
	char name[IF_NAMESIZE];

	if (ss->ss_family != AF_INET6) {
		memcpy(address, &in->sin_addr, 4);
		*ret_port = ntohs(in->sin_port);
		return 0;
	}
	memcpy(address, &in6->sin6_addr, 16);
	*ret_port = ntohs(in6->sin6_port);
	if (in6->sin6_scope_id == 0 || m->ifname)
		return 0;
	if (!if_indextoname(in6->sin6_scope_id, name))
		return error_raise_call(op->error, errno, "if_indextoname", "%s, interface %u", facts_describe(op, f),
					in6->sin6_scope_id);
	m->ifname = arena_strdup(&op->arena, name);
	return m->ifname ? 0 : raise_no_memory(op);
}

int inet_address_dump(struct operation *op, const struct fd_facts *f, InetSkEntry *m)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	int r;

	if (getsockname(f->fd, (struct sockaddr *)&ss, &len) < 0)
		return error_raise_call(op->error, errno, "getsockname", "%s", facts_describe(op, f));
	m->family = ss.ss_family;
	m->n_src_addr = m->n_dst_addr = words_of(ss.ss_family);
	m->dst_port = 0;
	m->src_addr = arena_array(&op->arena, m->n_src_addr, sizeof(uint32_t));
	m->dst_addr = arena_array(&op->arena, m->n_dst_addr, sizeof(uint32_t));
	if (!m->src_addr || !m->dst_addr)
		return raise_no_memory(op);
	r = store(op, f, &ss, m, m->src_addr, &m->src_port);
	len = sizeof(ss);
	/* Not there for listeners, closed ones, and (of all others) while a connection is being made. */
	if (r == 0 && getpeername(f->fd, (struct sockaddr *)&ss, &len) == 0)
		r = store(op, f, &ss, m, m->dst_addr, &m->dst_port);
	return r;
}

bool inet_address_valid(const InetSkEntry *m)
{
	return (m->family == AF_INET || m->family == AF_INET6) && m->n_src_addr == words_of(m->family) &&
	       (m->n_dst_addr == 0 || m->n_dst_addr == words_of(m->family)) && m->src_port <= UINT16_MAX &&
	       m->dst_port <= UINT16_MAX && (!m->ifname || strlen(m->ifname) < IF_NAMESIZE);
}

static void fill(const InetSkEntry *m, const uint32_t *address, uint32_t port, struct sockaddr_storage *ss,
		 socklen_t *ret_len)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = (sa_family_t)m->family;
	if (m->family == AF_INET6) {
		if (address)
			memcpy(&in6->sin6_addr, address, 16);
		in6->sin6_port = htons((uint16_t)port);
		if (m->ifname && (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr) || IN6_IS_ADDR_MC_LINKLOCAL(&in6->sin6_addr) ||
				  IN6_IS_ADDR_MC_NODELOCAL(&in6->sin6_addr)))
			in6->sin6_scope_id = if_nametoindex(m->ifname);
		*ret_len = sizeof(*in6);
	} else {
		if (address)
			memcpy(&in->sin_addr, address, 4);
		in->sin_port = htons((uint16_t)port);
		*ret_len = sizeof(*in);
	}
}

void inet_address_fill(const InetSkEntry *m, struct sockaddr_storage *ss, socklen_t *ret_len)
{
	fill(m, m->src_addr, m->src_port, ss, ret_len);
}

void inet_peer_fill(const InetSkEntry *m, struct sockaddr_storage *ss, socklen_t *ret_len)
{
	fill(m, m->n_dst_addr ? m->dst_addr : NULL, m->dst_port, ss, ret_len);
}

static bool unset(const uint32_t *address, size_t n, uint32_t port)
{
	static const uint32_t any[4];

	return port == 0 && memcmp(address, any, n * sizeof(uint32_t)) == 0;
}

bool inet_address_unset(const InetSkEntry *m)
{
	return unset(m->src_addr, m->n_src_addr, m->src_port);
}

bool inet_peer_unset(const InetSkEntry *m)
{
	return unset(m->dst_addr, m->n_dst_addr, m->dst_port);
}
