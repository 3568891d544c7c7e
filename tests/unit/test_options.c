/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/options.h"
#include "watch/recorder.h"

/* Parses the words after the subcommand; a NULL ends them. */
static int parse(unsigned command, struct command_line *c, struct error *e, const char *const *words)
{
	char *argv[32] = { (char *)"dump" };
	int argc = 1;

	while (*words)
		argv[argc++] = (char *)*words++;
	memset(e, 0, sizeof(*e));
	return options_parse(argc, argv, command, c, e);
}

#define PARSE(command, ...) parse(command, &c, &e, (const char *const[]){ __VA_ARGS__, NULL })

static void test_defaults(void **state)
{
	struct command_line c;
	struct error e;

	(void)state;
	assert_int_equal(PARSE(FOR_DUMP, "-t", "7"), 0);
	assert_int_equal(c.options.tree, 7);
	assert_string_equal(c.options.images_path, ".");
	assert_int_equal(c.options.verbosity, LOG_WARN);
	assert_int_equal(c.options.status_fd, -1);
	assert_int_equal(c.options.deadline_ms, 600000);
	assert_int_equal(c.options.stall_ms, 5000);
	assert_int_equal(c.options.seize_ms, 10000);
	assert_int_equal(c.options.ghost_limit, 1 << 20);
	options_release(&c);
}

static void test_report_command(void **state)
{
	struct command_line c;
	struct error e;

	(void)state;
	assert_int_equal(PARSE(FOR_DUMP, "--tree", "126", "--images-dir", "/i", "--work-dir", "/w", "--log-file",
			       "/w/l", "--tcp-established", "--ext-unix-sk", "--shell-job", "--file-locks",
			       "--skip-mnt", "/dev/shm", "--skip-mnt", "/etc/hosts", "--leave-running"),
			 0);
	assert_int_equal(c.options.n_skip_mnt, 2);
	assert_string_equal(c.options.skip_mnt[1], "/etc/hosts");
	assert_true(c.options.tcp_established && c.options.ext_unix_sk && c.options.shell_job && c.options.file_locks);
	assert_true(c.options.leave_running);
	assert_string_equal(c.options.log_path, "/w/l");
	assert_int_equal(options_check(&c.options, FOR_DUMP, &e), 0);
	options_release(&c);
}

static int level(const char *const *words)
{
	struct command_line c;
	struct error e;
	int n = parse(FOR_DUMP, &c, &e, words) ? -1 : c.options.verbosity;

	options_release(&c);
	return n;
}

#define LEVEL(...) level((const char *const[]){ __VA_ARGS__, NULL })

static void test_verbosity(void **state)
{
	(void)state;
	assert_int_equal(LEVEL("-v"), 3);
	assert_int_equal(LEVEL("-vv"), 4);
	assert_int_equal(LEVEL("-v", "-v"), 4);
	assert_int_equal(LEVEL("-vvvv"), 4);
	assert_int_equal(LEVEL("-v4"), 4);
	assert_int_equal(LEVEL("-v0"), 0);
	assert_int_equal(LEVEL("-v1R"), 1);
	assert_int_equal(LEVEL("-Rvj"), 3);
	assert_int_equal(LEVEL("--verbosity=4"), 4);
	assert_int_equal(LEVEL("--verbosity", "1"), 1);
	assert_int_equal(LEVEL("--verbosity"), 3);
	assert_int_equal(LEVEL("--verbosity=x"), -1);
	assert_int_equal(LEVEL("--trace"), 5);
}

static void test_short_forms(void **state)
{
	struct command_line c;
	struct error e;

	(void)state;
	assert_int_equal(PARSE(FOR_DUMP, "-jRt5", "-D/x", "-W", "/w", "-x"), 0);
	assert_int_equal(c.options.tree, 5);
	assert_true(c.options.shell_job && c.options.leave_running && c.options.ext_unix_sk);
	assert_string_equal(c.options.images_path, "/x");
	options_release(&c);
	assert_int_equal(PARSE(FOR_DUMP, "-t"), -EINVAL);
	assert_non_null(strstr(e.sentence, "needs a value"));
	options_release(&c);
	assert_int_equal(PARSE(FOR_DUMP, "-Z"), -EINVAL);
	options_release(&c);
}

static void test_long_forms(void **state)
{
	struct command_line c;
	struct error e;

	(void)state;
	assert_int_equal(PARSE(FOR_DUMP, "--tree=9", "--leave-r", "--ghost-limit=2M", "--deadline", "1.5",
			       "--stall-timeout=0.25"),
			 0);
	assert_int_equal(c.options.tree, 9);
	assert_true(c.options.leave_running);
	assert_int_equal(c.options.ghost_limit, 2 << 20);
	assert_int_equal(c.options.deadline_ms, 1500);
	assert_int_equal(c.options.stall_ms, 250);
	options_release(&c);
	assert_int_equal(PARSE(FOR_DUMP, "--shell-job", "--no-shell-job"), 0);
	assert_false(c.options.shell_job);
	options_release(&c);
	assert_int_equal(PARSE(FOR_DUMP, "--no-default-config"), 0);
	options_release(&c);
	assert_int_equal(PARSE(FOR_DUMP, "--leave"), -EINVAL);
	assert_non_null(strstr(e.sentence, "--leave-running or --leave-stopped"));
	options_release(&c);
	assert_int_equal(PARSE(FOR_DUMP, "--shell-job=1"), -EINVAL);
	options_release(&c);
	assert_int_equal(PARSE(FOR_DUMP, "stray"), -EINVAL);
	options_release(&c);
}

