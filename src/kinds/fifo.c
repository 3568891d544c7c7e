/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/pipe_inode.h"
#include "kinds/registry.h"
#include "kinds/regular.h"
#include "watch/recorder.h"

/*
 * Named pipes: the buffer of a pipe behind a name. In the images each has a companion, a regular entry that is never
 * opened by itself and tells the path, so that deleted and renamed FIFOs come back as regular files do.
 */

static bool fifo_recognise(const struct fd_facts *f)
{
	return S_ISFIFO(f->st.st_mode) && f->link[0] == '/' && !(f->info.flags & O_PATH);
}

static int fifo_dump(struct operation *op, struct file *f)
{
	FifoEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct fd_facts facts = f->facts;
	struct pipe_inode *p;
	struct file *path;

	if (!m)
		return raise_no_memory(op);
	fifo_entry__init(m);
	p = pipe_inode_add_end(op, &kind_fifo, f, 0);
	if (!p)
		return -ENOMEM;
	facts.fd = fcntl(f->facts.fd, F_DUPFD_CLOEXEC, 0);
	if (facts.fd < 0)
		return error_raise_call(op->error, errno, "fcntl(F_DUPFD)", "%s", facts_describe(op, &f->facts));
	path = files_add(op, &kind_regular, &facts);
	if (!path) {
		close(facts.fd);
		return -ENOMEM;
	}
	m->id = f->id;
	m->pipe_id = p->id;
	m->has_regf_id = true;
	m->regf_id = path->id;
	f->entry->fifo = m;
	return 0;
}

static int fifo_dump_all(struct operation *op)
{
	return pipe_inodes_write(op, &kind_fifo, IMAGE_FIFO_DATA);
}

/* ---- restore ---- */

struct fifo {
	struct file *path;
	struct pipe_inode *inode;
};

static int fifo_load_all(struct operation *op)
{
	return pipe_inodes_read(op, &kind_fifo, IMAGE_FIFO_DATA);
}

static int fifo_decode(struct operation *op, struct file *f)
{
	struct fifo *fifo = arena_alloc(&op->arena, sizeof(*fifo));
	const FifoEntry *m = f->entry->fifo;
	const RegFileEntry *reg;
	struct regular *state;

	if (!fifo)
		return raise_no_memory(op);
	if (!m || m->id != f->id || !m->has_regf_id)
		return raise_damaged(op, f, "the FIFO");
	fifo->path = files_find(op, m->regf_id);
	reg = fifo->path && fifo->path->kind == &kind_regular ? fifo->path->entry->reg : NULL;
	if (!reg || !reg->name || (reg->flags & O_PATH) || (reg->has_mode && !S_ISFIFO(reg->mode)))
		return raise_damaged(op, f, "the path of a FIFO");
	state = regular_of(op, fifo->path);
	fifo->inode = pipe_inode_get(op, &kind_fifo, m->pipe_id);
	if (!state || !fifo->inode)
		return -ENOMEM;
	if (state->hidden)
		return raise_damaged(op, f, "the path of a FIFO, which is another's too,");
	state->hidden = true;
	if ((reg->flags & O_ACCMODE) != O_RDONLY && (reg->flags & O_DIRECT))
		fifo->inode->packet_mode = true;
	f->state = fifo;
	f->describe = arena_printf(&op->arena, "fifo %s", reg->name);
	return f->describe ? 0 : raise_no_memory(op);
}

static int fifo_create(struct operation *op, struct file *f)
{
	struct fifo *fifo = f->state;
	struct stat st;
	int r;

	fifo->path->user = f->user;
	r = regular_create(op, fifo->path);
	if (r < 0)
		return r;
	f->fd = TAKE_FD(fifo->path->fd);
	f->async = fifo->path->async;
	if (f->fd < 0 || fstat(f->fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		return error_raise(op->error, EINVAL, "%s: it is no FIFO", f->describe);
	return 0;
}

/* The data goes in when every end is open. What is already there was never gone: somebody outside of the tree has kept
 * the FIFO open all the time. */
static int fifo_connect(struct operation *op, struct file *f)
{
	struct fifo *fifo = f->state;
	AUTOCLOSE int fd = -1;
	int waiting = 0, r;

	if (fifo->inode->made)
		return 0;
	fifo->inode->made = true;
	r = pipe_inode_resize(op, fifo->inode, f->fd, f->describe);
	if (r < 0 || fifo->inode->n_packets == 0)
		return r;
	fd = reopen(f->fd, O_RDWR | O_NONBLOCK);
	if (fd < 0)
		return error_raise_call(op->error, -fd, "open", "%s, to put its data back", f->describe);
	if (ioctl(fd, FIONREAD, &waiting) == 0 && waiting > 0) {
		log_warn(f->user ? f->user->pid : 0, "%s: %d bytes are in it already; those of the images are left out",
			 f->describe, waiting);
		return 0;
	}
	return pipe_inode_fill(op, fifo->inode, fd, f->describe);
}

static int fifo_finish(struct operation *op, struct file *f)
{
	const struct fifo *fifo = f->state;

	return fown_apply(op, f->fd, fifo->path->entry->reg->fown, f->describe);
}

static void fifo_describe(const FileEntry *entry, char *buf, size_t size)
{
	if (entry->fifo)
		(void)snprintf(buf, size, "fifo, file %u", entry->fifo->regf_id);
}

const struct kind kind_fifo = {
	.name = "fifo",
	.type = FD_TYPES__FIFO,
	.recognise = fifo_recognise,
	.check = regular_check_path,
	.dump = fifo_dump,
	.dump_all = fifo_dump_all,
	.load_all = fifo_load_all,
	.decode = fifo_decode,
	.create = fifo_create,
	.connect = fifo_connect,
	.finish = fifo_finish,
	.describe = fifo_describe,
};
