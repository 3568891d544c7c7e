/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "watch/ring.h"
#include "watch/worker.h"

#define THREADS 2
#define PROCESSES 2
#define RECORDS 20000

static int fresh(void **state)
{
	(void)state;
	log_verbosity = LOG_DEBUG;
	return recorder_init();
}

static void test_without_recorder(void **state)
{
	(void)state;
	recorder = NULL;
	recorder_stage(STAGE_SEIZE);
	recorder_step(1, "x", "statx", "fd %d", 3);
	recorder_moved(5);
	recorder_target_add(1, 1);
	recorder_target_remove(1);
	log_error(0, "nothing");
	assert_false(recorder_cancelled());
}

static void test_step(void **state)
{
	struct recorder_step s;

	(void)state;
	recorder_stage(STAGE_FILES);
	recorder_step(126, "redis-server", "statx", "fd %d → %s", 14, "/mnt/nfs/x");
	assert_true(recorder_read_step(&s));
	assert_int_equal(s.stage, STAGE_FILES);
	assert_int_equal(s.pid, 126);
	assert_int_equal(s.tid, gettid());
	assert_string_equal(s.comm, "redis-server");
	assert_string_equal(s.call, "statx");
	assert_string_equal(s.object, "fd 14 → /mnt/nfs/x");
	assert_int_equal(recorder->progress, 2);
}

static void test_targets(void **state)
{
	(void)state;
	/* 7 and 7 + RECORDER_TARGETS share a slot. */
	recorder_target_add(7, 7);
	recorder_target_add(7, 7 + RECORDER_TARGETS);
	recorder_target_add(7, 8);
	recorder_target_add(7, 8);
	assert_int_equal(recorder->target_count, 3);
	recorder_target_remove(7);
	recorder_target_remove(7);
	assert_int_equal(recorder->target_count, 2);
	recorder_target_remove(7 + RECORDER_TARGETS);
	assert_int_equal(recorder->target_count, 1);
	assert_true(recorder_target_known(7));
	assert_true(recorder_target_known(7 + RECORDER_TARGETS));
	assert_false(recorder_target_known(9));
	recorder_target_add(7, 7);
	assert_int_equal(recorder->target_count, 2);
}

static void test_log_line(void **state)
{
	char buf[RING_RECORD_MAX + 1];
	size_t n;

	(void)state;
	recorder->step.stage = STAGE_SEIZE;
	log_warn(42, "odd name %s", "a\nb\033[2J");
	log_write(LOG_TRACE, 42, "too much detail");
	n = ring_take(recorder, buf, sizeof(buf), false);
	buf[n] = '\0';
	assert_int_equal(buf[0], '(');
	assert_non_null(strstr(buf, ") Warn  42 seize: odd name a?b?[2J\n"));
	assert_true(ring_empty(recorder));
}

static void test_long_line(void **state)
{
	char buf[RING_RECORD_MAX + 1], text[3 * RING_RECORD_MAX];
	size_t n;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_warn(0, "%s", text);
	n = ring_take(recorder, buf, sizeof(buf), false);
	assert_in_range(n, RING_RECORD_MAX - 8, RING_RECORD_MAX);
	assert_int_equal(buf[n - 1], '\n');
}

/* A producer that died between reserving and finishing costs its own record only. */
static void test_dead_producer(void **state)
{
	char buf[RING_RECORD_MAX];
	uint64_t head;

	(void)state;
	ring_put(recorder, "one\n", 4, false);
	head = recorder->ring_head;
	ring_put(recorder, "two\n", 4, false);
	ring_put(recorder, "three\n", 6, false);
	memset(&recorder->ring[head], 0, 8);
	assert_int_equal(ring_take(recorder, buf, sizeof(buf), false), 4);
	assert_int_equal(ring_take(recorder, buf, sizeof(buf), false), 0);
	assert_int_equal(ring_take(recorder, buf, sizeof(buf), true), 6);
	assert_memory_equal(buf, "three\n", 6);
	assert_int_equal(recorder->ring_dropped, 1);
	assert_true(ring_empty(recorder));
}

