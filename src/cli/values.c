/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"

int parse_number(const char *text, long min, long max, long *ret)
{
	char *end;
	long n;

	if (!isdigit((unsigned char)text[0]) && !(text[0] == '-' && isdigit((unsigned char)text[1])))
		return -EINVAL;
	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || *end || n < min || n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

int parse_seconds(const char *text, unsigned *ret_ms)
{
	size_t whole = strspn(text, "0123456789"), rest;
	unsigned long ms = 0, weight = 100;

	/* Digits by hand and not strtod(): that takes "inf", "nan" and hexadecimal, and minds the locale. */
	if (whole > 7)
		return -EINVAL;
	for (size_t i = 0; i < whole; i++)
		ms = ms * 10 + (unsigned long)(text[i] - '0');
	if (ms > 4000000)
		return -EINVAL;
	ms *= 1000;
	if (text[whole] == '.') {
		const char *fraction = text + whole + 1;

		rest = strspn(fraction, "0123456789");
		for (size_t i = 0; i < rest; i++, weight /= 10)
			ms += (unsigned long)(fraction[i] - '0') * weight;
		if (whole + rest == 0 || fraction[rest])
			return -EINVAL;
		/* 0 means no limit: what is less than a millisecond is one. */
		if (ms == 0 && strspn(fraction, "0") < rest)
			ms = 1;
	} else if (whole == 0 || text[whole]) {
		return -EINVAL;
	}
	*ret_ms = (unsigned)ms;
	return 0;
}

int parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KMG";
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	if (*end) {
		const char *unit = strchr(units, toupper((unsigned char)*end));

		if (!unit || end[1])
			return -EINVAL;
		for (const char *u = units; u <= unit; u++)
			if (__builtin_mul_overflow(n, 1024ull, &n))
				return -EINVAL;
	}
	*ret = n;
	return 0;
}

/* Letters to insert, drop, replace or swap to make one word of the other; words longer than this are not compared. */
#define WORD_MAX 48

static unsigned distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	unsigned rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *now = rows[2];

	if (la > WORD_MAX || lb > WORD_MAX)
		return WORD_MAX;
	memset(rows, 0, sizeof(rows));
	for (size_t j = 0; j <= lb; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *spare = before;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);

			best = last[j] + 1 < best ? last[j] + 1 : best;
			best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[lb];
}

const char *nearest_name(const char *word, const char *const *names, size_t n)
{
	size_t len = strlen(word);
	unsigned best = len / 3 > 2 ? (unsigned)len / 3 : 2;
	const char *found = NULL, *longer = NULL;
	bool several = false;

	for (size_t i = 0; i < n; i++) {
		unsigned d = distance(word, names[i]);

		if (len >= 3 && strncmp(names[i], word, len) == 0) {
			several = longer != NULL;
			longer = names[i];
		}
		/* Two short words that share nothing are not near each other. */
		if (d < len && (d < best || (d == best && !found))) {
			best = d;
			found = names[i];
		}
	}
	return longer && !several ? longer : found;
}
