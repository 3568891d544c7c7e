/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "puppet/xstate.h"

#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

/*
 * NT_X86_XSTATE is the XSAVE area in its standard (not compacted) form, whatever the kernel keeps inside:
 *
 *     0    512 bytes, the FXSAVE area: x87 and SSE; bytes 464…471 are the kernel's (struct _fpx_sw_bytes): the mask
 *          of the components this buffer has room for (arch/x86/include/uapi/asm/sigcontext.h)
 *     512  64 bytes, the header: XSTATE_BV, XCOMP_BV (0 in this form), 48 reserved bytes that must be 0
 *     576… the components 2 and up, each where CPUID leaf 0xD says: the same on every processor for AVX (2), from 3 on
 *          different between vendors
 *
 * A component whose bit in XSTATE_BV is clear is in its initial state; the kernel fills its bytes accordingly.
 * CRIU's images hold the bytes of every component that the processor has, as arrays of words.
 */

enum {
	FXSAVE_CWD = 0, FXSAVE_SWD = 2, FXSAVE_TWD = 4, FXSAVE_FOP = 6, FXSAVE_RIP = 8, FXSAVE_RDP = 16,
	FXSAVE_MXCSR = 24, FXSAVE_MXCSR_MASK = 28, FXSAVE_ST = 32, FXSAVE_XMM = 160, FXSAVE_SW_MASK = 464,
	FXSAVE_SIZE = 512, HEADER_BV = 512, HEADER_XCOMP = 520, HEADER_END = 576,
	ST_WORDS = 32, XMM_WORDS = 64,
};

#define MXCSR_INITIAL 0x1f80u

enum component {
	X87 = 0, SSE = 1, AVX = 2, BNDREGS = 3, BNDCSR = 4, OPMASK = 5, ZMM_HI256 = 6, HI16_ZMM = 7, PKRU = 9,
	CET_U = 11, CET_S = 12, TILECFG = 17, TILEDATA = 18, APX = 19,
};

#define BIT(n) (1ull << (n))
#define CARRIED                                                                                                  \
	(BIT(X87) | BIT(SSE) | BIT(AVX) | BIT(BNDREGS) | BIT(BNDCSR) | BIT(OPMASK) | BIT(ZMM_HI256) | BIT(HI16_ZMM) | \
	 BIT(PKRU))

static const char *component_name(unsigned n)
{
	switch (n) {
	case X87: return "x87";
	case SSE: return "SSE";
	case AVX: return "AVX";
	case BNDREGS: return "MPX bound registers";
	case BNDCSR: return "MPX configuration";
	case OPMASK: return "AVX-512 opmask";
	case ZMM_HI256: return "AVX-512 ZMM_Hi256";
	case HI16_ZMM: return "AVX-512 Hi16_ZMM";
	case PKRU: return "protection keys";
	case CET_U:
	case CET_S: return "shadow stack";
	case TILECFG: return "AMX tile configuration";
	case TILEDATA: return "AMX tile data";
	case APX: return "APX registers";
	default: return "an unknown component";
	}
}

/* Where each component lies in the buffer and in the message. */
struct part {
	enum component component;
	size_t word;            /* bytes of one element */
	size_t n_offset, array_offset;
};

