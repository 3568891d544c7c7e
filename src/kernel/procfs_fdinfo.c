/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/procfs.h"
#include "kernel/procfs_internal.h"

/* /proc/PID/fdinfo/N: four lines that every descriptor has, in this order, then file locks and the kind's own lines. */

/* An epoll descriptor writes about 80 bytes per target. */
#define FDINFO_LIMIT (64UL << 20)

int parse_proc_fdinfo(const char *text, size_t len, struct arena *a, struct proc_fdinfo *ret)
{
	struct text t = text_of(text, len);
	struct proc_fdinfo f = { .rest = "" };
	char *rest;
	int64_t pos;

	/* Positions are printed as signed: those of /proc/PID/mem lie in the upper half. */
	if (!text_literal(&t, "pos:\t") || !text_signed(&t, 10, &pos) || !text_literal(&t, "\nflags:\t") ||
	    !text_u32(&t, 8, &f.flags) || !text_literal(&t, "\nmnt_id:\t") || !text_int(&t, 10, &f.mnt_id) ||
	    !text_char(&t, '\n'))
		return -EINVAL;
	f.pos = (uint64_t)pos;
	if (text_literal(&t, "ino:\t") && (!text_u64(&t, 10, &f.ino) || !text_char(&t, '\n')))
		return -EINVAL;
	if (!text_empty(&t)) {
		rest = arena_alloc(a, text_len(&t) + 1);
		if (!rest)
			return -ENOMEM;
		memcpy(rest, t.p, text_len(&t));
		f.rest = rest;
	}
	*ret = f;
	return 0;
}

int parse_fdinfo_fuse(const char *rest, uint32_t *ret)
{
	struct text t = text_of(rest, strlen(rest)), line;

	while (text_line(&t, &line))
		if (text_literal(&line, "fuse_connection:\t"))
			return text_u32(&line, 10, ret) && text_empty(&line) ? 0 : -EINVAL;
	return -EINVAL;
}

int read_proc_fdinfo(int dirfd, int fd, struct arena *a, struct proc_fdinfo *ret)
{
	char name[32], buf[PROCFS_RECORD_SIZE];
	AUTOFREE char *heap = NULL;
	size_t len;
	long n;
	int r;

	(void)snprintf(name, sizeof(name), "fdinfo/%d", fd);
	n = procfs_read_record(dirfd, name, buf, sizeof(buf));
	if (n >= 0)
		return parse_proc_fdinfo(buf, (size_t)n, a, ret);
	if (n != -EFBIG)
		return (int)n;
	r = procfs_read(dirfd, name, FDINFO_LIMIT, &heap, &len);
	return r < 0 ? r : parse_proc_fdinfo(heap, len, a, ret);
}
