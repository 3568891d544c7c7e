/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "base/text.h"
#include "kernel/procfs.h"

/*
 * What epoll, signalfd and timerfd say of themselves in fdinfo: ep_show_fdinfo() in fs/eventpoll.c, signalfd_show_fdinfo()
 * and timerfd_show(). Each number is padded with blanks, tabs or leading zeros.
 */

#define NSEC_PER_SEC 1000000000ull

/* "tfd:        9 events:       1c data:     7efe00000009  pos:0 ino:7a41 sdev:9", without "tfd:". */
static bool parse_target(struct text *t, struct proc_epoll_target *ret)
{
	int64_t tfd;

	text_blanks(t);
	if (!text_signed(t, 10, &tfd) || tfd < 0 || tfd > INT32_MAX)
		return false;
	ret->tfd = (int)tfd;
	text_blanks(t);
	if (!text_literal(t, "events:"))
		return false;
	text_blanks(t);
	if (!text_u32(t, 16, &ret->events))
		return false;
	text_blanks(t);
	if (!text_literal(t, "data:"))
		return false;
	text_blanks(t);
	if (!text_u64(t, 16, &ret->data))
		return false;
	text_blanks(t);
	return text_literal(t, "pos:") && text_signed(t, 10, &ret->pos) && text_literal(t, " ino:") &&
	       text_u64(t, 16, &ret->ino) && text_literal(t, " sdev:") && text_u32(t, 16, &ret->dev) && text_empty(t);
}

int parse_fdinfo_epoll(const char *rest, struct arena *a, struct proc_epoll_target **ret, size_t *ret_n)
{
	struct text t = text_of(rest, strlen(rest)), line;
	struct proc_epoll_target *all = NULL;
	size_t n = 0, room = 0;

	while (text_line(&t, &line)) {
		if (!text_literal(&line, "tfd:"))
			continue;
		if (n == room) {
			room = room ? room * 2 : 16;
			all = arena_grow(a, all, n, room, sizeof(*all));
			if (!all)
				return -ENOMEM;
		}
		if (!parse_target(&line, &all[n]))
			return -EINVAL;
		n++;
	}
	*ret = all;
	*ret_n = n;
	return 0;
}

int parse_fdinfo_signalfd(const char *rest, uint64_t *ret_mask)
{
	struct text t = text_of(rest, strlen(rest)), line;
	uint64_t mask;

	while (text_line(&t, &line)) {
		if (!text_literal(&line, "sigmask:"))
			continue;
		text_blanks(&line);
		if (!text_u64(&line, 16, &mask) || !text_empty(&line))
			return -EINVAL;
		*ret_mask = mask;
		return 0;
	}
	return -EINVAL;
}

/* "(1, 500000000)" */
static bool parse_time(struct text *t, struct timespec *ret)
{
	uint64_t sec, nsec;

	text_blanks(t);
	if (!text_char(t, '(') || !text_unsigned(t, 10, INT64_MAX, &sec) || !text_literal(t, ", ") ||
	    !text_unsigned(t, 10, NSEC_PER_SEC - 1, &nsec) || !text_char(t, ')'))
		return false;
	ret->tv_sec = (time_t)sec;
	ret->tv_nsec = (long)nsec;
	return true;
}

static bool parse_timer_line(struct text *line, struct proc_timerfd *t, unsigned *seen)
{
	if (text_literal(line, "clockid:")) {
		*seen |= 1;
		text_blanks(line);
		return text_int(line, 10, &t->clockid) && text_empty(line);
	}
	if (text_literal(line, "ticks:")) {
		*seen |= 2;
		text_blanks(line);
		return text_u64(line, 10, &t->ticks) && text_empty(line);
	}
	if (text_literal(line, "settime flags:")) {
		*seen |= 4;
		text_blanks(line);
		return text_u32(line, 8, &t->settime_flags) && text_empty(line);
	}
	if (text_literal(line, "it_value:")) {
		*seen |= 8;
		return parse_time(line, &t->value) && text_empty(line);
	}
	if (text_literal(line, "it_interval:")) {
		*seen |= 16;
		return parse_time(line, &t->interval) && text_empty(line);
	}
	return true;
}

int parse_fdinfo_timerfd(const char *rest, struct proc_timerfd *ret)
{
	struct text t = text_of(rest, strlen(rest)), line;
	struct proc_timerfd timer = { 0 };
	unsigned seen = 0;

	while (text_line(&t, &line)) {
		if (!parse_timer_line(&line, &timer, &seen))
			return -EINVAL;
	}
	if (seen != 31)
		return -EINVAL;
	*ret = timer;
	return 0;
}
