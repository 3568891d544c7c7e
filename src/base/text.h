/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Bounded parsing of text that somebody else wrote. A cursor over a buffer that need not end in NUL: every step looks
 * at its end first, numbers are checked for overflow, and a step that fails leaves the cursor where it was. Inline,
 * because a dump parses hundreds of thousands of lines of smaps and fdinfo.
 */
struct text {
	const char *p, *end;
};

static inline struct text text_of(const char *s, size_t len)
{
	return (struct text){ .p = s, .end = s + len };
}

static inline size_t text_len(const struct text *t)
{
	return (size_t)(t->end - t->p);
}

static inline bool text_empty(const struct text *t)
{
	return t->p >= t->end;
}

/* The next line without its newline; false at the end of the text. A last line may lack the newline. */
static inline bool text_line(struct text *t, struct text *ret)
{
	const char *newline;

	if (text_empty(t))
		return false;
	newline = memchr(t->p, '\n', text_len(t));
	ret->p = t->p;
	ret->end = newline ? newline : t->end;
	t->p = newline ? newline + 1 : t->end;
	return true;
}

/* Everything up to @separator, which is eaten; the rest of the text when there is none. May be empty. False at the
 * end of the text. */
static inline bool text_until(struct text *t, char separator, struct text *ret)
{
	const char *stop;

	if (text_empty(t))
		return false;
	stop = memchr(t->p, separator, text_len(t));
	ret->p = t->p;
	ret->end = stop ? stop : t->end;
	t->p = stop ? stop + 1 : t->end;
	return true;
}

static inline bool text_char(struct text *t, char c)
{
	if (text_empty(t) || *t->p != c)
		return false;
	t->p++;
	return true;
}

/* Eats @literal when the text begins with it. */
static inline bool text_literal(struct text *t, const char *literal)
{
	size_t n = strlen(literal);

	if (text_len(t) < n || memcmp(t->p, literal, n) != 0)
		return false;
	t->p += n;
	return true;
}

static inline bool text_equals(const struct text *t, const char *literal)
{
	size_t n = strlen(literal);

	return text_len(t) == n && memcmp(t->p, literal, n) == 0;
}

/* Spaces and tabs. */
static inline void text_blanks(struct text *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\t'))
		t->p++;
}

static inline int text_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

/* At least one digit of @base (8, 10 or 16, no prefix); false when the number exceeds @max. */
static inline bool text_unsigned(struct text *t, unsigned base, uint64_t max, uint64_t *ret)
{
	const char *p = t->p;
	uint64_t value = 0;
	int digit;

	for (; p < t->end; p++) {
		digit = text_digit(*p);
		if ((unsigned)digit >= base)
			break;
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit, &value))
			return false;
	}
	if (p == t->p || value > max)
		return false;
	t->p = p;
	*ret = value;
	return true;
}

static inline bool text_u64(struct text *t, unsigned base, uint64_t *ret)
{
	return text_unsigned(t, base, UINT64_MAX, ret);
}

static inline bool text_u32(struct text *t, unsigned base, uint32_t *ret)
{
	uint64_t value;

	if (!text_unsigned(t, base, UINT32_MAX, &value))
		return false;
	*ret = (uint32_t)value;
	return true;
}

/* As text_unsigned(), with an optional minus sign before it; the whole range of int64_t. */
static inline bool text_signed(struct text *t, unsigned base, int64_t *ret)
{
	struct text copy = *t;
	bool minus = text_char(&copy, '-');
	uint64_t value;

	if (!text_unsigned(&copy, base, minus ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX, &value))
		return false;
	*ret = minus ? (int64_t)(0 - value) : (int64_t)value;
	*t = copy;
	return true;
}

static inline bool text_int(struct text *t, unsigned base, int *ret)
{
	struct text copy = *t;
	int64_t value;

	if (!text_signed(&copy, base, &value) || value < INT32_MIN || value > INT32_MAX)
		return false;
	*ret = (int)value;
	*t = copy;
	return true;
}

/*
 * Undoes the octal escapes that the kernel's mangle_path() makes (\012 and the like), in place: returns the new
 * length, @s is not terminated. With @only ≥ 0 only the escape of that character is undone: /proc/PID/maps escapes the
 * newline alone and leaves backslashes as they are.
 */
static inline size_t text_unescape(char *s, size_t len, int only)
{
	size_t out = 0;

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\\' && len - i >= 4 && s[i + 1] >= '0' && s[i + 1] <= '3' && s[i + 2] >= '0' &&
		    s[i + 2] <= '7' && s[i + 3] >= '0' && s[i + 3] <= '7') {
			int c = (s[i + 1] - '0') * 64 + (s[i + 2] - '0') * 8 + (s[i + 3] - '0');

			if (c != 0 && (only < 0 || c == only)) {
				s[out++] = (char)c;
				i += 3;
				continue;
			}
		}
		s[out++] = s[i];
	}
	return out;
}
