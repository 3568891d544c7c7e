// SPDX-License-Identifier: LGPL-2.1-or-later
/* A vdso that no kernel has: its functions make system calls and lie elsewhere than any kernel's. The clock MARK tells that
 * it is this one that was called. */
#include <stdint.h>
#include <sys/syscall.h>

#define MARK 126

struct times {
	int64_t seconds, rest;
};

long __vdso_clock_gettime(int clock, struct times *ret);
long __vdso_gettimeofday(struct times *ret, void *zone);
long __vdso_time(long *ret);
long __vdso_clock_getres(int clock, struct times *ret);
long __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused);
long __vdso_not_led_anywhere(void);

static long call(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}

long __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused)
{
	return call(SYS_getcpu, (long)cpu, (long)node, (long)unused);
}

long __vdso_clock_getres(int clock, struct times *ret)
{
	return call(SYS_clock_getres, clock, (long)ret, 0);
}

long __vdso_clock_gettime(int clock, struct times *ret)
{
	if (clock == MARK) {
		ret->seconds = ret->rest = MARK;
		return 0;
	}
	return call(SYS_clock_gettime, clock, (long)ret, 0);
}

long __vdso_time(long *ret)
{
	return call(SYS_time, (long)ret, 0, 0);
}

long __vdso_gettimeofday(struct times *ret, void *zone)
{
	return call(SYS_gettimeofday, (long)ret, (long)zone, 0);
}

#define ALSO(name) extern __typeof__(__vdso_##name) name __attribute__((weak, alias("__vdso_" #name)))
#pragma GCC diagnostic ignored "-Wbuiltin-declaration-mismatch"
ALSO(clock_gettime);
ALSO(clock_getres);
ALSO(gettimeofday);
ALSO(time);
ALSO(getcpu);
#ifdef UNKNOWN
long __vdso_not_led_anywhere(void)
{
	return MARK;
}
#endif
