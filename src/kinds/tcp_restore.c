/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/tcp_segment.h"
#include "kinds/common.h"
#include "kinds/inet.h"
#include "kinds/ip_options.h"
#include "kinds/registry.h"
#include "kinds/socket.h"
#include "watch/recorder.h"

/*
 * Connections come back in repair mode: sequence numbers are set, connect() sends nothing, what is written goes into either
 * queue as if it had come or been sent. A FIN or a reset of the far end has no such call: it is given to the socket as the
 * segment that it was (kernel/tcp_segment.h), and the kernel makes of it what it made before.
 *
 * Until the very last moment the sockets stay in repair mode, so that a failed restore closes them without a word, and the
 * lock that the dump has left stays as it is. A lock of the restore's own, which vanishes with it, covers those restores where
 * that of the dump is not there (another machine, a second restore).
 */

#define WSCALE_MAX 14u
#define CHUNK 32768u   /* one packet in the receive queue; larger ones need memory in one piece */
#define SETTLE_MS 1000 /* a segment on the loopback device is taken within the call that sends it; the net for it */
#define NOBODYS_PORT 1

struct restore_lock {
	int netlink;
	char name[40];
};

/* ---- the image ---- */

static int read_stream(struct operation *op, const InetSkEntry *m, struct tcp_connection **ret)
{
	struct tcp_connection *c = arena_alloc(&op->arena, sizeof(*c));
	struct image_reader r = { 0 };
	ProtobufCMessage *message;
	int e;

	if (!c)
		return raise_no_memory(op);
	e = image_reader_open(&r, &op->images, IMAGE_TCP_STREAM, m->ino, m->state == TCP_CLOSE, &op->arena, op->error);
	if (e < 0)
		return e;
	e = image_read(&r, &tcp_stream_entry__descriptor, &message, op->error);
	if (e == 0)
		return error_raise(op->error, EINVAL, "%s is empty", r.name);
	if (e < 0)
		return e;
	c->stream = (TcpStreamEntry *)message;
	e = image_read_raw(&r, c->stream->inq_len, &c->in, op->error);
	if (e == 0)
		e = image_read_raw(&r, c->stream->outq_len, &c->out, op->error);
	*ret = c;
	return e;
}

/* What an ended connection came from is not known, and nobody's any more. */
static void invent_remote(const InetSkEntry *m, struct tcp_ends *e)
{
	static const uint8_t any[16], loopback6[16] = { [15] = 1 }, loopback4[4] = { 127, 0, 0, 1 };
	size_t len = e->family == AF_INET6 ? 16 : 4;

	if (memcmp(e->local, any, len) == 0)
		memcpy(e->local, e->family == AF_INET6 ? loopback6 : loopback4, len);
	memcpy(e->remote, e->local, len);
	e->remote_port = m->src_port == NOBODYS_PORT ? NOBODYS_PORT + 1 : NOBODYS_PORT;
}

static bool damaged_stream(const InetSkEntry *m, const TcpStreamEntry *s)
{
	if (s->snd_wscale > WSCALE_MAX || s->rcv_wscale > WSCALE_MAX || s->mss_clamp > UINT16_MAX ||
	    s->unsq_len > s->outq_len || s->inq_len > INT32_MAX || s->outq_len > INT32_MAX)
		return true;
	return m->state != TCP_CLOSE && (m->src_port == 0 || m->dst_port == 0 || m->n_dst_addr != m->n_src_addr);
}

