/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/unix_plan.h"
#include "watch/recorder.h"

/* Restore: the packets that wait in receive queues, sent once more when the tasks exist whose ids may be in them. */

/* Appends a control message to @msg. */
static void add_control(struct msghdr *msg, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((char *)msg->msg_control + msg->msg_controllen);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	msg->msg_controllen += CMSG_SPACE(len);
}

struct send_call {
	int fd;
	const struct unix_target *to; /* NULL: the peer */
	const struct msghdr *msg;
	size_t len;
};

static int call_send(void *arg)
{
	const struct send_call *c = arg;
	ssize_t n;

	if (c->to)
		return unix_name_send(c->fd, c->to, c->msg);
	n = sendmsg(c->fd, c->msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return (size_t)n == c->len ? 0 : -ENOBUFS;
}

/* @as: by a process with the pid and ids of the packet. 0 or -errno, nothing raised. */
static int send_packet(struct operation *op, int fd, const struct packet *p, const struct unix_target *to, bool as)
{
	_Alignas(struct cmsghdr) char
		control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(SCM_RIGHTS_MAX * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)p->data, .iov_len = p->len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	struct ucred cred = { .pid = p->pid, .uid = p->uid, .gid = p->gid };
	const struct unix_creds gone = { .known = true, .pid = p->pid, .uid = p->uid, .gid = p->gid };
	struct send_call call;
	int fds[SCM_RIGHTS_MAX];

	for (size_t i = 0; i < p->n_rights; i++) {
		const struct file *f = files_find(op, p->rights[i]);

		if (!f || f->fd < 0)
			return -EBADF;
		fds[i] = f->fd;
	}
	if (p->has_creds)
		add_control(&msg, SCM_CREDENTIALS, &cred, sizeof(cred));
	if (p->n_rights)
		add_control(&msg, SCM_RIGHTS, fds, p->n_rights * sizeof(int));
	if (msg.msg_controllen == 0)
		msg.msg_control = NULL;
	call = (struct send_call){ .fd = fd, .to = to, .msg = &msg, .len = p->len };
	/* The kernel takes the pid of a living process only (man 7 unix): one that is gone sends once more. */
	return unix_call_as(as ? &gone : &(struct unix_creds){ 0 }, call_send, &call, NULL);
}

static struct unix_end *find_sender(const struct unix_plan *plan, const struct packet *p)
{
	for (size_t i = 0; p->source && i < plan->n; i++) {
		struct unix_end *e = plan->ends[i];

		if (e->m->type == SOCK_DGRAM && e->file->fd >= 0 && e->m->name.len == p->source_len &&
		    memcmp(e->m->name.data, p->source, p->source_len) == 0)
			return e;
	}
	return NULL;
}

/* A socket with the sender's name where that can be had, for one packet. */
static int stand_in(struct operation *op, const struct unix_end *to, const struct packet *p, int *ret)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, (int)to->m->type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return error_raise_call(op->error, errno, "socket", "%s", to->file->describe);
	if (p->source && p->source[0] == '\0') {
		memcpy(sun.sun_path, p->source, p->source_len);
		if (bind(fd, (struct sockaddr *)&sun,
			 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + p->source_len)) < 0)
			log_warn(0, "%s: a queued datagram comes back without its sender's name %s", to->file->describe,
				 unix_name_text(op, p->source, p->source_len));
	}
	*ret = fd;
	return 0;
}

/* For a connection in a backlog: its client. */
static struct unix_end *receiver(const struct operation *op, const struct packet *p)
{
	return files_find(op, p->backlog_of ? p->backlog_of : p->id_for)->state;
}

static int queue_packet(struct operation *op, const struct unix_plan *plan, const struct packet *p)
{
	const struct unix_end *to = receiver(op, p);
	const struct unix_end *sender;
	struct unix_target target, *name = NULL;
	AUTOCLOSE int temporary = -1;
	struct packet plain = *p;
	int from, r;

	if (p->backlog_of) {
		from = to->file->fd;
	} else if (to->mutual || to->spare >= 0) {
		from = to->mutual ? to->peer->file->fd : to->spare;
	} else {
		if (to->m->name.len == 0 || to->m->type != SOCK_DGRAM)
			return raise_damaged(op, to->file, "the sender of a queued packet");
		target = (struct unix_target){ to->m, to->file->fd };
		name = &target;
		sender = find_sender(plan, p);
		r = sender ? 0 : stand_in(op, to, p, &temporary);
		if (r < 0)
			return r;
		from = sender ? sender->file->fd : temporary;
	}
	if (name)
		socket_make_room(from, to->queued);
	r = send_packet(op, from, p, name, false);
	if (p->has_creds && r == -ESRCH)
		r = send_packet(op, from, p, name, true);
	if (p->has_creds && (r == -ESRCH || r == -EPERM)) {
		log_warn(p->pid, "%s: a queued packet comes back without the credentials of process %d, which is gone",
			 to->file->describe, p->pid);
		plain.has_creds = false;
		r = send_packet(op, from, &plain, name, false);
	}
	return r < 0 ? error_raise_call(op->error, -r, "sendmsg", "%s, %zu queued bytes", to->file->describe, p->len)
		     : 0;
}

/* All packets of one sender must fit its buffer at once. */
int unix_queue_all(struct operation *op, const struct unix_plan *plan)
{
	int r = 0;

	for (size_t i = 0; i < plan->packets.n; i++) {
		struct unix_end *to = receiver(op, &plan->packets.items[i]);

		to->queued += plan->packets.items[i].len + 1024;
	}
	for (size_t i = 0; i < plan->n; i++) {
		const struct unix_end *e = plan->ends[i];

		if (e->queued && e->waiting)
			socket_make_room(e->file->fd, e->queued);
		else if (e->queued && (e->mutual || e->spare >= 0))
			socket_make_room(e->mutual ? e->peer->file->fd : e->spare, e->queued);
	}
	for (size_t i = 0; r == 0 && i < plan->packets.n; i++)
		r = queue_packet(op, plan, &plan->packets.items[i]);
	return r;
}
