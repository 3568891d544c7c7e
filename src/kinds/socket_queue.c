/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/socket.h"
#include "watch/recorder.h"

/*
 * Packets are read with MSG_PEEK at SO_PEEK_OFF (man 7 unix, "Socket options"): the offset counts the bytes of the
 * packets before. The socket's own offset is put back at once. Known limit of the kernel: a packet of no bytes that
 * was peeked at once before is passed over by later peeks at an offset, so a second dump does not see it.
 */

#define PACKET_MAX (1u << 30)

struct peek {
	struct operation *op;
	const struct file *file;
	int fd, type;
	bool ended;              /* the other side will send no more: a read of nothing means the end */
	bool again;              /* not the first peek */
	bool has_offset;
	int old_offset;
	uint64_t offset, waiting;
	uint8_t *buf;            /* malloc'd */
	size_t room;
};

static struct packet *packet_add(struct operation *op, struct packet_list *l)
{
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 16;
		void *bigger = arena_grow(&op->arena, l->items, l->n, room, sizeof(*l->items));

		if (!bigger)
			return NULL;
		l->items = bigger;
		l->room = room;
	}
	memset(&l->items[l->n], 0, sizeof(l->items[l->n]));
	return &l->items[l->n++];
}

/* Credentials and descriptors of the packet; p->fds lies in the arena. */
static int read_control(const struct peek *k, struct msghdr *msg, struct packet *p)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS && !p->fds) {
			p->n_rights = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			p->fds = arena_memdup(&k->op->arena, CMSG_DATA(c), p->n_rights * sizeof(int));
			if (!p->fds)
				return raise_no_memory(k->op);
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred cred;

			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			p->has_creds = true;
			p->pid = cred.pid;
			p->uid = cred.uid;
			p->gid = cred.gid;
		}
	}
	if (msg->msg_flags & MSG_CTRUNC)
		return error_raise(k->op->error, EMFILE, "%s: descriptors in its queue could not be taken: firn has too many open",
				   k->file->describe);
	return 0;
}

static void drop_fds(struct packet *p)
{
	for (size_t i = 0; p->fds && i < p->n_rights; i++)
		close(p->fds[i]);
	p->fds = NULL;
	p->n_rights = 0;
}

static int set_offset(struct peek *k)
{
	int offset = (int)k->offset;

	if (!k->has_offset && !k->again)
		return 0;        /* the queue's head, as long as the socket has no offset of its own */
	if (k->offset > INT32_MAX)
		return -EFBIG;
	k->has_offset = true;
	return setsockopt(k->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0 ? -errno : 0;
}

/* One peek of at most @room bytes into @p (data stays in k->buf): its length, or -errno, not raised but for what
 * read_control() raises. */
static ssize_t peek_raw(struct peek *k, size_t room, struct packet *p)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(SCM_RIGHTS_MAX * sizeof(int)) + 256];
	union {
		struct sockaddr_un un;
		char room[sizeof(struct sockaddr_un) + 1]; /* a path of 108 bytes has a zero behind it */
	} from;
	struct iovec iov = { .iov_base = k->buf, .iov_len = room };
	struct msghdr msg = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n;
	int r;

	r = set_offset(k);
	if (r < 0)
		return r;
	k->again = true;
	n = recvmsg(k->fd, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (k->type == SOCK_STREAM ? 0 : MSG_TRUNC));
	if (n < 0)
		return -errno;
	r = read_control(k, &msg, p);
	if (r < 0)
		return r;
	if (k->type != SOCK_STREAM && msg.msg_namelen > sizeof(sa_family_t) && msg.msg_namelen <= sizeof(from)) {
		p->source_len = msg.msg_namelen - sizeof(sa_family_t);
		if (p->source_len > sizeof(from.un.sun_path))
			p->source_len = sizeof(from.un.sun_path);
		p->source = arena_memdup(&k->op->arena, from.un.sun_path, p->source_len);
		if (!p->source)
			return -ENOMEM;
	}
	return n;
}

/*
 * A stream's bytes are read across its parts up to and with the part that has descriptors (unix_stream_read_generic()),
 * and a reader gets them with that part's first byte. Where that is among @n bytes is found by halving: bytes before it
 * are a run of their own.
 */
static ssize_t peek_before_rights(struct peek *k, ssize_t n)
{
	ssize_t without = 0, with = n;

	while (with - without > 1) {
		struct packet probe = { 0 };
		ssize_t half = without + (with - without) / 2, got = peek_raw(k, (size_t)half, &probe);
		bool found = probe.fds != NULL;

		drop_fds(&probe);
		if (got < 0)
			return got;
		if (found)
			with = half;
		else
			without = half;
	}
	return without;
}