int tcp_decode(struct operation *op, struct file *f, const InetSkEntry *m)
{
	struct tcp_connection *c = NULL;
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	if (op->tcp_close && tcp_state_connected(m->state))
		return 0;
	if (tcp_state_connected(m->state) && !op->options->tcp_established) {
		error_raise(op->error, EOPNOTSUPP, "files.img: file %u: %s", f->id, f->describe);
		error_hint(op->error, "Connections come back with --tcp-established, or closed with --tcp-close.");
		return -EOPNOTSUPP;
	}
	r = read_stream(op, m, &c);
	if (r == -ENOENT && m->state == TCP_CLOSE && !error_is_set(op->error))
		return 0;
	if (r < 0)
		return r;
	if (damaged_stream(m, c->stream))
		return raise_damaged(op, f, "the stream of a TCP connection");
	if (m->has_firn_error && m->firn_error != ECONNRESET && m->firn_error != ECONNREFUSED)
		return raise_damaged(op, f, "the error of a TCP socket");
	inet_fill_ends(m, &c->ends);
	if (m->state == TCP_CLOSE)
		invent_remote(m, &c->ends);
	inet_address_fill(m, &ss, &len);
	if (m->family == AF_INET6)
		c->scope = ((const struct sockaddr_in6 *)&ss)->sin6_scope_id;
	f->state = c;
	return 0;
}

/* ---- the restore's own lock ---- */

static size_t gather(const struct operation *op, struct tcp_ends *ends)
{
	size_t n = 0;

	for (size_t i = 0; i < op->files->n_files; i++) {
		const struct file *f = op->files->files[i];
		const struct tcp_connection *c = f->kind == &kind_inet_socket ? f->state : NULL;

		/* Nobody's connections too: the machine itself would answer for their far end. */
		if (c)
			ends[n++] = c->ends;
	}
	return n;
}

int tcp_lock_all(struct operation *op)
{
	void **state = files_kind_state(op, &kind_inet_socket);
	struct restore_lock *l;
	struct tcp_ends *ends;
	size_t n;
	int r;

	if (*state)
		return 0;
	l = arena_alloc(&op->arena, sizeof(*l));
	ends = arena_array(&op->arena, op->files->n_files, sizeof(*ends));
	if (!l || !ends)
		return raise_no_memory(op);
	l->netlink = -1;
	*state = l;
	n = gather(op, ends);
	if (n == 0)
		return 0;
	(void)snprintf(l->name, sizeof(l->name), "firn-restore-%d", getpid());
	recorder_step(0, NULL, "nftables", "lock %zu TCP connections, table inet %s", n, l->name);
	l->netlink = packet_filter_open();
	r = l->netlink < 0 ? l->netlink : packet_filter_lock(l->netlink, l->name, true, ends, n);
	if (r < 0 && op->options->network_lock == NETWORK_LOCK_SKIP) {
		log_warn(0, "TCP connections are not kept still while they are made: nftables: %s", strerror(-r));
		return 0;
	}
	if (r < 0) {
		error_raise_call(op->error, -r, "nftables", "the lock on TCP connections, table inet %s", l->name);
		error_hint(op->error,
			   "This kernel may have no nftables: lock the network yourself and say --network-lock skip.");
	}
	return r;
}

/* ---- one connection ---- */

struct rebuild {
	struct operation *op;
	const struct file *f;
	const InetSkEntry *m;
	const struct tcp_connection *c;
	const TcpStreamEntry *s;
	uint32_t out_begin, in_end; /* sequence numbers: of the first byte not acknowledged; of what comes next */
};

static struct rebuild rebuild_of(struct operation *op, const struct file *f)
{
	const struct tcp_connection *c = f->state;
	struct rebuild b = { .op = op, .f = f, .m = f->entry->isk, .c = c, .s = c->stream };

	b.out_begin = b.s->outq_seq - b.s->outq_len - tcp_state_fin_sent(b.m->state);
	b.in_end = b.s->inq_seq - tcp_state_fin_received(b.m->state);
	return b;
}

static int raise_rebuild(const struct rebuild *b, int number, const char *call)
{
	return error_raise_call(b->op->error, number, call, "%s", b->f->describe);
}

static int set_queue(const struct rebuild *b, int queue)
{
	return inet_set_int(b->op, b->f, IPPROTO_TCP, TCP_REPAIR_QUEUE, "TCP_REPAIR_QUEUE", queue);
}

