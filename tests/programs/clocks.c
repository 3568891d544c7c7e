// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * clocks FOLDER host|own|behind|nsfile|points|own_points: CLOCK_MONOTONIC and CLOCK_BOOTTIME never go back, through the vdso and
 * through the system call, and whoever waits for a point in time of theirs is woken at that point, not before and not for
 * ever: clock_nanosleep, futex, timerfd. With "own" in a time namespace of its own, some years ahead of the machine; with
 * "behind" in one where the machine was started half an age ago; with "nsfile" it holds a file of that namespace. With
 * "points", timers that were set to a point in time have not lost the time in the images.
 */
#include "check.h"

#include <linux/capability.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define YEARS 100000000ll /* seconds: no machine runs for so long */
#define SECOND 1000000000ll
#define STEP (SECOND / 50)
#define HOUR (3600 * SECOND)

/* Somebody who waits for one point in time after the other. */
struct waiter {
	clockid_t clock;
	int (*wait)(const struct waiter *w, long long until);
	int fd;
	atomic_int woken;
	const char *name;
};

static long long ns_of(struct timespec t)
{
	return t.tv_sec * SECOND + t.tv_nsec;
}

static struct timespec spec_of(long long ns)
{
	return (struct timespec){ ns / SECOND, ns % SECOND };
}

/* glibc asks the vdso. */
static long long now(clockid_t clock)
{
	struct timespec t;

	MUST(clock_gettime(clock, &t));
	return ns_of(t);
}

static long long now_by_call(clockid_t clock)
{
	struct timespec t;

	MUST(syscall(SYS_clock_gettime, clock, &t));
	return ns_of(t);
}

/* ---- waiters ---- */

static int sleep_until(const struct waiter *w, long long until)
{
	struct timespec t = spec_of(until);

	return clock_nanosleep(w->clock, TIMER_ABSTIME, &t, NULL);
}

