/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vdso of a checkpoint, led to itself, near and far. */
#include <errno.h>

#include "fuzz.h"

#include "memory/plan.h"
#include "memory/vdso.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = { 0 };
	uint8_t *copy = arena_memdup(&arena, data, size),
		*ours = arena_memdup(&arena, data, size); /* aligned, as pages are */
	char name[VDSO_NAME_MAX];

	for (int far = 0; copy && ours && far < 2; far++) {
		int r = vdso_lead(copy, size, 0x7f0000000000, ours, size, far ? 0x10000 : 0x7f0000100000, name);

		PROMISED(r == 0 || r == -EINVAL || r == -ENOSYS || r == -ENOSPC);
		for (size_t i = 0; i < size; i += 61)
			(void)vdso_at_call(copy, size, i);
	}
	arena_release(&arena);
	return 0;
}
