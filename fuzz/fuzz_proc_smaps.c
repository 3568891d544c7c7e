/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct proc_map *maps;
	uint64_t end = 0;
	size_t n;

	if (parse_proc_maps((const char *)data, size, true, &a, &maps, &n) == 0) {
		for (size_t i = 0; i < n; i++) {
			PROMISED(maps[i].start >= end && maps[i].start < maps[i].end);
			end = maps[i].end;
			touch_string(maps[i].path);
		}
	}
	arena_release(&a);
	return 0;
}
