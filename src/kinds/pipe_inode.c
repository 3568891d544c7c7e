/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/pipe_inode.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pipe-data.pb-c.h"
#include "watch/recorder.h"

#define BUCKETS 1024u

struct pipe_table {
	struct pipe_inode *buckets[BUCKETS];
	struct pipe_inode *oldest, **last;
	uint32_t next_id;
};

static struct pipe_table *table_of(struct operation *op, const struct kind *k)
{
	void **slot = files_kind_state(op, k);

	if (!*slot) {
		struct pipe_table *t = arena_alloc(&op->arena, sizeof(*t));

		if (!t)
			return NULL;
		t->last = &t->oldest;
		t->next_id = 1;
		*slot = t;
	}
	return *slot;
}

static struct pipe_inode *add(struct operation *op, struct pipe_table *t, uint64_t key, uint32_t id)
{
	struct pipe_inode *p = arena_alloc(&op->arena, sizeof(*p));

	if (!p)
		return NULL;
	*p = (struct pipe_inode){ .id = id, .ends = { -1, -1 }, .next = t->buckets[key % BUCKETS] };
	p->last = &p->packets;
	t->buckets[key % BUCKETS] = p;
	*t->last = p;
	t->last = &p->newer;
	return p;
}

/* ---- dump ---- */

struct pipe_inode *pipe_inode_add_end(struct operation *op, const struct kind *k, const struct file *f, uint32_t id)
{
	const uint32_t flags = f->facts.info.flags;
	struct pipe_table *t = table_of(op, k);
	struct pipe_inode *p = NULL;

	if (t) {
		for (p = t->buckets[f->facts.st.st_ino % BUCKETS]; p; p = p->next) {
			if (p->dev == f->facts.st.st_dev && p->ino == f->facts.st.st_ino)
				break;
		}
		if (!p)
			p = add(op, t, f->facts.st.st_ino, id ? id : t->next_id++);
	}
	if (!p) {
		(void)raise_no_memory(op);
		return NULL;
	}
	p->dev = f->facts.st.st_dev;
	p->ino = f->facts.st.st_ino;
	p->any = p->any ? p->any : f;
	if (flags & O_PATH)
		return p;
	p->any = f;
	if ((flags & O_ACCMODE) != O_WRONLY)
		p->reader = f;
	if ((flags & O_ACCMODE) != O_RDONLY)
		p->writer = f;
	return p;
}

/* Does a task outside hold the side that the tree has no end of? The kernel tells a writer without readers by POLLERR and
 * a reader without writers by POLLHUP (man 2 poll). */
static void warn_outside(const struct pipe_inode *p)
{
	struct pollfd pfd = { .fd = p->any->facts.fd };
	const struct fd_facts *f = &p->any->facts;

	if ((f->info.flags & O_PATH) || (p->reader && p->writer) || poll(&pfd, 1, 0) < 0)
		return;
	if (!p->reader && !(pfd.revents & POLLERR))
		log_warn(f->task->pid,
			 "%s → %s: its reader is not part of the tree; what is written after a restore finds none",
			 f->what, f->link);
	else if (!p->writer && !(pfd.revents & POLLHUP))
		log_warn(f->task->pid,
			 "%s → %s: its writer is not part of the tree; after a restore it ends where it stands",
			 f->what, f->link);
}

static int raise_call(struct operation *op, const struct pipe_inode *p, int number, const char *call)
{
	return error_raise_call(op->error, number, call, "%s", facts_describe(op, &p->any->facts));
}

static int write_entry(struct operation *op, struct image_writer *w, const struct pipe_inode *p, const uint8_t *data,
		       size_t len)
{
	PipeDataEntry m = PIPE_DATA_ENTRY__INIT;
	int r;

	m.pipe_id = p->id;
	m.bytes = (uint32_t)len;
	m.has_size = p->size > 0;
	m.size = p->size;
	r = image_write(w, &m.base, op->error);
	if (r == 0 && len > 0)
		r = image_write_raw(w, data, len, op->error);
	recorder_moved(len);
	return r;
}

