/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/unix_socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/inherit.h"
#include "kinds/registry.h"
#include "kinds/unix_facts.h"
#include "tree/refusals.h"
#include "watch/recorder.h"

/*
 * Unix sockets. Who is connected to whom the kernel tells by SOCK_DIAG; names and options come from the local copy.
 *
 * What cannot be carried is refused by name: a peer in a process outside the tree, but for a datagram socket connected to a
 * name, with --ext-unix-sk. For connections that wait to be accepted see unix_backlog.c.
 */

static bool unix_recognise(const struct fd_facts *f)
{
	return socket_domain(f) == AF_UNIX;
}

/* The peer of a datagram socket that is not connected back is reached by name alone. */
static int check_datagram_peer(struct operation *op, const struct file *f, const struct unix_diag *d,
			       const struct unix_diag *peer)
{
	if (peer->peer == d->ino || peer->name_len > 0)
		return 0;
	error_raise(op->error, EOPNOTSUPP, "%s: it is connected to an unnamed socket that is not connected back",
		    facts_describe(op, &f->facts));
	error_hint(op->error, "Such a connection cannot be made again: close one of the two before the dump.");
	return -EOPNOTSUPP;
}

/* Is it named by --external unix[INODE]? A restore is given it by --inherit-fd. */
static bool is_external(const struct operation *op, const struct unix_diag *d)
{
	char key[32];

	(void)snprintf(key, sizeof(key), "unix[%u]", d->ino);
	return external_listed(op, key);
}

static int check_external(struct operation *op, const struct file *f, const struct unix_diag *d)
{
	if (d->rqueue == 0)
		return 0;
	error_raise(op->error, EOPNOTSUPP,
		    "%s: %u bytes wait in its queue, and a restore is given another socket in its place",
		    facts_describe(op, &f->facts), d->rqueue);
	error_hint(op->error, "Let the program read them, then dump again.");
	return -EOPNOTSUPP;
}

/* @all: the queues were read too. */
static int check_peer(struct operation *op, const struct file *f, const struct unix_facts *facts,
		      const struct unix_diag *d, bool all)
{
	const struct unix_diag *peer = unix_facts_find(facts, d->peer);

	if (!d->peer)
		return 0;
	if (unix_tree_socket(op, d->peer))
		return peer && d->type == SOCK_DGRAM ? check_datagram_peer(op, f, d, peer) : 0;
	/* In flight in a queue: all is known only when the queues were read. */
	if (!all && !unix_held_outside(op, d->peer))
		return 0;
	if (!peer)
		return error_raise(op->error, ESTALE, "%s: its peer, socket %u, is not among the kernel's unix sockets",
				   facts_describe(op, &f->facts), d->peer);
	if (is_external(op, d))
		return check_external(op, f, d);
	if (d->type == SOCK_DGRAM && peer->name_len > 0 && peer->peer != d->ino) {
		if (op->options->ext_unix_sk)
			return 0;
		error_raise(op->error, EOPNOTSUPP,
			    "%s: it is connected to %s (socket %u) of a process outside the tree",
			    facts_describe(op, &f->facts), unix_name_text(op, peer->name, peer->name_len), d->peer);
		error_hint(op->error, "With --ext-unix-sk the restore connects to that name again.");
		return -EOPNOTSUPP;
	}
	error_raise(op->error, EOPNOTSUPP, "%s: its peer is socket %u (%s) of a process outside the tree",
		    facts_describe(op, &f->facts), d->peer, unix_name_text(op, peer->name, peer->name_len));
	error_hint(op->error,
		   "Dump both ends in one tree, or close the connection first, or dump with --external unix[%u] and "
		   "restore with --inherit-fd fd[N]:socket:[%u]. --ext-unix-sk is for datagram sockets connected to a "
		   "name.",
		   d->ino, d->ino);
	return -EOPNOTSUPP;
}

/* Before anything is frozen a socket may come and go; what is not there is looked for again in the dump itself. */
static int unix_check_all(struct operation *op)
{
	struct unix_facts *facts;
	int r;

	r = unix_facts(op, true, &facts);
	for (size_t i = 0; r == 0 && i < op->files->n_files; i++) {
		const struct file *f = op->files->files[i];
		const struct unix_diag *d;

		if (f->kind != &kind_unix_socket || f->facts.fd < 0)
			continue;
		d = unix_facts_find(facts, (uint32_t)f->facts.st.st_ino);
		if (!d)
			continue;
		r = unix_backlog_check(op, f, facts, d);
		if (r == 0)
			r = check_peer(op, f, facts, d, false);
		if (r == 0)
			r = unix_name_check(op, f, d->name, d->name_len);
		if (r == 0 && d->type == SOCK_STREAM && d->state == TCP_ESTABLISHED)
			r = packets_check_urgent(op, facts_describe(op, &f->facts), f->facts.fd);
		r = refusal_note(op, r);
	}
	return r;
}

