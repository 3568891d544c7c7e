/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/udp_queue.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/raw_packet.h"
#include "kinds/common.h"
#include "kinds/inet_address.h"
#include "kinds/ip_datagram.h"
#include "kinds/socket.h"
#include "watch/recorder.h"

/*
 * A restore sends each datagram again, with the address that it came from (kernel/raw_packet.h). What the
 * program then sees is the data, the source, and where it asked for them destination, TTL and TOS; the time and the
 * interface are new.
 *
 * It is only done where the datagram can reach no other socket: one that shares its port loses what waits, and so does
 * one that is bound to a device. The receive buffer tells whether it arrived; a firewall may be in the way.
 *
 * As for unix sockets: the offset at which a datagram is peeked at (SO_PEEK_OFF) counts the bytes before it, and is put
 * back at once; an empty datagram that was peeked at before is passed over.
 */
#define DATAGRAM_MAX 65535u
#define TURNS 50 /* of a millisecond, until a sent datagram must have arrived */

static void warn(const struct file *f, int pid, const char *why)
{
	log_warn(pid, "%s: what waits in its receive queue is dropped: %s", f->describe, why);
}

static uint32_t queue_bytes(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(info);

	return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0 ? 0 : info[SK_MEMINFO_RMEM_ALLOC];
}

/* ---- dump ---- */

static int set_binary(struct operation *op, ProtobufCBinaryData *d, const void *data, size_t len)
{
	d->len = len;
	d->data = arena_memdup(&op->arena, data, len);
	return d->data || len == 0 ? 0 : raise_no_memory(op);
}

/* Where it was sent to and how, as far as the program asked to be told. */
static int read_control(struct operation *op, struct msghdr *msg, FirnDatagram *d)
{
	int value, r = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c && r == 0; c = CMSG_NXTHDR(msg, c)) {
		const void *data = CMSG_DATA(c);

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			d->has_destination = true;
			r = set_binary(op, &d->destination, &((const struct in_pktinfo *)data)->ipi_addr, 4);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			d->has_destination = true;
			r = set_binary(op, &d->destination, &((const struct in6_pktinfo *)data)->ipi6_addr, 16);
		} else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
			   (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)) {
			memcpy(&value, data, sizeof(value));
			d->has_ttl = true;
			d->ttl = (uint32_t)value & 255;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			d->has_tos = true;
			d->tos = *(const uint8_t *)data;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			memcpy(&value, data, sizeof(value));
			d->has_tos = true;
			d->tos = (uint32_t)value & 255;
		}
	}
	return r;
}

