/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "kinds/watched.h"
#include "watch/recorder.h"

/*
 * fanotify: a group with marks on inodes and mounts. As with inotify the marks come last of all (settle), and events that
 * wait are lost. Permission marks are refused: while the tree is frozen nobody answers, so that whoever opens a file
 * there waits, firn too. Marks on whole file systems have no place in the image format.
 */

/* Of linux/fanotify.h, where some are younger than the C library's header. */
#define MARK_SURVIVES_MODIFY 0x40u
#define MARK_EVICTABLE 0x200u
#define MARK_IGNORE 0x400u     /* Linux 6.0 */
#define MASK_FLAGS 0x48000000u /* FAN_ONDIR, FAN_EVENT_ON_CHILD */
#define MASK_PERMISSION 0x170000u

static bool fanotify_recognise(const struct fd_facts *f)
{
	return strcmp(f->link, "anon_inode:[fanotify]") == 0;
}

static int read_group(struct operation *op, const struct fd_facts *f, struct proc_fanotify *ret)
{
	int r = parse_fdinfo_fanotify(f->info.rest, &op->arena, ret);

	if (r == -EINVAL)
		return error_raise(op->error, EOPNOTSUPP, "%s: the kernel does not tell in fdinfo what it watches",
				   facts_describe(op, f));
	return r < 0 ? raise_no_memory(op) : 0;
}

static int check_mark(struct operation *op, const struct fd_facts *f, const struct proc_mark *m)
{
	struct watched w;
	int r;

	if ((m->mask | m->ignored_mask) & MASK_PERMISSION) {
		(void)error_raise(
			op->error, EOPNOTSUPP,
			"%s: a fanotify group that decides who may open files, which it cannot do while it is frozen",
			facts_describe(op, f));
		error_hint(op->error, "let the program take its permission marks away before the dump");
		return -EOPNOTSUPP;
	}
	if (m->sort == MARK_FILE_SYSTEM || m->sort == MARK_OTHER)
		return error_raise(op->error, EOPNOTSUPP, "%s: a fanotify mark on a whole %s cannot be carried",
				   facts_describe(op, f), m->sort == MARK_OTHER ? "namespace" : "file system");
	if (m->sort == MARK_MOUNT)
		return watched_mount_point(op, m->mnt_id)
			       ? 0
			       : error_raise(op->error, EOPNOTSUPP,
					     "%s: it watches mount %u, which is not in firn's namespace",
					     facts_describe(op, f), m->mnt_id);
	r = watched_find(op, f, m, &w);
	return r > 0 ? 0 : r;
}

