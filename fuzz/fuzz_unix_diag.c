/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/sock_diag.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct unix_diag d;
	volatile uint8_t last = 0;

	if (parse_unix_diag(data, size, &a, &d) == 0) {
		for (size_t i = 0; i < d.name_len; i++)
			last = d.name[i];
		for (size_t i = 0; i < d.n_icons; i++)
			last = (uint8_t)d.icons[i];
	}
	(void)last;
	arena_release(&a);
	return 0;
}
