/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "kernel/packet_filter.h"
#include "kinds/inet_address.h"
#include "kinds/socket.h"
#include "sk-inet.pb-c.h"
#include "tcp-stream.pb-c.h"

/*
 * IP sockets: inet_socket.c is the kind; inet_address.c, inet_options.c and the tcp_*.c files hold one thing each.
 * Functions that take the operation return 0 or -errno, raised.
 */

/* What a TCP socket that has or had a connection keeps in file->state. */
struct tcp_connection {
	TcpStreamEntry *stream;
	const uint8_t *in, *out; /* stream->inq_len and stream->outq_len bytes */
	struct tcp_ends ends;
	uint32_t scope; /* interface of a link-local address */
	bool held;	/* dump: in repair mode */
};

int inet_set_int(struct operation *op, const struct file *f, int level, int option, const char *name, int value);

/* Both ends as the packet filter sees them. */
void inet_fill_ends(const InetSkEntry *m, struct tcp_ends *ret);

/* inet_options.c: at the levels of IP and TCP. SOL_SOCKET's are in kinds/socket.h, and what of IP's is set before bind() or
 * late is in kinds/ip_options.h. */
int inet_options_dump(struct operation *op, const struct fd_facts *f, InetSkEntry *m);
int inet_options_decode(struct operation *op, const struct file *f, const InetSkEntry *m);
int inet_options_apply(struct operation *op, const struct file *f, const InetSkEntry *m);

/* tcp_state.c */
const char *tcp_state_name(uint32_t state);
/* SYN_SENT to CLOSING: there is a far end that must not notice anything. */
bool tcp_state_connected(uint32_t state);
/* Has the far end's FIN been received; was ours sent? */
bool tcp_state_fin_received(uint32_t state);
bool tcp_state_fin_sent(uint32_t state);
/* Closed, but it had a connection: reading gives what is left and then the end. */
bool tcp_socket_ended(int fd, uint32_t state);
/* Can it be carried with these options? */
int tcp_check(struct operation *op, const struct fd_facts *f, uint32_t *ret_state);

/* tcp_port.c (restore): bind() and listen(), where leftovers may have the port. */
int tcp_port_bind(struct operation *op, const struct file *f, const InetSkEntry *m);
int tcp_port_listen(struct operation *op, const struct file *f, const InetSkEntry *m);

/* tcp_dump.c: everything that needs repair mode, for all connections at once (the verb dump_all). */
int tcp_dump_all(struct operation *op);

/* tcp_hold.c: see there. The lock and the guard. */
int tcp_hold_begin(struct operation *op, const struct tcp_ends *ends, size_t n_ends, const int *sockets,
		   size_t n_sockets);
/* The lock that stays until the restore; before the tree is killed. */
int tcp_hold_keep(struct operation *op, const struct tcp_ends *ends, size_t n_ends);

/* The name of the table in which a dump with that run id leaves its lock. */
void tcp_lock_name(const char *run_id, char *buf, size_t size);
void tcp_part(struct operation *op, enum parting how);

/* tcp_restore.c */
int tcp_decode(struct operation *op, struct file *f, const InetSkEntry *m);
int tcp_lock_all(struct operation *op);
int tcp_create(struct operation *op, struct file *f, const InetSkEntry *m);
int tcp_go_all(struct operation *op);
