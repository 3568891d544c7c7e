/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image/internal.h"

#include <stdio.h>

#include "fuzz.h"

/* The text and, because hardly any changed text keeps its own checksum, the text with the checksum put right. */
static void parse(const char *text, size_t size)
{
	struct image_manifest *m = manifest_new();
	const char *why = NULL;

	if (!m)
		return;
	if (manifest_parse(m, text, size, &why) == 0)
		for (size_t i = 0; i < m->n; i++) {
			PROMISED(!strchr(m->files[i].name, '/') && strcmp(m->files[i].name, "..") != 0);
			PROMISED(m->files[i].name[0] && strlen(m->files[i].name) <= 255);
			PROMISED(manifest_find(m, m->files[i].name) == &m->files[i]);
		}
	else
		touch_string(why);
	manifest_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t body = size;
	char *text = malloc(size + 14);

	if (!text)
		return 0;
	memcpy(text, data, size);
	parse(text, size);
	for (size_t i = size; i >= 4; i--)
		if (memcmp(text + i - 4, "end ", 4) == 0) {
			body = i - 4;
			break;
		}
	(void)snprintf(text + body, 14, "end %08x\n", crc32c(0, text, body));
	parse(text, body + 13);
	free(text);
	return 0;
}
