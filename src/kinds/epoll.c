/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * epoll: a set of open files, each with the number by which it was added, the events asked for and 64 bits of data. The
 * kernel's key of an entry is the pair of open file and number, and that number is history: it may have been closed
 * since, or stand for another file, while the open file lives on through a dup() or in another task. So the number is kept
 * as it is, and the open file is found by kcmp(KCMP_EPOLL_TFD), Linux 4.13.
 *
 * In the image an entry has its number (tfd), and its id is that of the open file. CRIU writes 0 there, with a number at
 * which the file still stands, and reads none: it takes what is at the number in the table of the task that restores the
 * epoll.
 */
#include "kinds/epoll.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/system.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "tree/refusals.h"
#include "watch/recorder.h"

struct target {
	struct proc_epoll_target seen;
	uint32_t nth; /* among the entries of this number, in the kernel's order */
	bool alone;   /* no other entry has this number */
	bool gone;    /* the entry left the set meanwhile: the tree still runs, or another process closed it */
	struct file *file;
};

struct targets {
	struct target *all;
	size_t n;
};

static bool epoll_recognise(const struct fd_facts *f)
{
	return strcmp(f->link, "anon_inode:[eventpoll]") == 0;
}

/* Does the readiness of @f depend on nothing but the object, wherever it is asked from? */
static bool is_plain(const struct file *f)
{
	return f->kind == &kind_pipe || f->kind == &kind_fifo || f->kind == &kind_eventfd || f->kind == &kind_timerfd ||
	       f->kind == &kind_unix_socket || f->kind == &kind_inet_socket;
}

/* ---- dump: which open file is it ---- */

static int compare_numbers(const void *pa, const void *pb)
{
	const struct target *a = *(struct target *const *)pa, *b = *(struct target *const *)pb;

	if (a->seen.tfd != b->seen.tfd)
		return a->seen.tfd < b->seen.tfd ? -1 : 1;
	return a < b ? -1 : a > b;
}

/* Entries of one number stand in fdinfo in the order in which kcmp() counts them: that of the kernel's tree. */
static int count_same_numbers(struct targets *t)
{
	AUTOFREE struct target **sorted = calloc(t->n + 1, sizeof(*sorted));

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < t->n; i++) {
		t->all[i].alone = true;
		sorted[i] = &t->all[i];
	}
	qsort(sorted, t->n, sizeof(*sorted), compare_numbers);
	for (size_t i = 1; i < t->n; i++) {
		if (sorted[i]->seen.tfd != sorted[i - 1]->seen.tfd)
			continue;
		sorted[i]->nth = sorted[i - 1]->nth + 1;
		sorted[i]->alone = sorted[i - 1]->alone = false;
	}
	return 0;
}

/* kcmp() of firn's descriptor @fd with the entry: 0 the same, 1 and 2 an order, or -errno: -ENOENT when there is no such
 * entry. The kernel walks through the whole set to find it: with ten thousand targets that counts. */
static int compare_target(const struct file *epoll, const struct target *t, int fd)
{
	struct kcmp_epoll_slot slot = { (uint32_t)epoll->facts.fd, (uint32_t)t->seen.tfd, t->nth };

	return sys_kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, (unsigned long)fd, (unsigned long)&slot);
}

/* As compare_target(), for a file that is likely the one. 3: it is not. */
static int compare_likely(const struct file *epoll, const struct target *t, const struct file *f)
{
	if (!f || f->facts.fd < 0 || f->facts.info.ino != t->seen.ino)
		return 3;
	/* A socket's inode has one open file and no other. */
	if (S_ISSOCK(f->facts.st.st_mode) && t->alone)
		return 0;
	return compare_target(epoll, t, f->facts.fd);
}

/* Every open file, by inode and then in the order of the kernel's addresses, which kcmp() tells of targets too. */
struct sorted {
	struct file **files;
	size_t n;
	size_t n_files; /* of the table when this was made; it grows while files are dumped */
};

static int compare_files(const void *pa, const void *pb)
{
	const struct file *a = *(struct file *const *)pa, *b = *(struct file *const *)pb;
	int r;

	if (a->facts.info.ino != b->facts.info.ino)
		return a->facts.info.ino < b->facts.info.ino ? -1 : 1;
	r = a == b ? 0
		   : sys_kcmp(getpid(), getpid(), KCMP_FILE, (unsigned long)a->facts.fd, (unsigned long)b->facts.fd);
	return r == 1 ? -1 : r == 2;
}

