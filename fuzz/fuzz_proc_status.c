/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct proc_status s;

	if (parse_proc_status((const char *)data, size, &a, &s) == 0) {
		PROMISED(memchr(s.name, 0, sizeof(s.name)));
		PROMISED(s.ns_pid_depth <= sizeof(s.ns_pid) / sizeof(s.ns_pid[0]));
		PROMISED(s.n_groups == 0 || s.groups);
	}
	arena_release(&a);
	return 0;
}
