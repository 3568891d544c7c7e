/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/diag_ask.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/cleanup.h"

int diag_next_attribute(const uint8_t *p, size_t len, size_t *pos, struct diag_attribute *ret)
{
	struct rtattr head;

	if (*pos >= len || len - *pos < sizeof(head))
		return 0;
	memcpy(&head, p + *pos, sizeof(head));
	if (head.rta_len < sizeof(head) || head.rta_len > len - *pos)
		return -EINVAL;
	*ret = (struct diag_attribute){ .type = head.rta_type & NLA_TYPE_MASK,
					.data = p + *pos + sizeof(head),
					.len = head.rta_len - sizeof(head) };
	*pos += RTA_ALIGN(head.rta_len);
	return 1;
}

bool diag_take(void *dst, size_t size, const struct diag_attribute *a)
{
	if (a->len < size)
		return false;
	memcpy(dst, a->data, size);
	return true;
}

/* What one datagram says. */
enum answers { ANSWERS_MORE, ANSWERS_END, ANSWERS_ENOUGH };

static int walk(const uint8_t *buf, size_t len, diag_each_fn each, void *arg)
{
	struct nlmsghdr h;
	size_t pos = 0;
	int r;

	while (len - pos >= sizeof(h)) {
		memcpy(&h, buf + pos, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > len - pos)
			return -EINVAL;
		if (h.nlmsg_type == NLMSG_DONE)
			return ANSWERS_END;
		if (h.nlmsg_type == NLMSG_ERROR) {
			int error = 0;

			if (h.nlmsg_len - sizeof(h) < sizeof(error))
				return -EINVAL;
			memcpy(&error, buf + pos + sizeof(h), sizeof(error));
			return error < 0 ? error : -EIO;
		}
		if (h.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
			r = each(buf + pos + sizeof(h), h.nlmsg_len - sizeof(h), arg);
			if (r != 0)
				return r < 0 ? r : ANSWERS_ENOUGH;
		}
		if (NLMSG_ALIGN(h.nlmsg_len) >= len - pos)
			break;
		pos += NLMSG_ALIGN(h.nlmsg_len);
	}
	return ANSWERS_MORE;
}

int diag_ask(const void *request, size_t len, diag_each_fn each, void *arg)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timeval limit = { .tv_sec = 5 };
	AUTOCLOSE int fd = -1;
	AUTOFREE uint8_t *buf = NULL;
	const size_t size = 64 << 10;
	ssize_t n;
	int r = ANSWERS_MORE;

	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return -errno;
	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (sendto(fd, request, len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	while (r == ANSWERS_MORE) {
		n = recv(fd, buf, size, MSG_TRUNC);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if ((size_t)n > size)
			return -EMSGSIZE;
		r = walk(buf, (size_t)n, each, arg);
	}
	return r < 0 ? r : r == ANSWERS_ENOUGH;
}

void *diag_list_push(struct diag_list *l)
{
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 32;
		void *bigger = arena_grow(l->arena, l->items, l->n, room, l->size);

		if (!bigger)
			return NULL;
		l->items = bigger;
		l->room = room;
	}
	return (char *)l->items + l->n++ * l->size;
}
