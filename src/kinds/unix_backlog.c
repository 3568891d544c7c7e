/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/unix_facts.h"
#include "watch/recorder.h"

/*
 * Connections that wait to be accepted. Their sockets have no descriptor and no inode; SOCK_DIAG tells a listener's clients
 * in the order of its queue (UNIX_DIAG_ICONS), 0 for one that was closed meanwhile. A restore connects again in that order:
 * the image says so as CRIU's does, by a client whose peer is the listener.
 *
 * What a client has sent already lies in the queue of the socket without a descriptor. SIOCOUTQ of the client tells that
 * there is something (the diagnosis calls it wqueue), but only who accepts the connection can read it, and there is no way
 * to put it back. So it is taken when the tree is to be killed, and then only: a dump that fails after that costs the
 * client its connection, as a server that fails would. A tree that runs on is refused, by name and before the freeze.
 */

static bool is_killed(const struct operation *op)
{
	return !op->options->leave_running && !op->options->leave_stopped;
}

static bool same_file(const struct unix_diag *a, const struct unix_diag *b)
{
	if (a->has_vfs || b->has_vfs)
		return a->has_vfs == b->has_vfs && a->vfs_ino == b->vfs_ino && a->vfs_dev == b->vfs_dev;
	return a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0;
}

/* Of those whose client was closed: the kernel lists their sockets with the listener's name and no peer. A message of no
 * bytes is not in the number of bytes, so packets are never known to be none. */
static bool closed_ones_left_data(const struct unix_facts *facts, const struct unix_diag *listener)
{
	bool closed = false;

	for (size_t i = 0; i < listener->n_icons; i++)
		closed |= listener->icons[i] == 0;
	for (size_t i = 0; closed && i < facts->n && facts->all[i].ino == 0; i++) {
		const struct unix_diag *d = &facts->all[i];

		if (!d->peer && d->type == listener->type && same_file(d, listener) &&
		    (d->rqueue > 0 || d->type == SOCK_SEQPACKET))
			return true;
	}
	return false;
}

static bool has_data(const struct unix_facts *facts, const struct unix_diag *listener)
{
	for (size_t i = 0; i < listener->n_icons; i++) {
		const struct unix_diag *client = unix_facts_find(facts, listener->icons[i]);

		if (client && client->wqueue > 0)
			return true;
	}
	return closed_ones_left_data(facts, listener);
}

static int check_listener(struct operation *op, const struct file *f, const struct unix_facts *facts,
			  const struct unix_diag *d)
{
	const char *name = unix_name_text(op, d->name, d->name_len);

	if (d->n_icons != d->rqueue)
		return error_raise(op->error, ESTALE,
				   "%s: %u connections wait to be accepted on %s, and the kernel tells of %zu",
				   facts_describe(op, &f->facts), d->rqueue, name, d->n_icons);
	for (size_t i = 0; i < d->n_icons; i++) {
		if (!d->icons[i] || unix_tree_socket(op, d->icons[i]) || !unix_held_outside(op, d->icons[i]))
			continue;
		error_raise(op->error, EOPNOTSUPP,
			    "%s: a connection of a process outside the tree (socket %u) waits to be accepted on %s",
			    facts_describe(op, &f->facts), d->icons[i], name);
		error_hint(op->error, "Let the program accept and close it, then dump again.");
		return -EOPNOTSUPP;
	}
	if (is_killed(op) || !has_data(facts, d))
		return 0;
	error_raise(op->error, EOPNOTSUPP, "%s: data waits in a connection that waits to be accepted on %s",
		    facts_describe(op, &f->facts), name);
	error_hint(op->error,
		   "Only a dump that ends the tree can take it: let the program accept the connection, or dump "
		   "without --leave-running and --leave-stopped.");
	return -EOPNOTSUPP;
}

int unix_backlog_check(struct operation *op, const struct file *f, const struct unix_facts *facts,
		       const struct unix_diag *d)
{
	const struct unix_diag *listener;

	if (d->state == TCP_LISTEN && d->rqueue > 0)
		return check_listener(op, f, facts, d);
	if (d->state != TCP_ESTABLISHED || d->type == SOCK_DGRAM || d->peer)
		return 0;
	listener = unix_facts_listener(facts, d->ino);
	if (!listener || unix_tree_socket(op, listener->ino) || !unix_held_outside(op, listener->ino))
		return 0;
	error_raise(op->error, EOPNOTSUPP, "%s: its connection waits to be accepted on %s, outside the tree",
		    facts_describe(op, &f->facts), unix_name_text(op, listener->name, listener->name_len));
	error_hint(op->error, "Let the listener accept it, then dump both ends in one tree.");
	return -EOPNOTSUPP;
}

static struct unix_waiting *add_waiting(struct operation *op, struct unix_facts *facts)
{
	if (facts->n_waiting == facts->room_waiting) {
		size_t room = facts->room_waiting ? facts->room_waiting * 2 : 16;
		void *bigger = arena_grow(&op->arena, facts->waiting, facts->n_waiting, room, sizeof(*facts->waiting));

		if (!bigger)
			return NULL;
		facts->waiting = bigger;
		facts->room_waiting = room;
	}
	memset(&facts->waiting[facts->n_waiting], 0, sizeof(*facts->waiting));
	return &facts->waiting[facts->n_waiting++];
}

