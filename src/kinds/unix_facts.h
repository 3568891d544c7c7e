/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/sock_diag.h"
#include "kinds/socket.h"
#include "kinds/unix_socket.h"

/* What a dump knows of all unix sockets of the machine. */

/* A connection that accept() has not given out yet. Its own socket has no inode; the client's stands for it. */
struct unix_waiting {
	uint32_t listener, client;	/* inodes; client 0: it was closed */
	uint32_t place;			/* in the backlog, from 1 */
	const struct file *holder;	/* the listener */
	bool taken;			/* by firn's accept(): what follows is known */
	struct unix_creds caller;	/* who connected */
	size_t first_packet, n_packets; /* in facts->packets */
};

struct unix_facts {
	struct unix_diag *all; /* ascending by inode */
	size_t n;
	struct packet_list packets;
	struct unix_waiting *waiting;
	size_t n_waiting, room_waiting;
};

/* @again: asks the kernel once more. 0 or -errno, raised. */
int unix_facts(struct operation *op, bool again, struct unix_facts **ret);
/* NULL when there is none. */
const struct unix_diag *unix_facts_find(const struct unix_facts *facts, uint32_t ino);
/* The listener in whose backlog the connection of @ino waits. */
const struct unix_diag *unix_facts_listener(const struct unix_facts *facts, uint32_t ino);
/* The tree's socket with that inode, or NULL. */
struct file *unix_tree_socket(const struct operation *op, uint32_t ino);
/* Does a process outside of the tree hold the socket? One that nobody holds is in flight in some queue. */
bool unix_held_outside(const struct operation *op, uint32_t ino);

/* Backlogs (unix_backlog.c). 0 or -errno, raised. */
int unix_backlog_check(struct operation *op, const struct file *f, const struct unix_facts *facts,
		       const struct unix_diag *d);
/* Notes who waits, and takes what the kernel shows only to the one who accepts. */
int unix_backlog_dump(struct operation *op, const struct file *f, struct unix_facts *facts, const struct unix_diag *d);
/* After all sockets: says so in the clients' entries. */
int unix_backlog_dump_all(struct operation *op, struct unix_facts *facts);

/* An entry of a socket that no descriptor of the tree refers to; id, type and empty submessages are set. NULL: raised. */
UnixSkEntry *unix_add_entry(struct operation *op, uint8_t type, struct file **ret);