static int sort_files(struct operation *op, struct sorted **ret)
{
	struct sorted **slot = (struct sorted **)files_kind_state(op, &kind_epoll), *s = *slot;

	*ret = s;
	if (s && s->n_files == op->files->n_files)
		return 0;
	s = arena_alloc(&op->arena, sizeof(*s));
	if (!s)
		return raise_no_memory(op);
	s->n_files = op->files->n_files;
	s->files = arena_array(&op->arena, s->n_files, sizeof(*s->files));
	if (!s->files)
		return raise_no_memory(op);
	for (size_t i = 0; i < s->n_files; i++) {
		if (op->files->files[i]->facts.fd >= 0)
			s->files[s->n++] = op->files->files[i];
	}
	qsort(s->files, s->n, sizeof(*s->files), compare_files);
	*slot = *ret = s;
	return 0;
}

/* NULL: no open file of the tree is it. -ENOENT: the entry is gone. */
static int search_files(struct operation *op, const struct file *epoll, const struct target *t, struct file **ret)
{
	struct sorted *s;
	size_t low = 0, high;
	int r = sort_files(op, &s);

	*ret = NULL;
	if (r < 0)
		return r;
	for (high = s->n; low < high;) {
		size_t mid = low + (high - low) / 2;
		struct file *f = s->files[mid];

		if (f->facts.info.ino == t->seen.ino) {
			r = compare_target(epoll, t, f->facts.fd);
			if (r < 0)
				return r;
		} else {
			r = f->facts.info.ino < t->seen.ino ? 1 : 2;
		}
		if (r == 0) {
			*ret = f;
			return 0;
		}
		if (r == 1)
			low = mid + 1;
		else
			high = mid;
	}
	return 0;
}

/* The tree may still run (precheck): is it a file that was opened after the tables were read? */
static bool opened_meanwhile(const struct file *epoll, const struct target *t)
{
	AUTOCLOSE int fd = sys_pidfd_getfd(epoll->facts.task->pidfd, t->seen.tfd);

	return fd >= 0 && compare_target(epoll, t, fd) <= 0;
}

static int find_target(struct operation *op, const struct file *epoll, struct target *t)
{
	const struct descriptor *d = task_descriptor(epoll->facts.task->files_owner, t->seen.tfd);
	struct file *f = d ? d->file : NULL;
	int r = compare_likely(epoll, t, f);

	if (r > 0)
		r = search_files(op, epoll, t, &f);
	/* Whatever it is compared with, an entry that is gone gives ENOENT. */
	if (r == 0 && !f)
		r = compare_target(epoll, t, epoll->facts.fd) == -ENOENT ? -ENOENT : 0;
	if (r == -ENOENT) {
		t->gone = true;
		return 0;
	}
	if (r < 0 && !error_is_set(op->error))
		return error_raise_call(op->error, -r, "kcmp(KCMP_EPOLL_TFD)", "%s", facts_describe(op, &epoll->facts));
	t->file = f;
	return r;
}

static int raise_unknown(struct operation *op, const struct file *epoll, const struct target *t)
{
	(void)error_raise(op->error, EOPNOTSUPP,
			  "%s: it watches what was fd %d (inode %llu), an open file that no task of the tree holds",
			  facts_describe(op, &epoll->facts), t->seen.tfd, (unsigned long long)t->seen.ino);
	error_hint(op->error, "another process or a socket's queue keeps it open: let the program take it out "
			      "(EPOLL_CTL_DEL) before it closes it");
	return -EOPNOTSUPP;
}

