/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"
#include "kernel/syscalls.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proc_syscall s;
	char text[40];

	if (parse_proc_syscall((const char *)data, size, &s) < 0)
		return 0;
	PROMISED(s.nr >= -1);
	touch_string(syscall_name(s.nr));
	PROMISED(syscall_format(s.nr, s.args, text, sizeof(text)) == strlen(text));
	return 0;
}
