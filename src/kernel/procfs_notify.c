/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "base/text.h"
#include "kernel/procfs.h"

/*
 * What inotify, fanotify and pidfd descriptors say of themselves in fdinfo: fs/notify/fdinfo.c and pidfd_show_fdinfo().
 * Numbers of inotify and fanotify are hexadecimal. A file system that cannot make file handles leaves that part out.
 */

static bool parse_hex(struct text *t, const char *key, uint32_t *ret)
{
	text_blanks(t);
	return text_literal(t, key) && text_u32(t, 16, ret);
}

static bool parse_handle(struct text *t, struct proc_mark *m)
{
	uint32_t len;

	text_blanks(t);
	if (text_empty(t))
		return true;
	if (!parse_hex(t, "fhandle-bytes:", &len) || len > sizeof(m->handle) ||
	    !parse_hex(t, "fhandle-type:", &m->handle_type))
		return false;
	text_blanks(t);
	if (!text_literal(t, "f_handle:") || text_len(t) != (size_t)len * 2)
		return false;
	for (m->handle_len = 0; m->handle_len < len; m->handle_len++) {
		int high = text_digit(t->p[0]), low = text_digit(t->p[1]);

		if (high > 15 || low > 15)
			return false;
		m->handle[m->handle_len] = (uint8_t)(high << 4 | low);
		t->p += 2;
	}
	return true;
}

static bool parse_inode(struct text *t, struct proc_mark *m)
{
	text_blanks(t);
	return text_literal(t, "ino:") && text_u64(t, 16, &m->ino) && parse_hex(t, "sdev:", &m->dev);
}

/* Behind "inotify ". */
static bool parse_watch(struct text *t, struct proc_mark *m)
{
	m->sort = MARK_INODE;
	return parse_hex(t, "wd:", &m->wd) && m->wd >= 1 && m->wd <= INT32_MAX && parse_inode(t, m) &&
	       parse_hex(t, "mask:", &m->mask) && parse_hex(t, "ignored_mask:", &m->ignored_mask) && parse_handle(t, m);
}

/* Behind "fanotify ". */
static bool parse_fanotify_mark(struct text *t, struct proc_mark *m)
{
	struct text copy = *t;

	if (parse_inode(&copy, m))
		m->sort = MARK_INODE;
	else if (copy = *t, parse_hex(&copy, "mnt_id:", &m->mnt_id))
		m->sort = MARK_MOUNT;
	else if (copy = *t, parse_hex(&copy, "sdev:", &m->dev))
		m->sort = MARK_FILE_SYSTEM;
	else
		m->sort = MARK_OTHER;
	*t = copy;
	if (m->sort == MARK_OTHER)
		return true;
	if (!parse_hex(t, "mflags:", &m->mflags) || !parse_hex(t, "mask:", &m->mask) ||
	    !parse_hex(t, "ignored_mask:", &m->ignored_mask))
		return false;
	return m->sort == MARK_INODE ? parse_handle(t, m) : (text_blanks(t), text_empty(t));
}

struct marks {
	struct proc_mark *all;
	size_t n, room;
};

static struct proc_mark *next_mark(struct marks *m, struct arena *a)
{
	if (m->n == m->room) {
		m->room = m->room ? m->room * 2 : 16;
		m->all = arena_grow(a, m->all, m->n, m->room, sizeof(*m->all));
		if (!m->all)
			return NULL;
	}
	return &m->all[m->n];
}

int parse_fdinfo_inotify(const char *rest, struct arena *a, struct proc_mark **ret, size_t *ret_n)
{
	struct text t = text_of(rest, strlen(rest)), line;
	struct marks marks = { 0 };

	while (text_line(&t, &line)) {
		struct proc_mark *m;

		if (!text_literal(&line, "inotify "))
			continue;
		m = next_mark(&marks, a);
		if (!m)
			return -ENOMEM;
		if (!parse_watch(&line, m))
			return -EINVAL;
		marks.n++;
	}
	*ret = marks.all;
	*ret_n = marks.n;
	return 0;
}

int parse_fdinfo_fanotify(const char *rest, struct arena *a, struct proc_fanotify *ret)
{
	struct text t = text_of(rest, strlen(rest)), line;
	struct proc_fanotify f = { 0 };
	struct marks marks = { 0 };
	bool head = false;

	while (text_line(&t, &line)) {
		struct proc_mark *m;

		if (!text_literal(&line, "fanotify "))
			continue;
		if (!head) {
			if (!parse_hex(&line, "flags:", &f.flags) || !parse_hex(&line, "event-flags:", &f.event_flags))
				return -EINVAL;
			head = true;
			continue;
		}
		m = next_mark(&marks, a);
		if (!m)
			return -ENOMEM;
		if (!parse_fanotify_mark(&line, m))
			return -EINVAL;
		marks.n++;
	}
	if (!head)
		return -EINVAL;
	f.marks = marks.all;
	f.n_marks = marks.n;
	*ret = f;
	return 0;
}

int parse_fdinfo_pidfd(const char *rest, pid_t *ret_pid)
{
	struct text t = text_of(rest, strlen(rest)), line;
	int pid;

	while (text_line(&t, &line)) {
		if (!text_literal(&line, "Pid:"))
			continue;
		text_blanks(&line);
		if (!text_int(&line, 10, &pid) || !text_empty(&line) || pid < -1)
			return -EINVAL;
		*ret_pid = pid;
		return 0;
	}
	return -EINVAL;
}