/* 1: a packet was added; 0: the queue holds no more. */
static int peek_one(struct peek *k, struct packet_list *l)
{
	struct packet p = { .id_for = k->file->id }, *slot;
	ssize_t n = peek_raw(k, k->room, &p), plain;

	if (n >= 0 && k->type == SOCK_STREAM && p.fds) {
		plain = peek_before_rights(k, n);
		if (plain != 0) {
			drop_fds(&p);
			n = plain > 0 ? peek_raw(k, (size_t)plain, &p) : plain;
		} else {
			drop_fds(&p);
			n = peek_raw(k, k->room, &p);
		}
	}
	if (n == -EAGAIN || (n == 0 && (k->type == SOCK_STREAM || (k->ended && k->offset >= k->waiting)))) {
		drop_fds(&p);
		return 0;
	}
	if (n >= 0 && (size_t)n > k->room)
		n = -EMSGSIZE;
	slot = n < 0 ? NULL : packet_add(k->op, l);
	p.len = n < 0 ? 0 : (size_t)n;
	p.data = n < 0 ? NULL : arena_memdup(&k->op->arena, k->buf, p.len ? p.len : 1);
	if (n < 0 || !slot || !p.data) {
		drop_fds(&p);
		if (error_is_set(k->op->error))
			return -k->op->error->number;
		return error_raise_call(k->op->error, n < 0 ? (int)-n : ENOMEM, "recvmsg(MSG_PEEK)", "%s", k->file->describe);
	}
	k->offset += p.len;
	*slot = p;
	return 1;
}

/* A byte sent with MSG_OOB (unix streams have it since Linux 5.15) sits apart from the queue. */
int packets_check_urgent(struct operation *op, const char *describe, int fd)
{
	char byte;

	if (recv(fd, &byte, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT) <= 0)
		return 0;
	error_raise(op->error, EOPNOTSUPP, "%s: an urgent byte (MSG_OOB) waits in its queue, which is not carried", describe);
	error_hint(op->error, "Let the program receive it, then dump again.");
	return -EOPNOTSUPP;
}

/* Is there something to read, and may it be tried? A pending error would be taken out of the socket by the first
 * recvmsg() on a queue of packets; a stream reports it after its last byte only. 1: yes. */
static int queue_ready(struct peek *k)
{
	struct pollfd p = { .fd = k->fd, .events = POLLIN | POLLRDHUP };
	int waiting = 0;

	if (poll(&p, 1, 0) < 0)
		return error_raise_call(k->op->error, errno, "poll", "%s", k->file->describe);
	if (ioctl(k->fd, FIONREAD, &waiting) < 0)
		return error_raise_call(k->op->error, errno, "ioctl(FIONREAD)", "%s", k->file->describe);
	k->waiting = waiting > 0 ? (uint64_t)waiting : 0;
	k->ended = p.revents & POLLRDHUP;
	if (!(p.revents & POLLIN) || (k->type == SOCK_STREAM && waiting <= 0))
		return 0;
	if (!(p.revents & POLLERR) || k->type == SOCK_STREAM || (k->ended && waiting <= 0))
		return k->type == SOCK_SEQPACKET && k->ended && waiting <= 0 ? 0 : 1;
	error_raise(k->op->error, EOPNOTSUPP, "%s: an error waits in front of the packets in its queue, which is not carried",
		    k->file->describe);
	error_hint(k->op->error, "Let the program read from it, then dump again.");
	return -EOPNOTSUPP;
}

int packets_peek(struct operation *op, const struct file *f, int type, struct packet_list *ret)
{
	struct peek k = { .op = op, .file = f, .fd = f->facts.fd, .type = type, .old_offset = -1 };
	socklen_t len = sizeof(k.old_offset);
	AUTOFREE uint8_t *buf = NULL;
	const size_t first = ret->n;
	int r;

	r = queue_ready(&k);
	if (r <= 0)
		return r;
	if (type == SOCK_STREAM) {
		r = packets_check_urgent(op, f->describe, k.fd);
		if (r < 0)
			return r;
	}
	/* No packet is larger than the send buffer it went through, but whose that was is unknown here: the system's
	 * limit and what privileged senders use fit in 32 MiB, and a larger packet is refused by name. */
	k.room = type == SOCK_STREAM ? (size_t)k.waiting : 32u << 20;
	buf = malloc(k.room);
	if (!buf)
		return raise_no_memory(op);
	k.buf = buf;
	if (getsockopt(k.fd, SOL_SOCKET, SO_PEEK_OFF, &k.old_offset, &len) < 0)
		k.old_offset = -1;
	k.has_offset = k.old_offset >= 0;
	do {
		r = peek_one(&k, ret);
		if (r > 0 && recorder_cancelled())
			r = error_raise(op->error, ECANCELED, "%s: cancelled", f->describe);
	} while (r > 0 && (type != SOCK_STREAM || k.offset < k.waiting));
	if (k.has_offset)
		(void)setsockopt(k.fd, SOL_SOCKET, SO_PEEK_OFF, &k.old_offset, sizeof(k.old_offset));
	if (r >= 0 && type == SOCK_STREAM && k.offset != k.waiting)
		r = error_raise(op->error, EIO, "%s: %llu of %llu bytes in its queue could be read", f->describe,
				   (unsigned long long)k.offset, (unsigned long long)k.waiting);
	for (size_t i = first; i < ret->n; i++) {
		struct packet *p = &ret->items[i];

		if (r >= 0 && p->fds)
			r = packet_resolve_rights(op, f, p);
		if (p->fds)
			drop_fds(p);    /* something failed before */
	}
	return r < 0 ? r : 0;
}

