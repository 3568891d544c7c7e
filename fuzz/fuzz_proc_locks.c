/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct proc_lock *locks;
	size_t n;

	if (parse_proc_locks((const char *)data, size, &a, &locks, &n) == 0)
		for (size_t i = 0; i < n; i++)
			PROMISED(locks[i].len == 0 || locks[i].start + locks[i].len > locks[i].start);
	arena_release(&a);
	return 0;
}
