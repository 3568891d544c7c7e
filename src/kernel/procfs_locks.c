/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>

#include "base/text.h"
#include "kernel/procfs.h"

/*
 * Locks and leases come first of what fdinfo has to tell (lock_get_status() in fs/locks.c):
 *
 *     lock:	1: POSIX  ADVISORY  WRITE 126 08:01:4711 0 EOF
 *     lock:	2: LEASE  ACTIVE    READ  126 08:01:4711 0 EOF
 */

static bool parse_sort(struct text *t, struct proc_lock *ret)
{
	static const struct {
		const char *name;
		enum proc_lock_sort sort;
	} sorts[] = {
		{ "POSIX", LOCK_SORT_POSIX },
		{ "FLOCK", LOCK_SORT_FLOCK },
		{ "OFDLCK", LOCK_SORT_OFD },
		{ "LEASE", LOCK_SORT_LEASE },
	};

	for (size_t i = 0; i < sizeof(sorts) / sizeof(sorts[0]); i++) {
		if (text_literal(t, sorts[i].name)) {
			ret->sort = sorts[i].sort;
			return true;
		}
	}
	return false;
}

static bool parse_type(struct text *t, struct proc_lock *ret)
{
	if (ret->sort == LOCK_SORT_LEASE) {
		ret->breaking = text_literal(t, "BREAKING");
		if (!ret->breaking && !text_literal(t, "ACTIVE"))
			return false;
	} else if (!text_literal(t, "ADVISORY")) {
		return false;
	}
	text_blanks(t);
	if (text_literal(t, "WRITE"))
		ret->type = F_WRLCK;
	else if (text_literal(t, "READ"))
		ret->type = F_RDLCK;
	else if (ret->breaking && text_literal(t, "UNLCK"))
		ret->type = F_UNLCK;
	else
		return false;
	text_blanks(t);
	return true;
}

/* "126 08:01:4711 0 EOF": who took it (-1 for an open file description lock), the file, the first and the last byte. */
static bool parse_range(struct text *t, struct proc_lock *ret)
{
	uint32_t major, minor;
	uint64_t last;

	if (!text_int(t, 10, &ret->pid) || !text_literal(t, " ") || !text_u32(t, 16, &major) || !text_literal(t, ":") ||
	    !text_u32(t, 16, &minor) || !text_literal(t, ":") || !text_u64(t, 10, &ret->ino) || !text_literal(t, " "))
		return false;
	ret->dev_major = major;
	ret->dev_minor = minor;
	if (!text_u64(t, 10, &ret->start) || ret->start > INT64_MAX || !text_literal(t, " "))
		return false;
	if (text_literal(t, "EOF")) {
		ret->len = 0;
		return text_empty(t);
	}
	if (!text_u64(t, 10, &last) || last < ret->start || last >= INT64_MAX)
		return false;
	ret->len = last - ret->start + 1;
	return text_empty(t);
}

static bool parse_lock(struct text *t, struct proc_lock *ret)
{
	uint32_t number;

	*ret = (struct proc_lock){ 0 };
	text_blanks(t);
	if (!text_u32(t, 10, &number) || !text_literal(t, ":"))
		return false;
	text_blanks(t);
	ret->waiting = text_literal(t, "-> ");
	if (!parse_sort(t, ret))
		return false;
	text_blanks(t);
	return parse_type(t, ret) && parse_range(t, ret);
}

int parse_fdinfo_locks(const char *rest, struct arena *a, struct proc_lock **ret, size_t *ret_n)
{
	struct text t = text_of(rest, strlen(rest)), line;
	struct proc_lock *all = NULL;
	size_t n = 0, room = 0;

	while (text_line(&t, &line) && text_literal(&line, "lock:")) {
		if (n == room) {
			room = room ? room * 2 : 4;
			all = arena_grow(a, all, n, room, sizeof(*all));
			if (!all)
				return -ENOMEM;
		}
		if (!parse_lock(&line, &all[n]))
			return -EINVAL;
		n++;
	}
	*ret = all;
	*ret_n = n;
	return 0;
}

int parse_proc_locks(const char *text, size_t len, struct arena *a, struct proc_lock **ret, size_t *ret_n)
{
	struct text t = text_of(text, len), line;
	struct proc_lock *all = NULL, lock;
	size_t n = 0, room = 0;

	while (text_line(&t, &line)) {
		if (!parse_lock(&line, &lock))
			continue;
		if (n == room) {
			room = room ? room * 2 : 16;
			all = arena_grow(a, all, n, room, sizeof(*all));
			if (!all)
				return -ENOMEM;
		}
		all[n++] = lock;
	}
	*ret = all;
	*ret_n = n;
	return 0;
}