/* What the next call will report: POLLERR of a stream or seqpacket whose peer was closed with unread data. */
static int dump_error(struct operation *op, const struct file *f, const struct unix_diag *d, UnixSkEntry *m)
{
	struct pollfd p = { .fd = f->facts.fd };

	if (poll(&p, 1, 0) < 0 || !(p.revents & POLLERR))
		return 0;
	if (d->type == SOCK_DGRAM || m->peer || !m->firn_peer_closed) {
		error_raise(op->error, EOPNOTSUPP, "%s: an error waits to be reported by it, which is not carried",
			    facts_describe(op, &f->facts));
		error_hint(op->error, "Let the program use the socket once, then dump again.");
		return -EOPNOTSUPP;
	}
	m->has_firn_reset = m->firn_reset = true;
	return 0;
}

static void dump_peek_offset(const struct file *f, UnixSkEntry *m)
{
	int offset = -1;
	socklen_t len = sizeof(offset);

	if (getsockopt(f->facts.fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &len) < 0 || offset < 0)
		return;
	m->has_firn_peek_off = true;
	m->firn_peek_off = (uint32_t)offset;
}

/* The kernel has it of listeners and of what was ever connected; nobody is (uid_t)-1, and a pid of elsewhere is 0. */
int unix_dump_peer_ids(struct operation *op, int fd, const char *describe, UnixSkEntry *m)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	gid_t *groups;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || cred.uid == (uid_t)-1)
		return 0;
	m->has_firn_peer_uid = m->has_firn_peer_gid = m->has_firn_peer_pid = true;
	m->firn_peer_uid = cred.uid;
	m->firn_peer_gid = cred.gid;
	m->firn_peer_pid = cred.pid > 0 ? (uint32_t)cred.pid : 0;
	len = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE || len == 0)
		return 0;
	groups = arena_alloc(&op->arena, len);
	if (!groups)
		return raise_no_memory(op);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return error_raise_call(op->error, errno, "getsockopt(SO_PEERGROUPS)", "%s", describe);
	m->firn_peer_groups = groups;
	m->n_firn_peer_groups = len / sizeof(*groups);
	return 0;
}

static int dump_entry(struct operation *op, struct file *f, const struct unix_diag *d, UnixSkEntry *m)
{
	int r;

	m->id = f->id;
	m->ino = d->ino;
	m->type = d->type;
	m->state = d->state;
	m->flags = socket_flags(&f->facts);
	m->backlog = d->wqueue;
	m->has_firn_mode = m->has_firn_uid = m->has_firn_gid = true;
	m->firn_mode = f->facts.st.st_mode & 07777;
	m->firn_uid = f->facts.st.st_uid;
	m->firn_gid = f->facts.st.st_gid;
	m->peer = d->peer;
	if (d->shutdown & 3) {
		m->has_shutdown = true;
		m->shutdown = (SkShutdown)(d->shutdown & 3);
	}
	/* The kernel names the peer as long as it holds on to it, with the inode 0 once that was closed. */
	if (d->state == TCP_ESTABLISHED && !d->peer && (d->has_peer || d->type != SOCK_DGRAM))
		m->has_firn_peer_closed = m->firn_peer_closed = true;
	dump_peek_offset(f, m);
	r = unix_dump_peer_ids(op, f->facts.fd, f->describe, m);
	if (r == 0)
		r = dump_error(op, f, d, m);
	if (r == 0)
		r = unix_name_dump(op, f, d->name, d->name_len, m);
	if (r == 0)
		r = socket_opts_dump(op, &f->facts, &m->opts);
	if (r == 0 && fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		r = raise_no_memory(op);
	return r;
}

static int unix_dump(struct operation *op, struct file *f)
{
	UnixSkEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct unix_facts *facts;
	const struct unix_diag *d;
	int r;

	if (!m)
		return raise_no_memory(op);
	unix_sk_entry__init(m);
	/* Asked again once the tree is frozen: at the first socket of the dump. */
	r = unix_facts(op, false, &facts);
	if (r < 0)
		return r;
	d = unix_facts_find(facts, (uint32_t)f->facts.st.st_ino);
	if (!d) {
		error_raise(op->error, EOPNOTSUPP, "%s: the kernel does not list it among the unix sockets here",
			    facts_describe(op, &f->facts));
		error_hint(op->error, "It belongs to another network namespace, which is not carried yet.");
		return -EOPNOTSUPP;
	}
	f->entry->usk = m;
	r = dump_entry(op, f, d, m);
	if (r == 0 && d->state == TCP_LISTEN)
		return unix_backlog_dump(op, f, facts, d);
	if (r < 0)
		return r;
	/* Here and not in dump_all: descriptors in the queue become files that are dumped in their turn. */
	recorder_step(f->facts.task->pid, f->facts.task->comm, "recvmsg(MSG_PEEK)", "%s", f->describe);
	return packets_peek(op, f, d->type, &facts->packets);
}

static int check_source(struct operation *op, const struct packet *p)
{
	const struct file *f = files_find(op, p->backlog_of ? p->backlog_of : p->id_for);

	if (p->backlog_of || !p->source || p->source_len == 0 || p->source[0] == '\0')
		return 0;
	for (size_t i = 0; i < op->files->n_files; i++) {
		const UnixSkEntry *m =
			op->files->files[i]->kind == &kind_unix_socket ? op->files->files[i]->entry->usk : NULL;

		if (m && m->type == SOCK_DGRAM && m->name.len == p->source_len &&
		    memcmp(m->name.data, p->source, p->source_len) == 0)
			return 0;
	}
	error_raise(op->error, EOPNOTSUPP, "%s: a datagram from %s, a socket outside the tree, waits in its queue",
		    facts_describe(op, &f->facts), unix_name_text(op, p->source, p->source_len));
	error_hint(op->error,
		   "Its sender's address could not be given back. Let the program receive it, then dump again.");
	return -EOPNOTSUPP;
}

static int dump_queues(struct operation *op, const struct unix_facts *facts)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < facts->packets.n; i++)
		r = check_source(op, &facts->packets.items[i]);
	return r == 0 ? packets_write(op, &facts->packets) : r;
}

