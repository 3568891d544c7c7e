/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "watch/recorder.h"

/*
 * fdinfo tells what remains, whatever way the timer was set; the restored timer goes on from there. A timer that was set
 * to a point in time (TFD_TIMER_ABSTIME) expires at that point of its clock, which firn_expires has: now and the rest, looked
 * at in that order, so never too early. Without firn_expires (CRIU's images), or when the clock jumps for the tree
 * (--skip-timens), it is set to now and the rest again.
 *
 * A periodic timer that has expired stands still in the kernel until somebody looks at it (fs/timerfd.c): only then the
 * periods passed are counted and it runs on. timerfd_gettime() on firn's copy does that; a read by the program would give
 * the same count.
 */
#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t) /* Linux 3.17, CONFIG_CHECKPOINT_RESTORE */
#endif
#define TFD_SETTIME_FLAGS (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)

#define NSEC_PER_SEC 1000000000ll
/* Seconds that the kernel's 64 bits of nanoseconds hold, so that sums of two cannot wrap here. */
#define SECONDS_MAX (INT64_MAX / NSEC_PER_SEC / 2)

static const char *clock_name(uint32_t clockid)
{
	switch (clockid) {
	case CLOCK_REALTIME:
		return "CLOCK_REALTIME";
	case CLOCK_MONOTONIC:
		return "CLOCK_MONOTONIC";
	case CLOCK_BOOTTIME:
		return "CLOCK_BOOTTIME";
	case CLOCK_REALTIME_ALARM:
		return "CLOCK_REALTIME_ALARM";
	case CLOCK_BOOTTIME_ALARM:
		return "CLOCK_BOOTTIME_ALARM";
	default:
		return NULL;
	}
}

static bool timerfd_recognise(const struct fd_facts *f)
{
	return strcmp(f->link, "anon_inode:[timerfd]") == 0;
}

static int timerfd_check(struct operation *op, const struct fd_facts *f)
{
	struct proc_timerfd t;

	if (parse_fdinfo_timerfd(f->info.rest, &t) < 0)
		return error_raise(op->error, EOPNOTSUPP, "%s: the kernel does not tell its time in fdinfo",
				   facts_describe(op, f));
	return 0;
}

static bool stands_still(const struct proc_timerfd *t)
{
	return t->ticks > 0 && t->value.tv_sec == 0 && t->value.tv_nsec == 0 &&
	       (t->interval.tv_sec > 0 || t->interval.tv_nsec > 0);
}

/* As of now, running. It may expire between the two looks: then once more. With periods of a few microseconds that never
 * ends; such a timer goes on with a whole period. */
static int read_timer(struct operation *op, struct file *f, struct proc_timerfd *ret)
{
	AUTOCLOSE int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct itimerspec ignored;
	struct proc_fdinfo info;
	int r;

	if (self < 0)
		return error_raise_call(op->error, errno, "open", "/proc/self");
	for (int tries = 0; tries < 5; tries++) {
		if (timerfd_gettime(f->facts.fd, &ignored) < 0)
			return error_raise_call(op->error, errno, "timerfd_gettime", "%s",
						facts_describe(op, &f->facts));
		r = read_proc_fdinfo(self, f->facts.fd, &op->arena, &info);
		if (r == 0)
			r = parse_fdinfo_timerfd(info.rest, ret);
		if (r < 0)
			return error_raise_call(op->error, -r, "read", "%s, its fdinfo", facts_describe(op, &f->facts));
		if (!stands_still(ret))
			return 0;
	}
	ret->value = ret->interval;
	return 0;
}

/* ns from firn's clock to the one that the tree has under that name. */
static int64_t clock_ahead(const struct operation *op, uint32_t clockid)
{
	switch (clockid) {
	case CLOCK_MONOTONIC:
		return op->clocks.monotonic_ahead;
	case CLOCK_BOOTTIME:
	case CLOCK_BOOTTIME_ALARM:
		return op->clocks.boottime_ahead;
	default:
		return 0;
	}
}

static void note_expiry(const struct operation *op, TimerfdEntry *m)
{
	struct timespec now;
	int64_t at;

	if (!(m->settime_flags & TFD_TIMER_ABSTIME) || (m->vsec == 0 && m->vnsec == 0) || m->vsec > SECONDS_MAX ||
	    clock_gettime((clockid_t)m->clockid, &now) < 0)
		return;
	at = now.tv_sec * NSEC_PER_SEC + now.tv_nsec + clock_ahead(op, m->clockid);
	m->has_firn_expires = !__builtin_add_overflow(at, (int64_t)(m->vsec * NSEC_PER_SEC + m->vnsec), &at);
	m->firn_expires = (uint64_t)at;
}

