/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/sock_diag.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

/* An attribute's payload copied out; false when it is too short. */
static bool take(void *dst, size_t size, const uint8_t *data, size_t len)
{
	if (len < size)
		return false;
	memcpy(dst, data, size);
	return true;
}

static int parse_attribute(unsigned type, const uint8_t *data, size_t len, struct arena *a, struct unix_diag *d)
{
	struct unix_diag_vfs vfs;
	struct unix_diag_rqlen queue;

	switch (type) {
	case UNIX_DIAG_NAME:
		d->name = arena_memdup(a, data, len);
		d->name_len = len;
		return d->name ? 0 : -ENOMEM;
	case UNIX_DIAG_VFS:
		if (!take(&vfs, sizeof(vfs), data, len))
			return -EINVAL;
		d->has_vfs = true;
		d->vfs_ino = vfs.udiag_vfs_ino;
		d->vfs_dev = vfs.udiag_vfs_dev;
		return 0;
	case UNIX_DIAG_PEER:
		d->has_peer = take(&d->peer, sizeof(d->peer), data, len);
		return d->has_peer ? 0 : -EINVAL;
	case UNIX_DIAG_ICONS:
		d->n_icons = len / sizeof(uint32_t);
		d->icons = arena_memdup(a, data, d->n_icons * sizeof(uint32_t));
		return d->icons || !d->n_icons ? 0 : -ENOMEM;
	case UNIX_DIAG_RQLEN:
		if (!take(&queue, sizeof(queue), data, len))
			return -EINVAL;
		d->rqueue = queue.udiag_rqueue;
		d->wqueue = queue.udiag_wqueue;
		return 0;
	case UNIX_DIAG_SHUTDOWN:
		return take(&d->shutdown, 1, data, len) ? 0 : -EINVAL;
	default:
		return 0;        /* what later kernels add */
	}
}

int parse_unix_diag(const void *buf, size_t len, struct arena *a, struct unix_diag *ret)
{
	const uint8_t *p = buf;
	struct unix_diag_msg msg;
	struct unix_diag d;
	size_t pos = NLMSG_ALIGN(sizeof(msg));
	struct rtattr head;
	int r;

	if (!take(&msg, sizeof(msg), p, len) || msg.udiag_family != AF_UNIX)
		return -EINVAL;
	d = (struct unix_diag){ .ino = msg.udiag_ino, .type = msg.udiag_type, .state = msg.udiag_state };

	while (pos < len && len - pos >= sizeof(head)) {
		memcpy(&head, p + pos, sizeof(head));
		if (head.rta_len < sizeof(head) || head.rta_len > len - pos)
			return -EINVAL;
		r = parse_attribute(head.rta_type & NLA_TYPE_MASK, p + pos + sizeof(head), head.rta_len - sizeof(head), a, &d);
		if (r < 0)
			return r;
		pos += RTA_ALIGN(head.rta_len);
	}
	*ret = d;
	return 0;
}

struct diag_list {
	struct unix_diag *items;
	size_t n, room;
};

static struct unix_diag *list_push(struct diag_list *l, struct arena *a)
{
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		void *bigger = arena_grow(a, l->items, l->n, room, sizeof(*l->items));

		if (!bigger)
			return NULL;
		l->items = bigger;
		l->room = room;
	}
	return &l->items[l->n];
}

/* One datagram of answers: 1 at the end of the list, 0 when more follows. */
static int parse_answers(const uint8_t *buf, size_t len, struct arena *a, struct diag_list *l)
{
	struct nlmsghdr h;
	size_t pos = 0;
	int r;

	while (len - pos >= sizeof(h)) {
		memcpy(&h, buf + pos, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > len - pos)
			return -EINVAL;
		if (h.nlmsg_type == NLMSG_DONE)
			return 1;
		if (h.nlmsg_type == NLMSG_ERROR) {
			struct nlmsgerr err;

			if (!take(&err, sizeof(err.error), buf + pos + sizeof(h), h.nlmsg_len - sizeof(h)))
				return -EINVAL;
			return err.error < 0 ? err.error : -EIO;
		}
		if (h.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
			struct unix_diag *d = list_push(l, a);

			if (!d)
				return -ENOMEM;
			r = parse_unix_diag(buf + pos + sizeof(h), h.nlmsg_len - sizeof(h), a, d);
			if (r < 0)
				return r;
			l->n++;
		}
		if (NLMSG_ALIGN(h.nlmsg_len) >= len - pos)
			break;
		pos += NLMSG_ALIGN(h.nlmsg_len);
	}
	return 0;
}

int read_unix_diag(struct arena *a, struct unix_diag **ret, size_t *ret_n)
{
	struct {
		struct nlmsghdr head;
		struct unix_diag_req req;
	} ask = {
		.head = { .nlmsg_len = sizeof(ask), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.req = { .sdiag_family = AF_UNIX, .udiag_states = ~0u,
			 .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS |
				       UDIAG_SHOW_RQLEN },
	};
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timeval limit = { .tv_sec = 5 };
	struct diag_list list = { 0 };
	AUTOCLOSE int fd = -1;
	AUTOFREE uint8_t *buf = NULL;
	const size_t size = 64 << 10;
	ssize_t n;
	int r;

	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return -errno;
	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	/* The kernel answers while it is asked, so the limit is never met; it is there because each wait has one. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (sendto(fd, &ask, sizeof(ask), 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	do {
		n = recv(fd, buf, size, MSG_TRUNC);
		if (n < 0 && errno == EINTR) {
			r = 0;
			continue;
		}
		if (n < 0)
			return -errno;
		if ((size_t)n > size)
			return -EMSGSIZE;
		r = parse_answers(buf, n, a, &list);
		if (r < 0)
			return r;
	} while (r == 0);
	*ret = list.items;
	*ret_n = list.n;
	return 0;
}
