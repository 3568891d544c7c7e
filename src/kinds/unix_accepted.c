/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/unix_plan.h"
#include "watch/recorder.h"

/* Restore: connections that come from a listener, by connect() and accept(). */

static bool same_creds(const struct unix_end *a, const struct unix_end *b)
{
	return a->creds.known == b->creds.known && a->creds.pid == b->creds.pid && a->creds.uid == b->creds.uid &&
	       a->creds.gid == b->creds.gid;
}

/* Two ends that name different callers come from a listener: the accepted one, which has its name, gives that here. */
static void choose_by_passing(const struct unix_plan *plan, struct unix_end *e)
{
	struct unix_end *accepted = e;

	if (!e->mutual || e->m->type == SOCK_DGRAM || e->by_listener || e->peer->by_listener ||
	    same_creds(e, e->peer) || e->peer->by_passing)
		return;
	if (e->m->name.len == 0 || (e->peer->m->name.len > 0 && unix_name_owner(plan, e) == e))
		accepted = e->peer;
	accepted->by_passing = accepted->m->name.len > 0 && !unix_owns_name(accepted);
}

/* An accepted socket of an abstract listener cannot be bound to the name itself. */
static void choose_by_listener(const struct unix_plan *plan, struct unix_end *e)
{
	const struct unix_end *owner;

	if (e->inherited || e->m->type == SOCK_DGRAM || e->m->name.len == 0 || unix_name_is_path(&e->m->name) ||
	    unix_owns_name(e))
		return;
	owner = unix_name_owner(plan, e);
	e->by_listener = owner && owner != e && !(e->mutual && e->peer->by_listener);
}

void unix_choose_accepted(const struct unix_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		choose_by_listener(plan, plan->ends[i]);
	for (size_t i = 0; i < plan->n; i++)
		choose_by_passing(plan, plan->ends[i]);
}

/* Takes what @own just connected for firn; a stranger that was faster is let go, as if the server had just started. */
static int accept_own(struct operation *op, int listener, pid_t own, const char *describe, int *ret)
{
	for (;;) {
		struct ucred cred;
		socklen_t len = sizeof(cred);
		AUTOCLOSE int fd = -1;

		if (recorder_cancelled())
			return error_raise(op->error, ECANCELED, "%s: cancelled", describe);
		recorder_step(0, NULL, "accept4", "%s", describe);
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			return error_raise_call(op->error, errno, "accept4", "%s", describe);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.pid == own) {
			*ret = TAKE_FD(fd);
			return 0;
		}
		log_warn(cred.pid, "%s: closed the connection that process %d made meanwhile", describe, cred.pid);
	}
}

static int make_accepted(struct operation *op, const struct unix_plan *plan, struct unix_end *e, int listener)
{
	int client, r;
	pid_t own;

	client = socket(AF_UNIX, (int)e->m->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); /* a full backlog: EAGAIN */
	if (client < 0)
		return error_raise_call(op->error, errno, "socket", "%s", e->file->describe);
	if (e->mutual)
		e->peer->file->fd = client;
	else
		e->spare = client;
	if (e->mutual && e->peer->m->name.len > 0) {
		r = unix_bind_end(op, plan, e->peer);
		if (r < 0)
			return r;
	}
	r = unix_name_connect(client, &(struct unix_target){ e->m, listener }, &e->creds, &own);
	if (r < 0)
		return error_raise_call(op->error, -r, "connect", "%s", e->file->describe);
	return accept_own(op, listener, own, e->file->describe, &e->file->fd);
}

int unix_make_by_listener(struct operation *op, const struct unix_plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		struct unix_end *e = plan->ends[i];
		const struct unix_end *owner;
		AUTOCLOSE int passing = -1;
		struct unix_made made;

		if (!e->by_listener)
			continue;
		owner = unix_name_owner(plan, e);
		if (owner->m->state == TCP_LISTEN) {
			r = make_accepted(op, plan, e, owner->file->fd);
			continue;
		}
		/* The listener is gone: one that passes, before anybody is bound to the name for good. */
		passing = socket(AF_UNIX, (int)e->m->type | SOCK_CLOEXEC, 0);
		if (passing < 0)
			return error_raise_call(op->error, errno, "socket", "%s", e->file->describe);
		r = unix_name_bind(op, passing, e->m, e->file->describe, &made);
		if (r == 0)
			r = unix_listen_end(op, passing, e, e->mutual ? &e->peer->creds : &e->creds, 1);
		if (r == 0)
			r = make_accepted(op, plan, e, passing);
	}
	return r;
}

