// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * timerfd: fd_timerfd FOLDER [alarm|stopped]. Clocks, periods, ticks that were not read, flags, and that what remains goes on from
 * the restore. With "alarm", the clocks that wake the machine;
 * with "stopped", one that was set to a point in time and then stopped.
 */
#include "check.h"

#include <poll.h>
#include <sys/timerfd.h>

#ifndef TFD_TIMER_CANCEL_ON_SET
#define TFD_TIMER_CANCEL_ON_SET 2
#endif

enum { HOUR = 3600 };

static int make(int clock, int flags, long value, long value_ns, long interval, long interval_ns)
{
	struct itimerspec t = { { interval, interval_ns }, { value, value_ns } };
	int fd = timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);

	if (fd < 0)
		check_skip("timerfd_create(%d): %s", clock, strerror(errno));
	if ((flags & TFD_TIMER_ABSTIME) && (value || value_ns)) {
		struct timespec now;

		MUST(clock_gettime(clock, &now));
		t.it_value.tv_sec += now.tv_sec;
	}
	MUST(timerfd_settime(fd, flags, &t, NULL));
	return fd;
}

static char *line(int fd, const char *key)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return proc_line(path, key);
}

/* A timer of an hour: restored within minutes, it has nearly all of it to go. */
static void check_hour(int fd, int clock, int flags, long interval)
{
	struct itimerspec t = { 0 };
	char *clockid = line(fd, "clockid:"), *settime = line(fd, "settime flags:");

	MUST(timerfd_gettime(fd, &t));
	CHECK(t.it_value.tv_sec <= HOUR && t.it_value.tv_sec > HOUR - 600, "fd %d: %ld s left", fd, t.it_value.tv_sec);
	CHECK_EQ(t.it_interval.tv_sec, interval, "interval");
	CHECK_EQ(strtol(clockid, NULL, 10), clock, "clock");
	CHECK_EQ(strtol(settime, NULL, 8), flags, "settime flags");
}

static int alarms(void)
{
	int real = make(CLOCK_REALTIME_ALARM, 0, HOUR, 0, 7, 0), boot = make(CLOCK_BOOTTIME_ALARM, 0, HOUR, 0, 0, 0);

	check_ready();
	check_hour(real, CLOCK_REALTIME_ALARM, 0, 7);
	check_hour(boot, CLOCK_BOOTTIME_ALARM, 0, 0);
	return check_end();
}

static int stopped(void)
{
	int fd = make(CLOCK_MONOTONIC, 0, HOUR, 0, 3, 0);
	struct itimerspec t = { { 4, 0 }, { 0, 0 } };

	MUST(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL));
	check_ready();
	MUST(timerfd_gettime(fd, &t));
	CHECK(t.it_value.tv_sec == 0 && t.it_value.tv_nsec == 0 && t.it_interval.tv_sec == 4, "it runs");
	CHECK_EQ(strtol(line(fd, "settime flags:"), NULL, 8), TFD_TIMER_ABSTIME, "its flags");
	return check_end();
}

int main(int argc, char **argv)
{
	int hour[5], once, expired, periodic, off;
	struct itimerspec t;
	struct pollfd p;
	uint64_t ticks = 0;

	check_begin(argc, argv);
	if (argc > 2)
		return strcmp(argv[2], "alarm") ? stopped() : alarms();
	hour[0] = make(CLOCK_MONOTONIC, 0, HOUR, 0, 5, 6);
	hour[1] = make(CLOCK_REALTIME, 0, HOUR, 0, 0, 0);
	hour[2] = make(CLOCK_BOOTTIME, 0, HOUR, 0, 0, 0);
	hour[3] = make(CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, HOUR, 0, 0, 0);
	hour[4] = make(CLOCK_REALTIME, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, HOUR, 0, 0, 0);
	once = make(CLOCK_MONOTONIC, 0, 0, 300000000, 0, 0);
	expired = make(CLOCK_MONOTONIC, 0, 0, 1, 0, 0);
	periodic = make(CLOCK_MONOTONIC, 0, 0, 1, 0, 20000000);
	off = make(CLOCK_MONOTONIC, 0, 0, 0, 9, 0);
	p = (struct pollfd){ .fd = periodic, .events = POLLIN };
	MUST(poll(&p, 1, -1));
	p.fd = expired;
	MUST(poll(&p, 1, -1));
	MUST(fcntl(off, F_SETFL, 0));
	check_ready();
	check_hour(hour[0], CLOCK_MONOTONIC, 0, 5);
	check_hour(hour[1], CLOCK_REALTIME, 0, 0);
	check_hour(hour[2], CLOCK_BOOTTIME, 0, 0);
	check_hour(hour[3], CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, 0);
	check_hour(hour[4], CLOCK_REALTIME, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, 0);
	p.fd = once;
	CHECK_EQ(poll(&p, 1, 5000), 1, "the timer of 0.3 s");
	CHECK(read(once, &ticks, sizeof(ticks)) == sizeof(ticks) && ticks == 1, "%lu ticks of it", ticks);
	CHECK(read(expired, &ticks, sizeof(ticks)) == sizeof(ticks) && ticks == 1, "%lu ticks of an expired one",
	      ticks);
	CHECK(read(expired, &ticks, sizeof(ticks)) < 0 && errno == EAGAIN, "it has no more");
	CHECK(read(periodic, &ticks, sizeof(ticks)) == sizeof(ticks) && ticks >= 1, "%lu ticks of a periodic one",
	      ticks);
	p.fd = periodic;
	CHECK_EQ(poll(&p, 1, 5000), 1, "it goes on");
	MUST(timerfd_gettime(periodic, &t));
	CHECK(t.it_interval.tv_sec == 0 && t.it_interval.tv_nsec == 20000000, "interval %ld.%09ld",
	      t.it_interval.tv_sec, t.it_interval.tv_nsec);
	MUST(timerfd_gettime(off, &t));
	CHECK(t.it_value.tv_sec == 0 && t.it_value.tv_nsec == 0 && t.it_interval.tv_sec == 9, "a timer that was off");
	CHECK_EQ(fcntl(off, F_GETFL) & O_NONBLOCK, 0, "a blocking one");
	CHECK_EQ(fcntl(once, F_GETFD), FD_CLOEXEC, "close-on-exec");
	CHECK(fcntl(once, F_GETFL) & O_NONBLOCK, "a non-blocking one");
	return check_end();
}
