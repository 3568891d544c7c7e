// SPDX-License-Identifier: LGPL-2.1-or-later
/* vdso_clocks FOLDER [mark|loop]: the functions of the vdso, resolved before. After: each clock lies between what the system call
 * says before and after it, and never goes back; the others agree with their system calls too. mark: it was other_vdso.c
 * before, and is not any more. loop: four threads read clocks
 * meanwhile, and do a little in between. */
#include "check.h"

#include <elf.h>
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/time.h>

#define MARK 126
#define ROUNDS 2000

static int (*get)(clockid_t, struct timespec *), (*resolution)(clockid_t, struct timespec *);
static int (*day)(struct timeval *, void *), (*cpu)(unsigned *, unsigned *, void *);
static time_t (*seconds)(time_t *);
static volatile bool stop;
static volatile int went_back;

static void resolve(const char *name, void *ret)
{
	const char *base = (const char *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *eh = (const void *)base;
	const Elf64_Shdr *sh = (const void *)(base + eh->e_shoff);
	uintptr_t at = 0;

	for (int i = 0; i < eh->e_shnum; i++) {
		const Elf64_Sym *sym = (const void *)(base + sh[i].sh_offset);

		for (size_t k = 0; sh[i].sh_type == SHT_DYNSYM && k < sh[i].sh_size / sizeof(*sym); k++)
			if (!strcmp(base + sh[sh[i].sh_link].sh_offset + sym[k].st_name, name))
				at = (uintptr_t)base + sym[k].st_value;
	}
	if (!at)
		DIE("the vdso has no %s", name);
	memcpy(ret, &at, sizeof(at));
}

static int64_t ns(struct timespec t)
{
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int64_t by_call(clockid_t clock)
{
	struct timespec t = { 0 };

	if (syscall(SYS_clock_gettime, clock, &t))
		FAIL("clock %d: %s", clock, strerror(errno));
	return ns(t);
}

static void check_clock(clockid_t clock)
{
	int64_t last = 0;

	for (int i = 0; i < ROUNDS; i++) {
		int64_t before = by_call(clock), now, after;
		struct timespec t = { 0 };

		if (get(clock, &t)) {
			FAIL("clock %d cannot be read", clock);
			return;
		}
		now = ns(t);
		after = by_call(clock);
		if (now < before || now > after || now < last) {
			FAIL("clock %d: %lld is not between %lld and %lld, before it was %lld", clock, (long long)now,
			     (long long)before, (long long)after, (long long)last);
			return;
		}
		last = now;
	}
}

static void check_others(void)
{
	struct timespec a = { 0 }, b = { 0 };
	unsigned c = UINT_MAX, n = UINT_MAX;
	struct timeval tv = { 0 };
	time_t before = by_call(CLOCK_REALTIME_COARSE) / 1000000000, now;
	uint64_t random[2] = { 0 };
	cpu_set_t one;

	CHECK_EQ(resolution(CLOCK_MONOTONIC, &a), 0, "clock_getres");
	syscall(SYS_clock_getres, CLOCK_MONOTONIC, &b);
	CHECK_EQ(ns(a), ns(b), "resolution");
	now = seconds(NULL);
	CHECK(now >= before && now <= before + 5, "time: %ld, not %ld", (long)now, (long)before);
	CHECK_EQ(day(&tv, NULL), 0, "gettimeofday");
	CHECK(tv.tv_sec >= before && tv.tv_sec <= before + 5, "gettimeofday: %ld, not %ld", (long)tv.tv_sec,
	      (long)before);
	CHECK_EQ(cpu(&c, &n, NULL), 0, "getcpu");
	CPU_ZERO(&one);
	CPU_SET(c % CPU_SETSIZE, &one);
	CHECK(!sched_setaffinity(0, sizeof(one), &one), "getcpu says %u", c);
	CHECK(!cpu(&n, NULL, NULL) && n == c, "getcpu: %u, not %u", n, c);
	CHECK_EQ(getrandom(random, sizeof(random), 0), sizeof(random), "getrandom");
	CHECK(random[0] != random[1], "getrandom");
	CHECK(!clock_gettime(CLOCK_MONOTONIC, &a) && ns(a) <= by_call(CLOCK_MONOTONIC),
	      "the C library's clock_gettime");
}

static void *read_clocks(void *arg)
{
	int64_t last = 0;

	(void)arg;
	while (!stop) {
		struct timespec t = { 0 };

		if (get(CLOCK_MONOTONIC, &t) || ns(t) < last)
			went_back++;
		last = ns(t);
		for (volatile int i = 0; i < 2000; i++)
			;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static const clockid_t clocks[] = { CLOCK_REALTIME,	    CLOCK_MONOTONIC,
					    CLOCK_BOOTTIME,	    CLOCK_TAI,
					    CLOCK_MONOTONIC_RAW,    CLOCK_REALTIME_COARSE,
					    CLOCK_MONOTONIC_COARSE, CLOCK_PROCESS_CPUTIME_ID };
	bool mark = argc > 2 && !strcmp(argv[2], "mark"), loop = argc > 2 && !strcmp(argv[2], "loop");
	struct timespec t = { 0 };
	pthread_t threads[4];

	check_begin(argc, argv);
	resolve("__vdso_clock_gettime", &get);
	resolve("clock_getres", &resolution);
	resolve("__vdso_gettimeofday", &day);
	resolve("time", &seconds);
	resolve("__vdso_getcpu", &cpu);
	if (mark && (get(MARK, &t) || t.tv_sec != MARK))
		DIE("it is not the other vdso");
	for (int i = 0; loop && i < 4; i++)
		pthread_create(&threads[i], NULL, read_clocks, NULL);
	check_ready();
	stop = true;
	for (int i = 0; loop && i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(went_back, 0, "clocks that went back");
	if (mark)
		CHECK(get(MARK, &t), "the other vdso is still called");
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++)
		check_clock(clocks[i]);
	check_others();
	return check_end();
}
