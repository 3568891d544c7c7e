/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "watch/progress.h"
#include "watch/stall.h"

#define MS 1000000ull

static void fill(struct stall_facts *f)
{
	memset(f, 0, sizeof(*f));
	f->operation = "dump of task 126";
	f->verdict = VERDICT_STALL;
	f->limit_ms = 5000;
	f->elapsed_ns = 6200 * MS;
	f->step_ns = 5100 * MS;
	f->step.stage = STAGE_FILES;
	f->step.pid = 126;
	strcpy(f->step.comm, "redis-server");
	strcpy(f->step.call, "statx");
	strcpy(f->step.object, "fd 14 → /mnt/fuse/x");
	f->engine = (struct glance){ .pid = 200,
				     .tid = 203,
				     .name = "firn-engine",
				     .state = 'D',
				     .syscall = 332,
				     .wchan = "request_wait_answer",
				     .stack = "request_wait_answer ← fuse_simple_request" };
	f->tracer = (struct glance){ .pid = 200, .tid = 200, .name = "firn-engine", .state = 'S', .syscall = 202 };
	f->task = (struct glance){
		.pid = 126, .tid = 126, .name = "redis-server", .state = 't', .tracer = 200, .syscall = -1
	};
	f->tasks[0] = f->task;
	f->n_tasks = 1;
	f->held = 40;
}

static void test_compose(void **state)
{
	struct stall_facts *f = malloc(sizeof(*f));
	char text[8192];
	size_t len;

	(void)state;
	fill(f);
	len = stall_compose(f, "let every task go", text, sizeof(text));
	assert_int_equal(len, strlen(text));
	assert_non_null(strstr(text, "firn dump of task 126\n"));
	assert_non_null(strstr(
		text, "nothing moved for 5.0 s in stage files: pid 126 (redis-server), statx, fd 14 → /mnt/fuse/x"));
	assert_non_null(strstr(text, "for 5.1 s now"));
	assert_non_null(strstr(text, "thread 203 (firn-engine): D (uninterruptible sleep), in request_wait_answer, "
				     "system call 332 (statx)"));
	assert_non_null(strstr(text, "t (held by its tracer)"));
	assert_non_null(strstr(text, "and 39 more"));
	assert_non_null(strstr(text, "FUSE"));
	assert_non_null(strstr(text, "let every task go\n"));
	/* A buffer that is too small is filled and terminated, not overrun. */
	assert_int_equal(stall_compose(f, "x", text, 100), 99);
	assert_int_equal(strlen(text), 99);
	free(f);
}

static void test_explain(void **state)
{
	struct stall_facts *f = malloc(sizeof(*f));

	(void)state;
	fill(f);
	memset(&f->engine, 0, sizeof(f->engine));
	f->engine.syscall = -1;
	f->task.state = 'D';
	assert_non_null(strstr(stall_explain(f).cause, "uninterruptible"));
	f->task.state = 'S';
	f->task.tracer = 999;
	assert_non_null(strstr(stall_explain(f).cause, "another tracer"));
	f->task.tracer = 0;
	f->verdict = VERDICT_SEIZE;
	assert_non_null(strstr(stall_explain(f).advice, "--timeout"));
	f->verdict = VERDICT_DEADLINE;
	assert_non_null(strstr(stall_explain(f).advice, "--deadline"));
	strcpy(f->engine.wchan, "anon_pipe_read");
	assert_non_null(strstr(stall_explain(f).cause, "pipe is empty"));
	free(f);
}

static void test_glance(void **state)
{
	struct glance g;

	(void)state;
	glance(getpid(), getpid(), &g);
	assert_false(g.gone);
	assert_int_equal(g.state, 'R');
	assert_int_equal(g.ppid, getppid());
	assert_int_equal(g.tracer, 0);
	glance(1 << 30, 1 << 30, &g);
	assert_true(g.gone);
}

