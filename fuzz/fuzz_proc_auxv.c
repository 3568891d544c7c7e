/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	uint64_t *v;
	size_t n;

	if (parse_proc_auxv((const char *)data, size, &a, &v, &n) == 0 && n)
		PROMISED(n % 2 == 0 && v[n - 2] == 0);
	arena_release(&a);
	return 0;
}
