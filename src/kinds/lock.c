/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/lock.h"

#include <fcntl.h>
#include <string.h>

#include "kernel/procfs.h"
#include "kinds/table.h"

/* FileLockEntry.flag */
static const uint32_t sort_flags[] = {
	[LOCK_SORT_POSIX] = FILE_LOCK_POSIX,
	[LOCK_SORT_FLOCK] = FILE_LOCK_FLOCK,
	[LOCK_SORT_OFD] = FILE_LOCK_OFD,
	[LOCK_SORT_LEASE] = FILE_LOCK_LEASE,
};

static int refuse(struct operation *op, const struct fd_facts *f, const char *why, const char *hint)
{
	const char *line = f->info.rest + strcspn(f->info.rest, "\t");

	line += line[0] == '\t';
	(void)error_raise(op->error, EOPNOTSUPP, "%s: %s: %.*s", facts_describe(op, f), why, (int)strcspn(line, "\n"),
			  line);
	error_hint(op->error, "%s", hint);
	return -EOPNOTSUPP;
}

/* A POSIX lock shows with descriptors that it could not be taken through. */
static bool could_take(const struct fd_facts *f, const struct proc_lock *l)
{
	const uint32_t mode = f->info.flags & O_ACCMODE;

	if (l->sort == LOCK_SORT_FLOCK || l->sort == LOCK_SORT_LEASE)
		return true;
	return l->type == F_WRLCK ? mode != O_RDONLY : mode != O_WRONLY;
}

static int add(struct operation *op, struct task *t, FileLockEntry *m)
{
	if (t->n_locks == t->locks_room) {
		t->locks_room = t->locks_room ? t->locks_room * 2 : 8;
		t->locks = arena_grow(&op->arena, t->locks, t->n_locks, t->locks_room, sizeof(FileLockEntry *));
		if (!t->locks)
			return raise_no_memory(op);
	}
	t->locks[t->n_locks++] = m;
	return 0;
}

static int add_found(struct operation *op, struct task *t, const struct fd_facts *f, const struct proc_lock *l)
{
	FileLockEntry *m = arena_alloc(&op->arena, sizeof(*m));

	if (!m)
		return raise_no_memory(op);
	file_lock_entry__init(m);
	m->flag = sort_flags[l->sort];
	m->type = (uint32_t)l->type;
	m->pid = t->pid;
	m->fd = f->number;
	m->start = (int64_t)l->start;
	m->len = (int64_t)l->len;
	return add(op, t, m);
}

int locks_collect(struct operation *op, struct task *t, const struct fd_facts *f)
{
	struct proc_lock *locks;
	size_t n;
	int r;

	r = parse_fdinfo_locks(f->info.rest, &op->arena, &locks, &n);
	if (r == -ENOMEM)
		return raise_no_memory(op);
	if (r < 0)
		return refuse(op, f, "it holds a lock of a kind that firn does not know",
			      "Let the program give it up before the dump.");
	if (n > 0 && !op->options->file_locks)
		return refuse(op, f, "it holds a file lock, and a lock may be shared with tasks outside of the tree",
			      "With --file-locks it is carried: then nobody else may take it meanwhile.");
	for (size_t i = 0; i < n && r == 0; i++) {
		if (locks[i].breaking)
			return refuse(op, f, "its lease is being broken by another task",
				      "Dump again when that is done.");
		if (could_take(f, &locks[i]))
			r = add_found(op, t, f, &locks[i]);
	}
	return r;
}

int locks_write(struct operation *op)
{
	struct image_writer w = { 0 };
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		const struct task *t = op->tree.tasks[i];

		for (size_t k = 0; k < t->n_locks && r == 0; k++) {
			if (n++ == 0)
				r = image_writer_open(&w, &op->images, IMAGE_FILE_LOCKS, 0, op->error);
			if (r == 0)
				r = image_write(&w, &t->locks[k]->base, op->error);
		}
	}
	if (r == 0 && n > 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

/* ---- restore ---- */

static int read_entry(struct operation *op, FileLockEntry *m)
{
	struct task *t = tree_find(&op->tree, m->pid);
	bool known = false;

	for (size_t i = 0; i < sizeof(sort_flags) / sizeof(sort_flags[0]); i++)
		known = known || m->flag == sort_flags[i];
	if (!known || m->type > F_WRLCK)
		return error_raise(op->error, EOPNOTSUPP,
				   "filelocks.img: the lock of pid %d, fd %d is of an unknown kind (%x, type %x)",
				   m->pid, m->fd, m->flag, m->type);
	if (!t || !task_has_files(t) || !task_descriptor(t->files_owner, m->fd) || m->start < 0 || m->len < 0 ||
	    m->start > INT64_MAX - m->len)
		return error_raise(op->error, EBADMSG, "filelocks.img: the lock of pid %d, fd %d is damaged", m->pid,
				   m->fd);
	return add(op, t, m);
}

int locks_read(struct operation *op)
{
	struct image_reader r = { 0 };
	ProtobufCMessage *m;
	int more;

	more = image_reader_open_if_there(&r, &op->images, IMAGE_FILE_LOCKS, 0, &op->arena, op->error);
	while (more >= 0 && (more = image_read(&r, &file_lock_entry__descriptor, &m, op->error)) > 0)
		more = read_entry(op, (FileLockEntry *)m);
	return more;
}
