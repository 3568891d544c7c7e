/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

/* What is called for each answer. */
typedef int (*each_fn)(const uint8_t *payload, size_t len, void *arg);

struct attribute {
	unsigned type;
	const uint8_t *data;
	size_t len;
};

/* The attribute at *pos, which moves on: 1, 0 at the end, -EINVAL. */
static int next_attribute(const uint8_t *p, size_t len, size_t *pos, struct attribute *ret)
{
	struct rtattr head;

	if (*pos >= len || len - *pos < sizeof(head))
		return 0;
	memcpy(&head, p + *pos, sizeof(head));
	if (head.rta_len < sizeof(head) || head.rta_len > len - *pos)
		return -EINVAL;
	*ret = (struct attribute){ .type = head.rta_type & NLA_TYPE_MASK,
				   .data = p + *pos + sizeof(head),
				   .len = head.rta_len - sizeof(head) };
	*pos += RTA_ALIGN(head.rta_len);
	return 1;
}

/* One datagram of answers: 1 at the end of the list, 0 when more follows. */
static int walk(const uint8_t *buf, size_t len, each_fn each, void *arg)
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
			int error = 0;

			if (h.nlmsg_len - sizeof(h) < sizeof(error))
				return -EINVAL;
			memcpy(&error, buf + pos + sizeof(h), sizeof(error));
			return error < 0 ? error : -EIO;
		}
		if (h.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
			r = each(buf + pos + sizeof(h), h.nlmsg_len - sizeof(h), arg);
			if (r < 0)
				return r;
		}
		if (NLMSG_ALIGN(h.nlmsg_len) >= len - pos)
			break;
		pos += NLMSG_ALIGN(h.nlmsg_len);
	}
	return 0;
}

static int ask(const void *request, size_t len, each_fn each, void *arg)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timeval limit = { .tv_sec = 5 };
	AUTOCLOSE int fd = -1;
	AUTOFREE uint8_t *buf = NULL;
	const size_t size = 64 << 10;
	ssize_t n;
	int r = 0;

	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	buf = malloc(size);
	if (fd < 0)
		return -errno;
	if (!buf)
		return -ENOMEM;
	/* The kernel answers while it is asked, so the limit is never met; it is there because each wait has one. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (sendto(fd, request, len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	do {
		n = recv(fd, buf, size, MSG_TRUNC);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if ((size_t)n > size)
			return -EMSGSIZE;
		r = walk(buf, (size_t)n, each, arg);
	} while (r == 0);
	return r < 0 ? r : 0;
}

struct list {
	struct arena *arena;
	void *items;
	size_t n, room, size;
};

static void *list_push(struct list *l)
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

static bool take(void *dst, size_t size, const struct attribute *a)
{
	if (a->len < size)
		return false;
	memcpy(dst, a->data, size);
	return true;
}

/* ---- UDP ---- */

int parse_inet_diag(const void *buf, size_t len, struct inet_diag *ret)
{
	const uint8_t *p = buf;
	struct inet_diag_msg msg;
	struct inet_diag d = { 0 };
	struct attribute a;
	size_t pos = NLMSG_ALIGN(sizeof(msg));
	int r;

	if (len < sizeof(msg))
		return -EINVAL;
	memcpy(&msg, p, sizeof(msg));
	d = (struct inet_diag){ .ino = msg.idiag_inode,
				.family = msg.idiag_family,
				.state = msg.idiag_state,
				.rqueue = msg.idiag_rqueue,
				.wqueue = msg.idiag_wqueue };
	while ((r = next_attribute(p, len, &pos, &a)) > 0) {
		if (a.type == INET_DIAG_SHUTDOWN && a.len >= 1)
			d.shutdown = a.data[0];
	}
	if (r == 0)
		*ret = d;
	return r;
}

static int add_inet(const uint8_t *payload, size_t len, void *arg)
{
	struct inet_diag *d = list_push(arg);

	return d ? parse_inet_diag(payload, len, d) : -ENOMEM;
}

int read_inet_diag(int protocol, struct arena *a, struct inet_diag **ret, size_t *ret_n)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 req;
	} request = {
		.head = { .nlmsg_len = sizeof(request),
			  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.req = { .sdiag_protocol = (uint8_t)protocol, .idiag_states = ~0u },
	};
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	struct list l = { .arena = a, .size = sizeof(struct inet_diag) };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(families) && r == 0; i++) {
		request.req.sdiag_family = families[i];
		r = ask(&request, sizeof(request), add_inet, &l);
	}
	*ret = l.items;
	*ret_n = l.n;
	return r;
}

/* ---- netlink ---- */

int parse_netlink_diag(const void *buf, size_t len, struct netlink_diag *ret)
{
	const uint8_t *p = buf;
	struct netlink_diag_msg msg;
	struct netlink_diag d;
	struct attribute a;
	size_t pos = NLMSG_ALIGN(sizeof(msg));
	int r;

	if (len < sizeof(msg))
		return -EINVAL;
	memcpy(&msg, p, sizeof(msg));
	d = (struct netlink_diag){ .ino = msg.ndiag_ino,
				   .protocol = msg.ndiag_protocol,
				   .state = msg.ndiag_state,
				   .portid = msg.ndiag_portid,
				   .dst_portid = msg.ndiag_dst_portid,
				   .dst_group = msg.ndiag_dst_group };
	while ((r = next_attribute(p, len, &pos, &a)) > 0) {
		if (a.type == NETLINK_DIAG_FLAGS && !take(&d.flags, sizeof(d.flags), &a))
			return -EINVAL;
	}
	if (r == 0)
		*ret = d;
	return r;
}

