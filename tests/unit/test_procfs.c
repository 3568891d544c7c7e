/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/frozen_group.h"
#include "kernel/procfs.h"
#include "kernel/syscalls.h"

#define TEXT(s) (s), sizeof(s) - 1

static void test_text_numbers(void **state)
{
	struct text t = text_of(TEXT("18446744073709551615 18446744073709551616"));
	uint64_t u = 7;
	int64_t i = 7;
	int n = 7;

	(void)state;
	assert_true(text_u64(&t, 10, &u));
	assert_true(u == UINT64_MAX);
	assert_true(text_char(&t, ' '));
	assert_false(text_u64(&t, 10, &u));
	assert_int_equal(text_len(&t), 20);
	t = text_of(TEXT("-9223372036854775808"));
	assert_true(text_signed(&t, 10, &i));
	assert_true(i == INT64_MIN);
	t = text_of(TEXT("-9223372036854775809"));
	assert_false(text_signed(&t, 10, &i));
	t = text_of(TEXT("9223372036854775808"));
	assert_false(text_signed(&t, 10, &i));
	t = text_of(TEXT("2147483648"));
	assert_false(text_int(&t, 10, &n));
	assert_int_equal(text_len(&t), 10);
	t = text_of(TEXT("-2147483648"));
	assert_true(text_int(&t, 10, &n));
	assert_int_equal(n, INT32_MIN);
	t = text_of(TEXT("08"));
	assert_true(text_u64(&t, 8, &u));
	assert_int_equal(u, 0);
	assert_int_equal(text_len(&t), 1);
	t = text_of(TEXT("-"));
	assert_false(text_signed(&t, 10, &i));
	t = text_of(TEXT(""));
	assert_false(text_u64(&t, 16, &u));
}

static void test_text_unescape(void **state)
{
	char all[] = "a\\040b\\134\\012\\08\\777\\000\\04";
	char newline[] = "a\\040b\\012c";
	size_t n;

	(void)state;
	n = text_unescape(all, sizeof(all) - 1, -1);
	assert_int_equal(n, strlen("a b\\\n\\08\\777\\000\\04"));
	assert_memory_equal(all, "a b\\\n\\08\\777\\000\\04", n);
	n = text_unescape(newline, sizeof(newline) - 1, '\n');
	assert_int_equal(n, strlen("a\\040b\nc"));
	assert_memory_equal(newline, "a\\040b\nc", n);
}

#define STAT_REST                                                                                                      \
	" R 18538 18537 10800 34816 -1 4194304 3157 6547 5 0 4 4 3 4 20 -5 3 0 193399 20033536 3725 "                  \
	"18446744073709551615 94573551255552 94573551255893 140732412095520 0 0 0 0 16781312 2 0 0 0 17 1 40 2 0 0 0 " \
	"94573551267248 94573551267864 94574017191936 140732412098706 140732412098749 140732412098750 "                \
	"140732412100559 "                                                                                             \
	"256\n"

static void test_stat(void **state)
{
	struct proc_stat s;

	(void)state;
	assert_int_equal(parse_proc_stat(TEXT("18582 (a) R (\nb\\c)" STAT_REST), &s), 0);
	assert_int_equal(s.pid, 18582);
	assert_string_equal(s.comm, "a) R (\nb\\c");
	assert_int_equal(s.state, 'R');
	assert_int_equal(s.ppid, 18538);
	assert_int_equal(s.pgid, 18537);
	assert_int_equal(s.sid, 10800);
	assert_int_equal(s.tty_nr, 34816);
	assert_int_equal(s.tty_pgrp, -1);
	assert_int_equal(s.flags, 4194304);
	assert_int_equal(s.nice, -5);
	assert_int_equal(s.num_threads, 3);
	assert_int_equal(s.start_time, 193399);
	assert_int_equal(s.start_code, 94573551255552);
	assert_int_equal(s.end_code, 94573551255893);
	assert_int_equal(s.start_stack, 140732412095520);
	assert_int_equal(s.rt_priority, 40);
	assert_int_equal(s.policy, 2);
	assert_int_equal(s.start_data, 94573551267248);
	assert_int_equal(s.end_data, 94573551267864);
	assert_int_equal(s.start_brk, 94574017191936);
	assert_int_equal(s.arg_start, 140732412098706);
	assert_int_equal(s.arg_end, 140732412098749);
	assert_int_equal(s.env_start, 140732412098750);
	assert_int_equal(s.env_end, 140732412100559);
	assert_int_equal(s.exit_code, 256);
	assert_int_equal(parse_proc_stat(TEXT("1 ()" STAT_REST), &s), 0);
	assert_string_equal(s.comm, "");
}

