/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct proc_fdinfo f;

	if (parse_proc_fdinfo((const char *)data, size, &a, &f) == 0)
		touch_string(f.rest);
	arena_release(&a);
	return 0;
}
