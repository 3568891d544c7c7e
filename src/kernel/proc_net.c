/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/proc_net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/procfs.h"

/*
 *   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 *    1: 00000000:0001 0100007F:0000 01 00000000:00000000 00:00000000 00000000     0        0 2710 2 ffff888005c3b000 0
 *
 * Addresses are 32-bit words as the processor reads them: one, or four for IPv6.
 */
#define TABLE_MAX (64u << 20)

static bool skip_hex(struct text *t)
{
	uint64_t value;

	text_blanks(t);
	return text_unsigned(t, 16, UINT64_MAX, &value);
}

static bool skip_pair(struct text *t)
{
	return skip_hex(t) && text_char(t, ':') && skip_hex(t);
}

static bool parse_end(struct text *t, uint32_t words[4], uint16_t *ret_port)
{
	struct text digits;
	uint64_t value;
	size_t n = 0;

	text_blanks(t);
	if (!text_until(t, ':', &digits))
		return false;
	memset(words, 0, 16);
	while (!text_empty(&digits)) {
		struct text word = text_of(digits.p, 8);

		if (text_len(&digits) < 8 || n == 4 || !text_unsigned(&word, 16, UINT32_MAX, &value) ||
		    !text_empty(&word))
			return false;
		words[n++] = (uint32_t)value;
		digits.p += 8;
	}
	if ((n != 1 && n != 4) || !text_unsigned(t, 16, UINT16_MAX, &value))
		return false;
	*ret_port = (uint16_t)value;
	return true;
}

static bool parse_line(struct text *t, struct proc_net_socket *ret)
{
	uint32_t local[4];
	uint16_t port;
	uint64_t value;

	text_blanks(t);
	if (!text_unsigned(t, 10, UINT64_MAX, &value) || !text_char(t, ':'))
		return false;
	if (!parse_end(t, local, &port) || !parse_end(t, ret->peer, &ret->peer_port))
		return false;
	text_blanks(t);
	if (!text_unsigned(t, 16, 255, &value))
		return false;
	ret->state = (uint8_t)value;
	/* queues, timer, retransmissions, uid, timeout */
	if (!skip_pair(t) || !skip_pair(t) || !skip_hex(t) || !skip_hex(t) || !skip_hex(t))
		return false;
	text_blanks(t);
	return text_unsigned(t, 10, UINT64_MAX, &ret->ino);
}

int parse_proc_net(const char *buf, size_t len, struct arena *a, struct proc_net_socket **ret, size_t *ret_n)
{
	struct text text = text_of(buf, len), line;
	size_t n = *ret_n, room = n;
	struct proc_net_socket *items = *ret;

	if (!text_line(&text, &line))
		return -EINVAL;
	while (text_line(&text, &line)) {
		if (n == room) {
			room = room ? room * 2 : 32;
			items = arena_grow(a, items, n, room, sizeof(*items));
			if (!items)
				return -ENOMEM;
		}
		memset(&items[n], 0, sizeof(items[n]));
		if (!parse_line(&line, &items[n]))
			return -EINVAL;
		n++;
	}
	*ret = items;
	*ret_n = n;
	return 0;
}

static int compare(const void *pa, const void *pb)
{
	const struct proc_net_socket *a = pa, *b = pb;

	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

int read_proc_net(struct arena *a, struct proc_net_socket **ret, size_t *ret_n)
{
	static const char *const tables[] = { "raw", "raw6", "icmp", "icmp6", "udp", "udp6", "udplite", "udplite6" };
	struct proc_net_socket *items = NULL;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		AUTOFREE char *text = NULL;
		char name[64];
		size_t len;
		int r;

		(void)snprintf(name, sizeof(name), "/proc/self/net/%s", tables[i]);
		r = procfs_read(AT_FDCWD, name, TABLE_MAX, &text, &len);
		if (r == -ENOENT)
			continue;
		if (r == 0)
			r = parse_proc_net(text, len, a, &items, &n);
		if (r < 0)
			return r;
	}
	if (n > 1)
		qsort(items, n, sizeof(*items), compare);
	*ret = items;
	*ret_n = n;
	return 0;
}
