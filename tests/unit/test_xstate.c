/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "puppet/xstate.h"

/* The layout of an Intel server processor with AVX-512, protection keys and AMX. */
static const struct xstate_layout server = {
	.mask = 0x602e7,
	.size = 11008,
	.offset = { [2] = 576, [5] = 1088, [6] = 1152, [7] = 1664, [9] = 2688, [17] = 2752, [18] = 2816 },
	.length = { [2] = 256, [5] = 64, [6] = 512, [7] = 1024, [9] = 8, [17] = 64, [18] = 8192 },
};
static const struct xstate_layout small = {
	.mask = 7, .size = 832, .offset = { [2] = 576 }, .length = { [2] = 256 },
};

static void put64(uint8_t *buf, size_t at, uint64_t v)
{
	memcpy(buf + at, &v, sizeof(v));
}

static uint8_t *pattern(const struct xstate_layout *l, uint64_t bv)
{
	uint8_t *buf = calloc(1, l->size);

	assert_non_null(buf);
	for (size_t i = 0; i < 416; i++)
		buf[i] = (uint8_t)(i * 7 + 3);
	put64(buf, 464, l->mask);
	put64(buf, 512, bv);
	for (unsigned c = 2; c < XSTATE_COMPONENTS; c++)
		if (bv >> c & 1)
			memset(buf + l->offset[c], (int)(0x40 + c), l->length[c]);
	return buf;
}

static void round_trip(void **state)
{
	struct arena a = {};
	struct error e = {};
	UserX86FpregsEntry *m;
	uint8_t *in = pattern(&server, 0x2e7), *out = calloc(1, server.size);

	(void)state;
	assert_int_equal(xstate_parse_layout(&server, in, server.size, &a, &m, &e), 0);
	assert_int_equal(m->n_st_space, 32);
	assert_int_equal(m->n_xmm_space, 64);
	assert_int_equal(m->xsave->xstate_bv, 0x2e7);
	assert_int_equal(m->xsave->n_ymmh_space, 64);
	assert_int_equal(m->xsave->n_opmask_reg, 8);
	assert_int_equal(m->xsave->n_zmm_upper, 64);
	assert_int_equal(m->xsave->n_hi16_zmm, 128);
	assert_int_equal(m->xsave->n_pkru, 2);
	assert_int_equal(m->xsave->n_bndreg_state, 0);
	assert_int_equal(xstate_build_layout(&server, m, out, server.size, &e), 0);
	put64(in, 464, 0);      /* the kernel's bytes are not the image's */
	assert_memory_equal(in, out, server.size);
	free(in);
	free(out);
	arena_release(&a);
}

static void initial_components_stay_out(void **state)
{
	struct arena a = {};
	struct error e = {};
	UserX86FpregsEntry *m;
	uint8_t *in = pattern(&server, 0x3), *out = calloc(1, server.size);

	(void)state;
	assert_int_equal(xstate_parse_layout(&server, in, server.size, &a, &m, &e), 0);
	/* another processor, which lacks what was not in use */
	assert_int_equal(xstate_build_layout(&small, m, out, server.size, &e), 0);
	assert_int_equal(out[512], 3);
	free(in);
	free(out);
	arena_release(&a);
}

static void refusals(void **state)
{
	struct arena a = {};
	struct error e = {};
	UserX86FpregsEntry *m;
	uint8_t *in = pattern(&server, 0x40007), *out = calloc(1, server.size);
	uint32_t few[3] = {};

	(void)state;
	assert_int_equal(xstate_parse_layout(&server, in, server.size, &a, &m, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.sentence, "AMX"));
	e = (struct error){};
	put64(in, 512, 7);
	put64(in, 520, 1ull << 63);
	assert_int_equal(xstate_parse_layout(&server, in, server.size, &a, &m, &e), -EINVAL);
	put64(in, 520, 0);
	assert_int_equal(xstate_parse_layout(&server, in, 100, &a, &m, &e), -EINVAL);
	/* a buffer that ends within a component that is in use */
	assert_int_equal(xstate_parse_layout(&server, in, 600, &a, &m, &e), -EINVAL);

	put64(in, 512, 0x27);
	assert_int_equal(xstate_parse_layout(&server, in, server.size, &a, &m, &e), 0);
	e = (struct error){};
	assert_int_equal(xstate_build_layout(&small, m, out, server.size, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.sentence, "opmask"));

	e = (struct error){};
	m->xsave->xstate_bv = 7;
	m->xsave->n_ymmh_space = 1u << 31;
	assert_int_equal(xstate_build_layout(&server, m, out, server.size, &e), -EINVAL);
	m->xsave->n_ymmh_space = 0;
	assert_int_equal(xstate_build_layout(&server, m, out, server.size, &e), -EINVAL);
	m->xsave->xstate_bv = 3;
	m->n_st_space = 3;
	m->st_space = few;
	assert_int_equal(xstate_build_layout(&server, m, out, server.size, &e), -EINVAL);
	e = (struct error){};
	m->xsave->xstate_bv = 1ull << 63;
	assert_int_equal(xstate_build_layout(&server, m, out, server.size, &e), -EOPNOTSUPP);
	free(in);
	free(out);
	arena_release(&a);
}

static void mxcsr_alone(void **state)
{
	struct arena a = {};
	struct error e = {};
	UserX86FpregsEntry *m;
	uint8_t *in = pattern(&small, 0), *out = calloc(1, small.size);

	(void)state;
	assert_int_equal(xstate_parse_layout(&small, in, small.size, &a, &m, &e), 0);
	m->mxcsr = 0x9fc0;
	assert_int_equal(xstate_build_layout(&small, m, out, small.size, &e), 0);
	assert_int_equal(out[512], 2);
	m->mxcsr = 0x1f80;
	assert_int_equal(xstate_build_layout(&small, m, out, small.size, &e), 0);
	assert_int_equal(out[512], 0);
	free(in);
	free(out);
	arena_release(&a);
}

static void this_machine(void **state)
{
	(void)state;
	assert_true(xstate_size() >= 576 && xstate_size() < 65536);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),    cmocka_unit_test(initial_components_stay_out),
		cmocka_unit_test(refusals),      cmocka_unit_test(mxcsr_alone),
		cmocka_unit_test(this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
