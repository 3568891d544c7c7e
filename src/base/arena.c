/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_CHUNK (64UL * 1024)
#define ARENA_LARGE (1024UL * 1024)
#define ARENA_ALIGN 16UL

struct arena_chunk {
	struct arena_chunk *next;
	size_t size;
	size_t used;
	bool mapped; /* else from the heap */
	_Alignas(ARENA_ALIGN) char data[];
};

/* An arena that is large already will be larger: its pages come all at once, not by a fault each. */
static struct arena_chunk *chunk_new(const struct arena *a, size_t size)
{
	size_t room = size > ARENA_CHUNK ? size : ARENA_CHUNK;
	struct arena_chunk *c;

	if (a->used < ARENA_LARGE || size > ARENA_LARGE / 4) {
		c = calloc(1, sizeof(*c) + room);
		if (c)
			c->size = room;
		return c;
	}
	c = mmap(NULL, ARENA_LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (c == MAP_FAILED)
		return NULL;
	c->size = ARENA_LARGE - sizeof(*c);
	c->mapped = true;
	return c;
}

static struct arena_chunk *arena_add_chunk(struct arena *a, size_t size)
{
	struct arena_chunk *c = chunk_new(a, size);

	if (!c)
		return NULL;
	/* A chunk made for one large object goes behind the current one, which still has room. */
	if (a->chunks && size > ARENA_CHUNK / 4) {
		c->next = a->chunks->next;
		a->chunks->next = c;
	} else {
		c->next = a->chunks;
		a->chunks = c;
	}
	return c;
}

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_chunk *c = a->chunks;
	void *p;

	if (size > (size_t)-1 / 2)
		return NULL;
	size = (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
	if (!c || c->size - c->used < size)
		c = arena_add_chunk(a, size);
	if (!c)
		return NULL;
	p = c->data + c->used;
	c->used += size;
	a->used += size;
	return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	return arena_alloc(a, bytes);
}

void *arena_memdup(struct arena *a, const void *src, size_t size)
{
	void *p = arena_alloc(a, size);

	if (p && size)
		memcpy(p, src, size);
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_memdup(a, s, strlen(s) + 1);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0)
		return NULL;
	p = arena_alloc(a, (size_t)len + 1);
	if (!p)
		return NULL;
	va_start(ap, fmt);
	(void)vsnprintf(p, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return p;
}

void *arena_grow(struct arena *a, const void *old, size_t old_count, size_t count, size_t size)
{
	void *p = arena_array(a, count, size);

	if (p && old_count)
		memcpy(p, old, old_count * size);
	return p;
}

void arena_release(struct arena *a)
{
	struct arena_chunk *next;

	for (struct arena_chunk *c = a->chunks; c; c = next) {
		next = c->next;
		if (c->mapped)
			(void)munmap(c, ARENA_LARGE);
		else
			free(c);
	}
	a->chunks = NULL;
	a->used = 0;
}