static void test_full_ring(void **state)
{
	char record[1000];
	uint64_t begin = monotonic_ns(), took;

	(void)state;
	memset(record, 'r', sizeof(record));
	for (int i = 0; i < 2000; i++)
		ring_put(recorder, record, sizeof(record), false);
	took = monotonic_ns() - begin;
	assert_true(recorder->ring_dropped > 900);
	assert_in_range(took, 900000000ull, 2000000000ull);
}

/* ---- many producers in several processes ---- */

static void *produce(void *arg)
{
	int who = (int)(intptr_t)arg;
	char line[160];

	for (int i = 0; i < RECORDS; i++) {
		int len = snprintf(line, sizeof(line), "%d %d %.*s\n", who, i, i % 100,
				   "-----------------------------------------------------------------------------------"
				   "-----------------");

		ring_put(recorder, line, (size_t)len, i % 1000 == 0);
	}
	return NULL;
}

static void produce_in_threads(int base)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, produce, (void *)(intptr_t)(base + i));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void check_lines(char *text, int *next, int *total)
{
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		int who, number, end;

		assert_int_equal(sscanf(line, "%d %d %n", &who, &number, &end), 2);
		assert_in_range(who, 0, THREADS * PROCESSES - 1);
		assert_int_equal(number, next[who]);
		assert_int_equal(strlen(line + end), number % 100);
		next[who]++;
		(*total)++;
	}
}

static void test_many_producers(void **state)
{
	int next[THREADS * PROCESSES] = { 0 }, total = 0, alive = PROCESSES;
	static char buf[65536 + 1];
	pid_t pids[PROCESSES];

	(void)state;
	for (int p = 0; p < PROCESSES; p++) {
		pids[p] = fork();
		if (pids[p] == 0) {
			produce_in_threads(p * THREADS);
			_exit(0);
		}
	}
	while (alive || !ring_empty(recorder)) {
		size_t n = ring_take(recorder, buf, sizeof(buf) - 1, false);

		/* Nobody's patience is to end here, however slow this consumer is: test_full_ring() looks at that. */
		atomic_store(&recorder->ring_waited_ns, 0);
		buf[n] = '\0';
		check_lines(buf, next, &total);
		if (n)
			continue;
		ring_wait(recorder, RING_ALERT, 50);
		for (int p = 0; p < PROCESSES; p++)
			if (pids[p] && waitpid(pids[p], NULL, WNOHANG) == pids[p]) {
				pids[p] = 0;
				alive--;
			}
	}
	assert_int_equal(total + (int)recorder->ring_dropped, RECORDS * THREADS * PROCESSES);
	assert_int_equal(recorder->ring_dropped, 0);
}

/* ---- the worker ---- */

static int add_one(void *arg)
{
	return ++*(int *)arg;
}

static int sleep_for_ever(void *arg)
{
	char c;

	return (int)read(*(int *)arg, &c, 1);
}

static void test_worker(void **state)
{
	struct error e = { 0 };
	int n = 1, pipe_fds[2];
	uint64_t begin;

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(worker_call(add_one, &n, &e), i + 2);
	assert_int_equal(pipe(pipe_fds), 0);
	/* Cancelled from outside, as the front does it. */
	if (fork() == 0) {
		usleep(50000);
		atomic_store(&recorder->cancelled, true);
		_exit(0);
	}
	begin = monotonic_ns();
	assert_int_equal(worker_call(sleep_for_ever, &pipe_fds[0], &e), -ECANCELED);
	assert_in_range(monotonic_ns() - begin, 50000000ull, 900000000ull);
	assert_int_equal(e.number, ECANCELED);
	memset(&e, 0, sizeof(e));
	assert_int_equal(worker_call(add_one, &n, &e), -ECANCELED);
	recorder_stage(STAGE_ROLLBACK);
	memset(&e, 0, sizeof(e));
	assert_int_equal(worker_call(add_one, &n, &e), -EBUSY);
	close(pipe_fds[1]);
	(void)wait(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_recorder),       cmocka_unit_test_setup(test_step, fresh),
		cmocka_unit_test_setup(test_targets, fresh),   cmocka_unit_test_setup(test_log_line, fresh),
		cmocka_unit_test_setup(test_long_line, fresh), cmocka_unit_test_setup(test_dead_producer, fresh),
		cmocka_unit_test_setup(test_full_ring, fresh), cmocka_unit_test_setup(test_many_producers, fresh),
		cmocka_unit_test_setup(test_worker, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
