/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proc_limits l;

	(void)parse_proc_limits((const char *)data, size, &l);
	return 0;
}
