/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/kernel_config.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kernel_config c;
	struct error e = { 0 };
	char *text = NULL;
	size_t len = 0;

	if (unpack_kernel_config(data, size, "fuzz", &text, &len, &e) < 0) {
		PROMISED(!text && e.number);
		return 0;
	}
	PROMISED(len <= CONFIG_SIZE_MAX);
	if (parse_kernel_config(text, len, "fuzz", &c, &e) == 0) {
		PROMISED(c.n_settings > 0);
		PROMISED(memchr(c.release, 0, sizeof(c.release)));
		PROMISED(c.arch <= CONFIG_ARCH_OTHER);
		for (size_t i = 0; i < n_config_options; i++)
			PROMISED(kernel_config_state(&c, i) <= CONFIG_STATE_NOT_MENTIONED);
	} else {
		PROMISED(e.number);
	}
	free(text);
	return 0;
}