static int find_targets(struct operation *op, struct file *f, struct targets *ret)
{
	struct proc_epoll_target *seen;
	int r = parse_fdinfo_epoll(f->facts.info.rest, &op->arena, &seen, &ret->n);

	if (r == -EINVAL)
		return error_raise(op->error, EOPNOTSUPP, "%s: the kernel does not tell in fdinfo what it watches",
				   facts_describe(op, &f->facts));
	ret->all = r == 0 ? arena_array(&op->arena, ret->n ? ret->n : 1, sizeof(*ret->all)) : NULL;
	if (!ret->all)
		return raise_no_memory(op);
	for (size_t i = 0; i < ret->n; i++)
		ret->all[i].seen = seen[i];
	if (count_same_numbers(ret) < 0)
		return raise_no_memory(op);
	for (size_t i = 0; i < ret->n; i++) {
		if (recorder_cancelled())
			return error_raise(op->error, ECANCELED,
					   "cancelled while it was found out what an epoll watches");
		recorder_moved(0);
		r = find_target(op, f, &ret->all[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int epoll_check_all(struct operation *op)
{
	for (size_t i = 0; i < op->files->n_files; i++) {
		struct file *f = op->files->files[i];
		struct targets t;
		int r;

		if (f->kind != &kind_epoll)
			continue;
		recorder_step(f->facts.task->pid, f->facts.task->comm, "kcmp", "what is watched by %s", f->describe);
		r = find_targets(op, f, &t);
		for (size_t k = 0; k < t.n && r == 0; k++) {
			if (!t.all[k].file && !t.all[k].gone && !opened_meanwhile(f, &t.all[k]))
				r = refusal_note(op, raise_unknown(op, f, &t.all[k]));
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * poll() asks each target that is in the kernel's list of ready ones, and what is not ready leaves the list. That changes
 * nothing as long as the answer does not depend on who asks: a signalfd answers for the signals of the caller, which
 * are firn's here.
 */
static bool is_quiet(const struct file *f, const struct targets *t)
{
	struct pollfd p = { .fd = f->facts.fd, .events = POLLIN };
	bool edges = false;

	for (size_t i = 0; i < t->n; i++) {
		if (t->all[i].gone)
			continue;
		if (!is_plain(t->all[i].file))
			return false;
		edges |= (t->all[i].seen.events & EPOLLET) != 0;
	}
	return edges && poll(&p, 1, 0) == 0;
}

static EventpollTfdEntry *target_entry(struct operation *op, const struct target *t)
{
	EventpollTfdEntry *m = arena_alloc(&op->arena, sizeof(*m));

	if (!m)
		return NULL;
	eventpoll_tfd_entry__init(m);
	m->id = t->file->id;
	m->tfd = (uint32_t)t->seen.tfd;
	m->events = t->seen.events;
	m->data = t->seen.data;
	m->has_dev = m->has_inode = m->has_pos = true;
	m->dev = t->seen.dev;
	m->inode = t->seen.ino;
	m->pos = (uint64_t)t->seen.pos;
	return m;
}

static int epoll_dump(struct operation *op, struct file *f)
{
	EventpollFileEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct targets t;
	int r;

	if (!m)
		return raise_no_memory(op);
	eventpoll_file_entry__init(m);
	r = find_targets(op, f, &t);
	if (r < 0)
		return r;
	m->tfd = arena_array(&op->arena, t.n ? t.n : 1, sizeof(*m->tfd));
	if (!m->tfd)
		return raise_no_memory(op);
	for (size_t i = 0; i < t.n; i++) {
		if (t.all[i].gone)
			continue;
		if (!t.all[i].file)
			return raise_unknown(op, f, &t.all[i]);
		m->tfd[m->n_tfd] = target_entry(op, &t.all[i]);
		if (!m->tfd[m->n_tfd++])
			return raise_no_memory(op);
	}
	m->id = f->id;
	m->flags = (f->facts.info.flags & ~(uint32_t)O_CLOEXEC) | (is_quiet(f, &t) ? EPOLL_FLAG_QUIET : 0);
	if (fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->epfd = m;
	return 0;
}

/* ---- restore ---- */

static int epoll_decode(struct operation *op, struct file *f)
{
	const EventpollFileEntry *m = f->entry->epfd;

	if (!m || m->id != f->id)
		return raise_damaged(op, f, "the epoll");
	for (size_t i = 0; i < m->n_tfd; i++) {
		if (m->tfd[i]->tfd > INT32_MAX || (m->tfd[i]->id != 0 && !files_find(op, m->tfd[i]->id)))
			return raise_damaged(op, f, "a target of the epoll");
	}
	f->describe = arena_printf(&op->arena, "epoll of %zu", m->n_tfd);
	return f->describe ? 0 : raise_no_memory(op);
}

static int epoll_create_(struct operation *op, struct file *f)
{
	f->fd = epoll_create1(EPOLL_CLOEXEC);
	if (f->fd < 0)
		return error_raise_call(op->error, errno, "epoll_create1", "%s", f->describe);
	return file_set_flags(op, f, f->entry->epfd->flags);
}

static int epoll_finish(struct operation *op, struct file *f)
{
	int r = epolls_fill(op);

	return r < 0 ? r : fown_apply(op, f->fd, f->entry->epfd->fown, f->describe);
}

static void epoll_describe(const FileEntry *entry, char *buf, size_t size)
{
	const EventpollFileEntry *m = entry->epfd;
	size_t len;

	if (!m)
		return;
	(void)snprintf(buf, size, "epoll of %zu%s", m->n_tfd, m->n_tfd ? ": fd" : "");
	for (size_t i = 0; i < m->n_tfd && i < 8; i++) {
		len = strlen(buf);
		(void)snprintf(buf + len, size - len, " %u", m->tfd[i]->tfd);
	}
	len = strlen(buf);
	if (m->n_tfd > 8)
		(void)snprintf(buf + len, size - len, " …");
}

const struct kind kind_epoll = {
	.name = "epoll",
	.type = FD_TYPES__EVENTPOLL,
	.recognise = epoll_recognise,
	.check_all = epoll_check_all,
	.dump = epoll_dump,
	.decode = epoll_decode,
	.create = epoll_create_,
	.finish = epoll_finish,
	.finish_last = true,
	.describe = epoll_describe,
};
