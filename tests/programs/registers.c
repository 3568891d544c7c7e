// SPDX-License-Identifier: LGPL-2.1-or-later
/* registers FOLDER spin|syscall: every general register, x87, MXCSR, SSE, AVX and AVX-512 state (where the processor has
 * it) held for the whole time: in a loop that makes no call, or across interrupted system calls. Segment bases too. */
#include "check.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <pthread.h>

static volatile uint64_t go;
static char trigger_path[PATH_MAX + 16];
static struct timespec nap = { 0, 2000000 };
static bool avx, avx512;

static struct {
	uint64_t gpr[16];
	uint8_t vec[32][64];
	uint64_t mask[8];
	uint8_t x87[8][16];
	uint32_t mxcsr;
	uint16_t cw;
} in __attribute__((aligned(64))), out __attribute__((aligned(64)));

static void *watch(void *arg)
{
	(void)arg;
	check_wait_trigger();
	go = 1;
	return NULL;
}

static void load_vectors(void)
{
	if (avx512) {
		asm volatile("" ::: "memory");
		asm volatile(
			".set i, 0\n .rept 32\n .altmacro\n .macro ld n\n vmovdqu64 64*\\n(%0), %%zmm\\n\n .endm\n"
			"ld %%i\n .purgem ld\n .set i, i+1\n .noaltmacro\n .endr\n"
			"kmovq (%1), %%k0\n kmovq 8(%1), %%k1\n kmovq 16(%1), %%k2\n kmovq 56(%1), %%k7\n" ::"r"(in.vec),
			"r"(in.mask)
			: "memory");
	} else if (avx) {
		asm volatile(".set i, 0\n .rept 16\n .altmacro\n .macro ld n\n vmovdqu 64*\\n(%0), %%ymm\\n\n .endm\n"
			     "ld %%i\n .purgem ld\n .set i, i+1\n .noaltmacro\n .endr\n" ::"r"(in.vec)
			     : "memory");
	} else {
		asm volatile(".set i, 0\n .rept 16\n .altmacro\n .macro ld n\n movdqu 64*\\n(%0), %%xmm\\n\n .endm\n"
			     "ld %%i\n .purgem ld\n .set i, i+1\n .noaltmacro\n .endr\n" ::"r"(in.vec)
			     : "memory");
	}
}

static void store_vectors(void)
{
	if (avx512)
		asm volatile(
			".set i, 0\n .rept 32\n .altmacro\n .macro st n\n vmovdqu64 %%zmm\\n, 64*\\n(%0)\n .endm\n"
			"st %%i\n .purgem st\n .set i, i+1\n .noaltmacro\n .endr\n"
			"kmovq %%k0, (%1)\n kmovq %%k1, 8(%1)\n kmovq %%k2, 16(%1)\n kmovq %%k7, 56(%1)\n" ::"r"(out.vec),
			"r"(out.mask)
			: "memory");
	else if (avx)
		asm volatile(".set i, 0\n .rept 16\n .altmacro\n .macro st n\n vmovdqu %%ymm\\n, 64*\\n(%0)\n .endm\n"
			     "st %%i\n .purgem st\n .set i, i+1\n .noaltmacro\n .endr\n" ::"r"(out.vec)
			     : "memory");
	else
		asm volatile(".set i, 0\n .rept 16\n .altmacro\n .macro st n\n movdqu %%xmm\\n, 64*\\n(%0)\n .endm\n"
			     "st %%i\n .purgem st\n .set i, i+1\n .noaltmacro\n .endr\n" ::"r"(out.vec)
			     : "memory");
}

/* In assembly from the loading of the registers to their storing: no compiler's code runs in between. */
void hold_spin(const uint64_t *in_regs, uint64_t *out_regs, volatile uint64_t *flag);
void hold_syscall(const uint64_t *in_regs, uint64_t *out_regs, const char *path, const struct timespec *ts);
asm(".text\n .globl hold_spin\n hold_spin:\n"
    "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
    "push %rsi\n push %rdx\n"
    "mov (%rdi), %rax\n mov 8(%rdi), %rbx\n mov 16(%rdi), %rcx\n mov 24(%rdi), %rdx\n mov 32(%rdi), %rsi\n"
    "mov 48(%rdi), %rbp\n mov 64(%rdi), %r8\n mov 72(%rdi), %r9\n mov 80(%rdi), %r10\n mov 88(%rdi), %r11\n"
    "mov 96(%rdi), %r12\n mov 104(%rdi), %r13\n mov 112(%rdi), %r14\n mov 120(%rdi), %r15\n mov (%rsp), %rdi\n"
    "1: pause\n cmpq $0, (%rdi)\n je 1b\n"
    "mov 8(%rsp), %rdi\n"
    "mov %rax, (%rdi)\n mov %rbx, 8(%rdi)\n mov %rcx, 16(%rdi)\n mov %rdx, 24(%rdi)\n mov %rsi, 32(%rdi)\n"
    "mov %rbp, 48(%rdi)\n mov %r8, 64(%rdi)\n mov %r9, 72(%rdi)\n mov %r10, 80(%rdi)\n mov %r11, 88(%rdi)\n"
    "mov %r12, 96(%rdi)\n mov %r13, 104(%rdi)\n mov %r14, 112(%rdi)\n mov %r15, 120(%rdi)\n"
    "pop %rdx\n pop %rsi\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
    ".globl hold_syscall\n hold_syscall:\n"
    "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
    "push %rcx\n push %rdx\n push %rsi\n"
    "mov 8(%rdi), %rbx\n mov 24(%rdi), %rdx\n"
    "mov 48(%rdi), %rbp\n mov 64(%rdi), %r8\n mov 72(%rdi), %r9\n mov 80(%rdi), %r10\n"
    "mov 96(%rdi), %r12\n mov 104(%rdi), %r13\n mov 112(%rdi), %r14\n mov 120(%rdi), %r15\n"
    "2: mov $35, %eax\n mov 16(%rsp), %rdi\n xor %esi, %esi\n syscall\n"
    "mov $21, %eax\n mov 8(%rsp), %rdi\n xor %esi, %esi\n syscall\n"
    "test %rax, %rax\n jne 2b\n"
    "mov (%rsp), %rdi\n"
    "mov %rbx, 8(%rdi)\n mov %rdx, 24(%rdi)\n"
    "mov %rbp, 48(%rdi)\n mov %r8, 64(%rdi)\n mov %r9, 72(%rdi)\n mov %r10, 80(%rdi)\n"
    "mov %r12, 96(%rdi)\n mov %r13, 104(%rdi)\n mov %r14, 112(%rdi)\n mov %r15, 120(%rdi)\n"
    "pop %rsi\n pop %rdx\n pop %rcx\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");

