/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/packet_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/packet_diag.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "kinds/socket.h"
#include "watch/recorder.h"

/*
 * Packet sockets. Nearly all of their state is told by SOCK_DIAG. The socket is made without a protocol, so that nothing
 * arrives, and bound in finish, when rings are mapped; groups of PACKET_FANOUT take bound sockets only.
 *
 * Packets in the receive queue are dropped, as CRIU does: a capture always has a beginning. The counters of
 * PACKET_STATISTICS begin anew, for reading them clears them.
 */
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24 /* Linux 6.5 */
#endif
#define NO_FANOUT UINT32_MAX
#define FANOUT_TYPE(fanout) ((fanout) >> 16 & 0xff)

struct packet_tables {
	struct packet_diag *items;
	size_t n;
};

static bool packet_recognise(const struct fd_facts *f)
{
	return socket_domain(f) == AF_PACKET;
}

static int read_tables(struct operation *op, struct packet_tables *t)
{
	int r;

	recorder_step(0, NULL, "read", "packet sockets by SOCK_DIAG");
	r = read_packet_diag(&op->arena, &t->items, &t->n);
	if (r < 0) {
		(void)error_raise_call(op->error, -r, "SOCK_DIAG", "packet sockets");
		error_hint(op->error, "The kernel needs CONFIG_PACKET_DIAG (module af_packet_diag).");
	}
	return r;
}

/* What the kernel tells now; the tree may run. */
static int find(struct operation *op, const struct fd_facts *f, const struct packet_diag **ret)
{
	struct packet_tables t = { 0 };
	int r = read_tables(op, &t);

	for (size_t i = 0; r == 0 && i < t.n; i++) {
		if (t.items[i].ino == (uint32_t)f->st.st_ino) {
			*ret = &t.items[i];
			return 0;
		}
	}
	return r < 0 ? r
		     : error_raise(op->error, ENOENT, "%s: the kernel lists no such packet socket",
				   facts_describe(op, f));
}

static int packet_check(struct operation *op, const struct fd_facts *f)
{
	const struct packet_diag *d;
	int r;

	r = socket_check(op, f);
	if (r == 0)
		r = find(op, f, &d);
	if (r < 0)
		return r;
	if (d->type == SOCK_PACKET) {
		(void)error_raise(op->error, EOPNOTSUPP,
				  "%s: a packet socket of the obsolete type SOCK_PACKET is not carried",
				  facts_describe(op, f));
		error_hint(op->error, "Let the program use SOCK_RAW, or close it before the dump.");
		return -EOPNOTSUPP;
	}
	if (d->has_fanout &&
	    (FANOUT_TYPE(d->fanout) == PACKET_FANOUT_CBPF || FANOUT_TYPE(d->fanout) == PACKET_FANOUT_EBPF)) {
		(void)error_raise(op->error, EOPNOTSUPP,
				  "%s: the BPF program of its PACKET_FANOUT group is not carried",
				  facts_describe(op, f));
		error_hint(op->error, "The kernel does not give it back: use another kind of group.");
		return -EOPNOTSUPP;
	}
	return packet_ring_check(op, f, d);
}

static uint32_t get_option(int fd, int option)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_PACKET, option, &value, &len) < 0 ? 0 : (uint32_t)value;
}

static int dump_groups(struct operation *op, const struct packet_diag *d, PacketSockEntry *m)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n_groups; i++)
		n += d->groups[i].count;
	m->mclist = arena_array(&op->arena, n ? n : 1, sizeof(*m->mclist));
	if (!m->mclist)
		return raise_no_memory(op);
	for (size_t i = 0; i < d->n_groups; i++) {
		const struct packet_group *g = &d->groups[i];

		/* joined several times, it must be left as often */
		for (uint32_t k = 0; k < g->count; k++) {
			PacketMclist *e = arena_alloc(&op->arena, sizeof(*e));

			if (!e)
				return raise_no_memory(op);
			packet_mclist__init(e);
			e->index = g->ifindex;
			e->type = g->type;
			e->addr.len = g->len;
			e->addr.data = arena_memdup(&op->arena, g->address, g->len);
			if (!e->addr.data)
				return raise_no_memory(op);
			m->mclist[m->n_mclist++] = e;
		}
	}
	return 0;
}

