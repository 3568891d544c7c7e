/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Refusals that are kept: object, reason, option. What --external and --inherit-fd name. */
/* clang-format off: cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kinds/inherit.h"
#include "tree/refusals.h"
#include "tree/tree.h"

struct bench {
	struct error error;
	struct options options;
	struct refusals refusals;
	struct operation op;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct task *t;

	b->op.error = &b->error;
	b->op.options = &b->options;
	b->op.images.fd = -1;
	t = tree_add_task(&b->op, 7);
	/* As hostile as a name can be. */
	comm_copy(t->comm, "a: b) c");
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	arena_release(&b->op.arena);
	free(b);
	return 0;
}

static const struct refusal *last(const struct bench *b)
{
	const struct refusal *r = b->refusals.first;

	while (r && r->next)
		r = r->next;
	return r;
}

static void expect(struct bench *b, const char *object, const char *reason, const char *option)
{
	const struct refusal *r;

	assert_int_equal(refusal_note(&b->op, -EOPNOTSUPP), 0);
	assert_false(error_is_set(&b->error));
	r = last(b);
	assert_non_null(r);
	assert_string_equal(r->object, object);
	assert_string_equal(r->reason, reason);
	if (option)
		assert_string_equal(r->option, option);
	else
		assert_null(r->option);
}

static void test_parts(void **state)
{
	struct bench *b = *state;

	b->op.refusals = &b->refusals;
	(void)error_raise(&b->error, EOPNOTSUPP, "pid 7 (a: b) c), fd 3 → /x: it is bad: 1: 2");
	error_hint(&b->error, "With --file-locks it is carried.");
	expect(b, "pid 7 (a: b) c), fd 3 → /x", "it is bad: 1: 2", "--file-locks");
	(void)error_raise(&b->error, EOPNOTSUPP, "pid 7 (a: b) c) is bad");
	expect(b, "pid 7 (a: b) c)", "is bad", NULL);
	(void)error_raise(&b->error, EOPNOTSUPP, "pid 7 (a: b) c): bad");
	expect(b, "pid 7 (a: b) c)", "bad", NULL);
	(void)error_raise(&b->error, EOPNOTSUPP, "nobody knows whom");
	expect(b, "", "nobody knows whom", NULL);
	assert_int_equal(last(b)->pid, 0);
	(void)error_raise(&b->error, EOPNOTSUPP, "pid 8 (gone): bad");
	expect(b, "", "pid 8 (gone): bad", NULL);
	assert_int_equal(b->refusals.n, 5);
	/* the same again is one */
	(void)error_raise(&b->error, EOPNOTSUPP, "nobody knows whom");
	expect(b, "", "pid 8 (gone): bad", NULL);
	assert_int_equal(b->refusals.n, 5);
}

static void test_object(void **state)
{
	struct bench *b = *state;

	b->op.refusals = &b->refusals;
	(void)error_raise(&b->error, EOPNOTSUPP, "pid 7 (a: b) c), fd 3 → /x: y: bad");
	assert_int_equal(refusal_note_about(&b->op, "pid 7 (a: b) c), fd 3 → /x: y", -EOPNOTSUPP), 0);
	assert_string_equal(last(b)->object, "pid 7 (a: b) c), fd 3 → /x: y");
	assert_string_equal(last(b)->reason, "bad");
	assert_int_equal(last(b)->pid, 7);
}

static void test_what_is_no_refusal(void **state)
{
	struct bench *b = *state;

	(void)error_raise(&b->error, EOPNOTSUPP, "bad");
	assert_int_equal(refusal_note(&b->op, -EOPNOTSUPP), -EOPNOTSUPP);
	assert_string_equal(b->error.sentence, "bad");
	b->op.refusals = &b->refusals;
	assert_int_equal(refusal_note(&b->op, -ESRCH), -ESRCH);
	assert_int_equal(refusal_note(&b->op, 0), 0);
	assert_int_equal(b->refusals.n, 0);
}

static void test_external(void **state)
{
	static const char *given[] = { "tty[8800:19]", "file[1a:2b]:name" };
	struct bench *b = *state;

	b->options.external = given;
	b->options.n_external = 2;
	assert_true(external_listed(&b->op, "tty[8800:19]"));
	assert_true(external_listed(&b->op, "file[1a:2b]"));
	assert_false(external_listed(&b->op, "tty[8800:1]"));
	assert_false(external_listed(&b->op, "tty[8800:19"));
	assert_true(external_begins(&b->op, "tty[8800:"));
	assert_false(external_begins(&b->op, "tty[880:"));
}

static void test_inherit(void **state)
{
	static const char *given[] = { "fd[5]:pipe:[123]", "fd[6]:socket[7]", "fd[7]:/a/b", "fd[8]:c",
				       "fd[999]:pipe:[9]" };
	struct bench *b = *state;
	int fd = -1;

	assert_int_equal(inherit_find(&b->op, "pipe:[123]"), -1);
	b->options.inherit = given;
	b->options.n_inherit = 5;
	assert_int_equal(inherit_find(&b->op, "pipe:[123]"), 5);
	assert_int_equal(inherit_find(&b->op, "pipe[123]"), 5);
	assert_int_equal(inherit_find(&b->op, "pipe:[12]"), -1);
	assert_int_equal(inherit_find(&b->op, "socket:[7]"), 6);
	assert_int_equal(inherit_find(&b->op, "socket:[123]"), -1);
	assert_int_equal(inherit_find(&b->op, "/a/b"), 7);
	assert_int_equal(inherit_find(&b->op, "a/b"), 7);
	assert_int_equal(inherit_find(&b->op, "/c"), 8);
	assert_int_equal(inherit_find(&b->op, "/pipe:[123]"), -1);
	assert_int_equal(inherit_take(&b->op, "pipe:[1]", "x", &fd), 0);
	assert_int_equal(inherit_take(&b->op, "pipe:[9]", "x", &fd), -EBADF);
	assert_true(error_is_set(&b->error));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_object, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_no_refusal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_external, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inherit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
