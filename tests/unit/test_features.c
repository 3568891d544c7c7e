/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "kernel/features.h"
#include "kernel/system.h"

static double microseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void test_probe(void **state)
{
	struct error e = { 0 };
	struct features f;
	double best = 1e9;

	(void)state;
	unsetenv("FIRN_WITHOUT");
	for (int i = 0; i < 20; i++) {
		double begin = microseconds(), took;

		assert_int_equal(features_probe(&f, &e), 0);
		took = microseconds() - begin;
		if (took < best)
			best = took;
	}
	print_message("features_probe: %.1f us\n", best);
	assert_true(best < 1000);
	assert_true(f.release_major >= 5);
	assert_int_equal(f.page_size, 4096);
	assert_true(f.pid_max > 300);
	assert_true(f.pidfd_open);
	assert_true(f.process_vm);
}

static void test_without(void **state)
{
	struct error e = { 0 };
	struct features f;

	(void)state;
	for (size_t i = 0; i < n_feature_rows; i++) {
		setenv("FIRN_WITHOUT", feature_rows[i].name, 1);
		assert_int_equal(features_probe(&f, &e), 0);
		assert_false(feature_present(&f, &feature_rows[i]));
	}
	setenv("FIRN_WITHOUT", ",kcmp,,close_range,", 1);
	assert_int_equal(features_probe(&f, &e), 0);
	assert_false(f.kcmp);
	assert_false(f.close_range);
	setenv("FIRN_WITHOUT", "kcmp,warp_drive", 1);
	f.pid_max = 4711;
	assert_int_equal(features_probe(&f, &e), -EINVAL);
	assert_string_equal(e.sentence, "FIRN_WITHOUT names “warp_drive”, which is no feature");
	assert_int_equal(f.pid_max, 4711);
	unsetenv("FIRN_WITHOUT");
}

/* Each row has all its words, and no two rows share a flag. */
static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_feature_rows; i++) {
		const struct feature *r = &feature_rows[i];

		assert_non_null(r->name);
		assert_non_null(r->since);
		assert_non_null(r->purpose);
		assert_non_null(r->missing);
		assert_non_null(r->hint);
		assert_non_null(r->probe);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(r->offset, feature_rows[j].offset);
	}
}

static void test_vm(void **state)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char buf[8192] = { 0 };

	(void)state;
	assert_ptr_not_equal(page, MAP_FAILED);
	memset(page, 'x', 8192);
	assert_int_equal(munmap(page + 4096, 4096), 0);
	assert_int_equal(sys_vm_read(getpid(), (uintptr_t)page, buf, sizeof(buf)), 4096);
	assert_int_equal(buf[4095], 'x');
	assert_int_equal(sys_vm_read(getpid(), (uintptr_t)page + 4096, buf, 1), -EFAULT);
	assert_int_equal(sys_vm_write(getpid(), (uintptr_t)page, "abc", 3), 3);
	assert_memory_equal(page, "abcx", 4);
	assert_int_equal(munmap(page, 4096), 0);
}

static void test_pidfd(void **state)
{
	AUTOCLOSE int pidfd = sys_pidfd_open(getpid(), 0);
	AUTOCLOSE int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTOCLOSE int copy = -1;

	(void)state;
	assert_true(pidfd >= 0);
	copy = sys_pidfd_getfd(pidfd, null);
	assert_true(copy >= 0);
	assert_int_equal(sys_kcmp(getpid(), getpid(), KCMP_FILE, (unsigned long)null, (unsigned long)copy), 0);
	assert_int_not_equal(sys_kcmp(getpid(), getpid(), KCMP_FILE, (unsigned long)null, (unsigned long)pidfd), 0);
	assert_int_equal(sys_pidfd_getfd(pidfd, 999999), -EBADF);
	assert_int_equal(sys_pidfd_send_signal(pidfd, 0, NULL), 0);
}

static void test_clone3(void **state)
{
	struct system_clone_args args = { .exit_signal = SIGCHLD };
	int status;
	pid_t pid;

	(void)state;
	pid = sys_clone3(&args, sizeof(args));
	if (pid == 0)
		_exit(7);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void test_scheduling(void **state)
{
	struct system_sched_attr attr;
	uint64_t head;
	size_t size;

	(void)state;
	assert_int_equal(sys_sched_getattr(0, &attr), 0);
	assert_int_equal(attr.nice, getpriority(PRIO_PROCESS, 0));
	assert_int_equal(sys_sched_setattr(0, &attr), 0);
	assert_true(sys_ioprio_get(0) >= 0);
	assert_int_equal(sys_get_robust_list(0, &head, &size), 0);
	assert_int_equal(size, 24);
	assert_int_equal(sys_tgkill(getpid(), getpid(), 0), 0);
}

static void test_pagemap_scan(void **state)
{
	AUTOCLOSE int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *pages = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pagemap_region regions[4];
	struct pagemap_scan scan = {
		.start = (uintptr_t)pages,
		.end = (uintptr_t)pages + 4 * 4096,
		.vec = (uintptr_t)regions,
		.vec_len = 4,
		.category_mask = PAGEMAP_IS_PRESENT,
		.return_mask = PAGEMAP_IS_PRESENT | PAGEMAP_IS_FILE,
	};
	int r;

	(void)state;
	pages[4096] = 1;
	r = sys_pagemap_scan(fd, &scan);
	if (r == -ENOTTY)
		skip();
	assert_int_equal(r, 1);
	assert_int_equal(regions[0].start, (uintptr_t)pages + 4096);
	assert_int_equal(regions[0].end, (uintptr_t)pages + 8192);
	assert_int_equal(regions[0].categories, PAGEMAP_IS_PRESENT);
	assert_int_equal(scan.walk_end, scan.end);
	assert_int_equal(munmap(pages, 4 * 4096), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe),	   cmocka_unit_test(test_without),	cmocka_unit_test(test_rows),
		cmocka_unit_test(test_vm),	   cmocka_unit_test(test_pidfd),	cmocka_unit_test(test_clone3),
		cmocka_unit_test(test_scheduling), cmocka_unit_test(test_pagemap_scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
