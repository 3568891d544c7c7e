/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kinds/common.h"
#include "kinds/inherit.h"
#include "kinds/registry.h"
#include "kinds/unix_plan.h"
#include "watch/recorder.h"

/*
 * Restore: sockets and their names. The order:
 *
 *   pairs by socketpair(), with a spare end where the peer was closed; names of accepted sockets, which the listener has
 *   too, and names that were deleted, by bind() and unlink(); then the names of those who own them; then listen(); last
 *   the accepted sockets of abstract listeners, by connect() and accept(), since two cannot be bound to one abstract name,
 *   and after these the connections that wait in backlogs.
 *   A pair whose ends have different users in SO_PEERCRED comes from a listener of the name, which passes.
 */

static bool pair_closed(const struct unix_end *e)
{
	return e->m->state == TCP_ESTABLISHED && !e->peer && (e->m->type != SOCK_DGRAM || e->m->firn_peer_closed);
}

/* Of the connection's other end, or of the listener itself. */
static void find_creds(struct unix_end *e)
{
	const struct unix_end *other = e->mutual ? e->peer : e;

	unix_creds_of(&(struct unix_socket_holder){ e->m, other->file->user }, &e->creds);
}

/* One call of socketpair() gives both ends the same: of two users (images without these ids), the lesser one. */
static int make_pair(struct operation *op, struct unix_end *e, int fds[2])
{
	const struct unix_creds *creds = e->mutual && e->creds.uid == 0 ? &e->peer->creds : &e->creds;
	int r = unix_pair_as(creds, (int)e->m->type, fds);

	if (r < 0)
		return error_raise_call(op->error, -r, "socketpair", "%s, made by pid %d, uid %u, gid %u",
					e->file->describe, creds->pid, creds->uid, creds->gid);
	e->file->fd = fds[0];
	return 0;
}

int unix_listen_end(struct operation *op, int fd, const struct unix_end *e, const struct unix_creds *creds, int backlog)
{
	int r = unix_listen_as(creds, fd, backlog);

	return r < 0 ? error_raise_call(op->error, -r, "listen", "%s, made by pid %d, uid %u, gid %u",
					e->file->describe, creds->pid, creds->uid, creds->gid)
		     : 0;
}

static int make_socket(struct operation *op, struct unix_end *e)
{
	int fds[2], r;

	if (!e->mutual && !pair_closed(e)) {
		e->file->fd = socket(AF_UNIX, (int)e->m->type | SOCK_CLOEXEC, 0);
		return e->file->fd < 0 ? error_raise_call(op->error, errno, "socket", "%s", e->file->describe) : 0;
	}
	r = make_pair(op, e, fds);
	if (r < 0)
		return r;
	if (e->mutual)
		e->peer->file->fd = fds[1];
	else
		e->spare = fds[1];
	return 0;
}

/* What the caller gives is used as it is: name, options and flags are his. */
static int take_inherited(struct operation *op, struct unix_end *e)
{
	int domain = -1, type = -1, r;
	socklen_t len = sizeof(int);
	char key[32];

	r = inherit_take(op, unix_inherit_key(e->m->ino, key), e->file->describe, &e->file->fd);
	if (r < 0)
		return r;
	(void)getsockopt(e->file->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	(void)getsockopt(e->file->fd, SOL_SOCKET, SO_TYPE, &type, &len);
	if (domain != AF_UNIX || type != (int)e->m->type)
		return error_raise(op->error, EINVAL, "--inherit-fd for %s: it is no unix socket of the same type",
				   key);
	e->named = e->connected = true;
	e->file->opened_as_wanted = true;
	return 0;
}

static int make_sockets(struct operation *op, struct unix_plan *plan)
{
	int r = 0;

	for (size_t i = 0; i < plan->n; i++)
		find_creds(plan->ends[i]);
	unix_choose_accepted(plan);
	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		if (plan->ends[i]->inherited)
			r = take_inherited(op, plan->ends[i]);
	}
	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		struct unix_end *e = plan->ends[i];

		if (e->file->fd >= 0 || unix_is_external(e) || e->by_listener || (e->mutual && e->peer->by_listener) ||
		    e->by_passing || (e->mutual && e->peer->by_passing))
			continue;
		r = make_socket(op, e);
	}
	return r;
}

/* Does @e's name stay in the file system? A path that was deleted may be another socket's by now. */
bool unix_keeps_name(const struct unix_plan *plan, const struct unix_end *e)
{
	return !e->m->deleted && (unix_owns_name(e) || unix_name_owner(plan, e) == e);
}

int unix_bind_end(struct operation *op, const struct unix_plan *plan, struct unix_end *e)
{
	int r = unix_name_bind(op, e->file->fd, e->m, e->file->describe, &e->made);

	e->named = r == 0;
	if (r == 0 && !unix_keeps_name(plan, e))
		unix_name_remove(&e->made);
	return r;
}

/* First those that only bear a name or had it, each unlinked again at once, then those that keep it. */
static int bind_names(struct operation *op, const struct unix_plan *plan, bool keepers)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		struct unix_end *e = plan->ends[i];

		if (e->named || e->m->name.len == 0 || e->file->fd < 0 || unix_is_external(e) || e->by_listener)
			continue;
		if (unix_keeps_name(plan, e) == keepers)
			r = unix_bind_end(op, plan, e);
	}
	return r;
}

static int listen_all(struct operation *op, const struct unix_plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		const struct unix_end *e = plan->ends[i];

		if (e->m->state == TCP_LISTEN && !unix_is_external(e) && !e->inherited)
			r = unix_listen_end(op, e->file->fd, e, &e->creds, (int)e->m->backlog);
	}
	return r;
}

/* Early, so that the task that gets the descriptor sets O_ASYNC. Nothing that follows may wait anyway. */
static int set_flags(struct operation *op, const struct unix_plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		if (plan->ends[i]->file->fd >= 0 && !plan->ends[i]->inherited)
			r = file_set_flags(op, plan->ends[i]->file, plan->ends[i]->m->flags);
	}
	return r;
}

static int create_all(struct operation *op, struct unix_plan *plan)
{
	int r;

	r = unix_resolve(op, plan);
	if (r == 0)
		r = make_sockets(op, plan);
	if (r == 0)
		r = unix_make_by_passing(op, plan, false);
	if (r == 0)
		r = bind_names(op, plan, false);
	if (r == 0)
		r = unix_make_by_passing(op, plan, true);
	if (r == 0)
		r = bind_names(op, plan, true);
	if (r == 0)
		r = listen_all(op, plan);
	if (r == 0)
		r = unix_make_by_listener(op, plan);
	if (r == 0)
		r = unix_connect_waiting(op, plan);
	if (r == 0)
		r = set_flags(op, plan);
	return r;
}

int unix_create(struct operation *op, struct file *f)
{
	struct unix_plan *plan;
	int r;

	(void)f;
	r = unix_plan(op, &plan);
	if (r < 0 || plan->created)
		return r;
	r = create_all(op, plan);
	plan->created = r == 0;
	return r;
}