/* Who connected, as the accepted socket tells it. */
static int read_caller(struct operation *op, const struct file *f, int fd, struct unix_creds *ret)
{
	UnixSkEntry m = UNIX_SK_ENTRY__INIT;
	int r = unix_dump_peer_ids(op, fd, f->describe, &m);

	*ret = (struct unix_creds){ .known = m.has_firn_peer_uid,
				    .pid = (pid_t)m.firn_peer_pid,
				    .uid = m.firn_peer_uid,
				    .gid = m.firn_peer_gid,
				    .groups = m.firn_peer_groups,
				    .n_groups = m.n_firn_peer_groups };
	return r;
}

/*
 * One connection is accepted and its queue read. The descriptor stays open until firn ends. SO_PASSCRED shows the senders,
 * which the kernel notes for a socket that nobody has accepted yet.
 */
static int take(struct operation *op, const struct file *f, struct unix_facts *facts, const struct unix_diag *d,
		struct unix_waiting *w)
{
	struct file taken = *f;
	struct pollfd p = { .fd = f->facts.fd, .events = POLLIN };
	int on = 1, r;

	recorder_step(f->facts.task->pid, f->facts.task->comm, "accept4", "%s", f->describe);
	if (poll(&p, 1, 0) != 1)
		return error_raise(op->error, ESTALE, "%s: a connection that waited to be accepted is gone",
				   f->describe);
	taken.facts.fd = accept4(f->facts.fd, NULL, NULL, SOCK_CLOEXEC);
	if (taken.facts.fd < 0)
		return error_raise_call(op->error, errno, "accept4", "%s", f->describe);
	taken.id = 0;
	taken.describe = arena_printf(&op->arena, "connection %u in the backlog of %s", w->place, f->describe);
	taken.facts.what = taken.describe;
	if (!taken.describe)
		return raise_no_memory(op);
	log_info(f->facts.task->pid, "%s: taken", taken.describe);
	w->taken = true;
	r = read_caller(op, &taken, taken.facts.fd, &w->caller);
	if (r < 0)
		return r;
	(void)setsockopt(taken.facts.fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	w->first_packet = facts->packets.n;
	r = packets_peek(op, &taken, d->type, &facts->packets);
	w->n_packets = facts->packets.n - w->first_packet;
	return r;
}

int unix_backlog_dump(struct operation *op, const struct file *f, struct unix_facts *facts, const struct unix_diag *d)
{
	bool data = is_killed(op) && has_data(facts, d);
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->n_icons; i++) {
		struct unix_waiting *w = add_waiting(op, facts);

		if (!w)
			return raise_no_memory(op);
		w->listener = d->ino;
		w->client = d->icons[i];
		w->place = (uint32_t)i + 1;
		w->holder = f;
		if (data)
			r = take(op, f, facts, d, w);
	}
	return r;
}

/* A number that no socket has. */
static uint32_t free_inode(const struct unix_facts *facts, uint32_t *next)
{
	while (unix_facts_find(facts, *next))
		--*next;
	return (*next)--;
}

/* The entry of a client that is gone. */
static UnixSkEntry *add_closed(struct operation *op, struct unix_facts *facts, const struct unix_waiting *w,
			       uint32_t *next)
{
	struct file *f;
	UnixSkEntry *m = unix_add_entry(op, (uint8_t)w->holder->entry->usk->type, &f);

	if (!m)
		return NULL;
	f->describe = arena_printf(&op->arena, "closed client in the backlog of %s", w->holder->describe);
	m->ino = free_inode(facts, next);
	m->state = TCP_ESTABLISHED;
	m->flags = 2; /* O_RDWR */
	m->has_firn_closed = m->firn_closed = true;
	return m;
}

static int dump_waiting(struct operation *op, struct unix_facts *facts, const struct unix_waiting *w, uint32_t *next)
{
	const struct file *client = w->client ? unix_tree_socket(op, w->client) : NULL;
	UnixSkEntry *m;

	if (w->client && !client) {
		error_raise(op->error, EOPNOTSUPP,
			    "%s: a connection of a process outside the tree (socket %u) waits to be accepted on it",
			    w->holder->describe, w->client);
		error_hint(op->error, "Let the program accept and close it, then dump again.");
		return -EOPNOTSUPP;
	}
	m = client ? client->entry->usk : add_closed(op, facts, w, next);
	if (!m)
		return -ENOMEM;
	m->peer = w->listener;
	m->has_firn_peer_closed = false;
	m->has_firn_backlog_place = true;
	m->firn_backlog_place = w->place;
	if (w->taken && w->caller.known) {
		m->has_firn_caller_pid = m->has_firn_caller_uid = m->has_firn_caller_gid = true;
		m->firn_caller_pid = (uint32_t)w->caller.pid;
		m->firn_caller_uid = w->caller.uid;
		m->firn_caller_gid = w->caller.gid;
		m->firn_caller_groups = (uint32_t *)w->caller.groups;
		m->n_firn_caller_groups = w->caller.n_groups;
	}
	for (size_t i = 0; i < w->n_packets; i++)
		facts->packets.items[w->first_packet + i].backlog_of = m->id;
	return 0;
}

int unix_backlog_dump_all(struct operation *op, struct unix_facts *facts)
{
	uint32_t next = UINT32_MAX;
	int r = 0;

	for (size_t i = 0; r == 0 && i < facts->n_waiting; i++)
		r = dump_waiting(op, facts, &facts->waiting[i], &next);
	return r;
}
