/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct proc_fdinfo f;
	uint32_t connection;

	if (parse_proc_fdinfo((const char *)data, size, &a, &f) == 0) {
		touch_string(f.rest);
		(void)parse_fdinfo_fuse(f.rest, &connection);
	}
	arena_release(&a);
	return 0;
}
