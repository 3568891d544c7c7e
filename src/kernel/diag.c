/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kernel/diag_ask.h"

/* ---- UDP ---- */

int parse_inet_diag(const void *buf, size_t len, struct inet_diag *ret)
{
	const uint8_t *p = buf;
	struct inet_diag_msg msg;
	struct inet_diag d = { 0 };
	struct diag_attribute a;
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
	while ((r = diag_next_attribute(p, len, &pos, &a)) > 0) {
		if (a.type == INET_DIAG_SHUTDOWN && a.len >= 1)
			d.shutdown = a.data[0];
	}
	if (r == 0)
		*ret = d;
	return r;
}

static int add_inet(const uint8_t *payload, size_t len, void *arg)
{
	struct inet_diag *d = diag_list_push(arg);

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
	struct diag_list l = { .arena = a, .size = sizeof(struct inet_diag) };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(families) && r == 0; i++) {
		request.req.sdiag_family = families[i];
		r = diag_ask(&request, sizeof(request), add_inet, &l);
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
	struct diag_attribute a;
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
	while ((r = diag_next_attribute(p, len, &pos, &a)) > 0) {
		if (a.type == NETLINK_DIAG_FLAGS && !diag_take(&d.flags, sizeof(d.flags), &a))
			return -EINVAL;
	}
	if (r == 0)
		*ret = d;
	return r;
}

static int add_netlink(const uint8_t *payload, size_t len, void *arg)
{
	struct netlink_diag *d = diag_list_push(arg);

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
	struct diag_list l = { .arena = a, .size = sizeof(struct netlink_diag) };
	int r;

	r = diag_ask(&request, sizeof(request), add_netlink, &l);
	*ret = l.items;
	*ret_n = l.n;
	return r;
}

/* ---- packet sockets ---- */

static bool take_ring(const struct diag_attribute *a, struct packet_ring_diag *ret)
{
	struct packet_diag_ring r;

	if (!diag_take(&r, sizeof(r), a))
		return false;
	*ret = (struct packet_ring_diag){ r.pdr_block_size, r.pdr_block_nr,    r.pdr_frame_size, r.pdr_frame_nr,
					  r.pdr_retire_tmo, r.pdr_sizeof_priv, r.pdr_features };
	return true;
}

static int take_groups(const struct diag_attribute *a, struct arena *arena, struct packet_diag *d)
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

static int packet_attribute(const struct diag_attribute *a, struct arena *arena, struct packet_diag *d)
{
	struct packet_diag_info info;

	switch (a->type) {
	case PACKET_DIAG_INFO:
		if (!diag_take(&info, sizeof(info), a))
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
		d->has_fanout = diag_take(&d->fanout, sizeof(d->fanout), a);
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
	struct diag_attribute a;
	size_t pos = NLMSG_ALIGN(sizeof(msg));
	int r;

	if (len < sizeof(msg))
		return -EINVAL;
	memcpy(&msg, p, sizeof(msg));
	d = (struct packet_diag){ .ino = msg.pdiag_ino, .type = msg.pdiag_type, .protocol = msg.pdiag_num };
	while ((r = diag_next_attribute(p, len, &pos, &a)) > 0) {
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
	struct diag_list *l = arg;
	struct packet_diag *d = diag_list_push(l);

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
	struct diag_list l = { .arena = a, .size = sizeof(struct packet_diag) };
	int r;

	r = diag_ask(&request, sizeof(request), add_packet, &l);
	*ret = l.items;
	*ret_n = l.n;
	return r;
}
