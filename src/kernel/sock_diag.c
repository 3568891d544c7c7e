/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/sock_diag.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>

#include "kernel/diag_ask.h"

static int parse_attribute(const struct diag_attribute *at, struct arena *a, struct unix_diag *d)
{
	struct unix_diag_vfs vfs;
	struct unix_diag_rqlen queue;

	switch (at->type) {
	case UNIX_DIAG_NAME:
		d->name = arena_memdup(a, at->data, at->len);
		d->name_len = at->len;
		return d->name ? 0 : -ENOMEM;
	case UNIX_DIAG_VFS:
		if (!diag_take(&vfs, sizeof(vfs), at))
			return -EINVAL;
		d->has_vfs = true;
		d->vfs_ino = vfs.udiag_vfs_ino;
		d->vfs_dev = vfs.udiag_vfs_dev;
		return 0;
	case UNIX_DIAG_PEER:
		d->has_peer = diag_take(&d->peer, sizeof(d->peer), at);
		return d->has_peer ? 0 : -EINVAL;
	case UNIX_DIAG_ICONS:
		d->n_icons = at->len / sizeof(uint32_t);
		d->icons = arena_memdup(a, at->data, d->n_icons * sizeof(uint32_t));
		return d->icons || !d->n_icons ? 0 : -ENOMEM;
	case UNIX_DIAG_RQLEN:
		if (!diag_take(&queue, sizeof(queue), at))
			return -EINVAL;
		d->rqueue = queue.udiag_rqueue;
		d->wqueue = queue.udiag_wqueue;
		return 0;
	case UNIX_DIAG_SHUTDOWN:
		return diag_take(&d->shutdown, 1, at) ? 0 : -EINVAL;
	default:
		return 0;        /* what later kernels add */
	}
}

int parse_unix_diag(const void *buf, size_t len, struct arena *a, struct unix_diag *ret)
{
	const uint8_t *p = buf;
	struct unix_diag_msg msg;
	struct unix_diag d;
	struct diag_attribute at;
	size_t pos = NLMSG_ALIGN(sizeof(msg));
	int r;

	if (len < sizeof(msg))
		return -EINVAL;
	memcpy(&msg, p, sizeof(msg));
	if (msg.udiag_family != AF_UNIX)
		return -EINVAL;
	d = (struct unix_diag){ .ino = msg.udiag_ino, .type = msg.udiag_type, .state = msg.udiag_state };
	while ((r = diag_next_attribute(p, len, &pos, &at)) > 0) {
		r = parse_attribute(&at, a, &d);
		if (r < 0)
			return r;
	}
	if (r == 0)
		*ret = d;
	return r;
}

static int add_unix(const uint8_t *payload, size_t len, void *arg)
{
	struct diag_list *l = arg;
	struct unix_diag *d = diag_list_push(l);

	return d ? parse_unix_diag(payload, len, l->arena, d) : -ENOMEM;
}

int read_unix_diag(struct arena *a, struct unix_diag **ret, size_t *ret_n)
{
	struct {
		struct nlmsghdr head;
		struct unix_diag_req req;
	} request = {
		.head = { .nlmsg_len = sizeof(request), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.req = { .sdiag_family = AF_UNIX, .udiag_states = ~0u,
			 .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS |
				       UDIAG_SHOW_RQLEN },
	};
	struct diag_list list = { .arena = a, .size = sizeof(struct unix_diag) };
	int r = diag_ask(&request, sizeof(request), add_unix, &list);

	*ret = list.items;
	*ret_n = list.n;
	return r;
}
