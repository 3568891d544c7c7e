/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a parser promises of what it accepted. Not assert(): it must hold in builds without assertions as well. */
#define PROMISED(condition)       \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

/* Reads a string to its end, so that the sanitizer sees one that is not terminated. */
static inline void touch_string(const char *s)
{
	volatile size_t n = strlen(s);

	(void)n;
}
