/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/inherit.h"
#include "kinds/pipe_inode.h"
#include "kinds/registry.h"

/*
 * Pipes of pipe(2). Most have two open files, one for each end; opening /proc/PID/fd/N adds more. The id in the images
 * is the inode's number, which is what a restore by name ("pipe:[123]") goes by.
 */
/* open() sets it and pipe(2) does not; the C library's O_LARGEFILE is 0 where off_t is wide. */
#define LARGEFILE 0100000u

static bool pipe_recognise(const struct fd_facts *f)
{
	return S_ISFIFO(f->st.st_mode) && strncmp(f->link, "pipe:[", 6) == 0;
}

static int pipe_dump(struct operation *op, struct file *f)
{
	PipeEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct pipe_inode *p;

	if (!m)
		return raise_no_memory(op);
	pipe_entry__init(m);
	p = pipe_inode_add_end(op, &kind_pipe, f, (uint32_t)f->facts.st.st_ino);
	if (!p)
		return -ENOMEM;
	m->id = f->id;
	m->pipe_id = p->id;
	m->flags = f->facts.info.flags & ~(uint32_t)O_CLOEXEC;
	if (fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->pipe = m;
	return 0;
}

static int pipe_dump_all(struct operation *op)
{
	return pipe_inodes_write(op, &kind_pipe, IMAGE_PIPES_DATA);
}

/* ---- restore ---- */

static int pipe_load_all(struct operation *op)
{
	return pipe_inodes_read(op, &kind_pipe, IMAGE_PIPES_DATA);
}

static int pipe_decode(struct operation *op, struct file *f)
{
	const PipeEntry *m = f->entry->pipe;
	struct pipe_inode *p;

	if (!m || m->id != f->id || !m->fown || (m->flags & O_ACCMODE) == O_ACCMODE)
		return raise_damaged(op, f, "the pipe");
	p = pipe_inode_get(op, &kind_pipe, m->pipe_id);
	if (!p)
		return -ENOMEM;
	if ((m->flags & O_ACCMODE) != O_RDONLY && (m->flags & O_DIRECT))
		p->packet_mode = true;
	f->state = p;
	f->describe = arena_printf(&op->arena, "pipe:[%u]", m->pipe_id);
	return f->describe ? 0 : raise_no_memory(op);
}

/* The inode belongs to who made it, and its mode is 0600: its user must be able to open /dev/stdout. The images do not
 * tell who that was; the first task that holds an end is as good as always right. */
static int give_to_user(struct operation *op, const struct file *f, int fd)
{
	const CredsEntry *creds = NULL;

	if (f->user && f->user->core && f->user->core->thread_core)
		creds = f->user->core->thread_core->creds;
	if (creds && (creds->fsuid != 0 || creds->fsgid != 0) && fchown(fd, creds->fsuid, creds->fsgid) < 0)
		return error_raise_call(op->error, errno, "fchown", "%s", f->describe);
	return 0;
}

/*
 * The caller's pipe takes the place. What is in it already was never gone, or is the caller's own; only an empty one gets the
 * data of the images.
 */
static int inherit_inode(struct operation *op, const struct file *f, struct pipe_inode *p, int fd)
{
	int side = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY ? 0 : 1, waiting = 0, r;
	AUTOCLOSE int to = -1;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode)) {
		close(fd);
		return error_raise(op->error, EINVAL, "%s: what --inherit-fd gives for it is no pipe", f->describe);
	}
	p->made = p->inherited = true;
	p->ends[side] = fd;
	if (p->n_packets == 0 || ioctl(fd, FIONREAD, &waiting) < 0 || waiting > 0)
		return 0;
	to = reopen(fd, O_RDWR | O_NONBLOCK);
	if (to < 0)
		return error_raise_call(op->error, -to, "open", "%s, to put its data back", f->describe);
	r = pipe_inode_resize(op, p, to, f->describe);
	return r == 0 ? pipe_inode_fill(op, p, to, f->describe) : r;
}

static int make_inode(struct operation *op, const struct file *f, struct pipe_inode *p)
{
	int fd = -1, r;

	r = inherit_take(op, f->describe, f->describe, &fd);
	if (r != 0)
		return r < 0 ? r : inherit_inode(op, f, p, fd);
	if (pipe2(p->ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return error_raise_call(op->error, errno, "pipe2", "%s", f->describe);
	p->made = true;
	r = give_to_user(op, f, p->ends[0]);
	if (r == 0)
		r = pipe_inode_resize(op, p, p->ends[1], f->describe);
	return r == 0 ? pipe_inode_fill(op, p, p->ends[1], f->describe) : r;
}

/* One of the two ends that pipe2() gave, or one more open file. */
static int take_end(struct pipe_inode *p, uint32_t flags)
{
	int side = (flags & O_ACCMODE) == O_RDONLY ? 0 : 1, from, fd;

	/* The caller's is not taken: flags set on it would be set for him too. */
	if (!p->inherited && !(flags & (O_PATH | LARGEFILE)) && (flags & O_ACCMODE) != O_RDWR && p->ends[side] >= 0) {
		fd = p->ends[side];
		p->ends[side] = -1;
		return fd;
	}
	from = p->ends[0] >= 0 ? p->ends[0] : p->ends[1] >= 0 ? p->ends[1] : p->open ? p->open->fd : -1;
	return from < 0 ? -EBADF : reopen(from, pipe_open_flags(flags));
}

static int pipe_create(struct operation *op, struct file *f)
{
	const PipeEntry *m = f->entry->pipe;
	struct pipe_inode *p = f->state;
	int r;

	if (!p->made) {
		r = make_inode(op, f, p);
		if (r < 0)
			return r;
	}
	r = take_end(p, m->flags);
	if (r < 0)
		return error_raise_call(op->error, -r, "open", "%s", f->describe);
	f->fd = r;
	p->open = f;
	return m->flags & O_PATH ? 0 : file_set_flags(op, f, m->flags);
}

/* An end that no open file has taken was closed when the pipe was dumped. */
static void close_rest(struct pipe_inode *p)
{
	for (int i = 0; p && i < 2; i++) {
		if (p->ends[i] >= 0)
			close(p->ends[i]);
		p->ends[i] = -1;
	}
}

static int pipe_connect(struct operation *op, struct file *f)
{
	(void)op;
	close_rest(f->state);
	return 0;
}

static int pipe_finish(struct operation *op, struct file *f)
{
	return fown_apply(op, f->fd, f->entry->pipe->fown, f->describe);
}

static void pipe_release(struct operation *op, struct file *f)
{
	(void)op;
	close_rest(f->state);
}

static void pipe_describe(const FileEntry *entry, char *buf, size_t size)
{
	static const char *const ends[] = { "read end", "write end", "both ends", "no end" };

	if (entry->pipe)
		(void)snprintf(buf, size, "pipe:[%u], %s", entry->pipe->pipe_id, ends[entry->pipe->flags & O_ACCMODE]);
}

const struct kind kind_pipe = {
	.name = "pipe",
	.type = FD_TYPES__PIPE,
	.recognise = pipe_recognise,
	.dump = pipe_dump,
	.dump_all = pipe_dump_all,
	.load_all = pipe_load_all,
	.decode = pipe_decode,
	.create = pipe_create,
	.connect = pipe_connect,
	.finish = pipe_finish,
	.release = pipe_release,
	.describe = pipe_describe,
};
