/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One image: its type by its magic number, then all entries with what follows them. */
#include "image/internal.h"

#include "fuzz.h"
#include "ghost-file.pb-c.h"
#include "pagemap.pb-c.h"
#include "pipe-data.pb-c.h"
#include "sk-packet.pb-c.h"

static bool find_type(const uint8_t *data, size_t size, enum image_type *ret)
{
	uint32_t magic[2] = { 0 };

	memcpy(magic, data, size < sizeof(magic) ? size : sizeof(magic));
	for (unsigned t = 0; t < IMAGE_TYPE_COUNT; t++) {
		const struct image_kind *k = image_kind_of((enum image_type)t);

		*ret = (enum image_type)t;
		if (k->magic && (k->magic == magic[0] || k->magic == magic[1]))
			return true;
	}
	return false;
}

/* Bytes after an entry; the numbers are hostile. */
static size_t tail_of(enum image_type t, const ProtobufCMessage *m)
{
	if (t == IMAGE_PIPES_DATA || t == IMAGE_FIFO_DATA)
		return ((const PipeDataEntry *)m)->bytes;
	if (t == IMAGE_SK_QUEUES)
		return ((const SkPacketEntry *)m)->length;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = { 0 };
	struct error error = { 0 };
	struct image_reader r = { .name = "image", .arena = &arena, .len = size };
	const ProtobufCMessageDescriptor *desc;
	enum image_type type;
	ProtobufCMessage *m;
	const uint8_t *raw;
	size_t cost;

	if (!find_type(data, size, &type))
		return 0;
	r.buf = arena_memdup(&arena, data, size);
	if (image_check_magic(&r, type, &error) == 0) {
		desc = image_descriptor(type);
		PROMISED(r.pos <= size);
		while (image_read(&r, desc, &m, &error) == 1) {
			PROMISED(m->descriptor == desc && r.pos <= size);
			(void)protobuf_c_message_get_packed_size(m);
			if (image_read_raw(&r, tail_of(type, m), &raw, &error) < 0)
				break;
			if (desc == &pagemap_head__descriptor)
				desc = &pagemap_entry__descriptor;
		}
	}
	/* Each entry may cost a base of 64 KiB, and has four bytes at least. */
	cost = arena.used;
	PROMISED(cost <= (size + 1) * (192 + 16 + 16384) + 65536);
	arena_release(&arena);
	return 0;
}
