/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/internal.h"

__attribute__((format(printf, 3, 4))) static int raise_damaged(const struct image_reader *r, struct error *e,
							       const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	error_raise(e, EBADMSG, "%s: %s", r->name, what);
	error_hint(e, "The checkpoint is damaged: copy it again from where it was made, or dump again.");
	return -EBADMSG;
}

static uint32_t get_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

/* Images of version 1.0 have only the second one. */
int image_check_magic(struct image_reader *r, enum image_type t, struct error *e)
{
	const struct image_kind *k = image_kind_of(t);
	uint32_t magic;

	if (!k->magic)
		return 0;
	if (r->len < sizeof(magic))
		return raise_damaged(r, e, "the file ends within its magic number, after %zu bytes", r->len);
	magic = get_u32(r->buf);
	r->pos = sizeof(magic);
	if (magic == (t == IMAGE_STATS ? MAGIC_SERVICE : MAGIC_COMMON) && t != IMAGE_INVENTORY) {
		if (r->len < 2 * sizeof(magic))
			return raise_damaged(r, e, "the file ends within its magic number, after %zu bytes", r->len);
		magic = get_u32(r->buf + sizeof(magic));
		r->pos = 2 * sizeof(magic);
	}
	if (magic != k->magic)
		return raise_damaged(r, e, "the magic number is 0x%08x, not 0x%08x: not such an image", magic,
				     k->magic);
	return 0;
}

static int read_whole(struct image_reader *r, struct image_dir *d, const char *file, int fd, struct error *e)
{
	size_t done = 0;

	while (done < r->len) {
		ssize_t n = read(fd, r->buf + done, r->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return image_raise_file(d, file, "read", r->len, errno, e);
		if (n == 0)
			return raise_damaged(r, e, "the file ends before its size");
		done += (size_t)n;
	}
	return 0;
}

int image_reader_open(struct image_reader *r, struct image_dir *d, enum image_type t, uint64_t id, bool optional,
		      struct arena *a, struct error *e)
{
	const struct image_file *expected = NULL;
	AUTOCLOSE int fd = -1;
	char file[IMAGE_NAME_SIZE];
	uint64_t size;
	int ret;

	*r = (struct image_reader){ .arena = a };
	if (image_name(t, id, file, sizeof(file)) < 0)
		return error_raise(e, EINVAL, "%s: no image of type %d with id %llu", d->path, (int)t,
				   (unsigned long long)id);
	ret = image_open_file(d, file, optional, &fd, &size, e);
	if (ret < 0)
		return ret;
	/* Statistics are no part of the checkpoint. */
	if (t != IMAGE_STATS)
		ret = image_expect(d, file, &expected, e);
	if (ret < 0)
		return ret;
	r->name = arena_printf(a, "%s/%s", d->path, file);
	if (!r->name)
		return image_raise_file(d, file, "malloc", 0, ENOMEM, e);
	if (size > IMAGE_MAX_SIZE)
		return raise_damaged(r, e, "%llu bytes: larger than any image", (unsigned long long)size);
	r->len = size;
	r->buf = arena_alloc(a, size ? size : 1);
	if (!r->buf)
		return image_raise_file(d, file, "malloc", size, ENOMEM, e);
	ret = read_whole(r, d, file, fd, e);
	if (ret < 0)
		return ret;
	/* The folder was verified when it was opened; what counts is what is read now. */
	if (expected && (size != expected->size || (expected->summed && crc32c(0, r->buf, r->len) != expected->crc)))
		return raise_damaged(r, e, "the content changed since the checkpoint was opened");
	return image_check_magic(r, t, e);
}

int image_reader_open_if_there(struct image_reader *r, struct image_dir *d, enum image_type t, uint64_t id,
			       struct arena *a, struct error *e)
{
	int ret = image_reader_open(r, d, t, id, true, a, e);

	return ret == -ENOENT && !error_is_set(e) ? 0 : ret;
}

int image_read(struct image_reader *r, const ProtobufCMessageDescriptor *desc, ProtobufCMessage **ret, struct error *e)
{
	size_t left = r->len - r->pos, start = r->pos;
	uint32_t len;
	int result;

	if (left == 0)
		return 0;
	if (left < sizeof(len))
		return raise_damaged(r, e, "entry %u at byte %zu: the file ends within its length", r->entry, start);
	len = get_u32(r->buf + start);
	left -= sizeof(len);
	if (len > left)
		return raise_damaged(r, e, "entry %u at byte %zu: says %u bytes, the file has %zu more", r->entry,
				     start, len, left);
	result = image_unpack(desc, r->buf + start + sizeof(len), len, r->arena, ret);
	if (result == -ENOMEM)
		return error_raise(e, ENOMEM, "%s: entry %u at byte %zu: out of memory", r->name, r->entry, start);
	if (result < 0)
		return raise_damaged(r, e, "entry %u at byte %zu: not a valid %s", r->entry, start, desc->short_name);
	r->pos = start + sizeof(len) + len;
	r->entry++;
	return 1;
}

int image_read_raw(struct image_reader *r, size_t len, const uint8_t **ret, struct error *e)
{
	size_t left = r->len - r->pos;

	if (len > left)
		return raise_damaged(r, e, "data at byte %zu: %zu bytes expected, the file has %zu more", r->pos, len,
				     left);
	*ret = r->buf + r->pos;
	r->pos += len;
	return 0;
}
