/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Foreign text (names, paths, arguments: their tasks chose them) for people and for programs. Nothing is checked: who prints
 * looks at the stream in the end. */

/* Prints @text so that a terminal shows it and does nothing else: control characters and bytes that are no UTF-8 as
 * \xNN; with @json as the inside of a JSON string (bytes that are no UTF-8 become U+FFFD). */
void put_text(FILE *out, const char *text, bool json);
/* "name": "text", or "name": null; then @after. */
void put_json_string(FILE *out, const char *name, const char *text, const char *after);

/* What makes "task" of @n "tasks". */
static inline const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}