#define PART(c, w, field) \
	{ c, w, offsetof(UserX86XsaveEntry, n_##field), offsetof(UserX86XsaveEntry, field) }

static const struct part parts[] = {
	PART(AVX, 4, ymmh_space),   PART(BNDREGS, 8, bndreg_state), PART(BNDCSR, 8, bndcsr_state),
	PART(OPMASK, 8, opmask_reg), PART(ZMM_HI256, 8, zmm_upper), PART(HI16_ZMM, 8, hi16_zmm),
	PART(PKRU, 4, pkru),
};
#define N_PARTS (sizeof(parts) / sizeof(parts[0]))

/* CPUID traps into the hypervisor on virtual machines, so the layout, a constant of the machine, is asked for once. */
static struct xstate_layout machine;
static pthread_once_t machine_once = PTHREAD_ONCE_INIT;

static void machine_read(void)
{
	unsigned a, b, c, d;

	machine.mask = BIT(X87) | BIT(SSE);
	machine.size = HEADER_END;
	if (!__get_cpuid_count(0, 0, &a, &b, &c, &d) || a < 0xd)
		return;
	__cpuid_count(0xd, 0, a, b, c, d);
	machine.mask = a | (uint64_t)d << 32;
	/* EBX is the size for what XCR0 has enabled: XCR0 is the kernel's choice, and so is the size of the note. */
	machine.size = b;
	for (unsigned i = 2; i < XSTATE_COMPONENTS; i++) {
		if (!(machine.mask & BIT(i)))
			continue;
		__cpuid_count(0xd, i, a, b, c, d);
		machine.length[i] = a;
		machine.offset[i] = b;
	}
}

static const struct xstate_layout *machine_layout(void)
{
	pthread_once(&machine_once, machine_read);
	return &machine;
}

size_t xstate_size(void)
{
	return machine_layout()->size;
}

#define GET(type, buf, offset)                                  \
	({                                                      \
		type v_;                                        \
		memcpy(&v_, (buf) + (offset), sizeof(v_));      \
		v_;                                             \
	})
#define PUT(type, buf, offset, value)                           \
	do {                                                    \
		type v_ = (type)(value);                        \
		memcpy((buf) + (offset), &v_, sizeof(v_));      \
	} while (0)

/* Does the component lie inside the buffer? */
static bool layout_has(const struct xstate_layout *l, unsigned component, size_t len)
{
	return l->mask & BIT(component) && l->length[component] && l->offset[component] >= HEADER_END &&
	       l->offset[component] <= len && l->length[component] <= len - l->offset[component];
}

static int parse_parts(const struct xstate_layout *l, uint64_t present, const uint8_t *buf, size_t len,
		       struct arena *a, UserX86XsaveEntry *x)
{
	for (size_t i = 0; i < N_PARTS; i++) {
		const struct part *p = &parts[i];
		void *words;

		if (!(present & BIT(p->component)) || !layout_has(l, p->component, len))
			continue;
		words = arena_memdup(a, buf + l->offset[p->component], l->length[p->component]);
		if (!words)
			return -ENOMEM;
		*(size_t *)((char *)x + p->n_offset) = l->length[p->component] / p->word;
		*(void **)((char *)x + p->array_offset) = words;
	}
	return 0;
}

static int parse_legacy(const uint8_t *buf, struct arena *a, UserX86FpregsEntry *m)
{
	m->cwd = GET(uint16_t, buf, FXSAVE_CWD);
	m->swd = GET(uint16_t, buf, FXSAVE_SWD);
	m->twd = GET(uint16_t, buf, FXSAVE_TWD);
	m->fop = GET(uint16_t, buf, FXSAVE_FOP);
	m->rip = GET(uint64_t, buf, FXSAVE_RIP);
	m->rdp = GET(uint64_t, buf, FXSAVE_RDP);
	m->mxcsr = GET(uint32_t, buf, FXSAVE_MXCSR);
	m->mxcsr_mask = GET(uint32_t, buf, FXSAVE_MXCSR_MASK);
	m->n_st_space = ST_WORDS;
	m->st_space = arena_memdup(a, buf + FXSAVE_ST, ST_WORDS * 4);
	m->n_xmm_space = XMM_WORDS;
	m->xmm_space = arena_memdup(a, buf + FXSAVE_XMM, XMM_WORDS * 4);
	return m->st_space && m->xmm_space ? 0 : -ENOMEM;
}

int xstate_parse_layout(const struct xstate_layout *l, const uint8_t *buf, size_t len, struct arena *a,
			UserX86FpregsEntry **ret, struct error *e)
{
	UserX86FpregsEntry *m = arena_alloc(a, sizeof(*m));
	UserX86XsaveEntry *x = arena_alloc(a, sizeof(*x));
	uint64_t bv, foreign;

	if (!m || !x)
		return error_raise(e, ENOMEM, "no memory for the extended registers");
	if (len < HEADER_END)
		return error_raise(e, EINVAL, "the kernel's extended registers are %zu bytes, less than a header", len);
	if (GET(uint64_t, buf, HEADER_XCOMP))
		return error_raise(e, EINVAL, "the kernel's extended registers are compacted (XCOMP_BV %#" PRIx64 ")",
				   GET(uint64_t, buf, HEADER_XCOMP));
	bv = GET(uint64_t, buf, HEADER_BV);
	foreign = bv & ~(uint64_t)CARRIED;
	if (foreign)
		return error_raise(e, EOPNOTSUPP, "extended registers in use that the image format has no field for: %s",
				   component_name((unsigned)__builtin_ctzll(foreign)));

	user_x86_fpregs_entry__init(m);
	user_x86_xsave_entry__init(x);
	if (parse_legacy(buf, a, m) < 0 || parse_parts(l, GET(uint64_t, buf, FXSAVE_SW_MASK), buf, len, a, x) < 0)
		return error_raise(e, ENOMEM, "no memory for the extended registers");
	for (size_t i = 0; i < N_PARTS; i++)
		if (bv & BIT(parts[i].component) && !*(size_t *)((char *)x + parts[i].n_offset))
			return error_raise(e, EINVAL, "the kernel's extended registers lack %s, which is in use",
					   component_name(parts[i].component));
	x->xstate_bv = bv;
	m->xsave = x;
	*ret = m;
	return 0;
}

static int build_legacy(const UserX86FpregsEntry *m, uint8_t *buf, struct error *e)
{
	if (m->n_st_space != ST_WORDS || m->n_xmm_space != XMM_WORDS)
		return error_raise(e, EINVAL, "damaged extended registers: %zu x87 and %zu SSE words, expected %d and %d",
				   m->n_st_space, m->n_xmm_space, ST_WORDS, XMM_WORDS);
	if (m->cwd > UINT16_MAX || m->swd > UINT16_MAX || m->twd > UINT16_MAX || m->fop > UINT16_MAX)
		return error_raise(e, EINVAL, "damaged extended registers: an x87 word is larger than 16 bits");
	PUT(uint16_t, buf, FXSAVE_CWD, m->cwd);
	PUT(uint16_t, buf, FXSAVE_SWD, m->swd);
	PUT(uint16_t, buf, FXSAVE_TWD, m->twd);
	PUT(uint16_t, buf, FXSAVE_FOP, m->fop);
	PUT(uint64_t, buf, FXSAVE_RIP, m->rip);
	PUT(uint64_t, buf, FXSAVE_RDP, m->rdp);
	PUT(uint32_t, buf, FXSAVE_MXCSR, m->mxcsr);
	PUT(uint32_t, buf, FXSAVE_MXCSR_MASK, m->mxcsr_mask);
	memcpy(buf + FXSAVE_ST, m->st_space, ST_WORDS * 4);
	memcpy(buf + FXSAVE_XMM, m->xmm_space, XMM_WORDS * 4);
	return 0;
}

static int build_parts(const struct xstate_layout *l, const UserX86XsaveEntry *x, uint8_t *buf, size_t len,
		       struct error *e)
{
	for (size_t i = 0; i < N_PARTS; i++) {
		const struct part *p = &parts[i];
		size_t n = *(const size_t *)((const char *)x + p->n_offset);
		const void *words = *(void *const *)((const char *)x + p->array_offset);

		if (!(x->xstate_bv & BIT(p->component)))
			continue;       /* in its initial state: the bytes do not matter */
		if (!layout_has(l, p->component, len)) {
			error_raise(e, EOPNOTSUPP, "this processor or kernel lacks registers that the image uses: %s",
				    component_name(p->component));
			error_hint(e, "restore on a machine that has the features of the one the dump was made on");
			return -EOPNOTSUPP;
		}
		if (!n || n > l->length[p->component] / p->word)
			return error_raise(e, EINVAL, "damaged extended registers: %zu words of %s", n,
					   component_name(p->component));
		memcpy(buf + l->offset[p->component], words, n * p->word);
	}
	return 0;
}

int xstate_build_layout(const struct xstate_layout *l, const UserX86FpregsEntry *m, uint8_t *buf, size_t len,
			struct error *e)
{
	/* Images without an xsave part come from processors that had x87 and SSE only. */
	uint64_t bv = m->xsave ? m->xsave->xstate_bv : BIT(X87) | BIT(SSE);
	uint64_t foreign = bv & ~(uint64_t)CARRIED;
	int r;

	if (len < HEADER_END || len < l->size)
		return error_raise(e, EINVAL, "%zu bytes are no room for the extended registers", len);
	if (foreign)
		return error_raise(e, EOPNOTSUPP, "the image uses registers that firn does not carry: %s",
				   component_name((unsigned)__builtin_ctzll(foreign)));
	memset(buf, 0, len);
	r = build_legacy(m, buf, e);
	if (r < 0)
		return r;
	if (m->xsave && m->xsave->cet && m->xsave->cet->cet)
		return error_raise(e, EOPNOTSUPP, "the image uses a shadow stack, which firn does not carry");
	if (m->xsave) {
		r = build_parts(l, m->xsave, buf, len, e);
		if (r < 0)
			return r;
	}
	/* The kernel takes MXCSR only when the SSE or AVX bit is set (copy_uabi_to_xstate()). */
	if (m->mxcsr != MXCSR_INITIAL)
		bv |= BIT(SSE);
	PUT(uint64_t, buf, HEADER_BV, bv);
	return 0;
}

int xstate_parse(const uint8_t *buf, size_t len, struct arena *a, UserX86FpregsEntry **ret, struct error *e)
{
	return xstate_parse_layout(machine_layout(), buf, len, a, ret, e);
}

int xstate_build(const UserX86FpregsEntry *m, uint8_t *buf, size_t len, struct error *e)
{
	return xstate_build_layout(machine_layout(), m, buf, len, e);
}