static int set_seq(const struct rebuild *b, int queue, uint32_t seq)
{
	int r = set_queue(b, queue);

	return r == 0 ? inet_set_int(b->op, b->f, IPPROTO_TCP, TCP_QUEUE_SEQ, "TCP_QUEUE_SEQ", (int)seq) : r;
}

static socklen_t remote_address(const struct rebuild *b, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	socklen_t len;

	inet_peer_fill(b->m, ss, &len);
	if (b->m->state != TCP_CLOSE)
		return len;
	if (b->m->family == AF_INET) {
		memcpy(&in->sin_addr, b->c->ends.remote, 4);
		in->sin_port = htons(b->c->ends.remote_port);
	} else if (b->c->ends.family == AF_INET) {
		memset(&in6->sin6_addr, 0, 16);
		memset(&in6->sin6_addr.s6_addr[10], 0xff, 2);
		memcpy(&in6->sin6_addr.s6_addr[12], b->c->ends.remote, 4);
		in6->sin6_port = htons(b->c->ends.remote_port);
	} else {
		memcpy(&in6->sin6_addr, b->c->ends.remote, 16);
		in6->sin6_port = htons(b->c->ends.remote_port);
		in6->sin6_scope_id = b->c->scope;
	}
	return len;
}

static int connect_silently(const struct rebuild *b)
{
	struct sockaddr_storage ss;
	socklen_t len = remote_address(b, &ss);

	if (connect(b->f->fd, (const struct sockaddr *)&ss, len) == 0)
		return 0;
	(void)raise_rebuild(b, errno, "connect");
	if (b->op->error->number == EADDRNOTAVAIL)
		error_hint(b->op->error,
			   "The connection exists already: does the dumped program, or a copy of it, still run?");
	else if (b->op->error->number == ENETUNREACH || b->op->error->number == EHOSTUNREACH)
		error_hint(b->op->error, "This machine has no route to the far end.");
	return -b->op->error->number;
}

static int set_parameters(const struct rebuild *b)
{
	const TcpStreamEntry *s = b->s;
	struct tcp_repair_opt options[4];
	socklen_t n = 0;

	if (s->opt_mask & TCPI_OPT_WSCALE)
		options[n++] = (struct tcp_repair_opt){ TCPOPT_WINDOW, s->snd_wscale | s->rcv_wscale << 16 };
	if (s->opt_mask & TCPI_OPT_SACK)
		options[n++] = (struct tcp_repair_opt){ TCPOPT_SACK_PERMITTED, 0 };
	if (s->opt_mask & TCPI_OPT_TIMESTAMPS)
		options[n++] = (struct tcp_repair_opt){ TCPOPT_TIMESTAMP, 0 };
	if (s->mss_clamp)
		options[n++] = (struct tcp_repair_opt){ TCPOPT_MAXSEG, s->mss_clamp };
	if (n && setsockopt(b->f->fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options, n * sizeof(*options)) < 0)
		return raise_rebuild(b, errno, "setsockopt(TCP_REPAIR_OPTIONS)");
	if (!s->has_timestamp || !(s->opt_mask & TCPI_OPT_TIMESTAMPS))
		return 0;
	return inet_set_int(b->op, b->f, IPPROTO_TCP, TCP_TIMESTAMP, "TCP_TIMESTAMP", (int)s->timestamp);
}

