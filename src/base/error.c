/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void set_sentence(struct error *e, int number, const char *fmt, va_list ap)
{
	e->number = number > 0 ? number : EINVAL;
	e->hint[0] = '\0';
	(void)vsnprintf(e->sentence, sizeof(e->sentence), fmt, ap);
}

int error_raise(struct error *e, int number, const char *fmt, ...)
{
	va_list ap;

	if (error_is_set(e))
		return -e->number;
	va_start(ap, fmt);
	set_sentence(e, number, fmt, ap);
	va_end(ap);
	return -e->number;
}

int error_raise_call(struct error *e, int number, const char *call, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (error_is_set(e))
		return -e->number;
	va_start(ap, fmt);
	set_sentence(e, number, fmt, ap);
	va_end(ap);
	len = strlen(e->sentence);
	(void)snprintf(e->sentence + len, sizeof(e->sentence) - len, ": %s: %s", call, strerror(e->number));
	return -e->number;
}

void error_hint(struct error *e, const char *fmt, ...)
{
	va_list ap;

	if (!error_is_set(e) || e->hint[0] != '\0')
		return;
	va_start(ap, fmt);
	(void)vsnprintf(e->hint, sizeof(e->hint), fmt, ap);
	va_end(ap);
}
