/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/inet_address.h"
#include "kinds/ip_options.h"
#include "kinds/socket.h"

/*
 * What UDP, ping and raw sockets share: all that is no TCP has an address, perhaps a peer, options and groups.
 * 0 or -errno, raised.
 */

/* SO_TYPE and SO_PROTOCOL of an IPv4 or IPv6 socket; false when it is none. */
bool ip_socket_is(const struct fd_facts *f, int *ret_type, int *ret_protocol);
/* dump, in check: refuses a socket whose next call will report an error (an ICMP answer, or what stands in its error queue):
 * to look which one it is would take it away. Changes nothing. */
int ip_datagram_check_error(struct operation *op, const struct fd_facts *f);
/* dump: allocates and fills f->entry->isk. Says in the log what of the receive queue is lost. */
int ip_datagram_dump(struct operation *op, struct file *f);
int ip_datagram_decode(struct operation *op, struct file *f);
/* Makes, binds, connects and shuts down; the socket is in f->fd. */
int ip_datagram_create(struct operation *op, struct file *f);
int ip_datagram_finish(struct operation *op, struct file *f);