static int futex_until(const struct waiter *w, long long until)
{
	static uint32_t word;
	struct timespec t = spec_of(until);

	(void)w;
	if (syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL, FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	return errno == ETIMEDOUT ? 0 : errno;
}

static int timer_until(const struct waiter *w, long long until)
{
	struct itimerspec t = { { 0 }, spec_of(until) };
	uint64_t ticks;

	MUST(timerfd_settime(w->fd, TFD_TIMER_ABSTIME, &t, NULL));
	return read(w->fd, &ticks, sizeof(ticks)) == sizeof(ticks) ? 0 : errno;
}

static void *wait_for_ever(void *arg)
{
	struct waiter *w = arg;

	for (;;) {
		long long until = now(w->clock) + STEP;
		int r;

		/* A call that a restore by another engine has interrupted is made again. */
		do
			r = w->wait(w, until);
		while (r == EINTR);
		CHECK(r == 0, "%s: %s", w->name, strerror(r));
		CHECK(now(w->clock) >= until, "%s: woken %lld ns too early", w->name, until - now(w->clock));
		w->woken++;
	}
	return NULL;
}

static struct waiter waiters[] = {
	{ .clock = CLOCK_MONOTONIC, .wait = sleep_until, .name = "clock_nanosleep, CLOCK_MONOTONIC" },
	{ .clock = CLOCK_BOOTTIME, .wait = sleep_until, .name = "clock_nanosleep, CLOCK_BOOTTIME" },
	{ .clock = CLOCK_MONOTONIC, .wait = futex_until, .name = "futex" },
	{ .clock = CLOCK_MONOTONIC, .wait = timer_until, .name = "timerfd, CLOCK_MONOTONIC" },
	{ .clock = CLOCK_BOOTTIME, .wait = timer_until, .name = "timerfd, CLOCK_BOOTTIME" },
};
#define N_WAITERS (sizeof(waiters) / sizeof(waiters[0]))

static void start_waiters(void)
{
	for (size_t i = 0; i < N_WAITERS; i++) {
		pthread_t thread;

		waiters[i].fd = timerfd_create(waiters[i].clock, TFD_CLOEXEC);
		if (pthread_create(&thread, NULL, wait_for_ever, &waiters[i]))
			DIE("no thread");
	}
	for (size_t i = 0; i < N_WAITERS; i++)
		WAIT_FOR(waiters[i].woken > 0);
}

/* ---- timers that are set once ---- */

static const clockid_t hour_clocks[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME };
enum { N_HOURS = 3 };

struct hour {
	int fd;
	long long until;
};

static void set_hours(struct hour *h)
{
	for (int i = 0; i < N_HOURS; i++) {
		struct itimerspec t = { 0 };

		h[i].fd = (int)MUST(timerfd_create(hour_clocks[i], TFD_CLOEXEC));
		h[i].until = now(hour_clocks[i]) + HOUR;
		t.it_value = spec_of(h[i].until);
		MUST(timerfd_settime(h[i].fd, TFD_TIMER_ABSTIME, &t, NULL));
	}
}

/* What is left, looked at between two looks at the clock, ends at the point in time; later by what passed while the dump looked
 * at timer and clock. */
static void check_hours(const struct hour *h)
{
	const long long late = SECOND / 2;

	for (int i = 0; i < N_HOURS; i++) {
		long long before = now(hour_clocks[i]), after, left;
		struct itimerspec t;

		MUST(timerfd_gettime(h[i].fd, &t));
		after = now(hour_clocks[i]);
		left = ns_of(t.it_value);
		CHECK(after + left >= h[i].until, "clock %d: %lld ns too early", hour_clocks[i],
		      h[i].until - after - left);
		CHECK(before + left <= h[i].until + late, "clock %d: %lld ns too late", hour_clocks[i],
		      before + left - h[i].until);
	}
}

/* ---- the clocks ---- */

/* Each look at or after the one before it, whoever is asked. */
static void check_agreement(clockid_t clock)
{
	long long last = now(clock);

	for (int i = 0; i < 1000; i++) {
		long long next = i % 2 ? now(clock) : now_by_call(clock);

		if (next < last || next - last > HOUR) {
			FAIL("clock %d: %lld ns after %lld ns", clock, next, last);
			return;
		}
		last = next;
	}
}

static int child_looks(void *arg)
{
	long long before = *(long long *)arg;

	CHECK(now(CLOCK_MONOTONIC) >= before && now(CLOCK_MONOTONIC) - before < HOUR, "a child has another clock");
	check_agreement(CLOCK_MONOTONIC);
	return 0;
}

static void check_clocks(long long monotonic, long long boottime)
{
	CHECK(now(CLOCK_MONOTONIC) >= monotonic, "CLOCK_MONOTONIC went back by %lld ns",
	      monotonic - now(CLOCK_MONOTONIC));
	CHECK(now(CLOCK_BOOTTIME) >= boottime, "CLOCK_BOOTTIME went back by %lld ns", boottime - now(CLOCK_BOOTTIME));
	check_agreement(CLOCK_MONOTONIC);
	check_agreement(CLOCK_BOOTTIME);
	monotonic = now(CLOCK_MONOTONIC);
	check_child(check_fork(child_looks, &monotonic));
}

static ino_t ino_of(const char *path)
{
	struct stat st;

	MUST(stat(path, &st));
	return st.st_ino;
}

/* Comes back in a namespace of its own, by exec(), and without the right to make another. */
static void enter_own(char **argv, long long seconds)
{
	char text[128];
	int fd;

	if (unshare(CLONE_NEWTIME) < 0)
		check_skip("unshare(CLONE_NEWTIME): %s", strerror(errno));
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	snprintf(text, sizeof(text), "monotonic %lld 0\nboottime %lld 0\n", seconds, seconds);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		check_skip("/proc/self/timens_offsets: %s", strerror(errno));
	MUST(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME, 0, 0, 0));
	MUST(setenv("CLOCKS_INSIDE", "1", 1));
	MUST(execv(argv[0], argv));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "host";
	bool points = strstr(mode, "points"), host = !strcmp(mode, "host") || !strcmp(mode, "points"),
	     inside = getenv("CLOCKS_INSIDE");
	long long monotonic, boottime;
	struct hour hours[N_HOURS];
	int ns = -1;

	check_begin(argc, argv);
	if (!host && !inside)
		enter_own(argv, strcmp(mode, "behind") ? YEARS : -now(CLOCK_MONOTONIC) / SECOND / 2);
	if (!host && ino_of("/proc/self/ns/time") != ino_of("/proc/self/ns/time_for_children"))
		check_skip("exec() does not change the time namespace here");
	if (!host && strcmp(mode, "behind"))
		CHECK(now(CLOCK_MONOTONIC) > YEARS * SECOND, "the namespace's clock");
	if (strcmp(mode, "nsfile") == 0)
		ns = (int)MUST(open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC));
	start_waiters();
	if (points)
		set_hours(hours);
	monotonic = now(CLOCK_MONOTONIC);
	boottime = now(CLOCK_BOOTTIME);
	check_ready();
	for (size_t i = 0; i < N_WAITERS; i++) {
		int woken = waiters[i].woken;

		/* The first may have ended before the dump. */
		WAIT_FOR(waiters[i].woken > woken + 1);
	}
	check_clocks(monotonic, boottime);
	if (points)
		check_hours(hours);
	CHECK(ino_of("/proc/self/ns/time") == ino_of("/proc/self/ns/time_for_children"),
	      "children get another namespace");
	if (ns >= 0) {
		struct stat st;

		MUST(fstat(ns, &st));
		CHECK(st.st_ino == ino_of("/proc/self/ns/time"), "the file is of another namespace");
	}
	return check_end();
}
