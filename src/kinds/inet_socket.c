/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/inet_address.h"
#include "kinds/registry.h"
#include "kinds/socket.h"
#include "watch/recorder.h"

/*
 * TCP sockets that are nobody's connection: listening, or not connected yet. Every other one is refused by name, as are
 * connections that wait to be accepted.
 *
 * The listener is made in create, but listens in finish only: until then the machine answers with a reset as it does
 * when a server is not up, and no connection can slip in that a failed restore would cut again.
 */

#define TCP_KEEP_MAX 32767u    /* man 7 tcp: the kernel's bounds for keepalive times; probes end at 127 */

static bool inet_recognise(const struct fd_facts *f)
{
	int domain = socket_domain(f);

	return domain == AF_INET || domain == AF_INET6;
}

static int get_int(int fd, int level, int option, int *ret)
{
	socklen_t len = sizeof(*ret);

	return getsockopt(fd, level, option, ret, &len) < 0 ? -errno : 0;
}

static const char *const state_names[] = {
	"in an unknown state", "established", "connecting (SYN_SENT)", "being connected (SYN_RECV)", "closing (FIN_WAIT1)",
	"closing (FIN_WAIT2)", "closing (TIME_WAIT)", "closed", "closing (CLOSE_WAIT)", "closing (LAST_ACK)",
	"listening", "closing",
};

