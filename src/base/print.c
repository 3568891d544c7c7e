/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/print.h"

/* Bytes of the UTF-8 character at @p, 0 when it is none (RFC 3629: no overlong forms, no surrogates). */
static unsigned utf8_length(const unsigned char *p)
{
	unsigned len = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	for (unsigned i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

void put_text(FILE *out, const char *text, bool json)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		unsigned len = utf8_length(p);

		/* U+0080 … U+009F are control characters to some terminals. */
		if (len == 2 && p[0] == 0xc2 && p[1] < 0xa0)
			fprintf(out, json ? "\\u00%02x" : "\\x%02x", p[1]);
		else if (len)
			(void)fwrite(p, 1, len, out);
		else if (*p >= 0x80)
			fprintf(out, json ? "\\ufffd" : "\\x%02x", *p);
		else if (*p < ' ' || *p == 0x7f)
			fprintf(out, json ? "\\u00%02x" : "\\x%02x", *p);
		else if (json && (*p == '"' || *p == '\\'))
			fprintf(out, "\\%c", *p);
		else
			(void)fputc(*p, out);
		if (len)
			p += len - 1;
	}
}

void put_json_string(FILE *out, const char *name, const char *text, const char *after)
{
	fprintf(out, "\"%s\": ", name);
	if (!text) {
		fprintf(out, "null%s", after);
		return;
	}
	(void)fputc('"', out);
	put_text(out, text, true);
	fprintf(out, "\"%s", after);
}
