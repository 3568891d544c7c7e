/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/igmp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/procfs.h"

/*
 *     Idx	Device    : Count Querier	Group    Users Timer	Reporter
 *     1	lo        :     1      V3
 *     				010000E0     1 0:00000000		0
 *
 * The group is the address as the processor reads it. In igmp6 each line holds all:
 *
 *     1    lo              ff020000000000000000000000000001     1 0000000C 0
 */
#define IGMP_MAX (4u << 20)

struct group_list {
	struct igmp_group *items;
	size_t n, room;
};

static struct igmp_group *push(struct group_list *l, struct arena *a)
{
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 16;
		void *bigger = arena_grow(a, l->items, l->n, room, sizeof(*l->items));

		if (!bigger)
			return NULL;
		l->items = bigger;
		l->room = room;
	}
	memset(&l->items[l->n], 0, sizeof(*l->items));
	return &l->items[l->n++];
}

int parse_igmp(const char *buf, size_t len, struct arena *a, struct igmp_group **ret, size_t *ret_n)
{
	struct text text = text_of(buf, len), line;
	struct group_list l = { 0 };
	uint32_t index = 0, address;

	if (!text_line(&text, &line) || !text_literal(&line, "Idx"))
		return -EINVAL;
	while (text_line(&text, &line)) {
		struct igmp_group *g;

		if (!text_empty(&line) && line.p[0] != '\t') {
			if (!text_u32(&line, 10, &index))
				return -EINVAL;
			continue;
		}
		text_blanks(&line);
		if (index == 0 || !text_u32(&line, 16, &address))
			return -EINVAL;
		g = push(&l, a);
		if (!g)
			return -ENOMEM;
		g->ifindex = index;
		memcpy(g->address, &address, sizeof(address));
	}
	*ret = l.items;
	*ret_n = l.n;
	return 0;
}

static bool parse_address(struct text *t, uint8_t address[16])
{
	for (size_t i = 0; i < 16; i++) {
		int high, low;

		if (text_len(t) < 2)
			return false;
		high = text_digit(t->p[0]);
		low = text_digit(t->p[1]);
		if (high < 0 || high > 15 || low < 0 || low > 15)
			return false;
		address[i] = (uint8_t)(high << 4 | low);
		t->p += 2;
	}
	return true;
}

int parse_igmp6(const char *buf, size_t len, struct arena *a, struct igmp_group **ret, size_t *ret_n)
{
	struct text text = text_of(buf, len), line;
	struct group_list l = { 0 };

	while (text_line(&text, &line)) {
		struct igmp_group *g = push(&l, a);
		uint32_t index;

		if (!g)
			return -ENOMEM;
		if (!text_u32(&line, 10, &index))
			return -EINVAL;
		g->ifindex = index;
		text_blanks(&line);
		while (!text_empty(&line) && line.p[0] != ' ') /* the name: no blanks in it */
			line.p++;
		text_blanks(&line);
		if (!parse_address(&line, g->address))
			return -EINVAL;
	}
	*ret = l.items;
	*ret_n = l.n;
	return 0;
}

static int read_table(const char *name,
		      int (*parse)(const char *, size_t, struct arena *, struct igmp_group **, size_t *),
		      struct arena *a, struct igmp_group **ret, size_t *ret_n)
{
	AUTOFREE char *text = NULL;
	size_t len;
	int r;

	r = procfs_read(AT_FDCWD, name, IGMP_MAX, &text, &len);
	return r < 0 ? r : parse(text, len, a, ret, ret_n);
}

int read_igmp(struct arena *a, struct igmp_group **ret, size_t *ret_n)
{
	return read_table("/proc/self/net/igmp", parse_igmp, a, ret, ret_n);
}

int read_igmp6(struct arena *a, struct igmp_group **ret, size_t *ret_n)
{
	return read_table("/proc/self/net/igmp6", parse_igmp6, a, ret, ret_n);
}