int packets_write(struct operation *op, const struct packet_list *l)
{
	struct image_writer w = { 0 };
	int r;

	if (l->n == 0)
		return 0;
	r = image_writer_open(&w, &op->images, IMAGE_SK_QUEUES, 0, op->error);
	for (size_t i = 0; r == 0 && i < l->n; i++) {
		const struct packet *p = &l->items[i];
		SkPacketEntry m = SK_PACKET_ENTRY__INIT;
		ScmEntry scm = SCM_ENTRY__INIT, *scms[] = { &scm };

		m.id_for = p->id_for;
		m.length = (uint32_t)p->len;
		if (p->n_rights) {
			scm.type = SCM_RIGHTS;
			scm.rights = p->rights;
			scm.n_rights = p->n_rights;
			m.scm = scms;
			m.n_scm = 1;
		}
		m.has_firn_source = p->source != NULL;
		m.firn_source.data = (uint8_t *)p->source;
		m.firn_source.len = p->source_len;
		m.has_firn_pid = m.has_firn_uid = m.has_firn_gid = p->has_creds;
		m.firn_pid = (uint32_t)p->pid;
		m.firn_uid = p->uid;
		m.firn_gid = p->gid;
		m.has_firn_backlog_of = p->backlog_of != 0;
		m.firn_backlog_of = p->backlog_of;
		r = image_write(&w, &m.base, op->error);
		if (r == 0)
			r = image_write_raw(&w, p->data, p->len, op->error);
	}
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

static int packet_decode(struct operation *op, struct image_reader *reader, const SkPacketEntry *m, struct packet *p)
{
	if (m->length > PACKET_MAX || (m->has_firn_source && m->firn_source.len > sizeof(((struct sockaddr_un *)0)->sun_path)) ||
	    (m->has_firn_pid && m->firn_pid > INT32_MAX))
		return error_raise(op->error, EBADMSG, "%s: a packet is damaged", reader->name);
	if (m->n_scm > 1 || (m->n_scm == 1 && (m->scm[0]->type != SCM_RIGHTS || m->scm[0]->n_rights > SCM_RIGHTS_MAX)))
		return error_raise(op->error, EBADMSG, "%s: what comes with a packet is damaged", reader->name);
	if (m->n_scm == 1) {
		p->rights = m->scm[0]->rights;
		p->n_rights = m->scm[0]->n_rights;
	}
	p->id_for = m->id_for;
	p->backlog_of = m->has_firn_backlog_of ? m->firn_backlog_of : 0;
	p->len = m->length;
	p->source = m->has_firn_source && m->firn_source.len ? m->firn_source.data : NULL;
	p->source_len = m->firn_source.len;
	p->has_creds = m->has_firn_pid && m->has_firn_uid && m->has_firn_gid;
	p->pid = (pid_t)m->firn_pid;
	p->uid = m->firn_uid;
	p->gid = m->firn_gid;
	return image_read_raw(reader, p->len, &p->data, op->error);
}

int packets_read(struct operation *op, struct packet_list *ret)
{
	struct image_reader reader;
	ProtobufCMessage *m;
	struct packet *p;
	int r;

	r = image_reader_open_if_there(&reader, &op->images, IMAGE_SK_QUEUES, 0, &op->arena, op->error);
	while (r >= 0 && (r = image_read(&reader, &sk_packet_entry__descriptor, &m, op->error)) > 0) {
		p = packet_add(op, ret);
		if (!p)
			return raise_no_memory(op);
		r = packet_decode(op, &reader, (SkPacketEntry *)m, p);
	}
	return r;
}
