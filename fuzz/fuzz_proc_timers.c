/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct proc_timer *timers;
	size_t n;

	if (parse_proc_timers((const char *)data, size, &a, &timers, &n) == 0)
		for (size_t i = 0; i < n; i++)
			PROMISED((timers[i].notify & ~4) <= 2);
	arena_release(&a);
	return 0;
}
