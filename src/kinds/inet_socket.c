/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/inet.h"
#include "kinds/ip_options.h"
#include "kinds/registry.h"
#include "kinds/socket.h"
#include "watch/recorder.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/*
 * TCP sockets: listeners, sockets without a connection, and connections.
 *
 * A listener is made in create, but listens in finish only: until then the machine answers with a reset as it does when a
 * server is not up, and no connection can slip in that a failed restore would cut again.
 *
 * What a connection needs beyond files.img is read and written by tcp_dump.c and tcp_restore.c; tcp_hold.c keeps its far end
 * from noticing anything.
 */

static bool inet_recognise(const struct fd_facts *f)
{
	int domain = socket_domain(f);

	return domain == AF_INET || domain == AF_INET6;
}

/* UDP, ping and raw sockets were taken by kinds of their own. */
static int refuse_protocol(struct operation *op, const struct fd_facts *f, int protocol)
{
	if (protocol == IPPROTO_MPTCP) {
		error_raise(op->error, EOPNOTSUPP, "%s: an MPTCP socket is not carried", facts_describe(op, f));
		error_hint(op->error, "Run the program with plain TCP (GODEBUG=multipathtcp=0 for Go, no mptcpize).");
		return -EOPNOTSUPP;
	}
	error_raise(op->error, EOPNOTSUPP, "%s: an IP socket of this protocol is not carried yet", facts_describe(op, f));
	error_hint(op->error, "TCP sockets are; let the program close this one before the dump.");
	return -EOPNOTSUPP;
}

static int inet_check_state(struct operation *op, const struct fd_facts *f, uint32_t *ret_state)
{
	int type, protocol;

	if (socket_get_int(f->fd, SOL_SOCKET, SO_TYPE, &type) < 0 ||
	    socket_get_int(f->fd, SOL_SOCKET, SO_PROTOCOL, &protocol) < 0)
		return error_raise_call(op->error, errno, "getsockopt", "%s", facts_describe(op, f));
	if (type != SOCK_STREAM || protocol != IPPROTO_TCP)
		return refuse_protocol(op, f, protocol);
	return tcp_check(op, f, ret_state);
}

static int inet_check(struct operation *op, const struct fd_facts *f)
{
	uint32_t state;
	int r = socket_check(op, f);

	return r < 0 ? r : inet_check_state(op, f, &state);
}