static int fanotify_check_all(struct operation *op)
{
	for (size_t i = 0; i < op->files->n_files; i++) {
		const struct fd_facts *f = &op->files->files[i]->facts;
		struct proc_fanotify g;
		int r;

		if (op->files->files[i]->kind != &kind_fanotify)
			continue;
		r = read_group(op, f, &g);
		for (size_t k = 0; k < g.n_marks && r == 0; k++)
			r = check_mark(op, f, &g.marks[k]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int fill_inode(struct operation *op, const struct proc_mark *mark, const struct watched *w, FanotifyMarkEntry *m)
{
	m->type = MARK_TYPE__INODE;
	m->s_dev = w->dev;
	m->ie = arena_alloc(&op->arena, sizeof(*m->ie));
	if (!m->ie)
		return raise_no_memory(op);
	fanotify_inode_mark_entry__init(m->ie);
	m->ie->i_ino = w->ino;
	m->ie->f_handle = watched_handle(op, mark, w);
	return m->ie->f_handle ? 0 : -ENOMEM;
}

static int fill_mount(struct operation *op, const struct proc_mark *mark, FanotifyMarkEntry *m)
{
	m->type = MARK_TYPE__MOUNT;
	m->me = arena_alloc(&op->arena, sizeof(*m->me));
	if (!m->me)
		return raise_no_memory(op);
	fanotify_mount_mark_entry__init(m->me);
	m->me->mnt_id = mark->mnt_id;
	m->me->path = (char *)watched_mount_point(op, mark->mnt_id);
	return 0;
}

/* *ret NULL: the mark is gone. */
static int mark_entry(struct operation *op, const struct file *f, const struct proc_mark *mark, FanotifyMarkEntry **ret)
{
	FanotifyMarkEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct watched w;
	int r = check_mark(op, &f->facts, mark);

	*ret = NULL;
	if (r < 0)
		return r;
	if (!m)
		return raise_no_memory(op);
	fanotify_mark_entry__init(m);
	m->id = f->id;
	m->mflags = mark->mflags;
	m->mask = mark->mask;
	m->ignored_mask = mark->ignored_mask;
	if (mark->sort == MARK_MOUNT) {
		r = fill_mount(op, mark, m);
	} else {
		r = watched_find(op, &f->facts, mark, &w);
		if (r > 0)
			return 0;
		if (r == 0)
			r = fill_inode(op, mark, &w, m);
	}
	*ret = m;
	return r;
}

static int fanotify_dump(struct operation *op, struct file *f)
{
	FanotifyFileEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct proc_fanotify g;
	int waiting = 0, r;

	if (!m)
		return raise_no_memory(op);
	fanotify_file_entry__init(m);
	r = read_group(op, &f->facts, &g);
	if (r < 0)
		return r;
	m->mark = arena_array(&op->arena, g.n_marks ? g.n_marks : 1, sizeof(*m->mark));
	if (!m->mark)
		return raise_no_memory(op);
	for (size_t i = 0; i < g.n_marks; i++) {
		recorder_moved(0);
		r = mark_entry(op, f, &g.marks[i], &m->mark[m->n_mark]);
		if (r < 0)
			return r;
		m->n_mark += m->mark[m->n_mark] != NULL;
	}
	m->id = f->id;
	m->flags = f->facts.info.flags & ~(uint32_t)O_CLOEXEC;
	m->faflags = g.flags;
	m->evflags = g.event_flags;
	if (ioctl(f->facts.fd, FIONREAD, &waiting) == 0 && waiting > 0)
		log_warn(f->facts.task->pid, "%s: %d bytes of events wait to be read; a restore comes without them",
			 f->describe, waiting);
	if (fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->ffy = m;
	return 0;
}

/* ---- restore ---- */

static bool mark_is_sane(const FanotifyMarkEntry *m)
{
	if ((m->mflags & ~(MARK_SURVIVES_MODIFY | MARK_EVICTABLE | MARK_IGNORE)) ||
	    ((m->mask | m->ignored_mask) & MASK_PERMISSION))
		return false;
	if (m->type == MARK_TYPE__INODE)
		return m->ie && watched_handle_is_sane(m->ie->f_handle);
	return m->type == MARK_TYPE__MOUNT && m->me && m->me->path && m->me->path[0];
}

static int fanotify_decode(struct operation *op, struct file *f)
{
	const FanotifyFileEntry *m = f->entry->ffy;

	if (!m || m->id != f->id)
		return raise_damaged(op, f, "the fanotify group");
	for (size_t i = 0; i < m->n_mark; i++) {
		if (!mark_is_sane(m->mark[i]))
			return raise_damaged(op, f, "a mark of the fanotify group");
	}
	f->describe = arena_printf(&op->arena, "fanotify group with %zu marks", m->n_mark);
	f->state = arena_array(&op->arena, m->n_mark ? m->n_mark : 1, sizeof(int));
	return f->describe && f->state ? 0 : raise_no_memory(op);
}

static int fanotify_create(struct operation *op, struct file *f)
{
	const FanotifyFileEntry *m = f->entry->ffy;

	f->fd = fanotify_init(m->faflags | FAN_CLOEXEC, m->evflags);
	if (f->fd < 0) {
		(void)error_raise_call(op->error, errno, "fanotify_init", "%s, flags %#x", f->describe, m->faflags);
		if (op->error->number == EMFILE)
			error_hint(op->error, "raise the limit /proc/sys/fs/fanotify/max_user_groups");
		return -op->error->number;
	}
	return file_set_flags(op, f, m->flags);
}

static int open_mount(struct operation *op, const struct file *f, const char *path, int *ret)
{
	AUTOCLOSE int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	recorder_step(0, NULL, "open(O_PATH)", "%s, watched by %s", path, f->describe);
	*ret = openat(root, path, O_PATH | O_CLOEXEC);
	return *ret < 0 ? error_raise_call(op->error, errno, "open", "%s, a mount that is watched by %s", path,
					   f->describe)
			: 0;
}

static int fanotify_connect(struct operation *op, struct file *f)
{
	const FanotifyFileEntry *m = f->entry->ffy;
	int *targets = f->state, r = 0;

	for (size_t i = 0; i < m->n_mark && r == 0; i++) {
		const FanotifyMarkEntry *e = m->mark[i];

		if (e->type == MARK_TYPE__MOUNT)
			r = open_mount(op, f, e->me->path, &targets[i]);
		else
			r = watched_open(op, f, e->ie->i_ino, e->s_dev, e->ie->f_handle, &targets[i]);
	}
	return r;
}

static int fanotify_finish(struct operation *op, struct file *f)
{
	return fown_apply(op, f->fd, f->entry->ffy->fown, f->describe);
}

static int add_mark(struct operation *op, const struct file *f, const FanotifyMarkEntry *m, int target)
{
	unsigned flags = FAN_MARK_ADD | (m->type == MARK_TYPE__MOUNT ? FAN_MARK_MOUNT : 0);
	unsigned ignore = (m->mflags & MARK_IGNORE) ? MARK_IGNORE : FAN_MARK_IGNORED_MASK;
	char path[32];
	int r = 0;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	if (m->mask)
		r = fanotify_mark(f->fd, flags | (m->mflags & MARK_EVICTABLE), m->mask, AT_FDCWD, path);
	if (r == 0 && (m->ignored_mask & ~MASK_FLAGS))
		r = fanotify_mark(f->fd, flags | ignore | (m->mflags & (MARK_EVICTABLE | MARK_SURVIVES_MODIFY)),
				  m->ignored_mask, AT_FDCWD, path);
	if (r == 0)
		return 0;
	(void)error_raise_call(op->error, errno, "fanotify_mark", "%s, mask %#x", f->describe, m->mask);
	if (op->error->number == ENOSPC)
		error_hint(op->error, "raise the limit /proc/sys/fs/fanotify/max_user_marks");
	return -op->error->number;
}

static int fanotify_settle(struct operation *op, struct file *f)
{
	const FanotifyFileEntry *m = f->entry->ffy;
	const int *targets = f->state;
	int r = 0;

	for (size_t i = 0; i < m->n_mark && r == 0; i++) {
		r = add_mark(op, f, m->mark[i], targets[i]);
		close(targets[i]);
	}
	return r;
}

static void fanotify_describe(const FileEntry *entry, char *buf, size_t size)
{
	if (entry->ffy)
		(void)snprintf(buf, size, "fanotify group with %zu mark%s", entry->ffy->n_mark,
			       entry->ffy->n_mark == 1 ? "" : "s");
}

const struct kind kind_fanotify = {
	.name = "fanotify group",
	.type = FD_TYPES__FANOTIFY,
	.recognise = fanotify_recognise,
	.check_all = fanotify_check_all,
	.dump = fanotify_dump,
	.decode = fanotify_decode,
	.create = fanotify_create,
	.connect = fanotify_connect,
	.finish = fanotify_finish,
	.settle = fanotify_settle,
	.describe = fanotify_describe,
};