static int fill_queue(const struct rebuild *b, int queue, const uint8_t *data, size_t len)
{
	int r = set_queue(b, queue);

	while (r == 0 && len > 0) {
		ssize_t n = send(b->f->fd, data, len < CHUNK ? len : CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return raise_rebuild(b, n < 0 ? errno : EIO,
					     queue == TCP_RECV_QUEUE ? "send to the receive queue"
								     : "send to the send queue");
		data += n;
		len -= (size_t)n;
		recorder_moved((uint64_t)n);
	}
	return r;
}

static void make_room(const struct rebuild *b)
{
	int room = b->s->inq_len > INT32_MAX / 8 ? INT32_MAX / 2 : (int)(b->s->inq_len * 2 + (256u << 10));

	socket_make_room(b->f->fd, b->s->outq_len);
	if (b->s->inq_len && setsockopt(b->f->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
		(void)setsockopt(b->f->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
}

/* ---- what the far end has sent besides data ---- */

static int wait_state(const struct rebuild *b, uint32_t state)
{
	uint64_t until = monotonic_ns() + SETTLE_MS * 1000000ull;
	struct timespec pause = { 0, 1000000 };
	struct tcp_info info;

	for (;;) {
		socklen_t len = sizeof(info);

		if (getsockopt(b->f->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
			return raise_rebuild(b, errno, "getsockopt(TCP_INFO)");
		if (info.tcpi_state == state)
			return 0;
		if (monotonic_ns() >= until)
			break;
		(void)nanosleep(&pause, NULL);
	}
	error_raise(b->op->error, EIO, "%s: the socket is %s where it should be %s", b->f->describe,
		    tcp_state_name(info.tcpi_state), tcp_state_name(state));
	error_hint(b->op->error,
		   "A packet filter of this machine may have taken the segment that firn gave to the socket.");
	return -EIO;
}

static int tell(const struct rebuild *b, uint32_t seq, uint32_t ack, uint8_t flags, uint32_t then)
{
	int r = tcp_segment_send(&b->c->ends, b->c->scope, seq, ack, flags | SEGMENT_ACK);

	if (r < 0)
		return raise_rebuild(b, -r, "send a segment to the socket");
	return wait_state(b, then);
}

/* In repair mode and with the send queue chosen the FIN joins the queue as sent, and nothing is sent. */
static int shut_silently(const struct rebuild *b, uint32_t then)
{
	int r = set_queue(b, TCP_SEND_QUEUE);

	if (r == 0 && shutdown(b->f->fd, SHUT_WR) < 0)
		return raise_rebuild(b, errno, "shutdown");
	return r == 0 ? wait_state(b, then) : r;
}

/* It was refused before it was made, and is again: by a port of this machine that is bound, and not listening. */
static int end_refused(const struct rebuild *b)
{
	AUTOCLOSE int closed = socket((int)b->m->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	struct sockaddr_storage ss = { .ss_family = (sa_family_t)b->m->family };
	struct pollfd p = { .fd = b->f->fd };
	socklen_t len = b->m->family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int r;

	((struct sockaddr_in *)&ss)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (b->m->family == AF_INET6)
		((struct sockaddr_in6 *)&ss)->sin6_addr = in6addr_loopback;
	if (closed < 0 || bind(closed, (struct sockaddr *)&ss, len) < 0 ||
	    getsockname(closed, (struct sockaddr *)&ss, &len) < 0)
		return raise_rebuild(b, errno, "bind a port that refuses");
	r = inet_set_int(b->op, b->f, IPPROTO_TCP, TCP_REPAIR, "TCP_REPAIR", 0);
	if (r < 0)
		return r;
	if (fcntl(b->f->fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0 || connect(b->f->fd, (struct sockaddr *)&ss, len) == 0 ||
	    (errno != EINPROGRESS && errno != ECONNREFUSED))
		return raise_rebuild(b, errno, "connect to a port that refuses");
	if (errno == EINPROGRESS && poll(&p, 1, SETTLE_MS) != 1)
		return raise_rebuild(b, ETIMEDOUT, "connect to a port that refuses");
	return inet_set_int(b->op, b->f, IPPROTO_TCP, TCP_REPAIR, "TCP_REPAIR", 1);
}

/* Both sides have said that they are done, or a reset has come; what was not read still can be. */
static int end_connection(const struct rebuild *b)
{
	int r;

	if (b->m->has_firn_error)
		return tell(b, b->in_end, b->out_begin, SEGMENT_RST, TCP_CLOSE);
	r = tell(b, b->in_end, b->out_begin, SEGMENT_FIN, TCP_CLOSE_WAIT);
	if (r == 0)
		r = shut_silently(b, TCP_LAST_ACK);
	return r == 0 ? tell(b, b->in_end + 1, b->out_begin + 1, 0, TCP_CLOSE) : r;
}

static int half_close(const struct rebuild *b)
{
	uint32_t fin_acked = b->s->outq_seq;
	int r = 0;

	switch (b->m->state) {
	case TCP_CLOSE_WAIT:
	case TCP_LAST_ACK: /* its own FIN follows what is not sent yet, at the end */
		r = tell(b, b->in_end, b->out_begin, SEGMENT_FIN, TCP_CLOSE_WAIT);
		break;
	case TCP_FIN_WAIT2:
		r = shut_silently(b, TCP_FIN_WAIT1);
		if (r == 0)
			r = tell(b, b->in_end, fin_acked, 0, TCP_FIN_WAIT2);
		break;
	case TCP_CLOSE:
		r = end_connection(b);
		break;
	default:
		break;
	}
	if (r == 0 && b->m->has_shutdown && (b->m->shutdown & SK_SHUTDOWN__READ) &&
	    !tcp_state_fin_received(b->m->state) && b->m->state != TCP_CLOSE && shutdown(b->f->fd, SHUT_RD) < 0)
		return raise_rebuild(b, errno, "shutdown(SHUT_RD)");
	return r;
}

static int set_window(const struct rebuild *b)
{
	const TcpStreamEntry *s = b->s;
	struct tcp_repair_window w = { .snd_wl1 = s->snd_wl1,
				       .snd_wnd = s->snd_wnd,
				       .max_window = s->max_window,
				       .rcv_wnd = s->rcv_wnd,
				       .rcv_wup = s->rcv_wup };

	/* A FIN that is told later is not received yet. */
	if (b->m->state == TCP_CLOSING && w.rcv_wup == b->in_end + 1) {
		w.rcv_wup--;
		w.rcv_wnd++;
	}
	if (b->m->state == TCP_CLOSE || !s->has_snd_wl1 || !s->has_snd_wnd || !s->has_max_window || !s->has_rcv_wnd ||
	    !s->has_rcv_wup)
		return 0;
	if (setsockopt(b->f->fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &w, sizeof(w)) < 0)
		return raise_rebuild(b, errno, "setsockopt(TCP_REPAIR_WINDOW)");
	return 0;
}

int tcp_create(struct operation *op, struct file *f, const InetSkEntry *m)
{
	struct rebuild b = rebuild_of(op, f);
	const struct tcp_connection *c = b.c;
	int r;

	/* The SYN is sent at the end; connect() keeps the number that it finds. */
	if (m->state == TCP_SYN_SENT)
		return set_seq(&b, TCP_SEND_QUEUE, b.s->outq_seq - 1);
	if (m->state == TCP_CLOSE && m->has_firn_error && m->firn_error == ECONNREFUSED)
		return end_refused(&b);
	r = set_seq(&b, TCP_SEND_QUEUE, b.out_begin);
	if (r == 0)
		r = set_seq(&b, TCP_RECV_QUEUE, b.in_end - b.s->inq_len);
	if (r == 0)
		r = connect_silently(&b);
	if (r == 0)
		r = set_parameters(&b);
	if (r < 0)
		return r;
	make_room(&b);
	r = fill_queue(&b, TCP_RECV_QUEUE, c->in, b.s->inq_len);
	if (r == 0)
		r = fill_queue(&b, TCP_SEND_QUEUE, c->out, b.s->outq_len - b.s->unsq_len);
	if (r == 0)
		r = half_close(&b);
	if (r == 0)
		r = set_window(&b);
	return r == 0 ? set_queue(&b, TCP_NO_QUEUE) : r;
}

/* ---- the end ---- */

static int unlock(struct operation *op)
{
	struct restore_lock *l = *files_kind_state(op, &kind_inet_socket);
	char name[40];
	int fd, r = 0;

	if (l && l->netlink >= 0) {
		(void)packet_filter_unlock(l->netlink, l->name);
		close(l->netlink);
		l->netlink = -1;
	}
	if (op->lock_left != NETWORK_LOCK_NFTABLES || !op->run_id)
		return 0;
	tcp_lock_name(op->run_id, name, sizeof(name));
	recorder_step(0, NULL, "nftables", "unlock the TCP connections, table inet %s", name);
	fd = packet_filter_open();
	r = fd < 0 ? fd : packet_filter_unlock(fd, name);
	if (fd >= 0)
		close(fd);
	if (r < 0 && r != -ENOENT)
		return error_raise_call(op->error, -r, "nftables", "remove the lock on TCP connections, table inet %s",
					name);
	return 0;
}

/* Goes on connecting, as it was. */
static int connect_again(const struct rebuild *b)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int flags = fcntl(b->f->fd, F_GETFL);

	inet_peer_fill(b->m, &ss, &len);
	if (flags < 0 || fcntl(b->f->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return raise_rebuild(b, errno, "fcntl(F_SETFL)");
	/* Whatever comes of it, the program learns it as it would have. */
	if (connect(b->f->fd, (const struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		log_warn(0, "%s: connect: %s", b->f->describe, strerror(errno));
	return fcntl(b->f->fd, F_SETFL, flags) < 0 ? raise_rebuild(b, errno, "fcntl(F_SETFL)") : 0;
}

static int send_rest(const struct rebuild *b)
{
	size_t left = b->s->unsq_len;
	const uint8_t *at = b->c->out + b->s->outq_len - left;

	if (left > 0)
		socket_make_room(b->f->fd, b->s->outq_len);
	while (left > 0) {
		ssize_t n = send(b->f->fd, at, left, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		/* The far end has reset it meanwhile: the program learns that as it would have. */
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return 0;
		if (n < 0)
			return raise_rebuild(b, errno, "send what was not sent yet");
		at += n;
		left -= (size_t)n;
	}
	if (!tcp_state_fin_sent(b->m->state) || b->m->state == TCP_FIN_WAIT2)
		return 0;
	if (shutdown(b->f->fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return raise_rebuild(b, errno, "shutdown(SHUT_WR)");
	/* The other's FIN had come after this one. */
	if (b->m->state == TCP_CLOSING)
		(void)tcp_segment_send(&b->c->ends, b->c->scope, b->in_end, b->out_begin, SEGMENT_FIN | SEGMENT_ACK);
	return 0;
}

/* Out of repair mode, which asks the far end by a probe whether anything was missed. */
static int let_go(struct operation *op, const struct file *f)
{
	struct rebuild b = rebuild_of(op, f);
	int r = inet_set_int(op, f, IPPROTO_TCP, TCP_REPAIR, "TCP_REPAIR", TCP_REPAIR_OFF);

	if (r < 0)
		return r;
	r = b.m->state == TCP_SYN_SENT ? connect_again(&b) : b.m->state == TCP_CLOSE ? 0 : send_rest(&b);
	if (r == 0)
		r = ip_options_apply_late(op, f, b.m);
	/* Once more: repair mode has touched SO_REUSEADDR, and room was made for what was sent. */
	return r == 0 ? socket_opts_apply(op, f->fd, b.m->opts, f->describe) : r;
}

int tcp_go_all(struct operation *op)
{
	int r = unlock(op);

	for (size_t i = 0; i < op->files->n_files && r == 0; i++) {
		const struct file *f = op->files->files[i];

		if (f->kind == &kind_inet_socket && f->state)
			r = let_go(op, f);
	}
	return r;
}
