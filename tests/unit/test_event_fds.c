/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* epoll, signalfd and timerfd: what they say in fdinfo, as the kernel writes it, cut short, and hostile; hostile entries. */
/* clang-format off: cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/cleanup.h"
#include "kernel/procfs.h"
#include "kinds/registry.h"
#include "kinds/table.h"

#define LOCK "lock:\t1: FLOCK  ADVISORY  WRITE 4711 00:10:18 0 EOF\n"
#define TARGET "tfd:        9 events:       1c data:     7efe00000009  pos:0 ino:7a41 sdev:9\n"

static int locks_of(const char *text, struct proc_lock *ret, size_t *ret_n)
{
	struct arena a = { 0 };
	struct proc_lock *l = NULL;
	int r = parse_fdinfo_locks(text, &a, &l, ret_n);

	if (r == 0 && *ret_n)
		*ret = l[*ret_n - 1];
	arena_release(&a);
	return r;
}

static void test_locks(void **state)
{
	struct proc_lock l;
	size_t n;

	(void)state;
	assert_int_equal(locks_of(TARGET, &l, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(locks_of(LOCK TARGET, &l, &n), 0);
	assert_int_equal(n, 1);
	assert_true(l.sort == LOCK_SORT_FLOCK && l.type == F_WRLCK && l.start == 0 && l.len == 0);
	assert_int_equal(locks_of(LOCK "lock:\t2: POSIX  ADVISORY  READ  7 fd:01:99 100 199\n", &l, &n), 0);
	assert_int_equal(n, 2);
	assert_true(l.sort == LOCK_SORT_POSIX && l.type == F_RDLCK && l.start == 100 && l.len == 100);
	assert_int_equal(locks_of("lock:\t1: OFDLCK ADVISORY  WRITE -1 fd:01:99 0 9223372036854775806\n", &l, &n), 0);
	assert_true(l.sort == LOCK_SORT_OFD && l.len == INT64_MAX);
	assert_int_equal(locks_of("lock:\t1: LEASE  BREAKING  READ  7 fd:01:99 0 EOF\n", &l, &n), 0);
	assert_true(l.sort == LOCK_SORT_LEASE && l.breaking);
	assert_int_equal(locks_of("lock:\t1: DELEG  ACTIVE    READ  7 fd:01:99 0 EOF\n", &l, &n), -EINVAL);
	assert_int_equal(locks_of("lock:\t1: POSIX  ADVISORY  READ  7 fd:01:99 5 4\n", &l, &n), -EINVAL);
	assert_int_equal(locks_of("lock:\t1: POSIX  ADVISORY  READ  7 fd:01:99 0 9223372036854775807\n", &l, &n), -EINVAL);
	assert_int_equal(locks_of("lock:\t1: POSIX  ADVISORY  READ  7 fd:01:99 9223372036854775808 EOF\n", &l, &n), -EINVAL);
	assert_int_equal(locks_of("lock:\t", &l, &n), -EINVAL);
}

static void test_epoll(void **state)
{
	struct arena a = { 0 };
	struct proc_epoll_target *t = NULL;
	size_t n = 0;

	(void)state;
	assert_int_equal(parse_fdinfo_epoll(LOCK TARGET "tfd: 2147483647 events: e0000019 data: ffffffffffffffff  "
							"pos:-1 ino:ffffffffffffffff sdev:ffffffff\n",
					    &a, &t, &n),
			 0);
	assert_int_equal(n, 2);
	assert_int_equal(t[0].tfd, 9);
	assert_int_equal(t[0].events, 0x1c);
	assert_true(t[0].data == 0x7efe00000009);
	assert_int_equal(t[0].pos, 0);
	assert_int_equal(t[0].ino, 0x7a41);
	assert_int_equal(t[0].dev, 9);
	assert_int_equal(t[1].tfd, INT32_MAX);
	assert_int_equal(t[1].events, 0xe0000019);
	assert_true(t[1].data == UINT64_MAX && t[1].ino == UINT64_MAX);
	assert_int_equal(t[1].pos, -1);
	assert_int_equal(parse_fdinfo_epoll("", &a, &t, &n), 0);
	assert_int_equal(n, 0);
	arena_release(&a);
}

static void test_epoll_many(void **state)
{
	char text[100 * (sizeof(TARGET) - 1) + 1] = "";
	struct arena a = { 0 };
	struct proc_epoll_target *t = NULL;
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		memcpy(text + (size_t)i * (sizeof(TARGET) - 1), TARGET, sizeof(TARGET));
	assert_int_equal(parse_fdinfo_epoll(text, &a, &t, &n), 0);
	assert_int_equal(n, 100);
	assert_int_equal(t[0].tfd, 9);
	assert_int_equal(t[99].dev, 9);
	arena_release(&a);
}

static void test_epoll_bad(void **state)
{
	static const char *const bad[] = {
		"tfd:",
		"tfd: -1 events: 1 data: 1  pos:0 ino:1 sdev:1\n",
		"tfd: 2147483648 events: 1 data: 1  pos:0 ino:1 sdev:1\n",
		"tfd: 9 events: 100000000 data: 1  pos:0 ino:1 sdev:1\n",
		"tfd: 9 events: 1 data: 10000000000000000  pos:0 ino:1 sdev:1\n",
		"tfd: 9 events: 1 data: 1  pos:0 ino:1 sdev:1 more\n",
		"tfd: 9 events: 1 data: 1  pos: ino:1 sdev:1\n",
		"tfd: 9 events: 1 data: 1\n",
		TARGET "tfd: 9 events: 1 data: 1  pos:0 ino:1 sd",
	};
	struct arena a = { 0 };
	struct proc_epoll_target *t = NULL;
	size_t n = 4711;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_fdinfo_epoll(bad[i], &a, &t, &n), -EINVAL);
	assert_null(t);
	assert_int_equal(n, 4711);
	arena_release(&a);
}

static void test_signalfd(void **state)
{
	uint64_t mask = 4711;

	(void)state;
	assert_int_equal(parse_fdinfo_signalfd("", &mask), -EINVAL);
	assert_int_equal(parse_fdinfo_signalfd("sigmask:\t\n", &mask), -EINVAL);
	assert_int_equal(parse_fdinfo_signalfd("sigmask:\t00000000000002000\n x", &mask), 0);
	assert_int_equal(mask, 0x2000);
	assert_int_equal(parse_fdinfo_signalfd("sigmask:\t10000000000000000\n", &mask), -EINVAL);
	assert_int_equal(parse_fdinfo_signalfd("sigmask:\t12 34\n", &mask), -EINVAL);
	assert_int_equal(mask, 0x2000);
	assert_int_equal(parse_fdinfo_signalfd(LOCK "sigmask:\tfffffffffffbfeff\n", &mask), 0);
	assert_true(mask == 0xfffffffffffbfeff);
}

static void test_timerfd(void **state)
{
	struct proc_timerfd t = { 0 };

	(void)state;
	assert_int_equal(parse_fdinfo_timerfd(LOCK "clockid: 9\nticks: 18446744073709551615\nsettime flags: 03\n"
						   "it_value: (49, 999999999)\nit_interval: (1, 0)\n",
					      &t),
			 0);
	assert_int_equal(t.clockid, 9);
	assert_true(t.ticks == UINT64_MAX);
	assert_int_equal(t.settime_flags, 3);
	assert_int_equal(t.value.tv_sec, 49);
	assert_int_equal(t.value.tv_nsec, 999999999);
	assert_int_equal(t.interval.tv_sec, 1);
	assert_int_equal(t.interval.tv_nsec, 0);
}

static void test_timerfd_bad(void **state)
{
	static const char *const bad[] = {
		"",
		"clockid: 0\nticks: 0\nsettime flags: 01\nit_value: (0, 49406829)\n",
		"clockid: 0\nticks: 0\nsettime flags: 01\nit_value: (0, 1000000000)\nit_interval: (1, 0)\n",
		"clockid: 0\nticks: 0\nsettime flags: 08\nit_value: (0, 0)\nit_interval: (1, 0)\n",
		"clockid: 0\nticks: -1\nsettime flags: 00\nit_value: (0, 0)\nit_interval: (1, 0)\n",
		"clockid: 0\nticks: 0\nsettime flags: 00\nit_value: (9223372036854775808, 0)\nit_interval: (1, 0)\n",
		"clockid: 0\nticks: 0\nsettime flags: 00\nit_value: (0, 0\nit_interval: (1, 0)\n",
		"clockid: 4294967296\nticks: 0\nsettime flags: 00\nit_value: (0, 0)\nit_interval: (1, 0)\n",
	};
	struct proc_timerfd t = { .clockid = 4711 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_fdinfo_timerfd(bad[i], &t), -EINVAL);
	assert_int_equal(t.clockid, 4711);
}

static void expect_damaged(struct operation *op, struct file *f)
{
	assert_int_equal(f->kind->decode(op, f), -EINVAL);
	assert_int_equal(op->error->number, EINVAL);
	assert_true(strlen(op->error->sentence) > 0);
	memset(op->error, 0, sizeof(*op->error));
}

static void test_decode_epoll(void **state)
{
	struct error error = { 0 };
	struct operation op = { .error = &error, .images = { .fd = -1 } };
	EventpollTfdEntry t = EVENTPOLL_TFD_ENTRY__INIT, *list[] = { &t };
	EventpollFileEntry m = EVENTPOLL_FILE_ENTRY__INIT;
	struct file *f, *target;

	(void)state;
	assert_int_equal(table_create(&op), 0);
	f = files_add(&op, &kind_epoll, NULL);
	target = files_add(&op, &kind_eventfd, NULL);
	expect_damaged(&op, f);
	f->entry->epfd = &m;
	m.id = f->id + 100;
	expect_damaged(&op, f);
	m.id = f->id;
	assert_int_equal(f->kind->decode(&op, f), 0);
	m.tfd = list;
	m.n_tfd = 1;
	t.tfd = 7;
	assert_int_equal(f->kind->decode(&op, f), 0);
	t.id = target->id;
	assert_int_equal(f->kind->decode(&op, f), 0);
	assert_string_equal(f->describe, "epoll of 1");
	t.id = 4711;
	expect_damaged(&op, f);
	t.id = target->id;
	t.tfd = 1u << 31;
	expect_damaged(&op, f);
	arena_release(&op.arena);
}

static void test_decode_timers(void **state)
{
	struct error error = { 0 };
	struct operation op = { .error = &error, .images = { .fd = -1 } };
	TimerfdEntry good = TIMERFD_ENTRY__INIT, m;
	struct file *f, *sig;

	(void)state;
	assert_int_equal(table_create(&op), 0);
	sig = files_add(&op, &kind_signalfd, NULL);
	expect_damaged(&op, sig);
	f = files_add(&op, &kind_timerfd, NULL);
	expect_damaged(&op, f);
	f->entry->tfd = &m;
	good.id = f->id;
	good.clockid = CLOCK_BOOTTIME_ALARM;
	good.ticks = UINT64_MAX;
	good.settime_flags = 3;
	good.vnsec = good.insec = 999999999;
	m = good;
	assert_int_equal(f->kind->decode(&op, f), 0);
	m.clockid = CLOCK_PROCESS_CPUTIME_ID;
	expect_damaged(&op, f);
	m = good;
	m.settime_flags = 4;
	expect_damaged(&op, f);
	m = good;
	m.vsec = INT64_MAX;
	expect_damaged(&op, f);
	m = good;
	m.insec = 1000000000;
	expect_damaged(&op, f);
	m = good;
	m.isec = UINT64_MAX;
	expect_damaged(&op, f);
	arena_release(&op.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_locks),
		cmocka_unit_test(test_epoll),	     cmocka_unit_test(test_epoll_many),
		cmocka_unit_test(test_epoll_bad),    cmocka_unit_test(test_signalfd),
		cmocka_unit_test(test_timerfd),	     cmocka_unit_test(test_timerfd_bad),
		cmocka_unit_test(test_decode_epoll), cmocka_unit_test(test_decode_timers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
