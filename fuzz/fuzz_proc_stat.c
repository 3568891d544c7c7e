/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proc_stat s;

	if (parse_proc_stat((const char *)data, size, &s) == 0)
		PROMISED(memchr(s.comm, 0, sizeof(s.comm)));
	return 0;
}
