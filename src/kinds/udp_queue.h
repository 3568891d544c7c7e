/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/kind.h"
#include "sk-inet.pb-c.h"

/* Datagrams that wait in the receive queue of a UDP socket. 0 or -errno, raised; what cannot be carried is dropped with
 * a warning. Nothing here blocks for longer than a moment. */

/* dump: reads them without taking them out, into m->firn_datagrams. */
int udp_queue_dump(struct operation *op, const struct file *f, InetSkEntry *m);
int udp_queue_decode(struct operation *op, const struct file *f, const InetSkEntry *m);
/* restore, once the socket is bound, connected and has its buffer's size. */
int udp_queue_send(struct operation *op, const struct file *f, const InetSkEntry *m);
