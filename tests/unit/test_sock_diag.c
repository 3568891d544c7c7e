/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel/sock_diag.h"

/* struct unix_diag_msg { family, type, state, pad, ino, cookie[2] } */
static const uint8_t head[16] = { 1, 1, 10, 0, 7, 0, 0, 0 };

static void test_attributes(void **unused)
{
	struct arena a = { 0 };
	struct unix_diag d;
	uint8_t buf[64];

	(void)unused;
	memcpy(buf, head, 16);
	memcpy(buf + 16, (uint8_t[]){ 7, 0, 0, 0, 0, 'a', 'b', 0 }, 8);              /* name "\0ab" */
	memcpy(buf + 24, (uint8_t[]){ 8, 0, 2, 0, 9, 0, 0, 0 }, 8);                  /* peer 9 */
	memcpy(buf + 32, (uint8_t[]){ 12, 0, 4, 0, 1, 0, 0, 0, 5, 0, 0, 0 }, 12);    /* queue 1, 5 */
	memcpy(buf + 44, (uint8_t[]){ 5, 0, 6, 0, 2, 0, 0, 0 }, 8);                  /* shutdown 2 */
	assert_int_equal(parse_unix_diag(buf, 52, &a, &d), 0);
	assert_int_equal(d.ino, 7);
	assert_int_equal(d.state, 10);
	assert_int_equal(d.name_len, 3);
	assert_memory_equal(d.name, "\0ab", 3);
	assert_true(d.has_peer);
	assert_int_equal(d.peer, 9);
	assert_int_equal(d.rqueue, 1);
	assert_int_equal(d.wqueue, 5);
	assert_int_equal(d.shutdown, 2);
	arena_release(&a);
}

static void test_hostile(void **unused)
{
	struct arena a = { 0 };
	struct unix_diag d;
	uint8_t buf[64];

	(void)unused;
	assert_int_equal(parse_unix_diag(head, 15, &a, &d), -EINVAL);
	memcpy(buf, head, 16);
	memcpy(buf + 16, (uint8_t[]){ 200, 0, 0, 0 }, 4);                            /* longer than the message */
	assert_int_equal(parse_unix_diag(buf, 20, &a, &d), -EINVAL);
	memcpy(buf + 16, (uint8_t[]){ 2, 0, 0, 0 }, 4);                              /* shorter than its own head */
	assert_int_equal(parse_unix_diag(buf, 20, &a, &d), -EINVAL);
	memcpy(buf + 16, (uint8_t[]){ 6, 0, 2, 0, 1, 0, 0, 0 }, 8);                  /* peer of two bytes */
	assert_int_equal(parse_unix_diag(buf, 24, &a, &d), -EINVAL);
	buf[0] = 2;                                                                  /* not AF_UNIX */
	assert_int_equal(parse_unix_diag(buf, 16, &a, &d), -EINVAL);
	arena_release(&a);
}

static void test_live(void **unused)
{
	struct arena a = { 0 };
	struct unix_diag *list;
	struct stat st;
	size_t n, found = 0;
	int pair[2];

	(void)unused;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(fstat(pair[0], &st), 0);
	if (read_unix_diag(&a, &list, &n) < 0)
		skip();
	for (size_t i = 0; i < n; i++)
		if (list[i].ino == st.st_ino) {
			assert_int_equal(list[i].type, SOCK_SEQPACKET);
			assert_true(list[i].has_peer);
			found++;
		}
	assert_int_equal(found, 1);
	arena_release(&a);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
