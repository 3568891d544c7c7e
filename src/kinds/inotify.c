/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "kinds/watched.h"
#include "watch/recorder.h"

/*
 * inotify: a set of watches with their numbers. Watches are added last of all (settle), when firn has made, opened,
 * closed and removed all that it has to, so that the program hears nothing of that. Events that wait to be read at the
 * dump are lost, as with CRIU: there is no call that would put them back. The log says so.
 */
#ifndef INOTIFY_IOC_SETNEXTWD
#define INOTIFY_IOC_SETNEXTWD _IOW('I', 0, int32_t) /* Linux 4.16, CONFIG_CHECKPOINT_RESTORE */
#endif

static bool inotify_recognise(const struct fd_facts *f)
{
	return strcmp(f->link, "anon_inode:inotify") == 0;
}

static int read_marks(struct operation *op, const struct fd_facts *f, struct proc_mark **ret, size_t *ret_n)
{
	int r = parse_fdinfo_inotify(f->info.rest, &op->arena, ret, ret_n);

	if (r == -EINVAL)
		return error_raise(op->error, EOPNOTSUPP, "%s: the kernel does not tell in fdinfo what it watches",
				   facts_describe(op, f));
	return r < 0 ? raise_no_memory(op) : 0;
}

static int inotify_check_all(struct operation *op)
{
	for (size_t i = 0; i < op->files->n_files; i++) {
		const struct fd_facts *f = &op->files->files[i]->facts;
		struct proc_mark *marks;
		struct watched w;
		size_t n;
		int r;

		if (op->files->files[i]->kind != &kind_inotify)
			continue;
		r = read_marks(op, f, &marks, &n);
		for (size_t k = 0; k < n && r == 0; k++) {
			r = watched_find(op, f, &marks[k], &w);
			r = r > 0 ? 0 : r;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare_wd(const void *pa, const void *pb)
{
	const InotifyWdEntry *a = *(InotifyWdEntry *const *)pa, *b = *(InotifyWdEntry *const *)pb;

	return a->wd < b->wd ? -1 : a->wd > b->wd;
}

static InotifyWdEntry *watch_entry(struct operation *op, const struct file *f, const struct proc_mark *mark,
				   const struct watched *w)
{
	InotifyWdEntry *m = arena_alloc(&op->arena, sizeof(*m));

	if (!m) {
		(void)raise_no_memory(op);
		return NULL;
	}
	inotify_wd_entry__init(m);
	m->id = f->id;
	m->i_ino = w->ino;
	m->s_dev = w->dev;
	m->mask = mark->mask;
	m->ignored_mask = mark->ignored_mask;
	m->wd = mark->wd;
	m->f_handle = watched_handle(op, mark, w);
	return m->f_handle ? m : NULL;
}

static int dump_watches(struct operation *op, struct file *f, InotifyFileEntry *m)
{
	struct proc_mark *marks;
	size_t n;
	int r = read_marks(op, &f->facts, &marks, &n);

	if (r == 0)
		m->wd = arena_array(&op->arena, n ? n : 1, sizeof(*m->wd));
	if (r == 0 && !m->wd)
		return raise_no_memory(op);
	for (size_t i = 0; i < n && r == 0; i++) {
		struct watched w;

		recorder_moved(0);
		r = watched_find(op, &f->facts, &marks[i], &w);
		if (r > 0) {
			r = 0;
			continue;
		}
		if (r < 0)
			return r;
		m->wd[m->n_wd] = watch_entry(op, f, &marks[i], &w);
		if (!m->wd[m->n_wd++])
			return -ENOMEM;
	}
	if (r == 0 && m->n_wd > 1)
		qsort(m->wd, m->n_wd, sizeof(*m->wd), compare_wd);
	return r;
}

static int inotify_dump(struct operation *op, struct file *f)
{
	InotifyFileEntry *m = arena_alloc(&op->arena, sizeof(*m));
	int waiting = 0, r;

	if (!m)
		return raise_no_memory(op);
	inotify_file_entry__init(m);
	m->id = f->id;
	m->flags = f->facts.info.flags & ~(uint32_t)O_CLOEXEC;
	r = dump_watches(op, f, m);
	if (r < 0)
		return r;
	if (ioctl(f->facts.fd, FIONREAD, &waiting) == 0 && waiting > 0)
		log_warn(f->facts.task->pid, "%s: %d bytes of events wait to be read; a restore comes without them",
			 f->describe, waiting);
	if (fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->ify = m;
	return 0;
}

/* ---- restore ---- */

static int inotify_decode(struct operation *op, struct file *f)
{
	InotifyFileEntry *m = f->entry->ify;

	if (!m || m->id != f->id)
		return raise_damaged(op, f, "the inotify instance");
	if (m->n_wd > 1)
		qsort(m->wd, m->n_wd, sizeof(*m->wd), compare_wd);
	for (size_t i = 0; i < m->n_wd; i++) {
		if (m->wd[i]->wd < 1 || m->wd[i]->wd > INT32_MAX || (i > 0 && m->wd[i]->wd == m->wd[i - 1]->wd) ||
		    !watched_handle_is_sane(m->wd[i]->f_handle))
			return raise_damaged(op, f, "a watch of the inotify instance");
	}
	f->describe = arena_printf(&op->arena, "inotify instance with %zu watches", m->n_wd);
	f->state = arena_array(&op->arena, m->n_wd ? m->n_wd : 1, sizeof(int));
	if (!f->describe || !f->state)
		return raise_no_memory(op);
	for (size_t i = 0; i < m->n_wd; i++)
		((int *)f->state)[i] = -1;
	return 0;
}

static int inotify_create(struct operation *op, struct file *f)
{
	f->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (f->fd < 0) {
		(void)error_raise_call(op->error, errno, "inotify_init1", "%s", f->describe);
		if (op->error->number == EMFILE)
			error_hint(op->error, "raise the limit /proc/sys/fs/inotify/max_user_instances");
		return -op->error->number;
	}
	return file_set_flags(op, f, f->entry->ify->flags);
}

/* The objects, as long as every name is there. */
static int inotify_connect(struct operation *op, struct file *f)
{
	const InotifyFileEntry *m = f->entry->ify;
	int *targets = f->state, r = 0;

	for (size_t i = 0; i < m->n_wd && r == 0; i++) {
		recorder_moved(0);
		r = watched_open(op, f, m->wd[i]->i_ino, m->wd[i]->s_dev, m->wd[i]->f_handle, &targets[i]);
	}
	return r;
}

static int inotify_finish(struct operation *op, struct file *f)
{
	return fown_apply(op, f->fd, f->entry->ify->fown, f->describe);
}

static int add_watch(struct operation *op, const struct file *f, const InotifyWdEntry *m, int target)
{
	char path[32];
	int wd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	if (ioctl(f->fd, INOTIFY_IOC_SETNEXTWD, (int)m->wd) < 0) {
		(void)error_raise_call(op->error, errno, "ioctl(INOTIFY_IOC_SETNEXTWD)", "%s, watch %u", f->describe,
				       m->wd);
		if (op->error->number == ENOTTY)
			error_hint(op->error, "The kernel needs CONFIG_CHECKPOINT_RESTORE for that.");
		return -op->error->number;
	}
	/* Without IN_DONT_FOLLOW: the link of /proc leads to the object itself, which may be a symbolic link. */
	wd = inotify_add_watch(f->fd, path, m->mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK));
	if (wd < 0) {
		(void)error_raise_call(op->error, errno, "inotify_add_watch", "%s, watch %u", f->describe, m->wd);
		if (op->error->number == ENOSPC)
			error_hint(op->error, "raise the limit /proc/sys/fs/inotify/max_user_watches");
		return -op->error->number;
	}
	if ((uint32_t)wd != m->wd)
		return error_raise(op->error, EINVAL, "%s: watch %u became %d: two of its paths lead to one object now",
				   f->describe, m->wd, wd);
	return 0;
}

static int inotify_settle(struct operation *op, struct file *f)
{
	const InotifyFileEntry *m = f->entry->ify;
	const int *targets = f->state;
	int r = 0;

	for (size_t i = 0; i < m->n_wd && r == 0; i++) {
		recorder_moved(0);
		r = add_watch(op, f, m->wd[i], targets[i]);
		close(targets[i]);
	}
	return r;
}

static void inotify_describe(const FileEntry *entry, char *buf, size_t size)
{
	const InotifyFileEntry *m = entry->ify;
	size_t len;

	if (!m)
		return;
	(void)snprintf(buf, size, "inotify instance with %zu watch%s", m->n_wd, m->n_wd == 1 ? "" : "es");
	for (size_t i = 0; i < m->n_wd && i < 4; i++) {
		len = strlen(buf);
		(void)snprintf(buf + len, size - len, "%s %s", i ? "," : ":",
			       m->wd[i]->f_handle && m->wd[i]->f_handle->path ? m->wd[i]->f_handle->path
									      : "(by handle)");
	}
	len = strlen(buf);
	if (m->n_wd > 4)
		(void)snprintf(buf + len, size - len, " …");
}

const struct kind kind_inotify = {
	.name = "inotify instance",
	.type = FD_TYPES__INOTIFY,
	.recognise = inotify_recognise,
	.check_all = inotify_check_all,
	.dump = inotify_dump,
	.decode = inotify_decode,
	.create = inotify_create,
	.connect = inotify_connect,
	.finish = inotify_finish,
	.settle = inotify_settle,
	.describe = inotify_describe,
};
