/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "kernel/packet_filter.h"

/*
 * A TCP segment without data from the far end of a connection to the near one, as if it had come over the network: how a
 * socket in repair mode is told of a FIN, an acknowledgement or a reset that came before. It is sent to an address of this
 * machine and so never leaves it. It carries PACKET_FILTER_MARK. Needs CAP_NET_RAW and CAP_NET_ADMIN; does not block.
 */

#define SEGMENT_FIN 0x01u
#define SEGMENT_RST 0x04u
#define SEGMENT_ACK 0x10u

/* @seq and @ack as the far end has them; @scope is the interface of a link-local address, else 0. 0 or -errno. */
int tcp_segment_send(const struct tcp_ends *ends, uint32_t scope, uint32_t seq, uint32_t ack, uint8_t flags);