static void test_mount_of_path(void **state)
{
	const struct proc_mount mounts[] = {
		{ .mountpoint = "/", .fstype = "ext4" },
		{ .mountpoint = "/mnt/nfs", .fstype = "nfs4" },
		{ .mountpoint = "/mnt/nfsother", .fstype = "tmpfs" },
		{ .mountpoint = "/mnt/nfs", .fstype = "fuse.sshfs" },
	};

	(void)state;
	assert_string_equal(mount_of_path(mounts, 4, "/mnt/nfs/x")->fstype, "fuse.sshfs");
	assert_string_equal(mount_of_path(mounts, 4, "/mnt/nfs on nfs4")->fstype, "fuse.sshfs");
	assert_string_equal(mount_of_path(mounts, 4, "/mnt/nfsother")->fstype, "tmpfs");
	assert_string_equal(mount_of_path(mounts, 4, "/mnt/nf")->fstype, "ext4");
	assert_null(mount_of_path(mounts, 4, "pipe:[7]"));
	assert_null(mount_of_path(mounts, 0, "/x"));
}

/* A dead FUSE mount and a lock, as text and as JSON; foreign names do no harm. */
static void test_object(void **state)
{
	struct stall_facts *f = malloc(sizeof(*f));
	struct stall_object *o = &f->object;
	char text[8192], *json;
	size_t len;

	(void)state;
	fill(f);
	*o = (struct stall_object){ .pid = 126,
				    .fd = 14,
				    .path = "/mnt/fuse/x",
				    .mounted = true,
				    .mnt_id = 40,
				    .dev_minor = 45,
				    .fs_type = "fuse.sshfs",
				    .mount_point = "/mnt/fuse",
				    .source = "host:\"/\n",
				    .fuse = true,
				    .waiting = 3,
				    .n_servers = 1,
				    .n_holders = 2 };
	o->servers[0] = (struct glance){ .pid = 90, .tid = 90, .name = "sshfs", .state = 'T' };
	o->holders[0] = (struct stall_holder){ .pid = 91, .name = "dpkg", .sort = LOCK_SORT_POSIX, .type = F_WRLCK };
	o->holders[1] = (struct stall_holder){ .pid = -1, .sort = LOCK_SORT_OFD, .type = F_RDLCK };
	strcpy(f->unfinished, "the \"tasks\"");
	(void)stall_compose(f, "let every task go", text, sizeof(text));
	assert_non_null(strstr(text, "mount        fuse.sshfs on /mnt/fuse from host"));
	assert_non_null(strstr(text, "server       FUSE connection 45, 3 requests without an answer\n"));
	assert_non_null(strstr(text, "perhaps pid 90 (sshfs): T (stopped)\n"));
	assert_non_null(strstr(text, "lock         POSIX lock for writing, held by pid 91 (dpkg)\n"));
	assert_non_null(strstr(text, "lock for reading, held by a process that is not known\n"));
	assert_non_null(strstr(text, "not seen     the \"tasks\""));
	assert_non_null(strstr(text, "echo 1 > /sys/fs/fuse/connections/45/abort\n"));
	json = stall_compose_json(f, "let every task go", &len);
	assert_non_null(json);
	assert_int_equal(len, strlen(json));
	assert_ptr_equal(strchr(json, '\n'), json + len - 1);
	assert_non_null(strstr(json, "{\"format\": 1, \"report\": \"stall\", "));
	assert_non_null(strstr(json, "\"source\": \"host:\\\"/\\u000a\"}"));
	assert_non_null(strstr(json,
			       "\"fuse\": {\"connection\": 45, \"waiting\": 3, \"servers_sure\": false, "
			       "\"servers\": [{\"pid\": 90, \"tid\": 90, \"name\": \"sshfs\", \"state\": \"T\"}]}"));
	assert_non_null(strstr(json, "\"breaking\": false, \"writing\": false, \"pid\": null, \"name\": null}]"));
	assert_non_null(strstr(json, "\"stack\": [\"request_wait_answer\", \"fuse_simple_request\"]"));
	free(json);
	free(f);
}

/* This process itself: its own file, its own lock. */
static void test_own_object(void **state)
{
	struct stall_object *o = malloc(sizeof(*o));
	char path[] = "/tmp/firn-test-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_true(stall_object_of_fd(getpid(), fd, o));
	assert_string_equal(o->path, path);
	assert_true(o->mounted && o->ino);
	stall_find_holders(o);
	assert_int_equal(o->n_holders, 1);
	assert_int_equal(o->holders[0].pid, getpid());
	assert_int_equal(o->holders[0].sort, LOCK_SORT_FLOCK);
	assert_true(stall_object_of_path(path, o));
	assert_false(stall_object_of_fd(getpid(), 1 << 20, o));
	(void)unlink(path);
	close(fd);
	free(o);
}

