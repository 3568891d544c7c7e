/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "kinds/common.h"
#include "kinds/ip_datagram.h"
#include "kinds/registry.h"

/*
 * Raw IP sockets. Beyond what all datagram sockets have: IP_HDRINCL, IP_NODEFRAG, IP_CHECKSUM, and the filters of ICMP
 * and ICMPv6, which the image has in one list of 32-bit words.
 */
#define ICMP6_WORDS 8u

static bool raw_recognise(const struct fd_facts *f)
{
	int type, protocol;

	return ip_socket_is(f, &type, &protocol) && type == SOCK_RAW;
}

static int raw_check(struct operation *op, const struct fd_facts *f)
{
	int r = socket_check(op, f);

	return r == 0 ? ip_datagram_check_error(op, f) : r;
}

static int dump_filter(struct operation *op, int fd, const InetSkEntry *m, IpOptsRawEntry *raw)
{
	bool v6 = m->family == AF_INET6;
	uint32_t words[ICMP6_WORDS] = { 0 };
	socklen_t len = v6 ? sizeof(words) : sizeof(uint32_t);

	if (m->proto != (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return 0;
	if (getsockopt(fd, v6 ? IPPROTO_ICMPV6 : SOL_RAW, v6 ? ICMP6_FILTER : ICMP_FILTER, words, &len) < 0)
		return 0;
	raw->n_icmpv_filter = len / sizeof(uint32_t);
	raw->icmpv_filter = arena_memdup(&op->arena, words, sizeof(words));
	return raw->icmpv_filter ? 0 : raise_no_memory(op);
}

static int raw_dump(struct operation *op, struct file *f)
{
	IpOptsRawEntry *raw = arena_alloc(&op->arena, sizeof(*raw));
	int fd = f->facts.fd, r;
	InetSkEntry *m;

	if (!raw)
		return raise_no_memory(op);
	r = ip_datagram_dump(op, f);
	if (r < 0)
		return r;
	m = f->entry->isk;
	ip_opts_raw_entry__init(raw);
	if (m->family == AF_INET) {
		raw->has_hdrincl = raw->hdrincl = socket_is_on(fd, IPPROTO_IP, IP_HDRINCL);
		raw->has_nodefrag = raw->nodefrag = socket_is_on(fd, IPPROTO_IP, IP_NODEFRAG);
		raw->has_checksum = raw->checksum = socket_is_on(fd, IPPROTO_IP, IP_CHECKSUM);
	}
	m->ip_opts->raw = raw;
	return dump_filter(op, fd, m, raw);
}

/* ---- restore ---- */

static bool raw_owns(const FileEntry *entry)
{
	return entry->isk && entry->isk->type == SOCK_RAW;
}

static int raw_decode(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;

	if (m && m->ip_opts && m->ip_opts->raw && m->ip_opts->raw->n_icmpv_filter > ICMP6_WORDS)
		return raise_damaged(op, f, "the filter of a raw socket");
	return ip_datagram_decode(op, f);
}

static int raw_create(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;
	bool v6 = m->family == AF_INET6;
	const IpOptsRawEntry *raw = m->ip_opts ? m->ip_opts->raw : NULL;
	int r;

	r = ip_datagram_create(op, f);
	if (r < 0 || !raw || raw->n_icmpv_filter == 0)
		return r;
	if (setsockopt(f->fd, v6 ? IPPROTO_ICMPV6 : SOL_RAW, v6 ? ICMP6_FILTER : ICMP_FILTER, raw->icmpv_filter,
		       (socklen_t)(raw->n_icmpv_filter * sizeof(uint32_t))) < 0)
		return error_raise_call(op->error, errno, "setsockopt(ICMP_FILTER)", "%s", f->describe);
	return 0;
}

static int raw_finish(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;
	const IpOptsRawEntry *raw = m->ip_opts ? m->ip_opts->raw : NULL;
	const struct {
		const char *name;
		int option, on;
	} flags[] = {
		{ "IP_HDRINCL", IP_HDRINCL, raw && raw->has_hdrincl && raw->hdrincl },
		{ "IP_NODEFRAG", IP_NODEFRAG, raw && raw->has_nodefrag && raw->nodefrag },
		{ "IP_CHECKSUM", IP_CHECKSUM, raw && raw->has_checksum && raw->checksum },
	};

	for (size_t i = 0; m->family == AF_INET && i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (socket_is_on(f->fd, IPPROTO_IP, flags[i].option) != (flags[i].on != 0) &&
		    setsockopt(f->fd, IPPROTO_IP, flags[i].option, &flags[i].on, sizeof(flags[i].on)) < 0)
			return error_raise_call(op->error, errno, "setsockopt", "%s, %s", f->describe, flags[i].name);
	}
	return ip_datagram_finish(op, f);
}

static void raw_describe(const FileEntry *entry, char *buf, size_t size)
{
	const InetSkEntry *m = entry->isk;

	if (!m || !inet_address_valid(m))
		return;
	(void)snprintf(buf, size, "raw IPv%d socket of protocol %u%s", m->family == AF_INET6 ? 6 : 4, m->proto,
		       m->state == TCP_ESTABLISHED ? ", connected" : "");
}

const struct kind kind_raw_socket = {
	.name = "raw IP socket",
	.type = FD_TYPES__INETSK,
	.recognise = raw_recognise,
	.check = raw_check,
	.dump = raw_dump,
	.owns = raw_owns,
	.decode = raw_decode,
	.create = raw_create,
	.finish = raw_finish,
	.describe = raw_describe,
};