static int make_passing(struct operation *op, const struct unix_plan *plan, struct unix_end *e)
{
	AUTOCLOSE int passing = socket(AF_UNIX, (int)e->m->type | SOCK_CLOEXEC, 0);
	int r;

	if (passing < 0)
		return error_raise_call(op->error, errno, "socket", "%s", e->file->describe);
	r = unix_name_bind(op, passing, e->m, e->file->describe, &e->made);
	if (r == 0)
		r = unix_listen_end(op, passing, e, &e->peer->creds, 1);
	if (r == 0)
		r = make_accepted(op, plan, e, passing);
	e->named = r == 0;
	if (r == 0 && !unix_keeps_name(plan, e))
		unix_name_remove(&e->made);
	return r;
}

/* In the order of bind_names(), for the same reason. */
int unix_make_by_passing(struct operation *op, const struct unix_plan *plan, bool keepers)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		if (plan->ends[i]->by_passing && unix_keeps_name(plan, plan->ends[i]) == keepers)
			r = make_passing(op, plan, plan->ends[i]);
	}
	return r;
}

/* ---- backlogs ---- */

static int compare_places(const void *pa, const void *pb)
{
	const struct unix_end *a = *(struct unix_end *const *)pa, *b = *(struct unix_end *const *)pb;

	if (a->m->firn_backlog_place != b->m->firn_backlog_place)
		return a->m->firn_backlog_place < b->m->firn_backlog_place ? -1 : 1;
	return a->file->id < b->file->id ? -1 : a->file->id > b->file->id;
}

/* A connect() that would block finds no room: the backlog was made smaller after the clients came. */
static int connect_waiting(struct operation *op, struct unix_end *e)
{
	struct unix_creds caller;
	int r;

	unix_caller_of(&(struct unix_socket_holder){ e->m, e->file->user }, &caller);
	if (fcntl(e->file->fd, F_SETFL, O_NONBLOCK) < 0)
		return error_raise_call(op->error, errno, "fcntl(F_SETFL)", "%s", e->file->describe);
	r = unix_name_connect(e->file->fd, &(struct unix_target){ e->peer->m, e->peer->file->fd }, &caller, NULL);
	if (r < 0)
		return error_raise_call(op->error, -r, "connect", "%s, to the backlog of %s", e->file->describe,
					e->peer->file->describe);
	e->connected = true;
	return 0;
}

/* All of one listener. */
static int fill_backlog(struct operation *op, const struct unix_end *listener, struct unix_end **ends, size_t n)
{
	const int backlog = (int)listener->m->backlog;
	int r = 0;

	if (n > (size_t)backlog)
		r = unix_listen_end(op, listener->file->fd, listener, &listener->creds, n < INT_MAX ? (int)n : INT_MAX);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = connect_waiting(op, ends[i]);
	if (r == 0 && n > (size_t)backlog)
		r = unix_listen_end(op, listener->file->fd, listener, &listener->creds, backlog);
	return r;
}

int unix_connect_waiting(struct operation *op, const struct unix_plan *plan)
{
	struct unix_end **ends = arena_array(&op->arena, plan->n, sizeof(struct unix_end *));
	int r = 0;

	if (!ends)
		return raise_no_memory(op);
	for (size_t k = 0; r == 0 && k < plan->n; k++) {
		size_t n = 0;

		if (plan->ends[k]->m->state != TCP_LISTEN || unix_is_external(plan->ends[k]))
			continue;
		for (size_t i = 0; i < plan->n; i++) {
			if (plan->ends[i]->waiting && plan->ends[i]->peer == plan->ends[k])
				ends[n++] = plan->ends[i];
		}
		qsort(ends, n, sizeof(struct unix_end *), compare_places);
		r = fill_backlog(op, plan->ends[k], ends, n);
	}
	return r;
}
