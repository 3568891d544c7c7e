/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/kind.h"
#include "sk-inet.pb-c.h"

/*
 * Options of all IP sockets (TCP's too) at IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP and SOL_RAW, and memberships in multicast groups.
 * 0 or -errno, raised. Nothing here blocks.
 */

/* dump: what differs from a fresh socket, into m->ip_opts where CRIU has a field, else into m->firn_options. The family,
 * type and protocol of @m are set. */
int ip_options_dump(struct operation *op, const struct fd_facts *f, InetSkEntry *m);
/* restore: checks the hostile entry. */
int ip_options_decode(struct operation *op, const struct file *f, const InetSkEntry *m);
/* restore, before bind(). */
int ip_options_apply(struct operation *op, const struct file *f, const InetSkEntry *m);
/* restore: what must wait until the socket has sent what firn wants to send, and got it (UDP_CORK, SO_PEEK_OFF,
 * IP_MINTTL). */
int ip_options_apply_late(struct operation *op, const struct file *f, const InetSkEntry *m);

/* dump: the groups that this very socket has joined, into m->firn_groups. */
int ip_groups_dump(struct operation *op, const struct fd_facts *f, InetSkEntry *m);
int ip_groups_decode(struct operation *op, const struct file *f, const InetSkEntry *m);
int ip_groups_join(struct operation *op, const struct file *f, const InetSkEntry *m);