static int add_netlink(const uint8_t *payload, size_t len, void *arg)
{
	struct netlink_diag *d = list_push(arg);

	return d ? parse_netlink_diag(payload, len, d) : -ENOMEM;
}

int read_netlink_diag(struct arena *a, struct netlink_diag **ret, size_t *ret_n)
{
	struct {
		struct nlmsghdr head;
		struct netlink_diag_req req;
	} request = {
		.head = { .nlmsg_len = sizeof(request),
			  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.req = { .sdiag_family = AF_NETLINK,
			 .sdiag_protocol = NDIAG_PROTO_ALL,
			 .ndiag_show = NDIAG_SHOW_FLAGS },
	};
	struct list l = { .arena = a, .size = sizeof(struct netlink_diag) };
	int r;

	r = ask(&request, sizeof(request), add_netlink, &l);
	*ret = l.items;
	*ret_n = l.n;
	return r;
}

/* ---- packet sockets ---- */

static bool take_ring(const struct attribute *a, struct packet_ring_diag *ret)
{
	struct packet_diag_ring r;

	if (!take(&r, sizeof(r), a))
		return false;
	*ret = (struct packet_ring_diag){ r.pdr_block_size, r.pdr_block_nr,    r.pdr_frame_size, r.pdr_frame_nr,
					  r.pdr_retire_tmo, r.pdr_sizeof_priv, r.pdr_features };
	return true;
}

static int take_groups(const struct attribute *a, struct arena *arena, struct packet_diag *d)
{
	struct packet_diag_mclist m;

	d->n_groups = a->len / sizeof(m);
	d->groups = arena_array(arena, d->n_groups ? d->n_groups : 1, sizeof(*d->groups));
	if (!d->groups)
		return -ENOMEM;
	for (size_t i = 0; i < d->n_groups; i++) {
		memcpy(&m, a->data + i * sizeof(m), sizeof(m));
		if (m.pdmc_alen > sizeof(d->groups[i].address))
			return -EINVAL;
		d->groups[i] = (struct packet_group){
			.ifindex = m.pdmc_index, .count = m.pdmc_count, .type = m.pdmc_type, .len = m.pdmc_alen
		};
		memcpy(d->groups[i].address, m.pdmc_addr, sizeof(m.pdmc_addr));
	}
	return 0;
}

static int packet_attribute(const struct attribute *a, struct arena *arena, struct packet_diag *d)
{
	struct packet_diag_info info;

	switch (a->type) {
	case PACKET_DIAG_INFO:
		if (!take(&info, sizeof(info), a))
			return -EINVAL;
		d->has_info = true;
		d->index = info.pdi_index;
		d->version = info.pdi_version;
		d->reserve = info.pdi_reserve;
		d->copy_thresh = info.pdi_copy_thresh;
		d->tstamp = info.pdi_tstamp;
		d->flags = info.pdi_flags;
		return 0;
	case PACKET_DIAG_MCLIST:
		return take_groups(a, arena, d);
	case PACKET_DIAG_RX_RING:
		d->has_rx = take_ring(a, &d->rx);
		return d->has_rx ? 0 : -EINVAL;
	case PACKET_DIAG_TX_RING:
		d->has_tx = take_ring(a, &d->tx);
		return d->has_tx ? 0 : -EINVAL;
	case PACKET_DIAG_FANOUT:
		d->has_fanout = take(&d->fanout, sizeof(d->fanout), a);
		return d->has_fanout ? 0 : -EINVAL;
	default:
		return 0;
	}
}

int parse_packet_diag(const void *buf, size_t len, struct arena *arena, struct packet_diag *ret)
{
	const uint8_t *p = buf;
	struct packet_diag_msg msg;
	struct packet_diag d;
	struct attribute a;
	size_t pos = NLMSG_ALIGN(sizeof(msg));
	int r;

	if (len < sizeof(msg))
		return -EINVAL;
	memcpy(&msg, p, sizeof(msg));
	d = (struct packet_diag){ .ino = msg.pdiag_ino, .type = msg.pdiag_type, .protocol = msg.pdiag_num };
	while ((r = next_attribute(p, len, &pos, &a)) > 0) {
		r = packet_attribute(&a, arena, &d);
		if (r < 0)
			return r;
	}
	if (r == 0)
		*ret = d;
	return r;
}

static int add_packet(const uint8_t *payload, size_t len, void *arg)
{
	struct list *l = arg;
	struct packet_diag *d = list_push(l);

	return d ? parse_packet_diag(payload, len, l->arena, d) : -ENOMEM;
}

int read_packet_diag(struct arena *a, struct packet_diag **ret, size_t *ret_n)
{
	struct {
		struct nlmsghdr head;
		struct packet_diag_req req;
	} request = {
		.head = { .nlmsg_len = sizeof(request),
			  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.req = { .sdiag_family = AF_PACKET,
			 .pdiag_show =
				 PACKET_SHOW_INFO | PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG | PACKET_SHOW_FANOUT },
	};
	struct list l = { .arena = a, .size = sizeof(struct packet_diag) };
	int r;

	r = ask(&request, sizeof(request), add_packet, &l);
	*ret = l.items;
	*ret_n = l.n;
	return r;
}