static void test_nearest(void **state)
{
	struct command_line c;
	struct error e;

	(void)state;
	assert_int_equal(PARSE(FOR_DUMP, "--tcp-establishd"), -EINVAL);
	assert_non_null(strstr(e.hint, "--tcp-established"));
	options_release(&c);
	assert_int_equal(PARSE(FOR_DUMP, "--leave-runing"), -EINVAL);
	assert_non_null(strstr(e.hint, "--leave-running"));
	options_release(&c);
	assert_int_equal(PARSE(FOR_DUMP, "--image-dir", "x"), -EINVAL);
	assert_non_null(strstr(e.hint, "--images-dir"));
	options_release(&c);
	assert_int_equal(PARSE(FOR_DUMP, "--qqqqqqqqqq"), -EINVAL);
	assert_string_equal(e.hint, "");
	options_release(&c);
	/* What belongs to the other command alone is taken and does nothing. */
	assert_int_equal(PARSE(FOR_DUMP, "--tree", "1", "--restore-detached"), 0);
	assert_false(c.options.restore_detached);
	options_release(&c);
}

static void test_refused(void **state)
{
	static const char *const refused[] = { "--action-script=x", "--external=mnt[]", "--manage-cgroups",
					       "--manage-cgroups=soft", "--cpu-cap=all" };
	static const char *const fine[] = { "--manage-cgroups=ignore", "--manage-cgroups=none", "--cpu-cap=none,fpu",
					    "--cpu-cap=fpu" };
	struct command_line c;
	struct error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_int_equal(PARSE(FOR_DUMP, "-t1", refused[i]), 0);
		assert_int_equal(options_check(&c.options, FOR_DUMP, &e), -EOPNOTSUPP);
		assert_memory_equal(e.sentence, refused[i], strcspn(refused[i], "="));
		options_release(&c);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fine); i++) {
		assert_int_equal(PARSE(FOR_DUMP, "-t1", fine[i]), 0);
		assert_int_equal(options_check(&c.options, FOR_DUMP, &e), 0);
		options_release(&c);
	}
	assert_int_equal(PARSE(FOR_DUMP, "--lazy-pages"), -EOPNOTSUPP);
	options_release(&c);
	assert_int_equal(PARSE(FOR_DUMP, "-R"), 0);
	assert_int_equal(options_check(&c.options, FOR_DUMP, &e), -EINVAL);
	assert_non_null(strstr(e.sentence, "-t PID"));
	options_release(&c);
}

static void test_values(void **state)
{
	uint64_t size;
	unsigned ms;
	long n;

	(void)state;
	assert_int_equal(parse_seconds("10", &ms), 0);
	assert_int_equal(ms, 10000);
	assert_int_equal(parse_seconds(".5", &ms), 0);
	assert_int_equal(ms, 500);
	assert_int_equal(parse_seconds("0.0019", &ms), 0);
	assert_int_equal(ms, 1);
	assert_int_equal(parse_seconds("0", &ms), 0);
	assert_int_equal(ms, 0);
	assert_int_equal(parse_seconds("", &ms), -EINVAL);
	assert_int_equal(parse_seconds(".", &ms), -EINVAL);
	assert_int_equal(parse_seconds("-1", &ms), -EINVAL);
	assert_int_equal(parse_seconds("1s", &ms), -EINVAL);
	assert_int_equal(parse_seconds("inf", &ms), -EINVAL);
	assert_int_equal(parse_seconds("99999999", &ms), -EINVAL);
	assert_int_equal(parse_size("3k", &size), 0);
	assert_int_equal(size, 3072);
	assert_int_equal(parse_size("2G", &size), 0);
	assert_true(size == 2ull << 30);
	assert_int_equal(parse_size("1MB", &size), -EINVAL);
	assert_int_equal(parse_size("-1", &size), -EINVAL);
	assert_int_equal(parse_size("99999999999G", &size), -EINVAL);
	assert_int_equal(parse_number("12", 1, 20, &n), 0);
	assert_int_equal(parse_number("0", 1, 20, &n), -EINVAL);
	assert_int_equal(parse_number("12x", 1, 20, &n), -EINVAL);
	assert_int_equal(parse_number("", 1, 20, &n), -EINVAL);
}

static int span(int i, const char *const *words)
{
	char *argv[8];
	int argc = 0;

	while (words[argc]) {
		argv[argc] = (char *)words[argc];
		argc++;
	}
	return option_span(argc, argv, i);
}

static void test_span(void **state)
{
	(void)state;
	assert_int_equal(span(0, (const char *const[]){ "-v4", "dump", NULL }), 1);
	assert_int_equal(span(0, (const char *const[]){ "-D", "/x", "dump", NULL }), 2);
	assert_int_equal(span(0, (const char *const[]){ "-D/x", "dump", NULL }), 1);
	assert_int_equal(span(0, (const char *const[]){ "--images-dir", "/x", "dump", NULL }), 2);
	assert_int_equal(span(0, (const char *const[]){ "--images-dir=/x", "dump", NULL }), 1);
	assert_int_equal(span(0, (const char *const[]){ "--verbosity", "4", "dump", NULL }), 2);
	assert_int_equal(span(0, (const char *const[]){ "--verbosity", "dump", NULL }), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),   cmocka_unit_test(test_report_command),
		cmocka_unit_test(test_verbosity),  cmocka_unit_test(test_short_forms),
		cmocka_unit_test(test_long_forms), cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_refused),	   cmocka_unit_test(test_values),
		cmocka_unit_test(test_span),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