static void dump_options(int fd, const struct packet_diag *d, PacketSockEntry *m)
{
	m->version = d->version;
	m->reserve = d->reserve;
	m->timestamp = d->tstamp;
	m->copy_thresh = d->copy_thresh;
	m->aux_data = (d->flags & PDI_AUXDATA) != 0;
	m->orig_dev = (d->flags & PDI_ORIGDEV) != 0;
	m->vnet_hdr = (d->flags & PDI_VNETHDR) != 0;
	m->loss = (d->flags & PDI_LOSS) != 0;
	m->firn_ignore_outgoing = get_option(fd, PACKET_IGNORE_OUTGOING);
	m->has_firn_ignore_outgoing = m->firn_ignore_outgoing != 0;
	m->firn_tx_has_off = get_option(fd, PACKET_TX_HAS_OFF);
	m->has_firn_tx_has_off = m->firn_tx_has_off != 0;
	m->firn_qdisc_bypass = get_option(fd, PACKET_QDISC_BYPASS);
	m->has_firn_qdisc_bypass = m->firn_qdisc_bypass != 0;
	m->firn_vnet_hdr_size = get_option(fd, PACKET_VNET_HDR_SZ);
	m->has_firn_vnet_hdr_size = m->firn_vnet_hdr_size > 10; /* 10: what PACKET_VNET_HDR gives */
	m->has_fanout = d->has_fanout;
	if (d->has_fanout)
		m->fanout = d->fanout;
}

static int dump_device(struct operation *op, const struct packet_diag *d, PacketSockEntry *m)
{
	char name[IF_NAMESIZE];

	m->ifindex = d->index;
	if (d->index == 0 || !if_indextoname(d->index, name))
		return 0;
	m->firn_ifname = arena_strdup(&op->arena, name);
	return m->firn_ifname ? 0 : raise_no_memory(op);
}