static int inet_dump(struct operation *op, struct file *f)
{
	InetSkEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int r;

	if (!m)
		return raise_no_memory(op);
	inet_sk_entry__init(m);
	r = inet_check_state(op, &f->facts, &m->state);
	if (r < 0)
		return r;
	m->id = f->id;
	m->ino = (uint32_t)f->facts.st.st_ino;
	m->family = (uint32_t)socket_domain(&f->facts);
	m->type = SOCK_STREAM;
	m->proto = IPPROTO_TCP;
	m->flags = socket_flags(&f->facts);
	if (m->state == TCP_LISTEN && getsockopt(f->facts.fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
		m->backlog = info.tcpi_sacked; /* the limit of its queue */
	r = socket_opts_dump(op, &f->facts, &m->opts);
	if (r == 0)
		r = inet_address_dump(op, &f->facts, m);
	if (r == 0)
		r = inet_options_dump(op, &f->facts, m);
	if (r == 0 && fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		r = raise_no_memory(op);
	f->entry->isk = m;
	return r;
}

/* ---- restore ---- */

static int decode_kind(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	if (m->type == SOCK_STREAM && (m->proto == IPPROTO_TCP || m->proto == 0) &&
	    (m->state == TCP_LISTEN || m->state == TCP_CLOSE || tcp_state_connected(m->state)))
		return 0;
	error_raise(op->error, EOPNOTSUPP,
		    "files.img: file %u: an IP socket of type %u, protocol %u and state %u is not carried yet", f->id,
		    m->type, m->proto, m->state);
	return -EOPNOTSUPP;
}

static void inet_describe(const FileEntry *entry, char *buf, size_t size)
{
	const InetSkEntry *m = entry->isk;
	struct sockaddr_storage ss;
	char here[INET6_ADDRSTRLEN + 16], there[INET6_ADDRSTRLEN + 16] = "";
	socklen_t len;

	if (!m || !inet_address_valid(m))
		return;
	inet_address_fill(m, &ss, &len);
	inet_address_text(&ss, here, sizeof(here));
	if (m->dst_port && m->n_dst_addr) {
		inet_peer_fill(m, &ss, &len);
		inet_address_text(&ss, there, sizeof(there));
	}
	(void)snprintf(buf, size, "%s %s%s%s, %s",
		       m->type == SOCK_STREAM  ? "TCP"
		       : m->type == SOCK_DGRAM ? "UDP"
					       : "IP",
		       here, there[0] ? " → " : "", there, tcp_state_name(m->state));
}

static int inet_decode(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;
	char text[128] = "IP socket";
	int r;

	if (!m || m->id != f->id || !m->opts || !m->fown)
		return raise_damaged(op, f, "the IP socket");
	r = decode_kind(op, f, m);
	if (r == 0 && m->state == TCP_LISTEN && m->backlog > INT32_MAX)
		r = raise_damaged(op, f, "the IP socket");
	if (r == 0 && !inet_address_valid(m))
		r = raise_damaged(op, f, "the address of an IP socket");
	if (r == 0)
		r = inet_options_decode(op, f, m);
	if (r == 0)
		r = socket_opts_decode(op, f, m->opts);
	if (r < 0)
		return r;
	inet_describe(f->entry, text, sizeof(text));
	f->describe = arena_strdup(&op->arena, text);
	if (!f->describe)
		return raise_no_memory(op);
	return m->state == TCP_LISTEN ? 0 : tcp_decode(op, f, m);
}

static int inet_create(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;
	static const uint32_t any[4];
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	/* Before the first of them exists. */
	r = tcp_lock_all(op);
	if (r < 0)
		return r;
	f->fd = socket((int)m->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (f->fd < 0)
		return error_raise_call(op->error, errno, "socket", "%s", f->describe);
	r = socket_opts_before_bind(op, f->fd, m->opts, f->describe);
	if (r == 0)
		r = ip_options_apply(op, f, m);
	if (r == 0 && f->state)
		r = inet_set_int(op, f, IPPROTO_TCP, TCP_REPAIR, "TCP_REPAIR",
				 1); /* it also lets bind() share any port */
	if (r < 0)
		return r;
	/* --tcp-close: without its port, and at the end of both directions. The call says ENOTCONN, and does it. */
	if (!f->state && tcp_state_connected(m->state)) {
		(void)shutdown(f->fd, SHUT_RDWR);
		return 0;
	}
	if (m->src_port == 0 && memcmp(m->src_addr, any, m->n_src_addr * sizeof(uint32_t)) == 0 && !f->state)
		return 0;
	if (!f->state)
		return tcp_port_bind(op, f, m);
	inet_address_fill(m, &ss, &len);
	if (bind(f->fd, (const struct sockaddr *)&ss, len) < 0) {
		error_raise_call(op->error, errno, "bind", "%s", f->describe);
		if (op->error->number == EADDRNOTAVAIL)
			error_hint(op->error, "This machine does not have that address: add it to an interface first.");
		return -op->error->number;
	}
	return tcp_create(op, f, m);
}

static int inet_finish(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;
	int r;

	/* Options first, for connections take them over; but listen() looks for conflicts once more, so SO_REUSEADDR, which
	 * create had set, may only be cleared after it. */
	bool late = m->state == TCP_LISTEN && m->opts->reuseaddr, early = m->state == TCP_LISTEN && !late;

	r = inet_options_apply(op, f, m);
	if (r == 0 && !f->state)
		r = ip_options_apply_late(op, f, m);
	if (r == 0 && early)
		r = tcp_port_listen(op, f, m);
	if (r == 0)
		r = socket_opts_apply(op, f->fd, m->opts, f->describe);
	/* SO_REUSEADDR was set, which ends the sharing of any port: the listener of this port may come after. */
	if (r == 0 && f->state)
		r = inet_set_int(op, f, IPPROTO_TCP, TCP_REPAIR, "TCP_REPAIR", 1);
	if (r == 0 && late)
		r = tcp_port_listen(op, f, m);
	if (r == 0)
		r = file_set_flags(op, f, m->flags);
	return r == 0 ? fown_apply(op, f->fd, m->fown, f->describe) : r;
}

const struct kind kind_inet_socket = {
	.name = "IP socket",
	.type = FD_TYPES__INETSK,
	.recognise = inet_recognise,
	.check = inet_check,
	.dump = inet_dump,
	.dump_all = tcp_dump_all,
	.part = tcp_part,
	.decode = inet_decode,
	.create = inet_create,
	.finish = inet_finish,
	.go_all = tcp_go_all,
	.describe = inet_describe,
};