/* 1: one was read, 0: no more, -errno raised. */
static int peek_one(struct operation *op, const struct file *f, uint8_t *buf, FirnDatagram **ret)
{
	_Alignas(struct cmsghdr) char control[1024];
	struct sockaddr_storage from = { 0 };
	struct iovec iov = { .iov_base = buf, .iov_len = DATAGRAM_MAX };
	struct msghdr msg = { .msg_name = &from,
			      .msg_namelen = sizeof(from),
			      .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	const struct sockaddr_in *in = (const struct sockaddr_in *)&from;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&from;
	bool v6 = false;
	FirnDatagram *d;
	ssize_t n;
	int r;

	/* An error that came in the meantime would be taken away by a look. */
	r = ip_datagram_check_error(op, &f->facts);
	if (r < 0)
		return r;
	n = recvmsg(f->facts.fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0
							       : error_raise_call(op->error, errno, "recvmsg(MSG_PEEK)",
										  "%s", facts_describe(op, &f->facts));
	d = arena_alloc(&op->arena, sizeof(*d));
	if (!d)
		return raise_no_memory(op);
	firn_datagram__init(d);
	v6 = from.ss_family == AF_INET6;
	d->port = ntohs(v6 ? in6->sin6_port : in->sin_port);
	r = set_binary(op, &d->source, v6 ? (const void *)&in6->sin6_addr : (const void *)&in->sin_addr, v6 ? 16 : 4);
	if (r == 0)
		r = set_binary(op, &d->data, buf, (size_t)n);
	if (r == 0)
		r = read_control(op, &msg, d);
	*ret = d;
	return r < 0 ? r : 1;
}

static int peek_all(struct operation *op, const struct file *f, InetSkEntry *m, uint8_t *buf)
{
	size_t room = 0;
	int offset = 0, old = -1, r;
	socklen_t len = sizeof(old);
	FirnDatagram *d;

	if (getsockopt(f->facts.fd, SOL_SOCKET, SO_PEEK_OFF, &old, &len) < 0)
		old = -1;
	if (old >= 0 && setsockopt(f->facts.fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0)
		return error_raise_call(op->error, errno, "setsockopt(SO_PEEK_OFF)", "%s",
					facts_describe(op, &f->facts));
	while ((r = peek_one(op, f, buf, &d)) > 0) {
		if (m->n_firn_datagrams == room) {
			room = room ? room * 2 : 16;
			m->firn_datagrams = arena_grow(&op->arena, m->firn_datagrams, m->n_firn_datagrams, room,
						       sizeof(*m->firn_datagrams));
			if (!m->firn_datagrams) {
				r = raise_no_memory(op);
				break;
			}
		}
		m->firn_datagrams[m->n_firn_datagrams++] = d;
		if (recorder_cancelled()) {
			r = error_raise(op->error, ECANCELED, "%s: cancelled", f->describe);
			break;
		}
		offset += (int)d->data.len;
		if (setsockopt(f->facts.fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0) {
			r = error_raise_call(op->error, errno, "setsockopt(SO_PEEK_OFF)", "%s",
					     facts_describe(op, &f->facts));
			break;
		}
	}
	(void)setsockopt(f->facts.fd, SOL_SOCKET, SO_PEEK_OFF, &old, sizeof(old));
	return r;
}

int udp_queue_dump(struct operation *op, const struct file *f, InetSkEntry *m)
{
	AUTOFREE uint8_t *buf = NULL;
	int pid = f->facts.task ? f->facts.task->pid : 0;

	if (queue_bytes(f->facts.fd) == 0)
		return 0;
	if (m->proto != IPPROTO_UDP) {
		socket_warn_queue(&f->facts);
		return 0;
	}
	if (socket_is_on(f->facts.fd, SOL_SOCKET, SO_REUSEADDR) ||
	    socket_is_on(f->facts.fd, SOL_SOCKET, SO_REUSEPORT)) {
		warn(f, pid, "it may share its port");
		return 0;
	}
	if (m->opts->so_bound_dev || socket_is_on(f->facts.fd, IPPROTO_UDP, 104 /* UDP_GRO */)) {
		warn(f, pid, m->opts->so_bound_dev ? "it is bound to a device" : "it has UDP_GRO");
		return 0;
	}
	buf = malloc(DATAGRAM_MAX);
	if (!buf)
		return raise_no_memory(op);
	return peek_all(op, f, m, buf);
}

/* ---- restore ---- */

int udp_queue_decode(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	size_t size = m->family == AF_INET6 ? 16 : 4;

	if (m->n_firn_datagrams && (m->proto != IPPROTO_UDP || m->src_port == 0))
		return raise_damaged(op, f, "the queue of an IP socket");
	for (size_t i = 0; i < m->n_firn_datagrams; i++) {
		const FirnDatagram *d = m->firn_datagrams[i];

		if (d->source.len != size || d->data.len > DATAGRAM_MAX || d->port > UINT16_MAX || d->ttl > 255 ||
		    d->tos > 255 || (d->has_destination && d->destination.len != 4 && d->destination.len != 16))
			return raise_damaged(op, f, "a datagram of an IP socket");
	}
	return 0;
}

static bool is_mapped(const uint8_t *a)
{
	return IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)a);
}

/* To the address that it was sent to or the socket is bound to; else to where its sender is, which is this machine, or
 * the loopback address. */
static const uint8_t *destination_of(const InetSkEntry *m, const FirnDatagram *d, size_t size)
{
	static const uint8_t loop4[4] = { 127, 0, 0, 1 }, loop6[16] = { [15] = 1 };
	static const uint8_t any[16];
	const uint8_t *bound = (const uint8_t *)m->src_addr;

	if (m->family == AF_INET6 && size == 4) {
		/* IPv4 on a socket of both families */
		if (d->has_destination && d->destination.len == 4)
			return d->destination.data;
		return is_mapped(bound) && memcmp(bound + 12, any, 4) != 0 ? bound + 12 : loop4;
	}
	if (d->has_destination && d->destination.len == size)
		return d->destination.data;
	if (memcmp(bound, any, size) != 0)
		return bound;
	return size == 4 ? loop4 : loop6;
}

/* 1: it is in the queue; 0: it is not, -errno: it could not be sent. Not raised. @buf has room for any datagram. */
static int send_one(const struct file *f, const InetSkEntry *m, const FirnDatagram *d, uint8_t *buf)
{
	bool four = m->family == AF_INET || is_mapped(d->source.data);
	const struct raw_packet p = {
		.family = four ? AF_INET : AF_INET6,
		.source = m->family == AF_INET6 && four ? d->source.data + 12 : d->source.data,
		.destination = destination_of(m, d, four ? 4 : 16),
		.protocol = IPPROTO_UDP,
		.ttl = (uint8_t)(d->has_ttl ? d->ttl : 64),
		.tos = (uint8_t)d->tos,
	};
	struct udphdr udp = { 0 };
	uint32_t before = queue_bytes(f->fd);
	int r;

	udp.source = htons((uint16_t)d->port);
	udp.dest = htons((uint16_t)m->src_port);
	udp.len = htons((uint16_t)(sizeof(udp) + d->data.len));
	memcpy(buf, &udp, sizeof(udp));
	if (d->data.len)
		memcpy(buf + sizeof(udp), d->data.data, d->data.len);
	r = raw_packet_send(&p, buf, sizeof(udp) + d->data.len, offsetof(struct udphdr, check));
	if (r < 0)
		return r;
	for (int i = 0; i < TURNS && queue_bytes(f->fd) <= before; i++)
		(void)poll(NULL, 0, 1);
	return queue_bytes(f->fd) > before;
}

int udp_queue_send(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	AUTOFREE uint8_t *buf = NULL;
	size_t lost = 0;
	int r, last = 0;

	if (m->n_firn_datagrams == 0)
		return 0;
	buf = malloc(sizeof(struct udphdr) + DATAGRAM_MAX);
	if (!buf)
		return raise_no_memory(op);
	recorder_step(f->user ? f->user->pid : 0, f->user ? f->user->comm : NULL, "send", "%zu datagrams again, to %s",
		      m->n_firn_datagrams, f->describe);
	for (size_t i = 0; i < m->n_firn_datagrams; i++) {
		if (recorder_cancelled())
			return error_raise(op->error, ECANCELED, "%s: cancelled", f->describe);
		r = send_one(f, m, m->firn_datagrams[i], buf);
		if (r <= 0) {
			last = r;
			/* What comes after it would come in another order of things than it was: the rest is lost too. */
			lost = m->n_firn_datagrams - i;
			break;
		}
	}
	if (lost)
		log_warn(f->user ? f->user->pid : 0, "%s: %zu of %zu datagrams of its receive queue are dropped: %s",
			 f->describe, lost, m->n_firn_datagrams, last < 0 ? strerror(-last) : "they do not arrive");
	return 0;
}
