/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/*
 * NETLINK_SOCK_DIAG (man 7 sock_diag): what diag.c, inet_diag.c and sock_diag.c share. Answers are copied out field by
 * field, so nothing depends on their alignment.
 */

struct diag_attribute {
	unsigned type;
	const uint8_t *data;
	size_t len;
};

/* The attribute at *pos of @p, which moves on: 1, 0 at the end, -EINVAL. */
int diag_next_attribute(const uint8_t *p, size_t len, size_t *pos, struct diag_attribute *ret);
/* Copies the attribute's first @size bytes; false when it has fewer. */
bool diag_take(void *dst, size_t size, const struct diag_attribute *a);

/* Called for each answer: 0 to go on, 1 to have seen enough, -errno. */
typedef int (*diag_each_fn)(const uint8_t *payload, size_t len, void *arg);

/* Sends @request, a whole message, and hands on its answers: 1 when @each ended it, 0 at the end of the list, -errno. The
 * kernel answers while it is asked; a limit of five seconds is there because each wait has one. */
int diag_ask(const void *request, size_t len, diag_each_fn each, void *arg);

/* Answers that are kept: items of @size bytes in the arena. */
struct diag_list {
	struct arena *arena;
	void *items;
	size_t n, room, size;
};

/* Room for one more, as it comes; NULL when memory is out. */
void *diag_list_push(struct diag_list *l);
