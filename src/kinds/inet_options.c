/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/inet.h"
#include "kinds/ip_options.h"
#include "kinds/usual_socket.h"

#ifndef TCP_INQ
#define TCP_INQ 36 /* Linux 4.18 */
#endif

#define TCP_KEEP_MAX 32767u /* man 7 tcp: the kernel's bounds for keepalive times; probes end at 127 */
#define CONGESTION_MAX 16   /* the kernel's TCP_CA_NAME_MAX */

/*
 * Options at the level of TCP; those of IP are in ip_options.c. Many have a default of the machine's (sysctl), or one that the kernel itself moves:
 * what a fresh socket has as well is not written, so that a restore elsewhere gives the defaults from there.
 */
struct int_option {
	const char *name;
	int level, option;
	size_t has, field;
	bool of_connections; /* told truly by a connection, too, not only by what has none */
};

#define OPTION(LEVEL, OPT, FIELD, CONNECTIONS)                                                          \
	{                                                                                               \
		.name = #OPT, .level = LEVEL, .option = OPT, .has = offsetof(InetSkEntry, has_##FIELD), \
		.field = offsetof(InetSkEntry, FIELD), .of_connections = CONNECTIONS,                   \
	}

static const struct int_option int_options[] = {
	OPTION(IPPROTO_TCP, TCP_DEFER_ACCEPT, firn_defer_accept, true),
	OPTION(IPPROTO_TCP, TCP_FASTOPEN, firn_fastopen, true),
	OPTION(IPPROTO_TCP, TCP_USER_TIMEOUT, firn_user_timeout, true),
	OPTION(IPPROTO_TCP, TCP_LINGER2, firn_linger2, true),
	OPTION(IPPROTO_TCP, TCP_SYNCNT, firn_syncnt, true),
	OPTION(IPPROTO_TCP, TCP_NOTSENT_LOWAT, firn_notsent_lowat, true),
	OPTION(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, firn_thin_timeouts, true),
	OPTION(IPPROTO_TCP, TCP_QUICKACK, firn_quickack, true),
	OPTION(IPPROTO_TCP, TCP_SAVE_SYN, firn_save_syn, true),
	OPTION(IPPROTO_TCP, TCP_INQ, firn_inq, true),
	/* A connection tells what it uses, which need not be what was asked for. */
	OPTION(IPPROTO_TCP, TCP_MAXSEG, firn_maxseg, false),
	OPTION(IPPROTO_TCP, TCP_WINDOW_CLAMP, firn_window_clamp, false),
};

static protobuf_c_boolean *has_of(const InetSkEntry *m, const struct int_option *o)
{
	return (protobuf_c_boolean *)((char *)m + o->has);
}

static int32_t *field_of(const InetSkEntry *m, const struct int_option *o)
{
	return (int32_t *)((char *)m + o->field);
}

/* ---- dump ---- */

static void dump_ints(struct operation *op, const struct fd_facts *f, InetSkEntry *m, struct usual_socket *fresh)
{
	bool connection = m->state != TCP_LISTEN && (m->state != TCP_CLOSE || tcp_socket_ended(f->fd, m->state));

	for (size_t i = 0; i < ARRAY_SIZE(int_options); i++) {
		const struct int_option *o = &int_options[i];
		int value, usual;

		if ((connection && !o->of_connections) || socket_get_int(f->fd, o->level, o->option, &value) < 0 ||
		    usual_get_int(op, fresh, o->level, o->option, &usual) < 0 || value == usual)
			continue;
		*has_of(m, o) = true;
		*field_of(m, o) = value;
	}
}

static int dump_congestion(struct operation *op, const struct fd_facts *f, InetSkEntry *m,
			   const struct usual_socket *fresh)
{
	char name[CONGESTION_MAX + 1] = "", usual[CONGESTION_MAX + 1] = "";
	socklen_t len = CONGESTION_MAX, usual_len = CONGESTION_MAX;

	if (getsockopt(f->fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) < 0 ||
	    getsockopt(fresh->fd, IPPROTO_TCP, TCP_CONGESTION, usual, &usual_len) < 0 || strcmp(name, usual) == 0)
		return 0;
	m->firn_congestion = arena_strdup(&op->arena, name);
	return m->firn_congestion ? 0 : raise_no_memory(op);
}

static void take_int(int fd, int option, protobuf_c_boolean *has, uint32_t *ret)
{
	int value;

	*has = socket_get_int(fd, IPPROTO_TCP, option, &value) == 0 && value > 0;
	if (*has)
		*ret = (uint32_t)value;
}