/* A read from a pipe ends with a packet, and passes the borders of all other buffers: what comes at once is an entry. */
static int write_copy(struct operation *op, struct image_writer *w, const struct pipe_inode *p, int fd, size_t left)
{
	AUTOFREE uint8_t *buf = malloc(left);
	int r = 0;

	if (!buf)
		return raise_no_memory(op);
	while (left > 0 && r == 0) {
		ssize_t n = read(fd, buf, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return raise_call(op, p, n < 0 ? errno : EIO, "read");
		left -= (size_t)n;
		r = write_entry(op, w, p, buf, (size_t)n);
	}
	return r;
}

/* tee() makes the pages of the buffer appear in a second pipe, which needs as many slots as the first. */
static int copy_buffer(struct operation *op, const struct pipe_inode *p, int copy[2], ssize_t *ret)
{
	if (pipe2(copy, O_CLOEXEC | O_NONBLOCK) < 0)
		return raise_call(op, p, errno, "pipe2");
	if (p->size > 0 && fcntl(copy[1], F_GETPIPE_SZ) < (int)p->size &&
	    fcntl(copy[1], F_SETPIPE_SZ, (int)p->size) < 0) {
		int number = errno;

		(void)raise_call(op, p, number, "fcntl(F_SETPIPE_SZ)");
		error_hint(op->error,
			   "its buffer of %u bytes is larger than firn may have: see /proc/sys/fs/pipe-max-size",
			   p->size);
		return -number;
	}
	*ret = tee(p->reader->facts.fd, copy[1], INT32_MAX, SPLICE_F_NONBLOCK);
	if (*ret < 0 && errno == EAGAIN)
		*ret = 0;
	return *ret < 0 ? raise_call(op, p, errno, "tee") : 0;
}

static int write_inode(struct operation *op, struct image_writer *w, struct pipe_inode *p)
{
	const struct fd_facts *f = &p->any->facts;
	AUTOCLOSE int from = -1;
	AUTOCLOSE int to = -1;
	int copy[2] = { -1, -1 }, size = fcntl(f->fd, F_GETPIPE_SZ), waiting = 0, r;
	ssize_t n = 0;

	recorder_step(f->task ? f->task->pid : 0, f->task ? f->task->comm : NULL, "tee", "%s → %s", f->what, f->link);
	warn_outside(p);
	p->size = size > 0 ? (uint32_t)size : 0;
	/* What a reader outside has still to read is that reader's. */
	if (!p->reader)
		return write_entry(op, w, p, NULL, 0);
	if (ioctl(p->reader->facts.fd, FIONREAD, &waiting) < 0)
		return raise_call(op, p, errno, "ioctl(FIONREAD)");
	if (waiting == 0)
		return write_entry(op, w, p, NULL, 0);
	r = copy_buffer(op, p, copy, &n);
	from = copy[0];
	to = copy[1];
	if (r < 0)
		return r;
	if (n != waiting)
		return error_raise(op->error, EBUSY,
				   "%s: %d bytes wait in it and %zd were copied: another task reads or writes it",
				   facts_describe(op, f), waiting, n);
	return write_copy(op, w, p, from, (size_t)n);
}

int pipe_inodes_write(struct operation *op, const struct kind *k, enum image_type image)
{
	struct pipe_table *t = table_of(op, k);
	struct image_writer w = { 0 };
	int r;

	if (!t)
		return raise_no_memory(op);
	r = image_writer_open(&w, &op->images, image, 0, op->error);
	for (struct pipe_inode *p = t->oldest; p && r == 0; p = p->newer) {
		if (recorder_cancelled())
			r = error_raise(op->error, ECANCELED, "cancelled while the data in pipes was copied");
		else
			r = write_inode(op, &w, p);
	}
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

/* ---- restore ---- */

struct pipe_inode *pipe_inode_get(struct operation *op, const struct kind *k, uint32_t id)
{
	struct pipe_table *t = table_of(op, k);
	struct pipe_inode *p = NULL;

	if (t) {
		for (p = t->buckets[id % BUCKETS]; p; p = p->next) {
			if (p->id == id)
				return p;
		}
		p = add(op, t, id, id);
	}
	if (!p)
		(void)raise_no_memory(op);
	return p;
}

static int read_entry(struct operation *op, const struct kind *k, struct image_reader *r, const PipeDataEntry *m)
{
	struct pipe_inode *p = pipe_inode_get(op, k, m->pipe_id);
	struct pipe_packet *packet;
	int result;

	if (!p)
		return -ENOMEM;
	if (m->has_size && m->size > INT32_MAX)
		return error_raise(op->error, EBADMSG, "%s: pipe %u: its size is damaged", r->name, m->pipe_id);
	p->size = m->has_size ? m->size : 0;
	if (m->bytes == 0)
		return 0;
	packet = arena_alloc(&op->arena, sizeof(*packet));
	if (!packet)
		return raise_no_memory(op);
	packet->len = m->bytes;
	result = image_read_raw(r, m->bytes, &packet->data, op->error);
	if (result < 0)
		return result;
	*p->last = packet;
	p->last = &packet->next;
	p->n_packets++;
	return 0;
}

int pipe_inodes_read(struct operation *op, const struct kind *k, enum image_type image)
{
	struct image_reader r = { 0 };
	ProtobufCMessage *m;
	int more;

	more = image_reader_open_if_there(&r, &op->images, image, 0, &op->arena, op->error);
	while (more >= 0 && (more = image_read(&r, &pipe_data_entry__descriptor, &m, op->error)) > 0)
		more = read_entry(op, k, &r, (PipeDataEntry *)m);
	return more;
}

int pipe_inode_resize(struct operation *op, const struct pipe_inode *p, int fd, const char *describe)
{
	int number;

	if (p->size == 0 || fcntl(fd, F_GETPIPE_SZ) == (int)p->size || fcntl(fd, F_SETPIPE_SZ, (int)p->size) >= 0)
		return 0;
	number = errno;
	(void)error_raise_call(op->error, number, "fcntl(F_SETPIPE_SZ)", "%s: a buffer of %u bytes", describe, p->size);
	error_hint(op->error, "see /proc/sys/fs/pipe-max-size");
	return -number;
}

int pipe_inode_fill(struct operation *op, const struct pipe_inode *p, int fd, const char *describe)
{
	const bool packets = p->packet_mode || p->n_packets > 1;
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (const struct pipe_packet *k = p->packets; k; k = k->next) {
		/* A packet is a page at most: what is longer was written before packet mode. */
		int mode = packets && k->len <= page ? O_DIRECT : 0;
		ssize_t n;

		if (fcntl(fd, F_SETFL, O_NONBLOCK | mode) < 0)
			return error_raise_call(op->error, errno, "fcntl(F_SETFL)", "%s", describe);
		n = write(fd, k->data, k->len);
		if (n != (ssize_t)k->len)
			return error_raise_call(op->error, n < 0 ? errno : ENOSPC, "write", "%s: %zu bytes of data",
						describe, k->len);
		recorder_moved(k->len);
	}
	return 0;
}

int pipe_open_flags(uint32_t flags)
{
	return (int)(flags & (O_ACCMODE | O_PATH)) | O_NONBLOCK | O_CLOEXEC;
}