static int timerfd_dump(struct operation *op, struct file *f)
{
	TimerfdEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct proc_timerfd t;
	int r;

	if (!m)
		return raise_no_memory(op);
	timerfd_entry__init(m);
	r = read_timer(op, f, &t);
	if (r < 0)
		return r;
	m->id = f->id;
	m->flags = f->facts.info.flags & ~(uint32_t)O_CLOEXEC;
	m->clockid = (uint32_t)t.clockid;
	m->ticks = t.ticks;
	m->settime_flags = t.settime_flags;
	m->vsec = (uint64_t)t.value.tv_sec;
	m->vnsec = (uint64_t)t.value.tv_nsec;
	m->isec = (uint64_t)t.interval.tv_sec;
	m->insec = (uint64_t)t.interval.tv_nsec;
	note_expiry(op, m);
	if (fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->tfd = m;
	return 0;
}

static void describe(const TimerfdEntry *m, char *buf, size_t size)
{
	const char *clock = clock_name(m->clockid);

	(void)snprintf(buf, size, "timerfd, %s, %llu.%09llu s left, every %llu.%09llu s, %llu ticks",
		       clock ? clock : "no clock", (unsigned long long)m->vsec, (unsigned long long)m->vnsec,
		       (unsigned long long)m->isec, (unsigned long long)m->insec, (unsigned long long)m->ticks);
}

static int timerfd_decode(struct operation *op, struct file *f)
{
	const TimerfdEntry *m = f->entry->tfd;
	char text[160];

	if (!m || m->id != f->id || !clock_name(m->clockid) || (m->settime_flags & ~(uint32_t)TFD_SETTIME_FLAGS) ||
	    m->firn_expires > INT64_MAX || m->vsec > SECONDS_MAX || m->isec > SECONDS_MAX || m->vnsec >= NSEC_PER_SEC ||
	    m->insec >= NSEC_PER_SEC)
		return raise_damaged(op, f, "the timerfd");
	describe(m, text, sizeof(text));
	f->describe = arena_printf(&op->arena, "%s", text);
	return f->describe ? 0 : raise_no_memory(op);
}

static int timerfd_create_(struct operation *op, struct file *f)
{
	const TimerfdEntry *m = f->entry->tfd;

	f->fd = timerfd_create((clockid_t)m->clockid, TFD_CLOEXEC | TFD_NONBLOCK);
	if (f->fd < 0) {
		int number = errno;

		(void)error_raise_call(op->error, number, "timerfd_create", "%s", f->describe);
		if (number == EPERM)
			error_hint(op->error, "Timers that wake the machine need CAP_WAKE_ALARM.");
		return -number;
	}
	return file_set_flags(op, f, m->flags);
}

/* The point in time of firn's own clock, which settime() takes; one that has passed lets the timer expire at once. */
static struct timespec point_in_time(const struct operation *op, const TimerfdEntry *m)
{
	int64_t at = (int64_t)m->firn_expires;

	if (__builtin_sub_overflow(at, clock_ahead(op, m->clockid), &at))
		at = INT64_MAX;
	if (at <= 0)
		at = 1; /* 0 would stop it */
	return (struct timespec){ .tv_sec = at / NSEC_PER_SEC, .tv_nsec = at % NSEC_PER_SEC };
}

static bool keeps_its_point(const struct operation *op, const TimerfdEntry *m)
{
	bool wall = m->clockid == CLOCK_REALTIME || m->clockid == CLOCK_REALTIME_ALARM;

	return m->has_firn_expires && (wall || op->clocks.go_on);
}

/* What settime() takes so that the timer has as long to go as in the image. */
static int time_to_set(struct operation *op, const struct file *f, struct itimerspec *ret)
{
	const TimerfdEntry *m = f->entry->tfd;
	struct timespec now;

	ret->it_interval = (struct timespec){ .tv_sec = (time_t)m->isec, .tv_nsec = (long)m->insec };
	ret->it_value = (struct timespec){ .tv_sec = (time_t)m->vsec, .tv_nsec = (long)m->vnsec };
	/* Dumped while it stood still, by an engine that did not look first. */
	if (m->ticks > 0 && m->vsec == 0 && m->vnsec == 0)
		ret->it_value = ret->it_interval;
	if (!(m->settime_flags & TFD_TIMER_ABSTIME) || (ret->it_value.tv_sec == 0 && ret->it_value.tv_nsec == 0))
		return 0;
	if (keeps_its_point(op, m)) {
		ret->it_value = point_in_time(op, m);
		return 0;
	}
	if (clock_gettime((clockid_t)m->clockid, &now) < 0)
		return error_raise_call(op->error, errno, "clock_gettime", "%s", f->describe);
	ret->it_value.tv_sec += now.tv_sec;
	ret->it_value.tv_nsec += now.tv_nsec;
	if (ret->it_value.tv_nsec >= NSEC_PER_SEC) {
		ret->it_value.tv_nsec -= NSEC_PER_SEC;
		ret->it_value.tv_sec++;
	}
	return 0;
}

static int timerfd_finish(struct operation *op, struct file *f)
{
	const TimerfdEntry *m = f->entry->tfd;
	struct itimerspec value;
	uint64_t ticks = m->ticks;
	int r = time_to_set(op, f, &value);

	if (r < 0)
		return r;
	/* Of a disarmed timer, too: the flags and the interval stay what they were. Takes away the ticks, so it comes first. */
	if (timerfd_settime(f->fd, (int)m->settime_flags, &value, NULL) < 0)
		return error_raise_call(op->error, errno, "timerfd_settime", "%s", f->describe);
	if (ticks > 0 && ioctl(f->fd, TFD_IOC_SET_TICKS, &ticks) < 0) {
		int number = errno;

		(void)error_raise_call(op->error, number, "ioctl(TFD_IOC_SET_TICKS)", "%s", f->describe);
		if (number == ENOTTY)
			error_hint(op->error, "The kernel needs CONFIG_CHECKPOINT_RESTORE for that.");
		return -number;
	}
	return fown_apply(op, f->fd, m->fown, f->describe);
}

static void timerfd_describe(const FileEntry *entry, char *buf, size_t size)
{
	if (entry->tfd)
		describe(entry->tfd, buf, size);
}

const struct kind kind_timerfd = {
	.name = "timerfd",
	.type = FD_TYPES__TIMERFD,
	.recognise = timerfd_recognise,
	.check = timerfd_check,
	.dump = timerfd_dump,
	.decode = timerfd_decode,
	.create = timerfd_create_,
	.finish = timerfd_finish,
	.describe = timerfd_describe,
};
