/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inotify, fanotify and pidfds: what they say in fdinfo; paths of /proc; NFS's names. As the kernel writes it, and hostile. */
/* clang-format off: cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "kernel/procfs.h"
#include "kinds/path.h"
#include "kinds/proc_file.h"

#define HANDLE "fhandle-bytes:8 fhandle-type:1 f_handle:044006003ecb01d4"
#define WATCH "inotify wd:1f ino:64004 sdev:fe00000 mask:80000fff ignored_mask:0 "

static int watches(const char *text, struct proc_mark *ret, size_t *ret_n)
{
	struct arena a = { 0 };
	struct proc_mark *m = NULL;
	int r = parse_fdinfo_inotify(text, &a, &m, ret_n);

	if (r == 0 && *ret_n)
		*ret = m[*ret_n - 1];
	arena_release(&a);
	return r;
}

static void test_inotify(void **state)
{
	static const char *const bad[] = {
		"inotify wd:0 ino:1 sdev:1 mask:1 ignored_mask:0 \n",
		"inotify wd:80000000 ino:1 sdev:1 mask:1 ignored_mask:0 \n",
		"inotify wd:1 ino:1 sdev:1 mask:1\n",
		"inotify wd:1 ino:1 sdev:100000000 mask:1 ignored_mask:0 \n",
		WATCH "fhandle-bytes:8 fhandle-type:1 f_handle:044006003ecb01d\n",
		WATCH "fhandle-bytes:7 fhandle-type:1 f_handle:044006003ecb01d4\n",
		WATCH "fhandle-bytes:8 fhandle-type:1 f_handle:04400600xecb01d4\n",
		WATCH "fhandle-bytes:8 fhandle-type:1\n",
		WATCH "fhandle-bytes:81 fhandle-type:1 f_handle:00\n",
		"inotify \n",
	};
	struct proc_mark m;
	size_t n;

	(void)state;
	assert_int_equal(watches("", &m, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(watches(WATCH HANDLE "\n", &m, &n), 0);
	assert_int_equal(n, 1);
	assert_true(m.sort == MARK_INODE && m.wd == 0x1f && m.ino == 0x64004 && m.dev == 0xfe00000);
	assert_true(m.mask == 0x80000fff && m.handle_len == 8 && m.handle_type == 1 && m.handle[7] == 0xd4);
	/* a file system without handles */
	assert_int_equal(watches(WATCH HANDLE "\n" WATCH "\n", &m, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(m.handle_len, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(watches(bad[i], &m, &n), -EINVAL);
}

static void test_fanotify(void **state)
{
	static const char *const bad[] = {
		"",
		"fanotify flags:0\n",
		"fanotify flags:0 event-flags:2\nfanotify ino:1 sdev:1 mask:1 ignored_mask:0\n",
		"fanotify flags:0 event-flags:2\nfanotify mnt_id:1 mflags:0 mask:1 ignored_mask:0 more\n",
	};
	struct arena a = { 0 };
	struct proc_fanotify f;

	(void)state;
	assert_int_equal(parse_fdinfo_fanotify("fanotify flags:10 event-flags:88002\n"
					       "fanotify ino:64004 sdev:fe00000 mflags:40 mask:8000008 ignored_mask:2 " HANDLE
					       "\nfanotify mnt_id:1d mflags:0 mask:8 ignored_mask:0\n"
					       "fanotify sdev:1a mflags:0 mask:8 ignored_mask:0\n"
					       "fanotify mnt_ns:99 mflags:0\n",
					       &a, &f),
			 0);
	assert_true(f.flags == 0x10 && f.event_flags == 0x88002 && f.n_marks == 4);
	assert_true(f.marks[0].sort == MARK_INODE && f.marks[0].mflags == 0x40 && f.marks[0].ignored_mask == 2);
	assert_true(f.marks[1].sort == MARK_MOUNT && f.marks[1].mnt_id == 0x1d);
	assert_true(f.marks[2].sort == MARK_FILE_SYSTEM && f.marks[3].sort == MARK_OTHER);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_fdinfo_fanotify(bad[i], &a, &f), -EINVAL);
	arena_release(&a);
}

static void test_pidfd(void **state)
{
	pid_t pid;

	(void)state;
	assert_int_equal(parse_fdinfo_pidfd("Pid:\t4711\nNSpid:\t4711\n", &pid), 0);
	assert_int_equal(pid, 4711);
	assert_int_equal(parse_fdinfo_pidfd("Pid:\t-1\nNSpid:\t-1\n", &pid), 0);
	assert_int_equal(pid, -1);
	assert_int_equal(parse_fdinfo_pidfd("Pid:\t-2\n", &pid), -EINVAL);
	assert_int_equal(parse_fdinfo_pidfd("Pid:\t1 2\n", &pid), -EINVAL);
	assert_int_equal(parse_fdinfo_pidfd("Pid:\t\n", &pid), -EINVAL);
	assert_int_equal(parse_fdinfo_pidfd("", &pid), -EINVAL);
}

static void test_proc_paths(void **state)
{
	struct proc_path p;

	(void)state;
	assert_true(proc_path_parse("7", &p) && p.pid == 7 && p.tid == 0);
	assert_true(proc_path_parse("7 (deleted)", &p) && p.pid == 7);
	assert_true(proc_path_parse("7/status", &p) && p.pid == 7 && p.tid == 0);
	assert_true(proc_path_parse("7/task/9/comm", &p) && p.pid == 7 && p.tid == 9);
	assert_true(proc_path_parse("7/task/9", &p) && p.tid == 9);
	assert_true(proc_path_parse("7/task", &p) && p.tid == 0);
	assert_true(proc_path_parse("7/task/x", &p) && p.tid == 0);
	assert_false(proc_path_parse("7x/status", &p));
	assert_false(proc_path_parse("0/status", &p));
	assert_false(proc_path_parse("99999999999/status", &p));
	assert_false(proc_path_parse("self/status", &p));
	assert_false(proc_path_parse("", &p));
}

static void test_silly_names(void **state)
{
	(void)state;
	assert_true(path_is_silly("/mnt/.nfs00000000004a2b1c0000000f"));
	assert_false(path_is_silly("/mnt/.nfs00000000004a2b1c0000000"));
	assert_false(path_is_silly("/mnt/.nfs00000000004a2b1c0000000g"));
	assert_false(path_is_silly("/mnt/x.nfs00000000004a2b1c0000000f"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inotify),	   cmocka_unit_test(test_fanotify),    cmocka_unit_test(test_pidfd),
		cmocka_unit_test(test_proc_paths), cmocka_unit_test(test_silly_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