UnixSkEntry *unix_add_entry(struct operation *op, uint8_t type, struct file **ret)
{
	struct file *f = files_add(op, &kind_unix_socket, NULL);
	UnixSkEntry *m = arena_alloc(&op->arena, sizeof(*m));

	if (f && m) {
		unix_sk_entry__init(m);
		m->fown = arena_alloc(&op->arena, sizeof(*m->fown));
		m->opts = arena_alloc(&op->arena, sizeof(*m->opts));
	}
	if (!f || !m || !m->fown || !m->opts) {
		(void)raise_no_memory(op);
		return NULL;
	}
	fown_entry__init(m->fown);
	sk_opts_entry__init(m->opts);
	m->id = f->id;
	m->type = type;
	f->entry->usk = m;
	*ret = f;
	return m;
}

/* The entry that stands for a socket outside the tree: only its name counts. */
static int add_external(struct operation *op, const struct unix_diag *d)
{
	struct file *f;
	UnixSkEntry *m;

	for (size_t i = 0; i < op->files->n_files; i++) {
		f = op->files->files[i];
		if (f->kind == &kind_unix_socket && f->entry->usk && f->entry->usk->ino == d->ino)
			return 0;
	}
	m = unix_add_entry(op, SOCK_DGRAM, &f); /* as CRIU has it */
	if (!m)
		return -ENOMEM;
	m->ino = d->ino;
	m->state = TCP_LISTEN;
	m->uflags = UNIX_EXTERNAL;
	m->name.data = (uint8_t *)d->name;
	m->name.len = d->name_len;
	f->describe = unix_name_text(op, d->name, d->name_len);
	return 0;
}

static int unix_dump_all(struct operation *op)
{
	struct unix_facts *facts;
	size_t n = op->files->n_files;
	int r;

	r = unix_facts(op, false, &facts);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct file *f = op->files->files[i];
		const struct unix_diag *d, *peer;

		if (f->kind != &kind_unix_socket || f->facts.fd < 0)
			continue;
		d = unix_facts_find(facts, (uint32_t)f->facts.st.st_ino);
		r = unix_backlog_check(op, f, facts, d);
		if (r == 0)
			r = check_peer(op, f, facts, d, true);
		peer = unix_facts_find(facts, d->peer);
		if (r == 0 && d->peer && peer && !unix_tree_socket(op, d->peer))
			r = add_external(op, peer);
	}
	if (r == 0)
		r = unix_backlog_dump_all(op, facts);
	return r == 0 ? dump_queues(op, facts) : r;
}

static const char *type_name(uint32_t type)
{
	return type == SOCK_STREAM ? "stream" : type == SOCK_DGRAM ? "datagram" : "seqpacket";
}

static void unix_describe(const FileEntry *entry, char *buf, size_t size)
{
	const UnixSkEntry *m = entry->usk;
	int n = m ? (int)m->name.len : 0;

	if (!m)
		return;
	if (n > 0 && m->name.data[0] == '\0')
		(void)snprintf(buf, size, "unix %s socket @%.*s", type_name(m->type), n - 1,
			       (const char *)m->name.data + 1);
	else if (n > 0)
		(void)snprintf(buf, size, "unix %s socket %.*s%s", type_name(m->type), n, (const char *)m->name.data,
			       m->state == TCP_LISTEN ? ", listening" : "");
	else if (m->peer)
		(void)snprintf(buf, size, "unix %s socket %u ↔ %u", type_name(m->type), m->ino, m->peer);
	else
		(void)snprintf(buf, size, "unix %s socket %u", type_name(m->type), m->ino);
}

const struct kind kind_unix_socket = {
	.name = "unix socket",
	.type = FD_TYPES__UNIXSK,
	.recognise = unix_recognise,
	.check = socket_check,
	.check_all = unix_check_all,
	.dump = unix_dump,
	.dump_all = unix_dump_all,
	.load_all = unix_load_all,
	.decode = unix_decode,
	.create = unix_create,
	.finish = unix_finish,
	.release = unix_release,
	.describe = unix_describe,
};