static int packet_dump(struct operation *op, struct file *f)
{
	PacketSockEntry *m = arena_alloc(&op->arena, sizeof(*m));
	const struct packet_diag *d = NULL;
	int r;

	if (!m)
		return raise_no_memory(op);
	packet_sock_entry__init(m);
	r = find(op, &f->facts, &d);
	if (r < 0)
		return r;
	m->id = f->id;
	m->type = d->type;
	m->protocol = htons(d->protocol);
	m->flags = socket_flags(&f->facts);
	dump_options(f->facts.fd, d, m);
	r = dump_device(op, d, m);
	if (r == 0)
		r = dump_groups(op, d, m);
	if (r == 0 && d->has_rx)
		r = packet_ring_dump(op, &d->rx, &m->rx_ring);
	if (r == 0 && d->has_tx)
		r = packet_ring_dump(op, &d->tx, &m->tx_ring);
	if (r == 0)
		r = socket_opts_dump(op, &f->facts, &m->opts);
	if (r == 0 && fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		r = raise_no_memory(op);
	if (r == 0)
		socket_warn_queue(&f->facts);
	f->entry->psk = m;
	return r;
}

int files_find_ring(struct operation *op, struct task *t, const struct proc_map *m, struct file **ret)
{
	for (size_t i = 0; i < op->files->n_files; i++) {
		struct file *f = op->files->files[i];

		if (f->kind == &kind_packet_socket && f->facts.st.st_ino == m->inode) {
			*ret = f;
			return 0;
		}
	}
	(void)error_raise(op->error, EOPNOTSUPP,
			  "pid %d (%s), mapping %llx → %s: the ring of a socket that is open nowhere in the tree",
			  t->pid, t->comm, (unsigned long long)m->start, m->path);
	error_hint(op->error, "Let the program unmap it, or keep its packet socket open.");
	return -EOPNOTSUPP;
}

/* ---- restore ---- */

static void packet_describe(const FileEntry *entry, char *buf, size_t size)
{
	const PacketSockEntry *m = entry->psk;

	if (m)
		(void)snprintf(buf, size, "packet socket of protocol %04x on %s", ntohs((uint16_t)m->protocol),
			       m->firn_ifname ? m->firn_ifname
			       : m->ifindex   ? "an interface"
					      : "every interface");
}

static int packet_decode(struct operation *op, struct file *f)
{
	const PacketSockEntry *m = f->entry->psk;
	char text[128] = "packet socket";
	int r;

	if (!m || m->id != f->id || !m->opts || !m->fown || (m->type != SOCK_RAW && m->type != SOCK_DGRAM) ||
	    m->protocol > UINT16_MAX || m->version > TPACKET_V3 || m->ifindex > INT32_MAX || m->reserve > INT32_MAX ||
	    (m->firn_ifname && strlen(m->firn_ifname) >= IF_NAMESIZE))
		return raise_damaged(op, f, "the packet socket");
	for (size_t i = 0; i < m->n_mclist; i++) {
		if (m->mclist[i]->addr.len > 32 || m->mclist[i]->type > UINT16_MAX || m->mclist[i]->index > INT32_MAX)
			return raise_damaged(op, f, "a membership of a packet socket");
	}
	r = socket_opts_decode(op, f, m->opts);
	if (r < 0)
		return r;
	packet_describe(f->entry, text, sizeof(text));
	f->describe = arena_strdup(&op->arena, text);
	return f->describe ? 0 : raise_no_memory(op);
}

static int set_options(struct operation *op, const struct file *f, const PacketSockEntry *m)
{
	/* Version, reserve and header length before the rings, which forbid to change them. */
	const struct {
		const char *name;
		int option;
		uint32_t value;
	} options[] = {
		{ "PACKET_VERSION", PACKET_VERSION, m->version },
		{ "PACKET_RESERVE", PACKET_RESERVE, m->reserve },
		{ "PACKET_AUXDATA", PACKET_AUXDATA, m->aux_data },
		{ "PACKET_ORIGDEV", PACKET_ORIGDEV, m->orig_dev },
		{ "PACKET_VNET_HDR", PACKET_VNET_HDR, m->vnet_hdr },
		{ "PACKET_VNET_HDR_SZ", PACKET_VNET_HDR_SZ, m->firn_vnet_hdr_size },
		{ "PACKET_LOSS", PACKET_LOSS, m->loss },
		{ "PACKET_TIMESTAMP", PACKET_TIMESTAMP, m->timestamp },
		{ "PACKET_COPY_THRESH", PACKET_COPY_THRESH, m->copy_thresh },
		{ "PACKET_IGNORE_OUTGOING", PACKET_IGNORE_OUTGOING, m->firn_ignore_outgoing },
		{ "PACKET_TX_HAS_OFF", PACKET_TX_HAS_OFF, m->firn_tx_has_off },
		{ "PACKET_QDISC_BYPASS", PACKET_QDISC_BYPASS, m->firn_qdisc_bypass },
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		int value = (int)options[i].value;

		if (value && setsockopt(f->fd, SOL_PACKET, options[i].option, &value, sizeof(value)) < 0)
			return error_raise_call(op->error, errno, "setsockopt", "%s, %s", f->describe, options[i].name);
	}
	return 0;
}

static int join_groups(struct operation *op, const struct file *f, const PacketSockEntry *m)
{
	for (size_t i = 0; i < m->n_mclist; i++) {
		const PacketMclist *e = m->mclist[i];
		struct {
			struct packet_mreq req;
			uint8_t more[24]; /* the kernel takes addresses of 32 bytes */
		} q = { .req = { .mr_ifindex = (int)e->index,
				 .mr_type = (unsigned short)e->type,
				 .mr_alen = (unsigned short)e->addr.len } };

		memcpy(q.req.mr_address, e->addr.data, e->addr.len);
		if (setsockopt(f->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &q, sizeof(q)) < 0)
			return error_raise_call(op->error, errno, "setsockopt(PACKET_ADD_MEMBERSHIP)", "%s",
						f->describe);
	}
	return 0;
}

static int packet_create(struct operation *op, struct file *f)
{
	const PacketSockEntry *m = f->entry->psk;
	int r;

	f->fd = socket(AF_PACKET, (int)m->type | SOCK_CLOEXEC, 0);
	if (f->fd < 0)
		return error_raise_call(op->error, errno, "socket", "%s", f->describe);
	r = set_options(op, f, m);
	if (r == 0)
		r = socket_opts_before_bind(op, f->fd, m->opts, f->describe);
	if (r == 0 && m->rx_ring)
		r = packet_ring_make(op, f, m->version, PACKET_RX_RING, m->rx_ring);
	if (r == 0 && m->tx_ring)
		r = packet_ring_make(op, f, m->version, PACKET_TX_RING, m->tx_ring);
	return r == 0 ? join_groups(op, f, m) : r;
}

static int do_bind(struct operation *op, const struct file *f, const PacketSockEntry *m)
{
	struct sockaddr_ll name = { .sll_family = AF_PACKET,
				    .sll_protocol = (uint16_t)m->protocol,
				    .sll_ifindex = (int)m->ifindex };
	uint32_t fanout = m->has_fanout ? m->fanout : NO_FANOUT;

	if (m->firn_ifname) {
		name.sll_ifindex = (int)if_nametoindex(m->firn_ifname);
		if (name.sll_ifindex == 0)
			return error_raise_call(op->error, errno, "if_nametoindex", "%s", f->describe);
	}
	if ((m->protocol || m->ifindex) && bind(f->fd, (struct sockaddr *)&name, sizeof(name)) < 0)
		return error_raise_call(op->error, errno, "bind", "%s", f->describe);
	if (fanout != NO_FANOUT && setsockopt(f->fd, SOL_PACKET, PACKET_FANOUT, &fanout, sizeof(fanout)) < 0)
		return error_raise_call(op->error, errno, "setsockopt(PACKET_FANOUT)", "%s, group %u", f->describe,
					fanout & 0xffff);
	return 0;
}

static int packet_finish(struct operation *op, struct file *f)
{
	const PacketSockEntry *m = f->entry->psk;
	int r;

	r = socket_opts_apply(op, f->fd, m->opts, f->describe);
	if (r == 0)
		r = do_bind(op, f, m);
	if (r == 0)
		r = file_set_flags(op, f, m->flags);
	return r == 0 ? fown_apply(op, f->fd, m->fown, f->describe) : r;
}

const struct kind kind_packet_socket = {
	.name = "packet socket",
	.type = FD_TYPES__PACKETSK,
	.recognise = packet_recognise,
	.check = packet_check,
	.dump = packet_dump,
	.decode = packet_decode,
	.create = packet_create,
	.finish = packet_finish,
	.describe = packet_describe,
};