static int check_state(struct operation *op, const struct fd_facts *f)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	const char *state;

	if (getsockopt(f->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return error_raise_call(op->error, errno, "getsockopt(TCP_INFO)", "%s", facts_describe(op, f));
	/* For a listener the kernel puts the length of its queue into tcpi_unacked. */
	if (info.tcpi_state == TCP_LISTEN && info.tcpi_unacked > 0) {
		error_raise(op->error, EOPNOTSUPP, "%s: %u connection(s) wait to be accepted on %s, which is not carried yet",
			    facts_describe(op, f), info.tcpi_unacked, inet_ends_text(op, f->fd));
		error_hint(op->error, "Let the program accept them, then dump again.");
		return -EOPNOTSUPP;
	}
	if (info.tcpi_state == TCP_LISTEN || info.tcpi_state == TCP_CLOSE)
		return 0;
	state = state_names[info.tcpi_state < ARRAY_SIZE(state_names) ? info.tcpi_state : 0];
	error_raise(op->error, EOPNOTSUPP, "%s: TCP connection %s is %s", facts_describe(op, f), inet_ends_text(op, f->fd), state);
	error_hint(op->error, "Connections (--tcp-established) are not carried yet: close it before the dump.");
	return -EOPNOTSUPP;
}

static int inet_check(struct operation *op, const struct fd_facts *f)
{
	int type, protocol, r;

	r = socket_check(op, f);
	if (r < 0)
		return r;
	if (get_int(f->fd, SOL_SOCKET, SO_TYPE, &type) < 0 || get_int(f->fd, SOL_SOCKET, SO_PROTOCOL, &protocol) < 0)
		return error_raise_call(op->error, errno, "getsockopt", "%s", facts_describe(op, f));
	if (type == SOCK_STREAM && protocol == IPPROTO_TCP)
		return check_state(op, f);
	error_raise(op->error, EOPNOTSUPP, "%s: %s is not carried yet", facts_describe(op, f),
		    type == SOCK_DGRAM && protocol == IPPROTO_UDP ? "a UDP socket" :
		    type == SOCK_RAW ? "a raw IP socket" : "an IP socket of this protocol");
	error_hint(op->error, "TCP listeners are; let the program close this one before the dump.");
	return -EOPNOTSUPP;
}

static int dump_ip(struct operation *op, const struct fd_facts *f, InetSkEntry *m)
{
	IpOptsEntry *ip = arena_alloc(&op->arena, sizeof(*ip));
	bool v6 = m->family == AF_INET6;
	int value, r;

	if (!ip)
		return raise_no_memory(op);
	ip_opts_entry__init(ip);
	m->ip_opts = ip;
	if (v6) {
		r = get_int(f->fd, IPPROTO_IPV6, IPV6_V6ONLY, &value);
		if (r < 0)
			return error_raise_call(op->error, -r, "getsockopt(IPV6_V6ONLY)", "%s", facts_describe(op, f));
		m->has_v6only = true;
		m->v6only = value != 0;
	}
	if (get_int(f->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_FREEBIND : IP_FREEBIND, &value) == 0) {
		ip->has_freebind = true;
		ip->freebind = value != 0;
	}
	/* Only what differs from a fresh socket: CRIU 4.1 sets what it finds. */
	if (get_int(f->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, &value) == 0 && value > 0) {
		ip->has_tos = true;
		ip->tos = (uint32_t)value;
	}
	return 0;
}

/* What accepted connections take over from their listener. Zero stands for what a fresh socket has. */
static const struct {
	const char *name;
	int option;
	size_t has, field;
	uint32_t max;
} tcp_options[] = {
#define TCP_OPTION(OPT, FIELD, MAX) \
	{ #OPT, OPT, offsetof(InetSkEntry, has_##FIELD), offsetof(InetSkEntry, FIELD), MAX }
	TCP_OPTION(TCP_DEFER_ACCEPT, firn_defer_accept, INT32_MAX),
	TCP_OPTION(TCP_FASTOPEN, firn_fastopen, INT32_MAX),
	TCP_OPTION(TCP_USER_TIMEOUT, firn_user_timeout, INT32_MAX),
};

static void take_int(int fd, int option, protobuf_c_boolean *has, uint32_t *ret)
{
	int value;

	*has = get_int(fd, IPPROTO_TCP, option, &value) == 0 && value > 0;
	if (*has)
		*ret = (uint32_t)value;
}

static int dump_tcp(struct operation *op, const struct fd_facts *f, InetSkEntry *m)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	TcpOptsEntry *tcp = arena_alloc(&op->arena, sizeof(*tcp));
	int value;

	if (!tcp)
		return raise_no_memory(op);
	if (getsockopt(f->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return error_raise_call(op->error, errno, "getsockopt(TCP_INFO)", "%s", facts_describe(op, f));
	m->state = info.tcpi_state;
	if (info.tcpi_state == TCP_LISTEN)
		m->backlog = info.tcpi_sacked;    /* the limit of its queue */
	tcp_opts_entry__init(tcp);
	take_int(f->fd, TCP_KEEPCNT, &m->opts->has_tcp_keepcnt, &m->opts->tcp_keepcnt);
	take_int(f->fd, TCP_KEEPIDLE, &m->opts->has_tcp_keepidle, &m->opts->tcp_keepidle);
	take_int(f->fd, TCP_KEEPINTVL, &m->opts->has_tcp_keepintvl, &m->opts->tcp_keepintvl);
	if (get_int(f->fd, IPPROTO_TCP, TCP_NODELAY, &value) == 0 && value) {
		tcp->has_nodelay = tcp->nodelay = true;
		m->tcp_opts = tcp;
	}
	for (size_t i = 0; i < ARRAY_SIZE(tcp_options); i++)
		take_int(f->fd, tcp_options[i].option, (protobuf_c_boolean *)((char *)m + tcp_options[i].has),
			 (uint32_t *)((char *)m + tcp_options[i].field));
	return 0;
}

static int inet_dump(struct operation *op, struct file *f)
{
	InetSkEntry *m = arena_alloc(&op->arena, sizeof(*m));
	int r;

	if (!m)
		return raise_no_memory(op);
	inet_sk_entry__init(m);
	r = inet_check(op, &f->facts);
	if (r < 0)
		return r;
	m->id = f->id;
	m->ino = (uint32_t)f->facts.st.st_ino;
	m->type = SOCK_STREAM;
	m->proto = IPPROTO_TCP;
	m->flags = socket_flags(&f->facts);
	r = socket_opts_dump(op, &f->facts, &m->opts);
	if (r == 0)
		r = inet_address_dump(op, &f->facts, m);
	if (r == 0)
		r = dump_ip(op, &f->facts, m);
	if (r == 0)
		r = dump_tcp(op, &f->facts, m);
	if (r == 0 && fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		r = raise_no_memory(op);
	f->entry->isk = m;
	return r;
}

/* ---- restore ---- */

static int decode_kind(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	if (m->type == SOCK_STREAM && (m->proto == IPPROTO_TCP || m->proto == 0) &&
	    (m->state == TCP_LISTEN || m->state == TCP_CLOSE))
		return 0;
	if (m->type == SOCK_STREAM && m->state < ARRAY_SIZE(state_names)) {
		error_raise(op->error, EOPNOTSUPP, "files.img: file %u: a TCP socket that is %s", f->id, state_names[m->state]);
		error_hint(op->error, "Connections (--tcp-established) are not carried yet.");
		return -EOPNOTSUPP;
	}
	error_raise(op->error, EOPNOTSUPP, "files.img: file %u: an IP socket of type %u and protocol %u is not carried yet", f->id,
		    m->type, m->proto);
	return -EOPNOTSUPP;
}

static void inet_describe(const FileEntry *entry, char *buf, size_t size)
{
	const InetSkEntry *m = entry->isk;
	struct sockaddr_storage ss;
	char text[INET_ADDRESS_TEXT];
	socklen_t len;

	if (!m || !inet_address_valid(m))
		return;
	inet_address_fill(m, &ss, &len);
	inet_address_text(&ss, text, sizeof(text));
	(void)snprintf(buf, size, "%s %s, %s", m->type == SOCK_STREAM ? "TCP" : m->type == SOCK_DGRAM ? "UDP" : "IP", text,
		       state_names[m->state < ARRAY_SIZE(state_names) ? m->state : 0]);
}

static int inet_decode(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;
	char text[128] = "IP socket";
	int r;

	if (!m || m->id != f->id || !m->opts || !m->fown || m->backlog > INT32_MAX)
		return raise_damaged(op, f, "the IP socket");
	if (!inet_address_valid(m))
		return raise_damaged(op, f, "the address of an IP socket");
	if (m->ip_opts && ((m->ip_opts->has_tos && m->ip_opts->tos > 255) || (m->ip_opts->has_ttl && m->ip_opts->ttl > 255)))
		return raise_damaged(op, f, "an option of an IP socket");
	if (m->opts->tcp_keepcnt > 127 || (m->tcp_opts && (m->tcp_opts->keepcnt > 127 || m->tcp_opts->keepidle > TCP_KEEP_MAX ||
							   m->tcp_opts->keepintvl > TCP_KEEP_MAX)) || m->opts->tcp_keepidle > TCP_KEEP_MAX || m->opts->tcp_keepintvl > TCP_KEEP_MAX)
		return raise_damaged(op, f, "a keepalive option of a TCP socket");
	r = decode_kind(op, f, m);
	if (r == 0)
		r = socket_opts_decode(op, f, m->opts);
	if (r < 0)
		return r;
	inet_describe(f->entry, text, sizeof(text));
	f->describe = arena_strdup(&op->arena, text);
	return f->describe ? 0 : raise_no_memory(op);
}

static int set_int(struct operation *op, const struct file *f, int level, int option, const char *name, int value)
{
	if (setsockopt(f->fd, level, option, &value, sizeof(value)) < 0)
		return error_raise_call(op->error, errno, "setsockopt", "%s, %s", f->describe, name);
	return 0;
}

static int apply_ip(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	bool v6 = m->family == AF_INET6;
	int r = 0;

	if (v6 && m->has_v6only)
		r = set_int(op, f, IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY", m->v6only);
	if (r == 0 && m->ip_opts && m->ip_opts->has_freebind && m->ip_opts->freebind)
		r = set_int(op, f, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_FREEBIND : IP_FREEBIND, "IP_FREEBIND", 1);
	if (r == 0 && m->ip_opts && m->ip_opts->has_tos && m->ip_opts->tos)
		r = set_int(op, f, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, "IP_TOS", (int)m->ip_opts->tos);
	return r;
}

static int raise_bind(struct operation *op, const struct file *f, int number)
{
	error_raise_call(op->error, number, "bind", "%s", f->describe);
	if (number == EADDRINUSE)
		error_hint(op->error, "Another process has that port: end it first (ss -tlnp names it).");
	else if (number == EADDRNOTAVAIL)
		error_hint(op->error, "This machine does not have that address: add it to an interface first.");
	return -number;
}

static int inet_create(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;
	struct sockaddr_storage ss;
	int reuse = 1, r;
	socklen_t len;

	f->fd = socket((int)m->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (f->fd < 0)
		return error_raise_call(op->error, errno, "socket", "%s", f->describe);
	r = socket_opts_before_bind(op, f->fd, m->opts, f->describe);
	if (r == 0)
		r = apply_ip(op, f, m);
	if (r < 0)
		return r;
	if (inet_address_unset(m))
		return 0;
	/* Connections of the time before, in TIME_WAIT, must not keep the port from its owner; finish puts this back. */
	(void)setsockopt(f->fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
	inet_address_fill(m, &ss, &len);
	if (bind(f->fd, (const struct sockaddr *)&ss, len) < 0)
		return raise_bind(op, f, errno);
	return 0;
}

static int apply_tcp(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	const SkOptsEntry *o = m->opts;
	const TcpOptsEntry *t = m->tcp_opts;
	uint32_t count = t && t->has_keepcnt ? t->keepcnt : o->tcp_keepcnt;
	uint32_t idle = t && t->has_keepidle ? t->keepidle : o->tcp_keepidle;
	uint32_t interval = t && t->has_keepintvl ? t->keepintvl : o->tcp_keepintvl;
	int r = 0;

	if (count)
		r = set_int(op, f, IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT", (int)count);
	if (r == 0 && idle)
		r = set_int(op, f, IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE", (int)idle);
	if (r == 0 && interval)
		r = set_int(op, f, IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL", (int)interval);
	if (r == 0 && t && t->nodelay)
		r = set_int(op, f, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY", 1);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(tcp_options); i++) {
		uint32_t value = *(const uint32_t *)((const char *)m + tcp_options[i].field);

		if (*(const protobuf_c_boolean *)((const char *)m + tcp_options[i].has) && value)
			r = set_int(op, f, IPPROTO_TCP, tcp_options[i].option, tcp_options[i].name, (int)value);
	}
	return r;
}

static int inet_finish(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;
	int r;

	/* Options first, for connections take them over; but listen() looks for conflicts once more, so SO_REUSEADDR, which
	 * create had set, may only be cleared after it. */
	bool late = m->state == TCP_LISTEN && m->opts->reuseaddr, early = m->state == TCP_LISTEN && !late;

	r = apply_tcp(op, f, m);
	if (r == 0 && early && listen(f->fd, (int)m->backlog) < 0)
		return raise_bind(op, f, errno);
	if (r == 0)
		r = socket_opts_apply(op, f->fd, m->opts, f->describe);
	if (r == 0 && late && listen(f->fd, (int)m->backlog) < 0)
		return raise_bind(op, f, errno);
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
	.decode = inet_decode,
	.create = inet_create,
	.finish = inet_finish,
	.describe = inet_describe,
};
