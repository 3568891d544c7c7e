/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/unix_socket.h"

/*
 * What the steps of a restore share. Unix sockets come back all at once, because they depend on each other:
 *
 *   unix_decode.c    the entries of the image, and who belongs to whom
 *   unix_create.c    sockets, pairs and their names, in the verb create
 *   unix_accepted.c  connections that come from a listener, there too
 *   unix_queue.c     queued packets, in the verb finish
 *   unix_finish.c    what comes after those
 */

struct unix_end {
	struct file *file;
	const UnixSkEntry *m;
	struct unix_end *peer;	 /* NULL: none, or it was closed */
	bool mutual;		 /* the peer's peer is this end */
	struct unix_creds creds; /* what SO_PEERCRED says */
	bool by_listener;	 /* made by connect() and accept() */
	bool inherited;		 /* the caller of the restore gave it */
	bool waiting;		 /* in the backlog of its peer, a listener */
	bool by_passing;	 /* the same, by a listener that passes: the two ends name different callers */
	bool named;		 /* it has its name */
	struct unix_made made;	 /* a socket file of its own */
	bool connected;
	int spare;     /* stands for a closed peer until finish, or -1 */
	size_t queued; /* bytes that wait for it, with the kernel's cost per packet */
};

struct unix_plan {
	struct unix_end **ends; /* ascending by inode once sorted */
	size_t n, room;
	struct packet_list packets;
	bool created, finished;
};

static inline bool unix_is_external(const struct unix_end *e)
{
	return e->m->uflags & UNIX_EXTERNAL;
}

/* Does another end own this name, so that this one (accepted from it) only bears it? */
bool unix_owns_name(const struct unix_end *e);
/* The owner of @e's name, as far as that still is in the file system, else the last of those that bear it. */
struct unix_end *unix_name_owner(const struct unix_plan *plan, const struct unix_end *e);
/* Does @e's name stay in the file system? A path that was deleted may be another socket's by now. */
bool unix_keeps_name(const struct unix_plan *plan, const struct unix_end *e);

/* All below return 0 or -errno, raised. */
int unix_plan(struct operation *op, struct unix_plan **ret);
/* Finds every peer; sorts the ends. */
int unix_resolve(struct operation *op, struct unix_plan *plan);

int unix_bind_end(struct operation *op, const struct unix_plan *plan, struct unix_end *e);
int unix_listen_end(struct operation *op, int fd, const struct unix_end *e, const struct unix_creds *creds,
		    int backlog);

/* Which ends the two functions below make; after find_creds() of all. */
void unix_choose_accepted(const struct unix_plan *plan);
/* By listeners of the tree, which listen already. */
int unix_make_by_listener(struct operation *op, const struct unix_plan *plan);
/* By listeners that pass. @keepers: those that keep their name in the file system, or the others. */
int unix_make_by_passing(struct operation *op, const struct unix_plan *plan, bool keepers);

/* Those that wait in backlogs connect, in their order; after every other connection. */
int unix_connect_waiting(struct operation *op, const struct unix_plan *plan);

int unix_queue_all(struct operation *op, const struct unix_plan *plan);
