/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "puppet/area.h"
#include "puppet/stub.h"

/* A third of the scratch area is for calls, the rest, less a little for the flags' stack, for data. */
#define CALLS_MAX ((AREA_SCRATCH / 3 - STUB_CALLS) / sizeof(struct puppet_call))
#define DATA_OFFSET ((STUB_CALLS + CALLS_MAX * sizeof(struct puppet_call) + 63) & ~63ul)
#define STACK_ROOM (16u * 1024)
#define DATA_ROOM (AREA_SCRATCH - DATA_OFFSET - STACK_ROOM)

int batch_begin(struct batch *b, struct puppet *p, struct error *e)
{
	*b = (struct batch){ .puppet = p, .max_calls = CALLS_MAX, .data_room = DATA_ROOM };
	if (!p->area)
		return error_raise(e, EINVAL, "pid %d (%s): no stub in the task yet", p->pid, p->comm);
	b->calls = malloc(CALLS_MAX * sizeof(*b->calls));
	b->data = malloc(DATA_ROOM);
	if (!b->calls || !b->data) {
		batch_end(b);
		return error_raise(e, ENOMEM, "pid %d (%s): no memory for a batch of calls", p->pid, p->comm);
	}
	b->data_addr = p->area->scratch + DATA_OFFSET;
	return 0;
}

void batch_end(struct batch *b)
{
	free(b->calls);
	free(b->data);
	*b = (struct batch){ 0 };
}

void batch_reset(struct batch *b)
{
	b->n_calls = 0;
	b->data_len = 0;
	b->overflow = false;
	b->failed = 0;
}

bool batch_has_room(const struct batch *b, size_t calls, size_t bytes)
{
	/* Each datum may take up to 15 bytes more for its alignment. */
	return b->max_calls - b->n_calls >= calls && b->data_room - b->data_len >= bytes + 64;
}

size_t batch_add(struct batch *b, uint64_t flags, long nr, const uint64_t args[6])
{
	struct puppet_call *c;

	if (b->n_calls == b->max_calls) {
		b->overflow = true;
		return 0;
	}
	c = &b->calls[b->n_calls];
	c->nr = nr;
	c->flags = flags;
	memcpy(c->args, args, sizeof(c->args));
	c->ret = -ENOSYS;
	return b->n_calls++;
}

static void *take_room(struct batch *b, size_t len, uint64_t *ret_remote)
{
	size_t at = (b->data_len + 15) & ~(size_t)15;

	if (at > b->data_room || len > b->data_room - at) {
		b->overflow = true;
		*ret_remote = 0;
		return NULL;
	}
	b->data_len = at + len;
	*ret_remote = b->data_addr + at;
	return b->data + at;
}

uint64_t batch_data(struct batch *b, const void *src, size_t len)
{
	uint64_t remote;
	void *p = take_room(b, len, &remote);

	if (p)
		memcpy(p, src, len);
	return remote;
}

uint64_t batch_string(struct batch *b, const char *s)
{
	return batch_data(b, s, strlen(s) + 1);
}

uint64_t batch_space(struct batch *b, size_t len)
{
	uint64_t remote;
	void *p = take_room(b, len, &remote);

	if (p)
		memset(p, 0, len);
	return remote;
}

void *batch_at(const struct batch *b, uint64_t remote)
{
	return b->data + (remote - b->data_addr);
}
