/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proc_timens_offsets o = { 1, 1 };

	if (parse_proc_timens_offsets((const char *)data, size, &o) < 0)
		PROMISED(o.monotonic == 1 && o.boottime == 1);
	return 0;
}
