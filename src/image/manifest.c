/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * firn.manifest: what a complete folder holds.
 *
 *     firn images 1
 *     5f1a29c4 1312 core-126.img
 *     - 262144 pages-1.img
 *     …
 *     end 9d03c1b7
 *
 * One line per file: CRC-32C in eight hexadecimal digits ("-" for pages: reading gigabytes twice is the caller's
 * choice, not ours), size in bytes, name. The last line holds the CRC-32C of all lines above it, so that a manifest
 * that lost its tail is noticed.
 */
#include "image/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define VERSION_LINE "firn images 1\n"
#define LINE_ROOM (8 + 1 + 20 + 1 + 255 + 1 + 1) /* sum, size, name, separators, newline, NUL */

struct image_manifest *manifest_new(void)
{
	return calloc(1, sizeof(struct image_manifest));
}

struct image_manifest *manifest_free(struct image_manifest *m)
{
	if (!m)
		return NULL;
	for (size_t i = 0; i < m->n; i++)
		free(m->files[i].name);
	free(m->files);
	free(m);
	return NULL;
}

int manifest_add(struct image_manifest *m, const char *name, bool unfinished, struct image_file **ret)
{
	struct image_file *f;

	if (m->n == m->room) {
		size_t room = m->room ? m->room * 2 : 64;

		f = reallocarray(m->files, room, sizeof(*f));
		if (!f)
			return -ENOMEM;
		m->files = f;
		m->room = room;
	}
	f = &m->files[m->n];
	*f = (struct image_file){ .name = strdup(name), .unfinished = unfinished };
	if (!f->name)
		return -ENOMEM;
	m->n++;
	*ret = f;
	return 0;
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct image_file *)a)->name, ((const struct image_file *)b)->name);
}

struct image_file *manifest_find(const struct image_manifest *m, const char *name)
{
	const struct image_file key = { .name = (char *)name };

	if (!m->writing)
		return m->n ? bsearch(&key, m->files, m->n, sizeof(key), compare_files) : NULL;
	/* What is looked for while writing was added last, or nearly so. */
	for (size_t i = m->n; i-- > 0;)
		if (strcmp(m->files[i].name, name) == 0)
			return &m->files[i];
	return NULL;
}

int manifest_format(const struct image_manifest *m, char **ret_text, size_t *ret_len)
{
	size_t room = sizeof(VERSION_LINE) + (m->n + 1) * LINE_ROOM;
	AUTOFREE char *text = malloc(room);
	size_t len;

	if (!text)
		return -ENOMEM;
	len = (size_t)snprintf(text, room, "%s", VERSION_LINE);
	for (size_t i = 0; i < m->n; i++) {
		const struct image_file *f = &m->files[i];
		char sum[9] = "-";

		if (f->summed)
			(void)snprintf(sum, sizeof(sum), "%08x", f->crc);
		len += (size_t)snprintf(text + len, room - len, "%s %llu %s\n", sum, (unsigned long long)f->size,
					f->name);
	}
	len += (size_t)snprintf(text + len, room - len, "end %08x\n", crc32c(0, text, len));
	*ret_text = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}

/* A cursor over one line, without its newline. */
struct line {
	const char *p, *end;
};

static bool scan_sum(struct line *l, uint32_t *ret)
{
	uint32_t v = 0;

	if (l->end - l->p < 8)
		return false;
	for (int i = 0; i < 8; i++) {
		char c = *l->p++;

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint32_t)(c - 'a' + 10);
		else
			return false;
	}
	*ret = v;
	return true;
}

static bool scan_size(struct line *l, uint64_t *ret)
{
	const char *start = l->p;
	uint64_t v = 0;

	for (; l->p < l->end && *l->p >= '0' && *l->p <= '9'; l->p++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*l->p - '0'), &v))
			return false;
	*ret = v;
	/* off_t: no file is larger */
	return l->p > start && v <= INT64_MAX;
}

static bool scan_char(struct line *l, char c)
{
	return l->p < l->end && *l->p++ == c;
}

/* A plain file name: it is opened below the folder, and printed in messages. */
static bool scan_name(struct line *l, char name[256])
{
	size_t len = (size_t)(l->end - l->p);

	if (len == 0 || len > 255)
		return false;
	for (size_t i = 0; i < len; i++)
		if (l->p[i] <= ' ' || l->p[i] > '~' || l->p[i] == '/')
			return false;
	memcpy(name, l->p, len);
	name[len] = '\0';
	return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, MANIFEST_NAME) != 0;
}

static int parse_file_line(struct image_manifest *m, struct line l, const char **ret_why)
{
	struct image_file f = { .summed = *l.p != '-' }, *added;
	char name[256];

	*ret_why = "a line that is not \"sum size name\"";
	if (f.summed ? !scan_sum(&l, &f.crc) : !scan_char(&l, '-'))
		return -EBADMSG;
	if (!scan_char(&l, ' ') || !scan_size(&l, &f.size) || !scan_char(&l, ' '))
		return -EBADMSG;
	*ret_why = "a name that is not a plain file name";
	if (!scan_name(&l, name))
		return -EBADMSG;
	*ret_why = "out of memory";
	if (manifest_add(m, name, false, &added) < 0)
		return -ENOMEM;
	added->size = f.size;
	added->crc = f.crc;
	added->summed = f.summed;
	*ret_why = "sizes whose sum is no number";
	return __builtin_add_overflow(m->bytes, f.size, &m->bytes) ? -EBADMSG : 0;
}

static int check_duplicates(struct image_manifest *m, const char **ret_why)
{
	if (m->n)
		qsort(m->files, m->n, sizeof(*m->files), compare_files);
	for (size_t i = 1; i < m->n; i++)
		if (strcmp(m->files[i - 1].name, m->files[i].name) == 0) {
			*ret_why = "one name twice";
			return -EBADMSG;
		}
	return 0;
}

int manifest_parse(struct image_manifest *m, const char *text, size_t len, const char **ret_why)
{
	const size_t head = strlen(VERSION_LINE);
	const char *p, *end = text + len, *newline;
	uint32_t sum;
	int r;

	*ret_why = "another format version than 1";
	if (len < head || memcmp(text, VERSION_LINE, head) != 0)
		return -EBADMSG;
	for (p = text + head; p < end; p = newline + 1) {
		newline = memchr(p, '\n', (size_t)(end - p));
		*ret_why = "a line without an end";
		if (!newline)
			return -EBADMSG;
		if (newline - p == 12 && memcmp(p, "end ", 4) == 0) {
			struct line l = { p + 4, newline };

			*ret_why = "a wrong checksum of its own";
			if (!scan_sum(&l, &sum) || sum != crc32c(0, text, (size_t)(p - text)))
				return -EBADMSG;
			*ret_why = "something after its last line";
			return newline + 1 == end ? check_duplicates(m, ret_why) : -EBADMSG;
		}
		*ret_why = "an empty line";
		if (newline == p)
			return -EBADMSG;
		r = parse_file_line(m, (struct line){ p, newline }, ret_why);
		if (r < 0)
			return r;
	}
	*ret_why = "no last line";
	return -EBADMSG;
}
