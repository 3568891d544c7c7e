/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/procfs.h"

/*
 * /proc/PID/timers (CONFIG_POSIX_TIMERS and CONFIG_CHECKPOINT_RESTORE): four lines per timer,
 *     ID: 1
 *     signal: 60/00007fff86e452a8
 *     notify: signal/pid.2634
 *     ClockID: 0
 */

#define TIMERS_LIMIT (64UL << 20)

static bool parse_notify(struct text *t, struct proc_timer *timer)
{
	if (text_literal(t, "signal/"))
		timer->notify = SIGEV_SIGNAL;
	else if (text_literal(t, "none/"))
		timer->notify = SIGEV_NONE;
	else if (text_literal(t, "thread/"))
		timer->notify = SIGEV_THREAD;
	else
		return false;
	timer->target_is_thread = text_literal(t, "tid.");
	if (timer->target_is_thread)
		timer->notify |= SIGEV_THREAD_ID;
	else if (!text_literal(t, "pid."))
		return false;
	return text_int(t, 10, &timer->target);
}

static bool parse_timer(struct text *t, struct proc_timer *timer)
{
	return text_literal(t, "ID: ") && text_int(t, 10, &timer->id) && text_literal(t, "\nsignal: ") &&
	       text_int(t, 10, &timer->signo) && text_char(t, '/') && text_u64(t, 16, &timer->sigval) &&
	       text_literal(t, "\nnotify: ") && parse_notify(t, timer) && text_literal(t, "\nClockID: ") &&
	       text_int(t, 10, &timer->clockid) && text_char(t, '\n');
}

int parse_proc_timers(const char *text, size_t len, struct arena *a, struct proc_timer **ret, size_t *ret_n)
{
	struct text t = text_of(text, len);
	struct proc_timer *timers = NULL, *larger;
	size_t n = 0, room = 0;

	for (; !text_empty(&t); n++) {
		if (n == room) {
			room = room ? room * 2 : 8;
			larger = arena_grow(a, timers, n, room, sizeof(*timers));
			if (!larger)
				return -ENOMEM;
			timers = larger;
		}
		if (!parse_timer(&t, &timers[n]))
			return -EINVAL;
	}
	*ret = timers;
	*ret_n = n;
	return 0;
}

int read_proc_timers(int dirfd, struct arena *a, struct proc_timer **ret, size_t *ret_n)
{
	AUTOFREE char *buf = NULL;
	size_t len;
	int r = procfs_read(dirfd, "timers", TIMERS_LIMIT, &buf, &len);

	return r < 0 ? r : parse_proc_timers(buf, len, a, ret, ret_n);
}