static const int spin_regs[] = { 0, 1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
static const int syscall_regs[] = { 1, 3, 6, 8, 9, 10, 12, 13, 14, 15 };

int main(int argc, char **argv)
{
	bool spin = argc > 2 && !strcmp(argv[2], "spin");
	const int *regs = spin ? spin_regs : syscall_regs;
	size_t n = spin ? sizeof(spin_regs) / sizeof(int) : sizeof(syscall_regs) / sizeof(int);
	unsigned long fs_before, fs_after, gs_after = 0;
	uint16_t cw_default, status = 0;
	uint32_t mxcsr_default = 0x1f80;
	unsigned a, b, c, d;
	pthread_t t;

	check_begin(argc, argv);
	snprintf(trigger_path, sizeof(trigger_path), "%s/trigger", check_dir);
	if (__get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE) && (c & bit_AVX)) {
		uint32_t lo, hi;

		avx = true;
		asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
		if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX512F) && (b & bit_AVX512BW) && (lo & 0xe0) == 0xe0)
			avx512 = true;
	}
	for (size_t i = 0; i < sizeof(in); i++)
		((uint8_t *)&in)[i] = (uint8_t)(i * 131 + 7);
	if (spin && pthread_create(&t, NULL, watch, NULL))
		DIE("pthread_create");
	MUST(syscall(SYS_arch_prctl, ARCH_SET_GS, 0x12345678000));
	MUST(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_before));
	check_announce();

	asm volatile("fnstcw %0" : "=m"(cw_default));
	in.cw = (uint16_t)((cw_default & ~0xf00u) | 0x600u); /* double precision, round up */
	in.mxcsr = 0x1f80 | 0x6000 | 0x8000;		     /* toward zero, flush to zero */
	asm volatile("fninit\n fldcw %0\n ldmxcsr %1" ::"m"(in.cw), "m"(in.mxcsr));
	asm volatile("fld1\n fldpi\n fldl2e\n fldln2\n fldz");
	load_vectors();
	if (spin)
		hold_spin(in.gpr, out.gpr, &go);
	else
		hold_syscall(in.gpr, out.gpr, trigger_path, &nap);
	store_vectors();
	asm volatile("stmxcsr %0\n fnstcw %1\n fnstsw %2" : "=m"(out.mxcsr), "=m"(out.cw), "=m"(status));
	asm volatile("fstpt %0\n fstpt %1\n fstpt %2\n fstpt %3\n fstpt %4"
		     : "=m"(out.x87[0]), "=m"(out.x87[1]), "=m"(out.x87[2]), "=m"(out.x87[3]), "=m"(out.x87[4]));
	asm volatile("fninit\n fldcw %0\n ldmxcsr %1" ::"m"(cw_default), "m"(mxcsr_default));

	for (size_t i = 0; i < n; i++)
		CHECK(in.gpr[regs[i]] == out.gpr[regs[i]], "general register %d: %lx instead of %lx", regs[i],
		      out.gpr[regs[i]], in.gpr[regs[i]]);
	for (int i = 0; i < (avx512 ? 32 : 16); i++)
		CHECK(!memcmp(in.vec[i], out.vec[i], avx512 ? 64 : avx ? 32 : 16), "vector register %d", i);
	if (avx512)
		CHECK(!memcmp(in.mask, out.mask, 24) && in.mask[7] == out.mask[7], "mask registers");
	CHECK_EQ(out.mxcsr & ~0x3fu, in.mxcsr, "MXCSR");
	CHECK_EQ(out.cw, in.cw, "x87 control word");
	CHECK_EQ((status >> 11) & 7, 3, "x87 stack top");
	CHECK(*(long double *)out.x87[0] == 0.0L, "x87 st0");
	CHECK(*(long double *)out.x87[4] == 1.0L, "x87 st4");
	CHECK((double)*(long double *)out.x87[3] > 3.1415 && (double)*(long double *)out.x87[3] < 3.1416, "x87 st3");
	MUST(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_after));
	MUST(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs_after));
	CHECK(fs_before == fs_after, "FS base");
	CHECK(gs_after == 0x12345678000, "GS base is %lx", gs_after);
	if (spin)
		pthread_join(t, NULL);
	return check_end();
}
