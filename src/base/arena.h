/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/*
 * Memory that lives as long as one operation. What a dump or a restore learns about its tree is allocated here and
 * freed at once at the end, so facts can point at each other freely. Not thread-safe.
 */
struct arena {
	struct arena_chunk *chunks;
	size_t used;     /* bytes handed out, for the log */
};

/* Zeroed, aligned for any type; NULL when memory is out. Owned by the arena. */
void *arena_alloc(struct arena *a, size_t size);
/* Zeroed array; NULL on overflow or when memory is out. */
void *arena_array(struct arena *a, size_t count, size_t size);
void *arena_memdup(struct arena *a, const void *src, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Grows an array that may lie anywhere in the arena: returns a copy with room for @count, the old one stays. */
void *arena_grow(struct arena *a, const void *old, size_t old_count, size_t count, size_t size);

/* Frees everything. Safe on a zeroed arena. */
void arena_release(struct arena *a);