static void test_deadlines(void **state)
{
	struct deadlines d = { .deadline_ms = 10000, .stall_ms = 1000, .seize_ms = 2000 };

	(void)state;
	deadlines_begin(&d, 50 * MS);
	assert_int_equal(deadlines_check(&d, 60 * MS, 1, STAGE_START), VERDICT_GO_ON);
	assert_in_range(deadlines_next(&d, 60 * MS), 1, 125);
	assert_int_equal(deadlines_check(&d, 1000 * MS, 1, STAGE_START), VERDICT_GO_ON);
	assert_int_equal(deadlines_check(&d, 1060 * MS, 1, STAGE_START), VERDICT_STALL);
	assert_int_equal(deadlines_check(&d, 1060 * MS, 2, STAGE_SEIZE), VERDICT_GO_ON);
	assert_int_equal(deadlines_check(&d, 2000 * MS, 3, STAGE_SEIZE), VERDICT_GO_ON);
	assert_int_equal(deadlines_check(&d, 2999 * MS, 4, STAGE_SEIZE), VERDICT_GO_ON);
	assert_int_equal(deadlines_check(&d, 3060 * MS, 5, STAGE_SEIZE), VERDICT_SEIZE);
	assert_int_equal(deadlines_check(&d, 3061 * MS, 6, STAGE_FILES), VERDICT_GO_ON);
	assert_int_equal(deadlines_check(&d, 10050 * MS, 7, STAGE_FILES), VERDICT_DEADLINE);
	d = (struct deadlines){ .stall_ms = 1000 };
	deadlines_begin(&d, 0);
	deadlines_forgive(&d, 900 * MS, 500 * MS);
	assert_int_equal(deadlines_check(&d, 1499 * MS, 0, STAGE_START), VERDICT_GO_ON);
	assert_int_equal(deadlines_check(&d, 1500 * MS, 0, STAGE_START), VERDICT_STALL);
	deadlines_forgive(&d, 1500 * MS, 5000 * MS);
	assert_int_equal(deadlines_check(&d, 2499 * MS, 0, STAGE_START), VERDICT_GO_ON);
	assert_int_equal(deadlines_check(&d, 2500 * MS, 0, STAGE_START), VERDICT_STALL);
	d = (struct deadlines){ 0 };
	deadlines_begin(&d, 0);
	assert_int_equal(deadlines_check(&d, 1ull << 60, 0, STAGE_SEIZE), VERDICT_GO_ON);
	assert_int_equal(deadlines_next(&d, 5), -1);
}

static void test_lines(void **state)
{
	struct recorder *r = calloc(1, sizeof(*r));
	char line[256];

	(void)state;
	r->tasks = 3;
	r->threads = 7;
	r->frozen_ns = 3100000;
	r->wrote_bytes = 4404019;
	totals_line(true, r, 12 * MS, line, sizeof(line));
	assert_string_equal(line, "dumped 3 tasks, 7 threads: frozen for 3.1 ms, wrote 4.2 MiB, took 12 ms\n");
	r->tasks = 1;
	r->threads = 0;
	r->bytes = 1000;
	totals_line(false, r, 2500 * MS, line, sizeof(line));
	assert_string_equal(line, "restored 1 task: read 1000 B, took 2.50 s\n");
	r->tasks_total = 2;
	r->bytes = 3 << 20;
	r->step.stage = STAGE_MEMORY;
	progress_line("dump", r, 500 * MS, line, sizeof(line));
	assert_string_equal(line, "\r\033[Kdump: memory, 1/2 tasks, 3.0 MiB, 6.0 MiB/s, 0.5 s");
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compose),	      cmocka_unit_test(test_explain),
		cmocka_unit_test(test_glance),	      cmocka_unit_test(test_object),
		cmocka_unit_test(test_own_object),    cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_mount_of_path), cmocka_unit_test(test_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
