/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/procfs.h"

/*
 * /proc/PID/mountinfo:
 *     36 35 98:0 /root /mount/point rw,noatime shared:1 master:2 - ext4 /dev/vda1 rw,errors=continue
 * One blank between fields, of which a source may be empty; blanks, tabs, newlines and backslashes inside of fields
 * are octal escapes.
 */

#define MOUNTINFO_LIMIT (256UL << 20)

/* Ends the field in place (its separator's byte becomes the NUL) and undoes its escapes. */
static const char *cut_field(struct text *f)
{
	char *s = (char *)(uintptr_t)f->p; /* the caller's copy of the text */

	s[text_unescape(s, text_len(f), -1)] = '\0';
	return s;
}

static bool next_field(struct text *line, const char **ret)
{
	struct text field;

	if (!text_until(line, ' ', &field))
		return false;
	*ret = cut_field(&field);
	return true;
}

/* @line lies in writable memory and its last byte is followed by one more. */
static bool parse_mount(struct text *line, struct proc_mount *m)
{
	const char *optional;

	if (!text_int(line, 10, &m->mnt_id) || !text_char(line, ' ') || !text_int(line, 10, &m->parent_id) ||
	    !text_char(line, ' ') || !text_u32(line, 10, &m->major) || !text_char(line, ':') ||
	    !text_u32(line, 10, &m->minor) || !text_char(line, ' '))
		return false;
	if (!next_field(line, &m->root) || !next_field(line, &m->mountpoint) || !next_field(line, &m->options))
		return false;
	do {
		if (!next_field(line, &optional)) /* shared:N master:N propagate_from:N unbindable */
			return false;
	} while (strcmp(optional, "-") != 0);
	if (!next_field(line, &m->fstype) || !next_field(line, &m->source))
		return false;
	m->super_options = cut_field(line);
	return true;
}

int parse_proc_mountinfo(const char *text, size_t len, struct arena *a, struct proc_mount **ret, size_t *ret_n)
{
	struct text t, line;
	size_t n = 0, room = 1;
	struct proc_mount *mounts;
	char *copy;

	if (len && memchr(text, '\0', len))
		return -EINVAL;
	copy = arena_alloc(a, len + 1);
	if (!copy)
		return -ENOMEM;
	if (len)
		memcpy(copy, text, len);
	t = text_of(copy, len);
	while (text_line(&t, &line))
		room++;
	mounts = arena_array(a, room, sizeof(*mounts));
	if (!mounts)
		return -ENOMEM;
	for (t = text_of(copy, len); text_line(&t, &line); n++)
		if (!parse_mount(&line, &mounts[n]))
			return -EINVAL;
	*ret = mounts;
	*ret_n = n;
	return 0;
}

int read_proc_mountinfo(int dirfd, struct arena *a, struct proc_mount **ret, size_t *ret_n)
{
	AUTOFREE char *buf = NULL;
	size_t len;
	int r = procfs_read(dirfd, "mountinfo", MOUNTINFO_LIMIT, &buf, &len);

	return r < 0 ? r : parse_proc_mountinfo(buf, len, a, ret, ret_n);
}
