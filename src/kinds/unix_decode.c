/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "kinds/common.h"
#include "kinds/inherit.h"
#include "kinds/registry.h"
#include "kinds/unix_plan.h"

/* Restore: the entries of the image, and who belongs to whom. */

int unix_plan(struct operation *op, struct unix_plan **ret)
{
	void **slot = files_kind_state(op, &kind_unix_socket);

	if (!*slot)
		*slot = arena_alloc(&op->arena, sizeof(struct unix_plan));
	*ret = *slot;
	return *ret ? 0 : raise_no_memory(op);
}

int unix_load_all(struct operation *op)
{
	struct unix_plan *plan;
	int r = unix_plan(op, &plan);

	return r == 0 ? packets_read(op, &plan->packets) : r;
}
static bool same_name(const struct unix_end *a, const struct unix_end *b)
{
	const char *x = a->m->name_dir ? a->m->name_dir : "", *y = b->m->name_dir ? b->m->name_dir : "";

	return a->m->type == b->m->type && a->m->name.len == b->m->name.len &&
	       memcmp(a->m->name.data, b->m->name.data, a->m->name.len) == 0 &&
	       (a->m->name.data[0] == '/' || strcmp(x, y) == 0) &&
	       strcmp(a->m->firn_path ? a->m->firn_path : "", b->m->firn_path ? b->m->firn_path : "") == 0;
}

/* ---- decode ---- */

/* CRIU writes the zero behind a path that fills sun_path too. */
static size_t name_length(const ProtobufCBinaryData *name)
{
	bool has_end = name->len == UNIX_NAME_MAX + 1 && unix_name_is_path(name) && name->data[UNIX_NAME_MAX] == '\0';

	return has_end ? UNIX_NAME_MAX : name->len;
}

static int check_name(struct operation *op, const struct file *f, const UnixSkEntry *m)
{
	if (name_length(&m->name) > UNIX_NAME_MAX ||
	    (m->firn_path && (m->firn_path[0] != '/' || strlen(m->firn_path) >= PATH_MAX)))
		return raise_damaged(op, f, "the name of a unix socket");
	if (!unix_name_is_path(&m->name) || m->name.data[0] == '/')
		return 0;
	if (!m->name_dir || m->name_dir[0] != '/')
		return raise_damaged(op, f, "the directory of a unix socket's name");
	return 0;
}

static int check_entry(struct operation *op, const struct file *f, const UnixSkEntry *m)
{
	if (!m || m->id != f->id || !m->opts || !m->fown || m->backlog > INT32_MAX)
		return raise_damaged(op, f, "the unix socket");
	if (m->type != SOCK_STREAM && m->type != SOCK_DGRAM && m->type != SOCK_SEQPACKET)
		return raise_damaged(op, f, "the type of a unix socket");
	if (m->uflags & ~UNIX_EXTERNAL) {
		error_raise(op->error, EOPNOTSUPP,
			    "files.img: file %u: a unix socket with the flags %x is not carried yet", f->id, m->uflags);
		return -EOPNOTSUPP;
	}
	if (m->state != TCP_ESTABLISHED && m->state != TCP_LISTEN && m->state != TCP_CLOSE)
		return raise_damaged(op, f, "the state of a unix socket");
	if (m->state == TCP_LISTEN && m->type == SOCK_DGRAM && !(m->uflags & UNIX_EXTERNAL))
		return raise_damaged(op, f, "the state of a unix socket");
	if (m->has_firn_peek_off && m->firn_peek_off > INT32_MAX)
		return raise_damaged(op, f, "the peek offset of a unix socket");
	if ((m->has_firn_peer_pid && m->firn_peer_pid > INT32_MAX) || m->n_firn_peer_groups > NGROUPS_MAX)
		return raise_damaged(op, f, "the peer credentials of a unix socket");
	if ((m->has_firn_caller_pid && m->firn_caller_pid > INT32_MAX) || m->n_firn_caller_groups > NGROUPS_MAX)
		return raise_damaged(op, f, "the credentials of a unix socket");
	if (m->has_shutdown && (unsigned)m->shutdown > 3)
		return raise_damaged(op, f, "the shutdown state of a unix socket");
	return 0;
}

int unix_decode(struct operation *op, struct file *f)
{
	UnixSkEntry *m = f->entry->usk;
	struct unix_plan *plan;
	struct unix_end *e;
	char text[256];
	int r;

	r = check_entry(op, f, m);
	if (r == 0)
		r = check_name(op, f, m);
	if (r == 0)
		r = socket_opts_decode(op, f, m->opts);
	if (r == 0)
		r = unix_plan(op, &plan);
	if (r < 0)
		return r;
	m->name.len = name_length(&m->name);
	if (plan->n == plan->room) {
		size_t room = plan->room ? plan->room * 2 : 32;

		plan->ends = arena_grow(&op->arena, plan->ends, plan->n, room, sizeof(struct unix_end *));
		if (!plan->ends)
			return raise_no_memory(op);
		plan->room = room;
	}
	e = arena_alloc(&op->arena, sizeof(*e));
	if (!e)
		return raise_no_memory(op);
	kind_unix_socket.describe(f->entry, text, sizeof(text));
	f->describe = arena_strdup(&op->arena, text);
	if (!f->describe)
		return raise_no_memory(op);
	*e = (struct unix_end){ .file = f, .m = m, .spare = -1 };
	plan->ends[plan->n++] = e;
	f->state = e;
	return 0;
}

