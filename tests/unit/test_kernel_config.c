/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "kernel/features.h"
#include "kernel/kernel_config.h"

static int parse(const char *text, struct kernel_config *c, struct error *e)
{
	*e = (struct error){ 0 };
	return parse_kernel_config(text, strlen(text), "x", c, e);
}

static enum config_state state_of(const struct kernel_config *c, const char *name)
{
	int i = config_option_find(name, strlen(name));

	assert_true(i >= 0);
	return kernel_config_state(c, (size_t)i);
}

#define HEADER "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.1.192 Kernel Configuration\n#\n"

static void test_whole(void **state)
{
	struct kernel_config c;
	struct error e;

	(void)state;
	assert_int_equal(parse(HEADER "CONFIG_X86_64=y\nCONFIG_EPOLL=y\nCONFIG_UNIX_DIAG=m\n# CONFIG_TUN is not set\n"
				      "CONFIG_CHECKPOINT_RESTORE=y\nCONFIG_HZ=250\r\n",
			       &c, &e),
			 0);
	assert_true(c.whole);
	assert_int_equal(c.version, CONFIG_VERSION(6, 1));
	assert_string_equal(c.release, "6.1.192");
	assert_int_equal(c.arch, CONFIG_ARCH_X86_64);
	assert_int_equal(c.n_settings, 6);
	assert_int_equal(state_of(&c, "CONFIG_EPOLL"), CONFIG_STATE_YES);
	assert_int_equal(state_of(&c, "UNIX_DIAG"), CONFIG_STATE_MODULE);
	assert_int_equal(state_of(&c, "TUN"), CONFIG_STATE_NOT_SET);
	assert_int_equal(state_of(&c, "KCMP"), CONFIG_STATE_ABSENT);
}

static void test_other_kernels(void **state)
{
	struct kernel_config c;
	struct error e;

	(void)state;
	assert_int_equal(parse("# Linux/arm64 5.15.0 Kernel Configuration\nCONFIG_NET=y\n", &c, &e), 0);
	assert_int_equal(c.arch, CONFIG_ARCH_AARCH64);
	assert_int_equal(state_of(&c, "MEM_SOFT_DIRTY"), CONFIG_STATE_ELSEWHERE);
	assert_int_equal(state_of(&c, "PTE_MARKER_UFFD_WP"), CONFIG_STATE_ELSEWHERE);
	assert_int_equal(parse("# Linux/riscv 6.6.0-rc1 Kernel Configuration\nCONFIG_NET=y\n", &c, &e), 0);
	assert_int_equal(c.arch, CONFIG_ARCH_OTHER);
	assert_int_equal(state_of(&c, "PTE_MARKER_UFFD_WP"), CONFIG_STATE_ABSENT);
}

static void test_fragment(void **state)
{
	struct kernel_config c;
	struct error e;

	(void)state;
	assert_int_equal(parse("# CONFIG_EPOLL is not set\nCONFIG_CHECKPOINT_RESTORE=y\nCONFIG_TUN=n", &c, &e), 0);
	assert_false(c.whole);
	assert_int_equal(state_of(&c, "EPOLL"), CONFIG_STATE_NOT_SET);
	assert_int_equal(state_of(&c, "TUN"), CONFIG_STATE_NOT_SET);
	assert_int_equal(state_of(&c, "KCMP"), CONFIG_STATE_IMPLIED);
	assert_int_equal(state_of(&c, "TIMERFD"), CONFIG_STATE_NOT_MENTIONED);
	assert_int_equal(parse("CONFIG_EPOLL=n\nCONFIG_EPOLL=y\nCONFIG_TUN=m\nCONFIG_TUN=m\n", &c, &e), 0);
	assert_true(c.twice[config_option_find("EPOLL", 5)]);
	assert_false(c.twice[config_option_find("TUN", 3)]);
	assert_int_equal(state_of(&c, "EPOLL"), CONFIG_STATE_YES);
}

