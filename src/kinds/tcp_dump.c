/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "kernel/inet_diag.h"
#include "kinds/common.h"
#include "kinds/inet.h"
#include "kinds/registry.h"
#include "watch/recorder.h"

#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif

/*
 * Connections are read in repair mode (net/ipv4/tcp.c): there MSG_PEEK gives either queue whole and changes nothing.
 *
 * tcp-stream-INODE.img has a message, then the bytes to read, then the bytes sent: those that are not acknowledged, and after
 * them the unsq_len that were never sent. The sequence numbers are the kernel's own (rcv_nxt and write_seq) and count the FIN
 * of either side where there was one; the lengths do not.
 */

struct queues {
	int in_len, out_len, unsent;
	uint32_t in_seq, out_seq;
};

struct reading {
	struct operation *op;
	struct file *f;
	InetSkEntry *m;
	int fd;
};

static int raise_reading(const struct reading *r, int number, const char *call)
{
	return error_raise_call(r->op->error, number, call, "%s", facts_describe(r->op, &r->f->facts));
}

static int set_queue(int fd, int queue)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)) < 0 ? -errno : 0;
}

static int read_seq(int fd, int queue, uint32_t *ret)
{
	socklen_t len = sizeof(*ret);
	int r = set_queue(fd, queue);

	return r < 0 ? r : getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, ret, &len) < 0 ? -errno : 0;
}

static int read_lengths(const struct reading *r, struct queues *q)
{
	bool fin = tcp_state_fin_sent(r->m->state) && r->m->state != TCP_FIN_WAIT2;
	int e;

	*q = (struct queues){ 0 };
	e = read_seq(r->fd, TCP_RECV_QUEUE, &q->in_seq);
	if (e == 0)
		e = read_seq(r->fd, TCP_SEND_QUEUE, &q->out_seq);
	if (e < 0)
		return raise_reading(r, -e, "getsockopt(TCP_QUEUE_SEQ)");
	if (ioctl(r->fd, SIOCINQ, &q->in_len) < 0)
		return raise_reading(r, errno, "ioctl(SIOCINQ)");
	/* What a closed socket had to send will never be sent. */
	if (r->m->state == TCP_CLOSE || r->m->state == TCP_SYN_SENT)
		return 0;
	if (ioctl(r->fd, SIOCOUTQ, &q->out_len) < 0 || ioctl(r->fd, SIOCOUTQNSD, &q->unsent) < 0)
		return raise_reading(r, errno, "ioctl(SIOCOUTQ)");
	/* The FIN counts as one while it is not acknowledged, and as unsent while it is that. */
	if (fin && q->out_len > 0) {
		q->out_len--;
		q->unsent -= q->unsent > 0;
	}
	return 0;
}

static bool same_queues(const struct queues *a, const struct queues *b)
{
	return a->in_seq == b->in_seq && a->out_seq == b->out_seq && a->in_len == b->in_len &&
	       a->out_len == b->out_len && a->unsent == b->unsent;
}

static int peek(const struct reading *r, int queue, uint8_t *buf, int len)
{
	ssize_t n;
	int e = set_queue(r->fd, queue);

	if (e < 0)
		return raise_reading(r, -e, "setsockopt(TCP_REPAIR_QUEUE)");
	if (len == 0)
		return 0;
	n = recv(r->fd, buf, (size_t)len, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN)
		return raise_reading(
			r, errno, queue == TCP_RECV_QUEUE ? "recv from the receive queue" : "recv from the send queue");
	return n == len ? 0 : 1;
}

/* Without a lock the far end may acknowledge and send meanwhile: again, until two looks agree. */
static int read_queues(const struct reading *r, struct queues *q, uint8_t **ret)
{
	int peek_offset = -1, whole = -1, e = 1;
	struct queues after;

	/* The target's own MSG_PEEK may begin elsewhere (TCP: Linux 6.9). */
	if (socket_get_int(r->fd, SOL_SOCKET, SO_PEEK_OFF, &peek_offset) == 0 && peek_offset >= 0)
		(void)setsockopt(r->fd, SOL_SOCKET, SO_PEEK_OFF, &whole, sizeof(whole));
	for (int tries = 0; tries < 20 && e == 1; tries++) {
		e = read_lengths(r, q);
		if (e < 0)
			break;
		free(*ret);
		*ret = malloc((size_t)q->in_len + (size_t)q->out_len + 1);
		if (!*ret) {
			e = raise_no_memory(r->op);
			break;
		}
		e = peek(r, TCP_RECV_QUEUE, *ret, q->in_len);
		if (e == 0)
			e = peek(r, TCP_SEND_QUEUE, *ret + q->in_len, q->out_len);
		if (e == 0)
			e = read_lengths(r, &after);
		if (e == 0 && !same_queues(q, &after))
			e = 1;
	}
	if (peek_offset >= 0)
		(void)setsockopt(r->fd, SOL_SOCKET, SO_PEEK_OFF, &peek_offset, sizeof(peek_offset));
	if (e <= 0)
		return e;
	error_raise(r->op->error, EOPNOTSUPP, "%s: the queues of TCP connection %s cannot be read as a whole",
		    facts_describe(r->op, &r->f->facts), inet_ends_text(r->op, r->fd));
	error_hint(r->op->error,
		   "Urgent data (MSG_OOB) is not carried; or with --network-lock skip, the far end did not pause.");
	return -EOPNOTSUPP;
}