/* ---- who belongs to whom ---- */

static int compare_ends(const void *pa, const void *pb)
{
	const struct unix_end *a = *(struct unix_end *const *)pa, *b = *(struct unix_end *const *)pb;

	return a->m->ino < b->m->ino ? -1 : a->m->ino > b->m->ino;
}

static struct unix_end *find_end(const struct unix_plan *plan, uint32_t ino)
{
	size_t low = 0, high = plan->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (plan->ends[mid]->m->ino == ino)
			return plan->ends[mid];
		if (plan->ends[mid]->m->ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static int resolve_peer(struct operation *op, const struct unix_plan *plan, struct unix_end *e)
{
	char key[32];

	if (e->m->firn_closed && (e->m->peer == 0 || e->m->type == SOCK_DGRAM || !e->file->mapped_only))
		return raise_damaged(op, e->file, "the closed client of a listening unix socket");
	e->inherited = !unix_is_external(e) && inherit_find(op, unix_inherit_key(e->m->ino, key)) >= 0;
	if (e->m->peer == 0)
		return 0;
	e->peer = find_end(plan, e->m->peer);
	if (!e->peer)
		return raise_damaged(op, e->file, "the peer of a unix socket");
	if (e->m->state == TCP_LISTEN || (e->peer->m->type != e->m->type && !unix_is_external(e->peer)))
		return raise_damaged(op, e->file, "the connection of a unix socket");
	e->mutual = e->peer != e && e->peer->m->peer == e->m->ino && !unix_is_external(e->peer);
	if (e->mutual && e->m->firn_closed)
		return raise_damaged(op, e->file, "the closed client of a listening unix socket");
	if (e->mutual && !e->inherited)
		return 0;
	if (e->mutual) {
		error_raise(op->error, EINVAL, "--inherit-fd for %s: the other end of %s is in the images too", key,
			    e->file->describe);
		return -EINVAL;
	}
	if (e->inherited)
		return 0;
	if (unix_is_external(e->peer) && (e->m->type != SOCK_DGRAM || e->peer->m->name.len == 0)) {
		error_raise(op->error, EOPNOTSUPP, "%s: it was connected to a socket of a process outside the tree",
			    e->file->describe);
		error_hint(op->error, "Give another one in its place: --inherit-fd fd[N]:%s", key);
		return -EOPNOTSUPP;
	}
	if (e->m->type != SOCK_DGRAM) {
		e->waiting =
			e->m->state == TCP_ESTABLISHED && e->peer->m->state == TCP_LISTEN && !unix_is_external(e->peer);
		return e->waiting ? 0 : raise_damaged(op, e->file, "the peer of a unix socket");
	}
	if (e->peer->m->name.len == 0)
		return raise_damaged(op, e->file, "the name of the peer of a unix socket");
	if (unix_is_external(e->peer) && !op->options->ext_unix_sk) {
		error_raise(op->error, EOPNOTSUPP, "%s: it was connected to %s of a process outside the tree",
			    e->file->describe, unix_name_text(op, e->peer->m->name.data, e->peer->m->name.len));
		error_hint(op->error, "With --ext-unix-sk it is connected to that name again.");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int check_receiver(struct operation *op, const struct packet *p)
{
	uint32_t id = p->backlog_of ? p->backlog_of : p->id_for;
	const struct file *f = files_find(op, id);
	const struct unix_end *e = f && f->kind == &kind_unix_socket ? f->state : NULL;

	if (e && !unix_is_external(e) && !e->inherited &&
	    (p->backlog_of ? e->waiting : e->m->state != TCP_LISTEN && !e->m->firn_closed))
		return 0;
	return error_raise(op->error, EINVAL,
			   "sk-queues.img: a packet for file %u, which is no socket that takes packets", id);
}

int unix_resolve(struct operation *op, struct unix_plan *plan)
{
	int r = 0;

	qsort(plan->ends, plan->n, sizeof(struct unix_end *), compare_ends);
	for (size_t i = 1; i < plan->n; i++) {
		if (plan->ends[i - 1]->m->ino == plan->ends[i]->m->ino)
			return raise_damaged(op, plan->ends[i]->file, "the inode of a unix socket (two have the same)");
	}
	for (size_t i = 0; r == 0 && i < plan->n; i++)
		r = resolve_peer(op, plan, plan->ends[i]);
	for (size_t i = 0; r == 0 && i < plan->packets.n; i++)
		r = check_receiver(op, &plan->packets.items[i]);
	return r;
}

bool unix_owns_name(const struct unix_end *e)
{
	return e->m->state == TCP_LISTEN || e->m->type == SOCK_DGRAM || e->m->state == TCP_CLOSE;
}

/* The owner of @e's name, as far as that still is in the file system, else the last of those that bear it. */
struct unix_end *unix_name_owner(const struct unix_plan *plan, const struct unix_end *e)
{
	struct unix_end *last = NULL;

	for (size_t i = 0; i < plan->n; i++) {
		struct unix_end *o = plan->ends[i];

		if (o->m->name.len == 0 || o->m->deleted || unix_is_external(o) || !same_name(o, e))
			continue;
		if (unix_owns_name(o))
			return o;
		last = o;
	}
	return last;
}
