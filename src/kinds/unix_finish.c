/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kinds/common.h"
#include "kinds/unix_plan.h"
#include "watch/recorder.h"

/*
 * Restore, in the verb finish: queued data first; then connect() of datagram sockets (a connected one takes packets from its
 * peer alone), spare ends closed, shutdown, options.
 */

/* A target that is connected itself takes no other connections, so each waits until all that point at it are done. */
static bool is_awaited(const struct unix_plan *plan, const struct unix_end *e)
{
	for (size_t i = 0; i < plan->n; i++) {
		const struct unix_end *o = plan->ends[i];

		if (o != e && o->peer == e && !o->mutual && !o->connected)
			return true;
	}
	return false;
}

static int connect_one(struct operation *op, struct unix_end *e)
{
	int r = unix_name_connect(e->file->fd, &(struct unix_target){ e->peer->m, e->peer->file->fd },
				  &(struct unix_creds){ 0 }, NULL);

	if (r == 0) {
		e->connected = true;
		return 0;
	}
	error_raise_call(op->error, -r, "connect", "%s to %s", e->file->describe,
			 unix_name_text(op, e->peer->m->name.data, e->peer->m->name.len));
	if (unix_is_external(e->peer))
		error_hint(op->error, "The other side must be there before the restore: start it first.");
	return r;
}

static int connect_datagrams(struct operation *op, const struct unix_plan *plan)
{
	bool progress = true, left = false;

	while (progress) {
		progress = left = false;
		for (size_t i = 0; i < plan->n; i++) {
			struct unix_end *e = plan->ends[i];

			if (!e->peer || e->mutual || e->connected || e->waiting)
				continue;
			if (is_awaited(plan, e)) {
				left = true;
				continue;
			}
			if (connect_one(op, e) < 0)
				return -op->error->number;
			progress = true;
		}
	}
	return left ? error_raise(op->error, EINVAL, "files.img: unix datagram sockets are connected in a circle") : 0;
}

/* The socket's own inode, which fchmod() and fchown() change and fstat() shows; its user is the socket's (ss -e). */
static int apply_inode(struct operation *op, const struct unix_end *e)
{
	if (!e->m->has_firn_mode || !e->m->has_firn_uid || !e->m->has_firn_gid)
		return 0;
	if (fchown(e->file->fd, e->m->firn_uid, e->m->firn_gid) < 0)
		return error_raise_call(op->error, errno, "fchown", "%s, to uid %u, gid %u", e->file->describe,
					e->m->firn_uid, e->m->firn_gid);
	if (fchmod(e->file->fd, e->m->firn_mode & 07777) < 0)
		return error_raise_call(op->error, errno, "fchmod", "%s", e->file->describe);
	return 0;
}

/* The closed peer: with unread data in it, its end is reported as ECONNRESET. */
static void close_spare(struct unix_end *e)
{
	if (e->spare < 0)
		return;
	if (e->m->firn_reset && send(e->file->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_warn(0, "%s: its pending ECONNRESET could not be made again", e->file->describe);
	close(e->spare);
	e->spare = -1;
}

static int finish_end(struct operation *op, struct unix_end *e)
{
	static const int how[] = { 0, SHUT_RD, SHUT_WR, SHUT_RDWR };
	int r;

	close_spare(e);
	if (e->m->firn_closed) {
		close(e->file->fd);
		e->file->fd = -1;
		return 0;
	}
	/* A peer's death shut both directions already; ENOTCONN then says so. */
	if (e->m->has_shutdown && e->m->shutdown != 0 && shutdown(e->file->fd, how[e->m->shutdown]) < 0 &&
	    errno != ENOTCONN)
		return error_raise_call(op->error, errno, "shutdown", "%s", e->file->describe);
	if (e->m->has_firn_peek_off &&
	    setsockopt(e->file->fd, SOL_SOCKET, SO_PEEK_OFF, &e->m->firn_peek_off, sizeof(e->m->firn_peek_off)) < 0)
		return error_raise_call(op->error, errno, "setsockopt(SO_PEEK_OFF)", "%s", e->file->describe);
	r = apply_inode(op, e);
	if (r == 0)
		r = socket_opts_apply(op, e->file->fd, e->m->opts, e->file->describe);
	if (r == 0)
		r = fown_apply(op, e->file->fd, e->m->fown, e->file->describe);
	return r;
}

int unix_finish(struct operation *op, struct file *f)
{
	struct unix_plan *plan;
	int r;

	(void)f;
	r = unix_plan(op, &plan);
	if (r < 0 || plan->finished)
		return r;
	r = unix_queue_all(op, plan);
	if (r == 0)
		r = connect_datagrams(op, plan);
	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		if (!unix_is_external(plan->ends[i]) && !plan->ends[i]->inherited)
			r = finish_end(op, plan->ends[i]);
	}
	plan->finished = r == 0;
	return r;
}

void unix_release(struct operation *op, struct file *f)
{
	struct unix_end *e = f->state;

	(void)op;
	if (!e)
		return;
	if (e->spare >= 0)
		close(e->spare);
	e->spare = -1;
	unix_name_remove(&e->made);
}