static int dump_tcp(struct operation *op, const struct fd_facts *f, InetSkEntry *m)
{
	TcpOptsEntry *tcp = arena_alloc(&op->arena, sizeof(*tcp));
	int value;

	if (!tcp)
		return raise_no_memory(op);
	tcp_opts_entry__init(tcp);
	take_int(f->fd, TCP_KEEPCNT, &m->opts->has_tcp_keepcnt, &m->opts->tcp_keepcnt);
	take_int(f->fd, TCP_KEEPIDLE, &m->opts->has_tcp_keepidle, &m->opts->tcp_keepidle);
	take_int(f->fd, TCP_KEEPINTVL, &m->opts->has_tcp_keepintvl, &m->opts->tcp_keepintvl);
	if (socket_get_int(f->fd, IPPROTO_TCP, TCP_NODELAY, &value) == 0 && value) {
		tcp->has_nodelay = tcp->nodelay = true;
		m->tcp_opts = tcp;
	}
	if (socket_get_int(f->fd, IPPROTO_TCP, TCP_CORK, &value) == 0 && value) {
		tcp->has_cork = tcp->cork = true;
		m->tcp_opts = tcp;
	}
	return 0;
}

int inet_options_dump(struct operation *op, const struct fd_facts *f, InetSkEntry *m)
{
	int number, r;
	struct usual_socket *fresh = usual_socket(op, (int)m->family, SOCK_STREAM, IPPROTO_TCP, &number);

	if (!fresh)
		return error_raise_call(op->error, number, "socket", "a socket to compare with");
	r = ip_options_dump(op, f, m);
	if (r == 0)
		r = dump_tcp(op, f, m);
	if (r < 0)
		return r;
	dump_ints(op, f, m, fresh);
	return dump_congestion(op, f, m, fresh);
}

/* ---- restore ---- */

int inet_options_decode(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	const SkOptsEntry *o = m->opts;
	const TcpOptsEntry *t = m->tcp_opts;

	if (o->tcp_keepcnt > 127 || o->tcp_keepidle > TCP_KEEP_MAX || o->tcp_keepintvl > TCP_KEEP_MAX ||
	    (t && (t->keepcnt > 127 || t->keepidle > TCP_KEEP_MAX || t->keepintvl > TCP_KEEP_MAX)))
		return raise_damaged(op, f, "a keepalive option of a TCP socket");
	if (m->firn_congestion && strlen(m->firn_congestion) >= CONGESTION_MAX)
		return raise_damaged(op, f, "the congestion control of a TCP socket");
	return ip_options_decode(op, f, m);
}

int inet_set_int(struct operation *op, const struct file *f, int level, int option, const char *name, int value)
{
	if (setsockopt(f->fd, level, option, &value, sizeof(value)) < 0)
		return error_raise_call(op->error, errno, "setsockopt", "%s, %s", f->describe, name);
	return 0;
}

static int apply_congestion(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	if (!m->firn_congestion)
		return 0;
	if (setsockopt(f->fd, IPPROTO_TCP, TCP_CONGESTION, m->firn_congestion, (socklen_t)strlen(m->firn_congestion)) <
	    0) {
		error_raise_call(op->error, errno, "setsockopt(TCP_CONGESTION)", "%s, %s", f->describe,
				 m->firn_congestion);
		error_hint(op->error, "Load that congestion control first: modprobe tcp_%s", m->firn_congestion);
		return -op->error->number;
	}
	return 0;
}

static int apply_keepalive(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	const SkOptsEntry *o = m->opts;
	const TcpOptsEntry *t = m->tcp_opts;
	uint32_t count = t && t->has_keepcnt ? t->keepcnt : o->tcp_keepcnt;
	uint32_t idle = t && t->has_keepidle ? t->keepidle : o->tcp_keepidle;
	uint32_t interval = t && t->has_keepintvl ? t->keepintvl : o->tcp_keepintvl;
	int r = 0;

	if (count)
		r = inet_set_int(op, f, IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT", (int)count);
	if (r == 0 && idle)
		r = inet_set_int(op, f, IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE", (int)idle);
	if (r == 0 && interval)
		r = inet_set_int(op, f, IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL", (int)interval);
	return r;
}

int inet_options_apply(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	const TcpOptsEntry *t = m->tcp_opts;
	int r = apply_keepalive(op, f, m);

	if (r == 0 && t && t->nodelay)
		r = inet_set_int(op, f, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY", 1);
	if (r == 0 && t && t->cork)
		r = inet_set_int(op, f, IPPROTO_TCP, TCP_CORK, "TCP_CORK", 1);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(int_options); i++) {
		const struct int_option *o = &int_options[i];

		if (*has_of(m, o))
			r = inet_set_int(op, f, o->level, o->option, o->name, *field_of(m, o));
	}
	return r == 0 ? apply_congestion(op, f, m) : r;
}
