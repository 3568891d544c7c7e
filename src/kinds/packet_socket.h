/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/diag.h"
#include "kinds/kind.h"
#include "packet-sock.pb-c.h"

/* Rings of packet sockets (PACKET_RX_RING, PACKET_TX_RING). 0 or -errno, raised. */

/* dump: refuses rings that were used: where the kernel goes on in them cannot be told to a new one. Changes nothing. */
int packet_ring_check(struct operation *op, const struct fd_facts *f, const struct packet_diag *d);
int packet_ring_dump(struct operation *op, const struct packet_ring_diag *d, PacketRing **ret);
/* restore, before bind(). @option: PACKET_RX_RING or PACKET_TX_RING. */
int packet_ring_make(struct operation *op, const struct file *f, unsigned version, int option, const PacketRing *m);