static int read_window(const struct reading *r, TcpStreamEntry *s)
{
	struct tcp_repair_window w;
	socklen_t len = sizeof(w);

	if (getsockopt(r->fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &w, &len) < 0)
		return raise_reading(r, errno, "getsockopt(TCP_REPAIR_WINDOW)");
	s->has_snd_wl1 = s->has_snd_wnd = s->has_max_window = s->has_rcv_wnd = s->has_rcv_wup = true;
	s->snd_wl1 = w.snd_wl1;
	s->snd_wnd = w.snd_wnd;
	s->max_window = w.max_window;
	s->rcv_wnd = w.rcv_wnd;
	s->rcv_wup = w.rcv_wup;
	return 0;
}

static int read_parameters(const struct reading *r, TcpStreamEntry *s)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int mss = 0, timestamp = 0, e;

	if (getsockopt(r->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return raise_reading(r, errno, "getsockopt(TCP_INFO)");
	/* In repair mode this is what the far end has announced, not what is used now. */
	e = socket_get_int(r->fd, IPPROTO_TCP, TCP_MAXSEG, &mss);
	if (e == 0)
		e = socket_get_int(r->fd, IPPROTO_TCP, TCP_TIMESTAMP, &timestamp);
	if (e < 0)
		return raise_reading(r, -e, "getsockopt(TCP_MAXSEG, TCP_TIMESTAMP)");
	s->mss_clamp = (uint32_t)mss;
	s->opt_mask = info.tcpi_options & (TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE);
	s->snd_wscale = info.tcpi_snd_wscale;
	s->has_rcv_wscale = true;
	s->rcv_wscale = info.tcpi_rcv_wscale;
	s->has_timestamp = true;
	s->timestamp = (uint32_t)timestamp;
	if (r->m->tcp_opts && r->m->tcp_opts->nodelay)
		s->has_nodelay = s->nodelay = true;
	if (r->m->tcp_opts && r->m->tcp_opts->cork)
		s->has_cork = s->cork = true;
	return read_window(r, s);
}

static int write_stream(const struct reading *r, const TcpStreamEntry *s, const uint8_t *bytes)
{
	struct image_writer w = { 0 };
	int e = image_writer_open(&w, &r->op->images, IMAGE_TCP_STREAM, r->m->ino, r->op->error);

	if (e == 0)
		e = image_write(&w, &s->base, r->op->error);
	if (e == 0)
		e = image_write_raw(&w, bytes, (size_t)s->inq_len + s->outq_len, r->op->error);
	if (e == 0)
		e = image_writer_close(&w, r->op->error);
	image_writer_discard(&w);
	return e;
}

/* An error that waits to be read is kept apart from the queues and cannot be looked at without taking it away. Which it is
 * follows from how far the connection had come: only resets are told for sure. */
static int guess_error(const struct reading *r)
{
	struct {
		struct tcp_info base;
		uint64_t pacing[2], bytes_acked;
	} info = { 0 };
	struct pollfd p = { .fd = r->fd };
	socklen_t len = sizeof(info);

	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLERR))
		return 0;
	if (getsockopt(r->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return raise_reading(r, errno, "getsockopt(TCP_INFO)");
	r->m->has_firn_error = true;
	r->m->firn_error = ECONNRESET;
	if (info.bytes_acked == 0 && info.base.tcpi_rtt == 0 && info.base.tcpi_options == 0)
		r->m->firn_error = ECONNREFUSED;
	if (info.base.tcpi_retransmits == 0)
		return 0;
	error_raise(r->op->error, EOPNOTSUPP,
		    "%s: an error of TCP socket %s waits to be read, and which it is cannot be told",
		    facts_describe(r->op, &r->f->facts), inet_ends_text(r->op, r->fd));
	error_hint(r->op->error, "Let the program read it (SO_ERROR), or close the socket.");
	return -EOPNOTSUPP;
}

/* What shutdown() and the far end's FIN have done, as the kernel's sk_shutdown has it. */
static void note_shutdown(const struct reading *r)
{
	struct pollfd p = { .fd = r->fd, .events = POLLRDHUP };
	bool in = poll(&p, 1, 0) == 1 && (p.revents & POLLRDHUP), out = tcp_state_fin_sent(r->m->state);

	if (r->m->state == TCP_CLOSE)
		in = out = true;
	r->m->has_shutdown = in || out;
	r->m->shutdown = in && out ? SK_SHUTDOWN__BOTH
			 : in	   ? SK_SHUTDOWN__READ
			 : out	   ? SK_SHUTDOWN__WRITE
				   : SK_SHUTDOWN__NONE;
}

static int dump_one(struct operation *op, struct file *f)
{
	struct reading r = { .op = op, .f = f, .m = f->entry->isk, .fd = f->facts.fd };
	TcpStreamEntry s = TCP_STREAM_ENTRY__INIT;
	AUTOFREE uint8_t *bytes = NULL;
	struct queues q;
	int on = 1, e;

	recorder_step(f->facts.task->pid, f->facts.task->comm, "setsockopt(TCP_REPAIR)", "%s", f->describe);
	if (setsockopt(r.fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0)
		return raise_reading(&r, errno, "setsockopt(TCP_REPAIR)");
	note_shutdown(&r);
	e = r.m->state == TCP_CLOSE ? guess_error(&r) : 0;
	if (e == 0)
		e = read_queues(&r, &q, &bytes);
	/* While the send queue is chosen the kernel counts as sent what it has not sent. */
	if (set_queue(r.fd, TCP_NO_QUEUE) < 0)
		log_warn(f->facts.task->pid, "%s: TCP_REPAIR_QUEUE: %s", f->describe, strerror(errno));
	if (e == 0)
		e = read_parameters(&r, &s);
	if (e < 0)
		return e;
	s.inq_len = (uint32_t)q.in_len;
	s.inq_seq = q.in_seq;
	s.outq_len = (uint32_t)q.out_len;
	s.outq_seq = q.out_seq;
	s.has_unsq_len = true;
	s.unsq_len = (uint32_t)q.unsent;
	recorder_moved((uint64_t)s.inq_len + s.outq_len);
	return write_stream(&r, &s, bytes);
}

/* ---- all of them ---- */

/* The state may have changed since it was looked at: until the lock is there the far end goes on. */
static int look_again(struct operation *op, struct file *f)
{
	InetSkEntry *m = f->entry->isk;
	uint8_t address[16];
	uint16_t port;
	int r = tcp_check(op, &f->facts, &m->state);

	if (r == 0)
		r = inet_address_dump(op, &f->facts, m);
	if (r < 0 || m->state != TCP_SYN_SENT)
		return r;
	/* getpeername() does not tell it yet. */
	r = inet_diag_connecting((int)m->family, m->ino, address, &port);
	if (r < 0)
		return error_raise_call(op->error, -r, "sock_diag", "%s: the far end of %s",
					facts_describe(op, &f->facts), inet_ends_text(op, f->facts.fd));
	m->dst_port = port;
	memset(m->dst_addr, 0, m->n_dst_addr * sizeof(uint32_t));
	memcpy(m->dst_addr, address, m->n_dst_addr * sizeof(uint32_t));
	return 0;
}

static bool needs_repair(const struct operation *op, const struct file *f)
{
	const InetSkEntry *m = f->entry->isk;

	if (f->kind != &kind_inet_socket || !m || op->options->tcp_close)
		return false;
	return tcp_state_connected(m->state) || tcp_socket_ended(f->facts.fd, m->state);
}

struct group {
	struct file **files;
	int *sockets;
	struct tcp_ends *ends;
	size_t n, n_ends;
};

static int gather(struct operation *op, struct group *g)
{
	size_t room = op->files->n_files;
	int r = 0;

	g->files = arena_array(&op->arena, room, sizeof(*g->files));
	g->sockets = arena_array(&op->arena, room, sizeof(*g->sockets));
	g->ends = arena_array(&op->arena, room, sizeof(*g->ends));
	if (!g->files || !g->sockets || !g->ends)
		return raise_no_memory(op);
	for (size_t i = 0; i < room && r == 0; i++) {
		struct file *f = op->files->files[i];

		if (!needs_repair(op, f))
			continue;
		r = look_again(op, f);
		g->files[g->n] = f;
		g->sockets[g->n++] = f->facts.fd;
		if (tcp_state_connected(f->entry->isk->state))
			inet_fill_ends(f->entry->isk, &g->ends[g->n_ends++]);
	}
	return r;
}

int tcp_dump_all(struct operation *op)
{
	struct group g = { 0 };
	int r;

	r = gather(op, &g);
	if (r < 0 || g.n == 0)
		return r;
	r = tcp_hold_begin(op, g.ends, g.n_ends, g.sockets, g.n);
	for (size_t i = 0; i < g.n && r == 0; i++) {
		if (recorder_cancelled())
			return error_raise(op->error, ECANCELED, "cancelled while TCP connections were dumped");
		/* Now that nothing comes in any more. */
		r = look_again(op, g.files[i]);
		if (r == 0)
			r = dump_one(op, g.files[i]);
	}
	if (r == 0 && !op->options->leave_running && !op->options->leave_stopped)
		r = tcp_hold_keep(op, g.ends, g.n_ends);
	return r;
}
