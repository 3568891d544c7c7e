/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One image is put together in memory and written at once: a dump writes a handful of small files per task, and one
 * write each is what the tree stays frozen for. Only pages are written as they come (pages.c).
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/internal.h"

#define FIRST_ROOM 4096UL

static const char *writer_name(const struct image_writer *w, char buf[IMAGE_NAME_SIZE])
{
	return image_name(w->type, w->id, buf, IMAGE_NAME_SIZE) < 0 ? "?" : buf;
}

static int raise_writer(const struct image_writer *w, const char *call, uint64_t bytes, int number, struct error *e)
{
	char name[IMAGE_NAME_SIZE];

	return image_raise_file(w->dir, writer_name(w, name), call, bytes, number, e);
}

static int reserve(struct image_writer *w, size_t more, struct error *e)
{
	size_t need, room = w->room ? w->room : FIRST_ROOM;
	uint8_t *buf;

	if (__builtin_add_overflow(w->len, more, &need) || need > IMAGE_MAX_SIZE)
		return raise_writer(w, "write", need, EFBIG, e);
	if (need <= w->room)
		return 0;
	while (room < need)
		room *= 2;
	buf = realloc(w->buf, room);
	if (!buf)
		return raise_writer(w, "realloc", room, ENOMEM, e);
	w->buf = buf;
	w->room = room;
	return 0;
}

static void put_u32(struct image_writer *w, uint32_t v)
{
	v = htole32(v);
	memcpy(w->buf + w->len, &v, sizeof(v));
	w->len += sizeof(v);
}

int image_writer_open(struct image_writer *w, struct image_dir *d, enum image_type t, uint64_t id, struct error *e)
{
	const struct image_kind *k = image_kind_of(t);
	char name[IMAGE_NAME_SIZE];
	int r;

	*w = (struct image_writer){ .dir = d, .type = t, .id = id };
	if (!k || image_name(t, id, name, sizeof(name)) < 0)
		return error_raise(e, EINVAL, "%s: no image of type %d with id %llu", d->path, (int)t,
				   (unsigned long long)id);
	if (!k->magic)
		return 0;
	r = reserve(w, 2 * sizeof(uint32_t), e);
	if (r < 0)
		return r;
	/* The inventory tells the version of the others, so it has no first magic itself. */
	if (t != IMAGE_INVENTORY)
		put_u32(w, t == IMAGE_STATS ? MAGIC_SERVICE : MAGIC_COMMON);
	put_u32(w, k->magic);
	return 0;
}

int image_write(struct image_writer *w, const ProtobufCMessage *m, struct error *e)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	int r = reserve(w, len + sizeof(uint32_t), e);

	if (r < 0)
		return r;
	put_u32(w, (uint32_t)len);
	w->len += protobuf_c_message_pack(m, w->buf + w->len);
	return 0;
}

int image_write_raw(struct image_writer *w, const void *data, size_t len, struct error *e)
{
	int r = reserve(w, len, e);

	if (r < 0)
		return r;
	if (len)
		memcpy(w->buf + w->len, data, len);
	w->len += len;
	return 0;
}

int image_writer_close(struct image_writer *w, struct error *e)
{
	char name[IMAGE_NAME_SIZE];
	struct image_file *f;
	int r;

	writer_name(w, name);
	r = image_put_file(w->dir, name, w->buf, w->len, false, e);
	if (w->type == IMAGE_STATS) {
		/* No part of the checkpoint: whoever reads it may take it away. */
		image_writer_discard(w);
		return r;
	}
	if (r == 0 && manifest_add(w->dir->manifest, name, false, &f) < 0) {
		(void)unlinkat(w->dir->fd, name, 0);
		r = raise_writer(w, "malloc", 0, ENOMEM, e);
	}
	if (r == 0) {
		f->size = w->len;
		f->crc = crc32c(0, w->buf, w->len);
		f->summed = true;
		w->dir->manifest->bytes += w->len;
	}
	image_writer_discard(w);
	return r;
}

void image_writer_discard(struct image_writer *w)
{
	free(w->buf);
	*w = (struct image_writer){ 0 };
}

int image_write_stats(int dirfd, const char *path, enum image_stats which, const ProtobufCMessage *stats,
		      struct error *e)
{
	struct image_dir folder = { .fd = dirfd, .path = path };
	struct image_writer w = { 0 };
	char name[IMAGE_NAME_SIZE];
	int r = image_writer_open(&w, &folder, IMAGE_STATS, which, e);

	if (r == 0)
		r = image_write(&w, stats, e);
	if (r == 0) {
		writer_name(&w, name);
		if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
			r = image_raise_file(&folder, name, "unlink", 0, errno, e);
	}
	if (r == 0)
		r = image_put_file(&folder, name, w.buf, w.len, false, e);
	image_writer_discard(&w);
	return r;
}
