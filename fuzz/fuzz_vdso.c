/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vdso of a checkpoint, compared with itself. */
#include <errno.h>

#include "fuzz.h"

#include "memory/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = { 0 };
	const uint8_t *copy = arena_memdup(&arena, data, size); /* aligned, as pages are */
	int r = copy ? vdso_same_symbols(copy, copy, size) : 0;

	PROMISED(r == 0 || r == -EINVAL);
	arena_release(&arena);
	return 0;
}