static void test_stat_hostile(void **state)
{
	static const char whole[] = "18582 (a) R (\nb\\c)" STAT_REST;
	struct proc_stat s = { .pid = 4711 };

	(void)state;
	for (size_t n = 0; n < sizeof(whole) - 6; n++)
		assert_int_equal(parse_proc_stat(whole, n, &s), -EINVAL);
	assert_int_equal(parse_proc_stat(TEXT("99999999999 (x)" STAT_REST), &s), -EINVAL);
	assert_int_equal(parse_proc_stat(TEXT("-1 (x)" STAT_REST), &s), -EINVAL);
	assert_int_equal(parse_proc_stat(TEXT("1 )(x" STAT_REST), &s), -EINVAL);
	assert_int_equal(
		parse_proc_stat(TEXT("1 (aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd)" STAT_REST),
				&s),
		-EINVAL);
	assert_int_equal(s.pid, 4711);
}

#define STATUS                                                                                                         \
	"Name:\ta\\nb\\\\ c\nUmask:\t0027\nState:\tT "                                                                 \
	"(stopped)\nTgid:\t12\nNgid:\t0\nPid:\t13\nPPid:\t1\nTracerPid:\t99\n"                                         \
	"Uid:\t1000\t1001\t1002\t4294967294\nGid:\t5\t6\t7\t8\nFDSize:\t256\nGroups:\t4 24 1000 \nNStgid:\t12\n"       \
	"NSpid:\t12\t3\t1\nNSpgid:\t1\nVmPeak:\t    3060 kB\nTHP_enabled:\t1\nThreads:\t7\nSigQ:\t0/96365\n"           \
	"SigPnd:\t0000000000000001\nShdPnd:\t0000000000000002\nSigBlk:\t0000000000000004\nSigIgn:\t0000000000001000\n" \
	"SigCgt:\t8000000000000010\nCapInh:\t0000000000000001\nCapPrm:\t000001fffeffffff\nCapEff:\t0000000000000002\n" \
	"CapBnd:\t0000000000000003\nCapAmb:\t0000000000000004\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n"     \
	"Cpus_allowed:\t3\n"

static void test_status(void **state)
{
	struct arena a = { 0 };
	struct proc_status s;

	(void)state;
	assert_int_equal(parse_proc_status(TEXT(STATUS), &a, &s), 0);
	assert_string_equal(s.name, "a\nb\\ c");
	assert_int_equal(s.state, 'T');
	assert_int_equal(s.tgid, 12);
	assert_int_equal(s.pid, 13);
	assert_int_equal(s.ppid, 1);
	assert_int_equal(s.tracer, 99);
	assert_int_equal(s.uid[0], 1000);
	assert_int_equal(s.uid[3], 4294967294);
	assert_int_equal(s.gid[2], 7);
	assert_int_equal(s.n_groups, 3);
	assert_int_equal(s.groups[2], 1000);
	assert_true(s.umask_known);
	assert_int_equal(s.umask, 027);
	assert_int_equal(s.sig_pending, 1);
	assert_int_equal(s.shared_pending, 2);
	assert_int_equal(s.sig_blocked, 4);
	assert_int_equal(s.sig_ignored, 0x1000);
	assert_true(s.sig_caught == 0x8000000000000010);
	assert_int_equal(s.cap_inh, 1);
	assert_int_equal(s.cap_prm, 0x1fffeffffff);
	assert_int_equal(s.cap_eff, 2);
	assert_int_equal(s.cap_bnd, 3);
	assert_int_equal(s.cap_amb, 4);
	assert_true(s.no_new_privs);
	assert_int_equal(s.seccomp, 2);
	assert_int_equal(s.seccomp_filters, 3);
	assert_int_equal(s.thp_enabled, 1);
	assert_int_equal(s.threads, 7);
	assert_int_equal(s.ns_pid_depth, 3);
	assert_int_equal(s.ns_pid[2], 1);
	arena_release(&a);
}

