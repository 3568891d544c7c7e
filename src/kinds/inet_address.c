/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/inet.h"

/* The two ends of an IP socket: as text, in the image (words in network order, ports as numbers), and for the calls. */

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
	char here[INET6_ADDRSTRLEN + 16] = "", there[INET6_ADDRSTRLEN + 16] = "";
	const char *text;

	if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
		inet_address_text(&ss, here, sizeof(here));
	len = sizeof(ss);
	if (getpeername(fd, (struct sockaddr *)&ss, &len) == 0)
		inet_address_text(&ss, there, sizeof(there));
	text = arena_printf(&op->arena, "%s%s%s", here, there[0] ? " → " : "", there);
	return text ? text : "";
}

/* The interface that a link-local address belongs to goes by its name: numbers differ on another machine. */
static int dump_scope(struct operation *op, const struct fd_facts *f, InetSkEntry *m, uint32_t scope)
{
	char name[IF_NAMESIZE];

	if (scope == 0 || m->ifname)
		return 0;
	if (!if_indextoname(scope, name))
		return error_raise_call(op->error, errno, "if_indextoname", "%s, interface %u", facts_describe(op, f),
					scope);
	m->ifname = arena_strdup(&op->arena, name);
	return m->ifname ? 0 : raise_no_memory(op);
}

static int take_address(struct operation *op, const struct fd_facts *f, InetSkEntry *m,
			const struct sockaddr_storage *ss, uint32_t *ret_words, uint32_t *ret_port)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

	if (ss->ss_family == AF_INET6) {
		memcpy(ret_words, &in6->sin6_addr, 16);
		*ret_port = ntohs(in6->sin6_port);
		return dump_scope(op, f, m, in6->sin6_scope_id);
	}
	memcpy(ret_words, &in->sin_addr, 4);
	*ret_port = ntohs(in->sin_port);
	return 0;
}

int inet_dump_addresses(struct operation *op, const struct fd_facts *f, InetSkEntry *m)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	int r;

	m->dst_port = 0;
	m->n_src_addr = m->n_dst_addr = m->family == AF_INET6 ? 4 : 1;
	m->src_addr = arena_array(&op->arena, m->n_src_addr, sizeof(uint32_t));
	m->dst_addr = arena_array(&op->arena, m->n_dst_addr, sizeof(uint32_t));
	if (!m->src_addr || !m->dst_addr)
		return raise_no_memory(op);
	if (getsockname(f->fd, (struct sockaddr *)&ss, &len) < 0)
		return error_raise_call(op->error, errno, "getsockname", "%s", facts_describe(op, f));
	r = take_address(op, f, m, &ss, m->src_addr, &m->src_port);
	len = sizeof(ss);
	/* Not there for listeners, closed ones, and (of all others) while a connection is being made. */
	if (r == 0 && getpeername(f->fd, (struct sockaddr *)&ss, &len) == 0)
		r = take_address(op, f, m, &ss, m->dst_addr, &m->dst_port);
	return r;
}

int inet_decode_addresses(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	size_t words = m->family == AF_INET6 ? 4 : 1;

	if ((m->family != AF_INET && m->family != AF_INET6) || m->n_src_addr != words || m->src_port > UINT16_MAX ||
	    (m->n_dst_addr != 0 && m->n_dst_addr != words) || m->dst_port > UINT16_MAX)
		return raise_damaged(op, f, "the address of an IP socket");
	return 0;
}

static socklen_t fill(const InetSkEntry *m, const uint32_t *words, size_t n, uint32_t port, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = (sa_family_t)m->family;
	if (m->family == AF_INET6) {
		if (n == 4)
			memcpy(&in6->sin6_addr, words, 16);
		in6->sin6_port = htons((uint16_t)port);
		if (m->ifname && IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
			in6->sin6_scope_id = if_nametoindex(m->ifname);
		return sizeof(*in6);
	}
	if (n == 1)
		memcpy(&in->sin_addr, words, 4);
	in->sin_port = htons((uint16_t)port);
	return sizeof(*in);
}

socklen_t inet_fill_local(const InetSkEntry *m, struct sockaddr_storage *ret)
{
	return fill(m, m->src_addr, m->n_src_addr, m->src_port, ret);
}

socklen_t inet_fill_remote(const InetSkEntry *m, struct sockaddr_storage *ret)
{
	return fill(m, m->dst_addr, m->n_dst_addr, m->dst_port, ret);
}

void inet_fill_ends(const InetSkEntry *m, struct tcp_ends *ret)
{
	bool mapped = m->family == AF_INET6 && m->n_src_addr == 4 &&
		      IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)m->src_addr);

	*ret = (struct tcp_ends){ .family = mapped ? AF_INET : (int)m->family,
				  .local_port = (uint16_t)m->src_port,
				  .remote_port = (uint16_t)m->dst_port };
	if (mapped) {
		memcpy(ret->local, &m->src_addr[3], 4);
		memcpy(ret->remote, &m->dst_addr[3], 4);
	} else {
		memcpy(ret->local, m->src_addr, m->n_src_addr * sizeof(uint32_t));
		memcpy(ret->remote, m->dst_addr, m->n_dst_addr * sizeof(uint32_t));
	}
}