static void test_refused(void **state)
{
	static const char *const bad[] = { "",
					   "hello\n",
					   "# CONFIG_EPOLL\n",
					   "CONFIG_EPOLL=m\n",
					   "CONFIG_EPOLL=yes\n",
					   "CONFIG_TUN=\"y\"\n",
					   "CONFIG_=y\n",
					   "CONFIG_EPOLL\n" };
	struct kernel_config c;
	struct error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(bad[i], &c, &e), -EBADMSG);
		assert_true(error_is_set(&e));
	}
	e = (struct error){ 0 };
	assert_int_equal(parse_kernel_config("CONFIG_NET=y\0", 13, "x", &c, &e), -EBADMSG);
	/* A header that is too long or too large is a comment. */
	assert_int_equal(parse("# Linux/x86 99999999999.1 Kernel Configuration\nCONFIG_NET=y\n", &c, &e), 0);
	assert_false(c.whole);
	assert_int_equal(
		parse("# Linux/x86 6.1.1111111111111111111111111111111111 Kernel Configuration\nCONFIG_NET=y\n", &c,
		      &e),
		0);
	assert_false(c.whole);
}

static size_t pack(const char *data, size_t len, uint8_t *out, size_t size)
{
	z_stream z = {
		.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len, .next_out = out, .avail_out = (uInt)size
	};

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	(void)deflateEnd(&z);
	return size - z.avail_out;
}

static void test_unpack(void **state)
{
	static const char text[] = "CONFIG_NET=y\n";
	const size_t huge = CONFIG_SIZE_MAX + 1;
	AUTOFREE char *bomb = calloc(1, huge), *got = NULL;
	uint8_t packed[65536];
	struct error e = { 0 };
	size_t n, len;

	(void)state;
	n = pack(text, strlen(text), packed, sizeof(packed));
	assert_int_equal(unpack_kernel_config(packed, n, "x", &got, &len, &e), 0);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(got, text, len);
	free(TAKE_PTR(got));
	for (size_t cut = 2; cut < n; cut++) {
		e = (struct error){ 0 };
		assert_int_equal(unpack_kernel_config(packed, cut, "x", &got, &len, &e), -EBADMSG);
	}
	n = pack(bomb, huge, packed, sizeof(packed));
	e = (struct error){ 0 };
	assert_int_equal(unpack_kernel_config(packed, n, "x", &got, &len, &e), -EFBIG);
	e = (struct error){ 0 };
	assert_int_equal(unpack_kernel_config((const uint8_t *)bomb, huge, "x", &got, &len, &e), -EFBIG);
	e = (struct error){ 0 };
	assert_int_equal(unpack_kernel_config((const uint8_t *)"\xfd"
							       "7zXZ\0",
					      6, "x", &got, &len, &e),
			 -EBADMSG);
	assert_non_null(strstr(e.hint, "xz -dc"));
}

static void test_endless(void **state)
{
	AUTOCLOSE int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC), folder = open("/", O_RDONLY | O_CLOEXEC);
	struct kernel_config c;
	struct error e = { 0 };

	(void)state;
	assert_int_equal(read_kernel_config(fd, "x", &c, &e), -EFBIG);
	e = (struct error){ 0 };
	assert_int_equal(read_kernel_config(folder, "x", &c, &e), -EISDIR);
}

static void test_table(void **state)
{
	(void)state;
	assert_true(n_config_options <= CONFIG_OPTIONS_MAX);
	for (size_t i = 0; i < n_config_options; i++) {
		const struct config_option *o = &config_options[i];

		assert_int_equal(config_option_find(o->name, strlen(o->name)), i);
		assert_true(o->purpose && o->missing && o->group);
		if (o->implied_by)
			assert_true(config_option_find(o->implied_by, strlen(o->implied_by)) >= 0);
	}
	assert_int_equal(config_option_find("CONFIG_", 7), -1);
	assert_int_equal(config_option_find("EPOL", 4), -1);
}

/* What the hints of `firn check` name is in the table. */
static void test_hints(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_feature_rows; i++) {
		const char *p = feature_rows[i].hint;

		while (p && (p = strstr(p, "CONFIG_"))) {
			size_t n = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

			assert_true(config_option_find(p, n) >= 0);
			p += n;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),	cmocka_unit_test(test_other_kernels), cmocka_unit_test(test_fragment),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_unpack),	      cmocka_unit_test(test_endless),
		cmocka_unit_test(test_table),	cmocka_unit_test(test_hints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