static void test_status_hostile(void **state)
{
	static const char whole[] = STATUS;
	struct arena a = { 0 };
	struct proc_status s = { .pid = 4711 };

	(void)state;
	/* Nothing is taken for whole that lacks a line that every task has. */
	for (size_t n = 0; n < (size_t)(strstr(whole, "NoNewPrivs") - whole); n++)
		assert_int_equal(parse_proc_status(whole, n, &a, &s), -EINVAL);
	assert_int_equal(parse_proc_status(TEXT("Name:\tx\\qy\n"), &a, &s), -EINVAL);
	assert_int_equal(parse_proc_status(TEXT("Uid:\t1\t2\t3\n"), &a, &s), -EINVAL);
	assert_int_equal(parse_proc_status(TEXT("Uid:\t1\t2\t3\t4294967296\n"), &a, &s), -EINVAL);
	assert_int_equal(s.pid, 4711);
	arena_release(&a);
}

#define AREA_DETAIL                                                                                                    \
	"Size:                  8 kB\nKernelPageSize:     2048 kB\nMMUPageSize:           4 kB\nRss:                 " \
	"  8 kB\nAnonymous:             4 kB\nSwap:                 12 kB\nSwapPss:               1 kB\n"              \
	"VmFlags: rd wr mr mw me sl zz ac \n"

static void test_maps(void **state)
{
	static const char text[] =
		"55ba605d4000-55ba605d6000 r--p 00000000 fe:00 247498                     /usr/bin/head\n"
		"55ba605d6000-55ba605d8000 r-xp 00002000 fe:00 247498                     /usr/bin/head\n"
		"7efe3f5bc000-7efe3f5be000 rw-s 00000000 fe:00 10952873                   /tmp/a\\012b\\040 c "
		"(deleted)\n"
		"7efe3f5be000-7efe3f5bf000 ---p 00000000 00:00 0 \n"
		"7ffc1e000000-7ffc1e021000 rw-p 00000000 00:00 0                          [stack]\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
	struct arena a = { 0 };
	struct proc_map *m;
	size_t n;

	(void)state;
	assert_int_equal(parse_proc_maps(TEXT(text), false, &a, &m, &n), 0);
	assert_int_equal(n, 6);
	assert_int_equal(m[0].start, 0x55ba605d4000);
	assert_int_equal(m[0].end, 0x55ba605d6000);
	assert_int_equal(m[0].prot, PROT_READ);
	assert_false(m[0].shared);
	assert_int_equal(m[0].dev_major, 0xfe);
	assert_int_equal(m[0].inode, 247498);
	assert_int_equal(m[0].page_size, 4096);
	assert_ptr_equal(m[0].path, m[1].path);
	assert_int_equal(m[1].offset, 0x2000);
	assert_int_equal(m[1].prot, PROT_READ | PROT_EXEC);
	assert_string_equal(m[2].path, "/tmp/a\nb\\040 c (deleted)");
	assert_true(m[2].shared);
	assert_string_equal(m[3].path, "");
	assert_int_equal(m[3].prot, PROT_NONE);
	assert_string_equal(m[4].path, "[stack]");
	assert_true(m[5].end == 0xffffffffff601000);
	assert_int_equal(parse_proc_maps("", 0, false, &a, &m, &n), 0);
	assert_int_equal(n, 0);
	arena_release(&a);
}

