/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "kinds/common.h"
#include "kinds/packet_socket.h"

/*
 * A ring is memory that the kernel and a program take turns with, frame by frame (Documentation/networking/packet_mmap).
 * Where the kernel goes on stands in the socket alone; a new ring begins at its first frame. So a ring in which something
 * was received or sent is refused: the program would wait at one frame and the kernel write another.
 *
 * Version 3 has blocks of frames; the kernel opens the first at once and numbers them from 1.
 */

static uint64_t ring_bytes(const struct packet_ring_diag *r)
{
	return (uint64_t)r->block_size * r->block_nr;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Is there a frame whose header is not as the kernel made it? */
static bool frames_used(const uint8_t *ring, const struct packet_ring_diag *r)
{
	uint32_t per_block = r->frame_size ? r->block_size / r->frame_size : 0;

	for (uint32_t b = 0; b < r->block_nr; b++) {
		for (uint32_t i = 0; i < per_block; i++) {
			const uint8_t *frame = ring + (uint64_t)b * r->block_size + (uint64_t)i * r->frame_size;

			if (!all_zero(frame, sizeof(struct tpacket2_hdr)))
				return true;
		}
	}
	return false;
}

static bool blocks_used(const uint8_t *ring, const struct packet_ring_diag *r)
{
	for (uint32_t b = 0; b < r->block_nr; b++) {
		struct tpacket_block_desc d;

		memcpy(&d, ring + (uint64_t)b * r->block_size, sizeof(d));
		if (d.hdr.bh1.seq_num > 1 || d.hdr.bh1.num_pkts > 0 || d.hdr.bh1.block_status != TP_STATUS_KERNEL)
			return true;
	}
	return false;
}

int packet_ring_check(struct operation *op, const struct fd_facts *f, const struct packet_diag *d)
{
	uint64_t rx = d->has_rx ? ring_bytes(&d->rx) : 0, tx = d->has_tx ? ring_bytes(&d->tx) : 0;
	const uint8_t *map;
	bool used = false;

	if (rx + tx == 0)
		return 0;
	/* Both lie in one mapping, the receiving one first; it must be mapped whole. */
	map = mmap(NULL, rx + tx, PROT_READ, MAP_SHARED, f->fd, 0);
	if (map == MAP_FAILED)
		return error_raise_call(op->error, errno, "mmap", "the rings of %s", facts_describe(op, f));
	if (rx)
		used = d->version == TPACKET_V3 ? blocks_used(map, &d->rx) : frames_used(map, &d->rx);
	if (tx && !used)
		used = frames_used(map + rx, &d->tx);
	(void)munmap((void *)map, rx + tx);
	if (!used)
		return 0;
	(void)error_raise(op->error, EOPNOTSUPP, "%s: the ring of a packet socket that was used is not carried",
			  facts_describe(op, f));
	error_hint(op->error, "Let the program make its ring anew, or read without one.");
	return -EOPNOTSUPP;
}

int packet_ring_dump(struct operation *op, const struct packet_ring_diag *d, PacketRing **ret)
{
	PacketRing *m = arena_alloc(&op->arena, sizeof(*m));

	if (!m)
		return raise_no_memory(op);
	packet_ring__init(m);
	m->block_size = d->block_size;
	m->block_nr = d->block_nr;
	m->frame_size = d->frame_size;
	m->frame_nr = d->frame_nr;
	m->retire_tmo = d->retire_tmo;
	m->sizeof_priv = d->sizeof_priv;
	m->features = d->features;
	*ret = m;
	return 0;
}

int packet_ring_make(struct operation *op, const struct file *f, unsigned version, int option, const PacketRing *m)
{
	struct tpacket_req3 req = { .tp_block_size = m->block_size,
				    .tp_block_nr = m->block_nr,
				    .tp_frame_size = m->frame_size,
				    .tp_frame_nr = m->frame_nr,
				    .tp_retire_blk_tov = m->retire_tmo,
				    .tp_sizeof_priv = m->sizeof_priv,
				    .tp_feature_req_word = m->features };

	/* The shorter request of the other versions is its beginning. */
	if (setsockopt(f->fd, SOL_PACKET, option, &req,
		       version == TPACKET_V3 ? sizeof(req) : sizeof(struct tpacket_req)) < 0)
		return error_raise_call(op->error, errno, "setsockopt", "%s, %s of %u blocks of %u bytes", f->describe,
					option == PACKET_RX_RING ? "PACKET_RX_RING" : "PACKET_TX_RING", m->block_nr,
					m->block_size);
	return 0;
}
