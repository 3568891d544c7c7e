/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* protobuf-c, held on a leash: its memory comes from an arena, and no more than the message can be worth. */
#include <errno.h>

#include "image/internal.h"

/*
 * The costliest honest byte is an empty submessage: two bytes of input, one struct (the largest of ours has some 250
 * bytes), one pointer, and the parser's note of the member. A message of many numbers costs far less. The limit for
 * all is about the memory of a mapping table of a million areas.
 */
#define COST_PER_BYTE 192ull
#define COST_BASE (64ull << 10)
#define COST_MAX (1ull << 30)

struct leash {
	struct arena *arena;
	uint64_t left; /* bytes */
	bool out_of_memory;
};

static void *leash_alloc(void *data, size_t size)
{
	struct leash *l = data;
	void *p;

	if (size > l->left)
		return NULL;
	p = arena_alloc(l->arena, size ? size : 1);
	if (!p)
		l->out_of_memory = true;
	else
		l->left -= size;
	return p;
}

static void *plain_alloc(void *data, size_t size)
{
	return arena_alloc(data, size ? size : 1);
}

static void never_free(void *data, void *p)
{
	(void)data;
	(void)p;
}

ProtobufCAllocator image_arena_allocator(struct arena *a)
{
	return (ProtobufCAllocator){ .alloc = plain_alloc, .free = never_free, .allocator_data = a };
}

int image_unpack(const ProtobufCMessageDescriptor *desc, const uint8_t *buf, size_t len, struct arena *a,
		 ProtobufCMessage **ret)
{
	struct leash leash = { .arena = a,
			       .left = COST_BASE + (len < COST_MAX / COST_PER_BYTE ? len * COST_PER_BYTE : COST_MAX) };
	ProtobufCAllocator allocator = { .alloc = leash_alloc, .free = never_free, .allocator_data = &leash };
	ProtobufCMessage *m = protobuf_c_message_unpack(desc, &allocator, len, buf);

	if (!m)
		return leash.out_of_memory ? -ENOMEM : -EBADMSG;
	*ret = m;
	return 0;
}