static void test_smaps(void **state)
{
	static const char text[] = "1000-3000 rw-p 00000000 00:00 0 \n" AREA_DETAIL
				   "3000-5000 rw-p 00000000 00:00 0                   [heap]\n" AREA_DETAIL;
	struct arena a = { 0 };
	struct proc_map *m;
	size_t n;

	(void)state;
	assert_int_equal(parse_proc_maps(TEXT(text), true, &a, &m, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(m[1].page_size, 2 << 20);
	assert_int_equal(m[1].rss, 8192);
	assert_int_equal(m[1].anonymous, 4096);
	assert_int_equal(m[1].swap, 12288);
	assert_true(m[1].vm_flags ==
		    (VMFLAG_RD | VMFLAG_WR | VMFLAG_MR | VMFLAG_MW | VMFLAG_ME | VMFLAG_SL | VMFLAG_AC));
	assert_int_equal(parse_proc_maps(TEXT(text), false, &a, &m, &n), -EINVAL);
	arena_release(&a);
}

static void test_maps_hostile(void **state)
{
	static const char *const bad[] = {
		"1000-1000 rw-p 00000000 00:00 0 \n",
		"2000-1000 rw-p 00000000 00:00 0 \n",
		"1001-2000 rw-p 00000000 00:00 0 \n",
		"1000-2000 rw-p 00000001 00:00 0 \n",
		"1000-2000 rwqp 00000000 00:00 0 \n",
		"1000-2000 rw-x 00000000 00:00 0 \n",
		"1000-10000000000000000 rw-p 00000000 00:00 0 \n",
		"1000-2000 rw-p 00000000 00:00 \n",
		"1000-2000 rw-p 00000000 00:00 5x\n",
		"1000-3000 rw-p 00000000 00:00 0 \n2000-4000 rw-p 00000000 00:00 0 \n",
		"3000-4000 rw-p 00000000 00:00 0 \n1000-2000 rw-p 00000000 00:00 0 \n",
		"Size: 4 kB\n",
		"1000-2000 rw-p 00000000 00:00 0 \nRss: 99999999999999999999 kB\n",
		"1000-2000 rw-p 00000000 00:00 0 \nVmFlags: rdwr\n",
		"1000-2000 rw-p 00000000 00:00 0 \n\n",
	};
	struct arena a = { 0 };
	struct proc_map *m = NULL;
	size_t n = 4711;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_proc_maps(bad[i], strlen(bad[i]), true, &a, &m, &n), -EINVAL);
	assert_null(m);
	assert_int_equal(n, 4711);
	/* A NUL inside of a path that begins as the one before it */
	assert_int_equal(
		parse_proc_maps(TEXT("1000-2000 rw-p 00000000 00:00 1 /a\n2000-3000 rw-p 00000000 00:00 1 /a\0b\n"),
				false, &a, &m, &n),
		0);
	arena_release(&a);
}

static void test_fdinfo(void **state)
{
	struct arena a = { 0 };
	struct proc_fdinfo f;

	(void)state;
	assert_int_equal(parse_proc_fdinfo(TEXT("pos:\t7\nflags:\t02000002\nmnt_id:\t17\nino:\t1039\n"
						"eventfd-count:                3\neventfd-id: 3\n"),
					   &a, &f),
			 0);
	assert_int_equal(f.pos, 7);
	assert_int_equal(f.flags, 02000002);
	assert_int_equal(f.mnt_id, 17);
	assert_int_equal(f.ino, 1039);
	assert_string_equal(f.rest, "eventfd-count:                3\neventfd-id: 3\n");
	assert_int_equal(parse_proc_fdinfo(TEXT("pos:\t-4096\nflags:\t0100000\nmnt_id:\t17\n"), &a, &f), 0);
	assert_true(f.pos == 0 - 4096ull);
	assert_int_equal(f.ino, 0);
	assert_string_equal(f.rest, "");
	assert_int_equal(parse_proc_fdinfo(TEXT("pos:\t0\nflags:\t0100000\nmnt_id:\t1"), &a, &f), -EINVAL);
	assert_int_equal(parse_proc_fdinfo(TEXT("pos:\t0\nflags:\t\nmnt_id:\t17\n"), &a, &f), -EINVAL);
	assert_int_equal(parse_proc_fdinfo(TEXT("pos:\t0\nflags:\t777777777777\nmnt_id:\t17\n"), &a, &f), -EINVAL);
	assert_int_equal(parse_proc_fdinfo("", 0, &a, &f), -EINVAL);
	arena_release(&a);
}

static void test_32bit(void **state)
{
	const uint64_t wide[] = { 33, 0x7fff00001000, 16, 0xbfebfbff, 0, 0 };
	const uint32_t narrow[] = { 32, 0xf7f01000, 33, 0xf7f00000, 0, 0 };

	(void)state;
	assert_false(parse_proc_auxv_32bit((const char *)wide, sizeof(wide)));
	assert_true(parse_proc_auxv_32bit((const char *)narrow, sizeof(narrow)));
	assert_false(parse_proc_auxv_32bit("", 0));
	assert_false(parse_proc_auxv_32bit("1234567", 7));
}

static void test_cgroup(void **state)
{
	static const char text[] = "9:name=systemd:/\n6:cpu,freezer:/a/b:c\n5:devices:/d\n0::/unit\n";
	struct arena a = { 0 };

	(void)state;
	assert_string_equal(parse_proc_cgroup(TEXT(text), NULL, &a), "/unit");
	assert_string_equal(parse_proc_cgroup(TEXT(text), "freezer", &a), "/a/b:c");
	assert_null(parse_proc_cgroup(TEXT(text), "freeze", &a));
	assert_null(parse_proc_cgroup(TEXT(text), "memory", &a));
	assert_null(parse_proc_cgroup(TEXT("0::"), NULL, &a));
	assert_null(parse_proc_cgroup(TEXT("0:\n:\n\n::"), NULL, &a));
	assert_null(parse_proc_cgroup(TEXT(""), NULL, &a));
	arena_release(&a);
}

static void test_mountinfo(void **state)
{
	static const char text[] =
		"36 35 98:0 /ro\\040ot /mnt\\0112\\134 rw,noatime shared:1 master:2 - fuse.sshfs host:/a rw,user_id=0\n"
		"37 36 0:21 / /proc rw - proc proc rw\n"
		"38 36 0:22 / /x rw - tmpfs  rw,size=4k"; /* an empty source, no newline */
	struct arena a = { 0 };
	struct proc_mount *m;
	size_t n;

	(void)state;
	assert_int_equal(parse_proc_mountinfo(TEXT(text), &a, &m, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(m[0].mnt_id, 36);
	assert_int_equal(m[0].parent_id, 35);
	assert_int_equal(m[0].major, 98);
	assert_int_equal(m[0].minor, 0);
	assert_string_equal(m[0].root, "/ro ot");
	assert_string_equal(m[0].mountpoint, "/mnt\t2\\");
	assert_string_equal(m[0].options, "rw,noatime");
	assert_string_equal(m[0].fstype, "fuse.sshfs");
	assert_string_equal(m[0].source, "host:/a");
	assert_string_equal(m[0].super_options, "rw,user_id=0");
	assert_string_equal(m[1].fstype, "proc");
	assert_string_equal(m[2].source, "");
	assert_string_equal(m[2].super_options, "rw,size=4k");
	assert_int_equal(parse_proc_mountinfo(TEXT("36 35 98:0 / /mnt rw shared:1\n"), &a, &m, &n), -EINVAL);
	assert_int_equal(parse_proc_mountinfo(TEXT("36 35 98 / /mnt rw - a b c\n"), &a, &m, &n), -EINVAL);
	assert_int_equal(parse_proc_mountinfo(TEXT("\n"), &a, &m, &n), -EINVAL);
	assert_int_equal(parse_proc_mountinfo(TEXT("36 35 98:0 / /mnt rw -"), &a, &m, &n), -EINVAL);
	arena_release(&a);
}

static void test_timers(void **state)
{
	static const char text[] = "ID: 4\nsignal: 34/00007fff86e452a8\nnotify: signal/pid.18582\nClockID: -2\n"
				   "ID: 2\nsignal: 64/ffffffffffffffff\nnotify: signal/tid.5\nClockID: 1\n"
				   "ID: 1\nsignal: 0/0\nnotify: none/pid.0\nClockID: 7\n";
	struct arena a = { 0 };
	struct proc_timer *t;
	size_t n;

	(void)state;
	assert_int_equal(parse_proc_timers(TEXT(text), &a, &t, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(t[0].id, 4);
	assert_int_equal(t[0].signo, 34);
	assert_int_equal(t[0].sigval, 0x7fff86e452a8);
	assert_int_equal(t[0].notify, SIGEV_SIGNAL);
	assert_int_equal(t[0].target, 18582);
	assert_false(t[0].target_is_thread);
	assert_int_equal(t[0].clockid, -2);
	assert_int_equal(t[1].notify, SIGEV_THREAD_ID);
	assert_true(t[1].target_is_thread);
	assert_int_equal(t[2].notify, SIGEV_NONE);
	assert_int_equal(parse_proc_timers(text, 0, &a, &t, &n), 0);
	assert_int_equal(n, 0);
	for (size_t len = 1; len < sizeof(text) - 1; len++)
		if (strncmp(text + len, "ID: ", 4) != 0)
			assert_int_equal(parse_proc_timers(text, len, &a, &t, &n), -EINVAL);
	arena_release(&a);
}

static void test_timens_offsets(void **state)
{
	static const char text[] = "monotonic      100000         0\nboottime           -2 500000000\n";
	static const char *const bad[] = { "",
					   "monotonic 1 2\n",
					   "monotonic 1 2\nboottime 1\n",
					   "monotonic 1 2\nboottime 1 -1\n",
					   "monotonic 1 1000000000\nboottime 1 2\n",
					   "monotonic 9223372037 0\nboottime 1 2\n",
					   "boottime 1 2\nmonotonic 1 2\n",
					   "monotonic 1 2\nboottime 1 2\nx" };
	struct proc_timens_offsets o = { 7, 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse_proc_timens_offsets(bad[i], strlen(bad[i]), &o), -EINVAL);
	for (size_t len = 0; len < sizeof(text) - 1; len++)
		assert_int_equal(parse_proc_timens_offsets(text, len, &o), -EINVAL);
	assert_int_equal(o.monotonic, 7);
	assert_int_equal(parse_proc_timens_offsets(TEXT(text), &o), 0);
	assert_int_equal(o.monotonic, 100000000000000);
	assert_int_equal(o.boottime, -1500000000);
}

static void test_auxv(void **state)
{
	static const uint64_t values[] = { 33, 0x7fff12345000, 6, 4096, 0, 0, 1, 2 };
	struct arena a = { 0 };
	uint64_t *v;
	size_t n;

	(void)state;
	assert_int_equal(parse_proc_auxv((const char *)values, sizeof(values), &a, &v, &n), 0);
	assert_int_equal(n, 6);
	assert_int_equal(v[1], 0x7fff12345000);
	assert_int_equal(parse_proc_auxv((const char *)values, 32, &a, &v, &n), -EINVAL);
	assert_int_equal(parse_proc_auxv((const char *)values, 40, &a, &v, &n), -EINVAL);
	assert_int_equal(parse_proc_auxv("", 0, &a, &v, &n), 0);
	assert_int_equal(n, 0);
	arena_release(&a);
}

/* What the kernel says of this very process. */
static void test_self(void **state)
{
	AUTOCLOSE int proc = procfs_open(getpid());
	struct rlimit nofile;
	struct proc_limits limits;
	struct arena a = { 0 };
	struct proc_status status;
	struct proc_stat stat;
	struct proc_mount *mounts;
	struct proc_fdinfo info;
	uint64_t *auxv;
	char *link;
	pid_t *tids;
	long long number;
	int *fds;
	size_t n;

	(void)state;
	assert_true(proc >= 0);
	assert_int_equal(prctl(PR_SET_NAME, "a) Z\n(b\\"), 0);
	assert_int_equal(read_proc_stat(proc, &stat), 0);
	assert_string_equal(stat.comm, "a) Z\n(b\\");
	assert_int_equal(stat.ppid, getppid());
	assert_int_equal(read_proc_status(proc, &a, &status), 0);
	assert_string_equal(status.name, stat.comm);
	assert_int_equal(status.tgid, getpid());
	assert_int_equal(status.uid[0], getuid());
	assert_int_equal(read_proc_fds(proc, &a, &fds, &n), 0);
	assert_true(n >= 1);
	assert_int_equal(read_proc_fdinfo(proc, proc, &a, &info), 0);
	assert_int_equal(info.flags & (O_PATH | O_CLOEXEC), O_PATH | O_CLOEXEC);
	assert_int_equal(read_proc_fdinfo(proc, 999999, &a, &info), -ENOENT);
	assert_int_equal(read_proc_tasks(proc, &a, &tids, &n), 0);
	assert_int_equal(tids[0], getpid());
	assert_int_equal(read_proc_mountinfo(proc, &a, &mounts, &n), 0);
	assert_int_equal(read_proc_link(proc, "exe", &a, &link), 0);
	assert_int_equal(link[0], '/');
	assert_int_equal(read_proc_auxv(proc, &a, &auxv, &n), 0);
	assert_int_equal(auxv[n - 2], 0);
	assert_int_equal(read_proc_number(proc, "oom_score_adj", 10, &number), 0);
	assert_int_equal(read_proc_number(proc, "personality", 16, &number), 0);
	assert_int_equal(read_proc_limits(proc, &limits), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &nofile), 0);
	assert_int_equal(limits.soft[RLIMIT_NOFILE], nofile.rlim_cur);
	assert_int_equal(limits.hard[RLIMIT_NOFILE], nofile.rlim_max);
	arena_release(&a);
}

static void test_self_timer_and_child(void **state)
{
	AUTOCLOSE int proc = procfs_open(getpid());
	struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2, .sigev_value.sival_int = 42 };
	struct arena a = { 0 };
	AUTOCLOSE int child_proc = -1;
	struct proc_timer *timers;
	struct proc_map *maps;
	pid_t child, *children, self = getpid();
	timer_t timer;
	size_t n;

	(void)state;
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &e, &timer), 0);
	assert_int_equal(read_proc_timers(proc, &a, &timers, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(timers[0].signo, SIGUSR2);
	assert_int_equal((int)timers[0].sigval, 42);
	assert_int_equal(timers[0].clockid, CLOCK_MONOTONIC);
	assert_int_equal(timers[0].target, self);
	assert_int_equal(timer_delete(timer), 0);
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(read_proc_children(self, &self, 1, &a, &children, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(children[0], child);
	child_proc = procfs_open(child);
	assert_true(child_proc >= 0);
	for (int smaps = 0; smaps < 2; smaps++) {
		assert_int_equal(read_proc_maps(child_proc, smaps, &a, &maps, &n), 0);
		assert_true(n > 5);
	}
	assert_true(maps[0].vm_flags & VMFLAG_RD);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(read_proc_children(child, &child, 1, &a, &children, &n), -ESRCH);
	assert_int_equal(procfs_open(child), -ENOENT);
	arena_release(&a);
}

static void test_read_limit(void **state)
{
	AUTOFREE char *text = NULL;
	size_t len = 0;

	(void)state;
	assert_int_equal(procfs_read(AT_FDCWD, "/proc/self/smaps", 100, &text, &len), -EFBIG);
	assert_int_equal(procfs_read(AT_FDCWD, "/proc/self/smaps", 9000, &text, &len), -EFBIG);
	assert_null(text);
	assert_int_equal(procfs_read(AT_FDCWD, "/proc/self/smaps", 1 << 30, &text, &len), 0);
	assert_int_equal(strlen(text), len);
}

static void test_syscall(void **state)
{
	static const char waits[] = "230 0x0 0x0 0x7ffc65d65160 0x7ffc65d651a0 0x0 0x0 0x7ffc65d65148 0x7f1e2d8db503\n";
	static const char *const broken[] = { "", "x", "230", "230 0x0 0x0", "230 1 2 3 4 5 6 7 8", "99999999999 0x0" };
	static const uint64_t at[6] = { (uint64_t)-100, 0x7f00, 0x7f10, 0x100 };
	struct proc_syscall s;
	char text[128];

	(void)state;
	assert_int_equal(parse_proc_syscall(waits, sizeof(waits) - 1, &s), 0);
	assert_int_equal(s.nr, 230);
	assert_int_equal(s.args[3], 0x7ffc65d651a0);
	assert_int_equal(parse_proc_syscall("running\n", 8, &s), 0);
	assert_int_equal(s.nr, -1);
	assert_int_equal(parse_proc_syscall("-1 0x7ffc65d65148 0x7f1e2d8db503\n", 33, &s), 0);
	assert_int_equal(s.nr, -1);
	assert_int_equal(s.pc, 0x7f1e2d8db503);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		assert_int_equal(parse_proc_syscall(broken[i], strlen(broken[i]), &s), -EINVAL);
	assert_string_equal(syscall_name(230), "clock_nanosleep");
	assert_string_equal(syscall_name(462), "mseal");
	assert_string_equal(syscall_name(9999), "syscall_9999");
	assert_string_equal(syscall_name(-5), "syscall_-5");
	(void)syscall_format(262, at, text, sizeof(text));
	assert_string_equal(text, "newfstatat(AT_FDCWD, 0x7f00, 0x7f10, 0x100)");
	assert_int_equal(syscall_format(262, at, text, 12), 11);
	assert_string_equal(text, "newfstatat(");
	(void)syscall_format_result(-2, text, sizeof(text));
	assert_string_equal(text, "= -2 ENOENT");
	(void)syscall_format_result(0x7f0000001000, text, sizeof(text));
	assert_string_equal(text, "= 0x7f0000001000");
}

static void test_locks_table(void **state)
{
	static const char text[] = "1: POSIX  ADVISORY  WRITE 13302 fe:00:11011021 5 14\n"
				   "1: -> POSIX  ADVISORY  WRITE 13466 fe:00:11011021 0 EOF\n"
				   "2: DELEG  ACTIVE    READ  77 fe:00:9 0 EOF\n"
				   "3: OFDLCK ADVISORY  READ -1 00:1a:8 0 EOF\n"
				   "4: FLOCK  ADVISORY  WRITE 99999999999 fe:00:1 0 EOF\n"
				   "5: FLOCK  ADVISORY  UNLCK 7 fe:00:1 0 EOF\n"
				   "6: LEASE  BREAKING  UNLCK 7 fe:00:1 0 EOF\n";
	struct arena a = { 0 };
	struct proc_lock *locks;
	uint32_t connection;
	size_t n;

	(void)state;
	assert_int_equal(parse_proc_locks(text, sizeof(text) - 1, &a, &locks, &n), 0);
	assert_int_equal(n, 4);
	assert_true(locks[3].breaking && locks[3].type == F_UNLCK);
	assert_true(locks[0].pid == 13302 && locks[0].dev_major == 0xfe && locks[0].ino == 11011021 &&
		    !locks[0].waiting);
	assert_true(locks[1].pid == 13466 && locks[1].waiting);
	assert_true(locks[2].pid == -1 && locks[2].dev_minor == 0x1a && locks[2].sort == LOCK_SORT_OFD);
	arena_release(&a);
	assert_int_equal(parse_fdinfo_fuse("lock:\t1: x\nfuse_connection:\t39\n", &connection), 0);
	assert_int_equal(connection, 39);
	assert_int_equal(parse_fdinfo_fuse("", &connection), -EINVAL);
	assert_int_equal(parse_fdinfo_fuse("fuse_connection:\t-1\n", &connection), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_syscall),
		cmocka_unit_test(test_locks_table),
		cmocka_unit_test(test_text_numbers),
		cmocka_unit_test(test_text_unescape),
		cmocka_unit_test(test_stat),
		cmocka_unit_test(test_stat_hostile),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_hostile),
		cmocka_unit_test(test_maps),
		cmocka_unit_test(test_smaps),
		cmocka_unit_test(test_maps_hostile),
		cmocka_unit_test(test_fdinfo),
		cmocka_unit_test(test_mountinfo),
		cmocka_unit_test(test_32bit),
		cmocka_unit_test(test_cgroup),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_timens_offsets),
		cmocka_unit_test(test_auxv),
		cmocka_unit_test(test_self),
		cmocka_unit_test(test_self_timer_and_child),
		cmocka_unit_test(test_read_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
