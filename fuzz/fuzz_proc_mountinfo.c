/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct proc_mount *m;
	size_t n;

	if (parse_proc_mountinfo((const char *)data, size, &a, &m, &n) == 0) {
		for (size_t i = 0; i < n; i++) {
			touch_string(m[i].root);
			touch_string(m[i].mountpoint);
			touch_string(m[i].options);
			touch_string(m[i].fstype);
			touch_string(m[i].source);
			touch_string(m[i].super_options);
		}
	}
	arena_release(&a);
	return 0;
}
