/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/procfs.h"

/*
 * /proc/PID/timens_offsets (Linux 5.6, CONFIG_TIME_NS; man 7 time_namespaces): how far the clocks of the namespace that the
 * task's children will be in are from those of the machine. Seconds may be negative, nanoseconds are not.
 *     monotonic      100000         0
 *     boottime           -1 500000000
 */

#define OFFSETS_LIMIT 4096

static bool parse_offset(struct text *t, const char *name, int64_t *ret)
{
	int64_t seconds;
	uint64_t ns;

	if (!text_literal(t, name))
		return false;
	text_blanks(t);
	if (!text_signed(t, 10, &seconds) || !text_char(t, ' '))
		return false;
	text_blanks(t);
	return text_unsigned(t, 10, 999999999, &ns) && text_char(t, '\n') &&
	       !__builtin_mul_overflow(seconds, INT64_C(1000000000), &seconds) &&
	       !__builtin_add_overflow(seconds, (int64_t)ns, ret);
}

int parse_proc_timens_offsets(const char *text, size_t len, struct proc_timens_offsets *ret)
{
	struct text t = text_of(text, len);
	struct proc_timens_offsets o;

	if (!parse_offset(&t, "monotonic ", &o.monotonic) || !parse_offset(&t, "boottime ", &o.boottime) ||
	    !text_empty(&t))
		return -EINVAL;
	*ret = o;
	return 0;
}

int read_proc_timens_offsets(int dirfd, struct proc_timens_offsets *ret)
{
	AUTOFREE char *buf = NULL;
	size_t len;
	int r = procfs_read(dirfd, "timens_offsets", OFFSETS_LIMIT, &buf, &len);

	return r < 0 ? r : parse_proc_timens_offsets(buf, len, ret);
}
