/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel/features_arch.h"

#ifndef bit_OSXSAVE
#define bit_OSXSAVE (1u << 27)
#endif

/* Under a hypervisor each cpuid costs an exit, about a microsecond: two of them are made. */
void features_arch_xsave(size_t *ret_size, uint64_t *ret_mask)
{
	unsigned a, b, c, d;
	uint32_t low, high;

	*ret_size = 0;
	*ret_mask = 0;
	__cpuid(1, a, b, c, d);
	if (!(c & bit_OSXSAVE))
		return;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	/* Leaf 13, EBX: bytes for the components that the kernel enabled in XCR0, in the standard format. */
	__cpuid_count(13, 0, a, b, c, d);
	*ret_size = b;
	*ret_mask = (uint64_t)high << 32 | low;
}

/*
 * arch_prctl(ARCH_MAP_VDSO_64), CONFIG_CHECKPOINT_RESTORE: a process maps one vdso at most, so this one, which has its
 * own, gets -EEXIST (map_vdso_once()). A kernel without the call says -EINVAL.
 */
bool features_arch_map_vdso(void)
{
	return syscall(SYS_arch_prctl, ARCH_MAP_VDSO_64, 0) < 0 && errno == EEXIST;
}
