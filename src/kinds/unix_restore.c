/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "kinds/unix_socket.h"
#include "watch/recorder.h"

/*
 * Unix sockets come back all at once, because they depend on each other. In create:
 *
 *   pairs by socketpair(), with a spare end where the peer was closed; names of accepted sockets, which the listener has
 *   too, and names that were deleted, by bind() and unlink(); then the names of those who own them; then listen(); last
 *   the accepted sockets of abstract listeners, by connect() and accept(), since two cannot be bound to one abstract name.
 *   A pair whose ends have different users in SO_PEERCRED comes from a listener of the name, which passes.
 *
 * In finish, when the tasks exist whose credentials may be in a packet: queued data, then connect() of datagram sockets
 * (a connected one takes packets from its peer alone), spare ends closed, shutdown, options.
 *
 * Longer than most: all steps share the table of ends and depend on each other's order.
 */

struct unix_end {
	struct file *file;
	const UnixSkEntry *m;
	struct unix_end *peer;	 /* NULL: none, or it was closed */
	bool mutual;		 /* the peer's peer is this end */
	struct unix_creds creds; /* what SO_PEERCRED says */
	bool by_listener;	 /* made by connect() and accept() */
	bool by_passing;	 /* the same, by a listener that passes: the two ends name different users */
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

static int unix_plan(struct operation *op, struct unix_plan **ret)
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

static bool is_external(const struct unix_end *e)
{
	return e->m->uflags & UNIX_EXTERNAL;
}

static bool same_name(const struct unix_end *a, const struct unix_end *b)
{
	const char *x = a->m->name_dir ? a->m->name_dir : "", *y = b->m->name_dir ? b->m->name_dir : "";

	return a->m->type == b->m->type && a->m->name.len == b->m->name.len &&
	       memcmp(a->m->name.data, b->m->name.data, a->m->name.len) == 0 &&
	       (a->m->name.data[0] == '/' || strcmp(x, y) == 0);
}

/* ---- decode ---- */

static int check_name(struct operation *op, const struct file *f, const UnixSkEntry *m)
{
	if (m->name.len > sizeof(((struct sockaddr_un *)0)->sun_path))
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
	if ((m->uflags & UNIX_EXTERNAL) && m->name.len == 0)
		return raise_damaged(op, f, "the name of a unix socket");
	if (m->has_firn_peek_off && m->firn_peek_off > INT32_MAX)
		return raise_damaged(op, f, "the peek offset of a unix socket");
	if (m->has_shutdown && (unsigned)m->shutdown > 3)
		return raise_damaged(op, f, "the shutdown state of a unix socket");
	return 0;
}

int unix_decode(struct operation *op, struct file *f)
{
	const UnixSkEntry *m = f->entry->usk;
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
	if (e->m->peer == 0)
		return 0;
	e->peer = find_end(plan, e->m->peer);
	if (!e->peer)
		return raise_damaged(op, e->file, "the peer of a unix socket");
	if (e->m->state == TCP_LISTEN || e->peer->m->type != e->m->type)
		return raise_damaged(op, e->file, "the connection of a unix socket");
	e->mutual = e->peer != e && e->peer->m->peer == e->m->ino && !is_external(e->peer);
	if (e->mutual)
		return 0;
	if (e->m->type != SOCK_DGRAM) {
		error_raise(op->error, EOPNOTSUPP,
			    "files.img: file %u: %s waits to be accepted, which is not carried yet", e->file->id,
			    e->file->describe);
		return -EOPNOTSUPP;
	}
	if (e->peer->m->name.len == 0)
		return raise_damaged(op, e->file, "the name of the peer of a unix socket");
	if (is_external(e->peer) && !op->options->ext_unix_sk) {
		error_raise(op->error, EOPNOTSUPP, "%s: it was connected to %s of a process outside the tree",
			    e->file->describe, unix_name_text(op, e->peer->m->name.data, e->peer->m->name.len));
		error_hint(op->error, "With --ext-unix-sk it is connected to that name again.");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int resolve(struct operation *op, struct unix_plan *plan)
{
	int r = 0;

	qsort(plan->ends, plan->n, sizeof(struct unix_end *), compare_ends);
	for (size_t i = 1; i < plan->n; i++) {
		if (plan->ends[i - 1]->m->ino == plan->ends[i]->m->ino)
			return raise_damaged(op, plan->ends[i]->file, "the inode of a unix socket (two have the same)");
	}
	for (size_t i = 0; r == 0 && i < plan->n; i++)
		r = resolve_peer(op, plan, plan->ends[i]);
	for (size_t i = 0; r == 0 && i < plan->packets.n; i++) {
		const struct file *f = files_find(op, plan->packets.items[i].id_for);
		const struct unix_end *e = f && f->kind == &kind_unix_socket ? f->state : NULL;

		if (!e || e->m->state == TCP_LISTEN || is_external(e))
			r = error_raise(op->error, EINVAL,
					"sk-queues.img: a packet for file %u, which is no socket that takes packets",
					plan->packets.items[i].id_for);
	}
	return r;
}

/* Does another end own this name, so that this one (accepted from it) only bears it? */
static bool owns_name(const struct unix_end *e)
{
	return e->m->state == TCP_LISTEN || e->m->type == SOCK_DGRAM || e->m->state == TCP_CLOSE;
}

/* The owner of @e's name, as far as that still is in the file system, else the last of those that bear it. */
static struct unix_end *name_owner(const struct unix_plan *plan, const struct unix_end *e)
{
	struct unix_end *last = NULL;

	for (size_t i = 0; i < plan->n; i++) {
		struct unix_end *o = plan->ends[i];

		if (o->m->name.len == 0 || o->m->deleted || is_external(o) || !same_name(o, e))
			continue;
		if (owns_name(o))
			return o;
		last = o;
	}
	return last;
}

/* ---- create ---- */

static bool pair_closed(const struct unix_end *e)
{
	return e->m->state == TCP_ESTABLISHED && !e->peer && (e->m->type != SOCK_DGRAM || e->m->firn_peer_closed);
}

static bool same_creds(const struct unix_end *a, const struct unix_end *b)
{
	return a->creds.known == b->creds.known && a->creds.uid == b->creds.uid && a->creds.gid == b->creds.gid;
}

/* Of the connection's other end, or of the listener itself. */
static void find_creds(struct unix_end *e)
{
	const struct unix_end *other = e->mutual ? e->peer : e;

	unix_creds_of(&(struct unix_socket_holder){ e->m, other->file->user }, &e->creds);
}

/* Two ends that name different users come from a listener: the accepted one, which has its name, gives that here. */
static void choose_by_passing(const struct unix_plan *plan, struct unix_end *e)
{
	struct unix_end *accepted = e;

	if (!e->mutual || e->m->type == SOCK_DGRAM || e->by_listener || e->peer->by_listener ||
	    same_creds(e, e->peer) || e->peer->by_passing)
		return;
	if (e->m->name.len == 0 || (e->peer->m->name.len > 0 && name_owner(plan, e) == e))
		accepted = e->peer;
	accepted->by_passing = accepted->m->name.len > 0 && !owns_name(accepted);
}

/* One call of socketpair() gives both ends the same: of two users (images without these ids), the lesser one. */
static int make_pair(struct operation *op, struct unix_end *e, int fds[2])
{
	const struct unix_creds *creds = e->mutual && e->creds.uid == 0 ? &e->peer->creds : &e->creds;
	struct unix_creds back;
	int r;

	r = unix_creds_take(op, creds, e->file->describe, &back);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, (int)e->m->type | SOCK_CLOEXEC, 0, fds) < 0)
		r = error_raise_call(op->error, errno, "socketpair", "%s", e->file->describe);
	else
		e->file->fd = fds[0];
	if (unix_creds_give_back(op, &back, e->file->describe) < 0 && r == 0) {
		close(fds[1]);
		return -op->error->number;
	}
	return r;
}

static int listen_as(struct operation *op, int fd, const struct unix_end *e, const struct unix_creds *creds,
		     int backlog)
{
	struct unix_creds back;
	int r, undone;

	r = unix_creds_take(op, creds, e->file->describe, &back);
	if (r < 0)
		return r;
	if (listen(fd, backlog) < 0)
		r = error_raise_call(op->error, errno, "listen", "%s", e->file->describe);
	undone = unix_creds_give_back(op, &back, e->file->describe);
	return r < 0 ? r : undone;
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

/* An accepted socket of an abstract listener cannot be bound to the name itself. */
static void choose_by_listener(const struct unix_plan *plan, struct unix_end *e)
{
	const struct unix_end *owner;

	if (e->m->type == SOCK_DGRAM || e->m->name.len == 0 || unix_name_is_path(&e->m->name) || owns_name(e))
		return;
	owner = name_owner(plan, e);
	e->by_listener = owner && owner != e && !(e->mutual && e->peer->by_listener);
}

static int make_sockets(struct operation *op, struct unix_plan *plan)
{
	int r = 0;

	for (size_t i = 0; i < plan->n; i++)
		choose_by_listener(plan, plan->ends[i]);
	for (size_t i = 0; i < plan->n; i++)
		find_creds(plan->ends[i]);
	for (size_t i = 0; i < plan->n; i++)
		choose_by_passing(plan, plan->ends[i]);
	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		struct unix_end *e = plan->ends[i];

		if (e->file->fd >= 0 || is_external(e) || e->by_listener || (e->mutual && e->peer->by_listener) ||
		    e->by_passing || (e->mutual && e->peer->by_passing))
			continue;
		r = make_socket(op, e);
	}
	return r;
}

/* Does @e's name stay in the file system? A path that was deleted may be another socket's by now. */
static bool keeps_name(const struct unix_plan *plan, const struct unix_end *e)
{
	return !e->m->deleted && (owns_name(e) || name_owner(plan, e) == e);
}

static int bind_end(struct operation *op, const struct unix_plan *plan, struct unix_end *e)
{
	int r = unix_name_bind(op, e->file->fd, e->m, e->file->describe, &e->made);

	e->named = r == 0;
	if (r == 0 && !keeps_name(plan, e))
		unix_name_remove(op, e->m, &e->made);
	return r;
}

/* First those that only bear a name or had it, each unlinked again at once, then those that keep it. */
static int bind_names(struct operation *op, const struct unix_plan *plan, bool keepers)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		struct unix_end *e = plan->ends[i];

		if (e->named || e->m->name.len == 0 || e->file->fd < 0 || is_external(e) || e->by_listener)
			continue;
		if (keeps_name(plan, e) == keepers)
			r = bind_end(op, plan, e);
	}
	return r;
}

static int listen_all(struct operation *op, const struct unix_plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		const struct unix_end *e = plan->ends[i];

		if (e->m->state == TCP_LISTEN && !is_external(e))
			r = listen_as(op, e->file->fd, e, &e->creds, (int)e->m->backlog);
	}
	return r;
}

/* Takes what firn itself just connected; a stranger that was faster is let go, as if the server had just started. */
static int accept_own(struct operation *op, int listener, const char *describe, int *ret)
{
	for (;;) {
		struct ucred cred;
		socklen_t len = sizeof(cred);
		AUTOCLOSE int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return error_raise_call(op->error, errno, "accept4", "%s", describe);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.pid == getpid()) {
			*ret = TAKE_FD(fd);
			return 0;
		}
		log_warn(cred.pid, "%s: closed the connection that process %d made meanwhile", describe, cred.pid);
	}
}

static int make_accepted(struct operation *op, const struct unix_plan *plan, struct unix_end *e, int listener)
{
	int client, r;

	client = socket(AF_UNIX, (int)e->m->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); /* a full backlog: EAGAIN */
	if (client < 0)
		return error_raise_call(op->error, errno, "socket", "%s", e->file->describe);
	if (e->mutual)
		e->peer->file->fd = client;
	else
		e->spare = client;
	if (e->mutual && e->peer->m->name.len > 0) {
		r = bind_end(op, plan, e->peer);
		if (r < 0)
			return r;
	}
	r = unix_name_connect(op, client, &(struct unix_target){ e->m, listener }, &e->creds);
	if (r < 0)
		return error_is_set(op->error) ? r
					       : error_raise_call(op->error, -r, "connect", "%s", e->file->describe);
	return accept_own(op, listener, e->file->describe, &e->file->fd);
}

static int make_by_listener(struct operation *op, const struct unix_plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		struct unix_end *e = plan->ends[i];
		const struct unix_end *owner;
		AUTOCLOSE int passing = -1;
		struct unix_made made;

		if (!e->by_listener)
			continue;
		owner = name_owner(plan, e);
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
			r = listen_as(op, passing, e, e->mutual ? &e->peer->creds : &e->creds, 1);
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
		r = listen_as(op, passing, e, &e->peer->creds, 1);
	if (r == 0)
		r = make_accepted(op, plan, e, passing);
	e->named = r == 0;
	if (r == 0 && !keeps_name(plan, e))
		unix_name_remove(op, e->m, &e->made);
	return r;
}

/* In the order of bind_names(), for the same reason. */
static int make_by_passing(struct operation *op, const struct unix_plan *plan, bool keepers)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		if (plan->ends[i]->by_passing && keeps_name(plan, plan->ends[i]) == keepers)
			r = make_passing(op, plan, plan->ends[i]);
	}
	return r;
}

static int create_all(struct operation *op, struct unix_plan *plan)
{
	int r;

	r = resolve(op, plan);
	if (r == 0)
		r = make_sockets(op, plan);
	if (r == 0)
		r = make_by_passing(op, plan, false);
	if (r == 0)
		r = bind_names(op, plan, false);
	if (r == 0)
		r = make_by_passing(op, plan, true);
	if (r == 0)
		r = bind_names(op, plan, true);
	if (r == 0)
		r = listen_all(op, plan);
	if (r == 0)
		r = make_by_listener(op, plan);
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

/* ---- finish ---- */

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

/* 0 or -errno, nothing raised. */
static int send_packet(struct operation *op, int fd, const struct packet *p, const struct unix_target *to)
{
	_Alignas(struct cmsghdr) char
		control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(SCM_RIGHTS_MAX * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)p->data, .iov_len = p->len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	struct ucred cred = { .pid = p->pid, .uid = p->uid, .gid = p->gid };
	int fds[SCM_RIGHTS_MAX];
	ssize_t n;

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
	if (to)
		return unix_name_send(op, fd, to, &msg);
	n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return (size_t)n == p->len ? 0 : -ENOBUFS;
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

static int queue_packet(struct operation *op, const struct unix_plan *plan, const struct packet *p)
{
	const struct unix_end *to = files_find(op, p->id_for)->state;
	const struct unix_end *sender;
	struct unix_target target, *name = NULL;
	AUTOCLOSE int temporary = -1;
	struct packet plain = *p;
	int from, r;

	if (to->mutual || to->spare >= 0) {
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
	r = send_packet(op, from, p, name);
	if (p->has_creds && (r == -ESRCH || r == -EPERM)) {
		log_warn(p->pid, "%s: a queued packet comes back without the credentials of process %d, which is gone",
			 to->file->describe, p->pid);
		plain.has_creds = false;
		r = send_packet(op, from, &plain, name);
	}
	return r < 0 ? error_raise_call(op->error, -r, "sendmsg", "%s, %zu queued bytes", to->file->describe, p->len)
		     : 0;
}

/* All packets of one sender must fit its buffer at once. */
static int queue_all(struct operation *op, const struct unix_plan *plan)
{
	int r = 0;

	for (size_t i = 0; i < plan->packets.n; i++) {
		struct unix_end *to = files_find(op, plan->packets.items[i].id_for)->state;

		to->queued += plan->packets.items[i].len + 1024;
	}
	for (size_t i = 0; i < plan->n; i++) {
		const struct unix_end *e = plan->ends[i];

		if (e->queued && (e->mutual || e->spare >= 0))
			socket_make_room(e->mutual ? e->peer->file->fd : e->spare, e->queued);
	}
	for (size_t i = 0; r == 0 && i < plan->packets.n; i++)
		r = queue_packet(op, plan, &plan->packets.items[i]);
	return r;
}

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
	int r = unix_name_connect(op, e->file->fd, &(struct unix_target){ e->peer->m, e->peer->file->fd },
				  &(struct unix_creds){ 0 });

	if (r == 0) {
		e->connected = true;
		return 0;
	}
	error_raise_call(op->error, -r, "connect", "%s to %s", e->file->describe,
			 unix_name_text(op, e->peer->m->name.data, e->peer->m->name.len));
	if (is_external(e->peer))
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

			if (!e->peer || e->mutual || e->connected)
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
	/* A peer's death shut both directions already; ENOTCONN then says so. */
	if (e->m->has_shutdown && e->m->shutdown != 0 && shutdown(e->file->fd, how[e->m->shutdown]) < 0 &&
	    errno != ENOTCONN)
		return error_raise_call(op->error, errno, "shutdown", "%s", e->file->describe);
	if (e->m->has_firn_peek_off &&
	    setsockopt(e->file->fd, SOL_SOCKET, SO_PEEK_OFF, &e->m->firn_peek_off, sizeof(e->m->firn_peek_off)) < 0)
		return error_raise_call(op->error, errno, "setsockopt(SO_PEEK_OFF)", "%s", e->file->describe);
	r = socket_opts_apply(op, e->file->fd, e->m->opts, e->file->describe);
	if (r == 0)
		r = file_set_flags(op, e->file, e->m->flags);
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
	r = queue_all(op, plan);
	if (r == 0)
		r = connect_datagrams(op, plan);
	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		if (!is_external(plan->ends[i]))
			r = finish_end(op, plan->ends[i]);
	}
	plan->finished = r == 0;
	return r;
}

void unix_release(struct operation *op, struct file *f)
{
	struct unix_end *e = f->state;

	if (!e)
		return;
	if (e->spare >= 0)
		close(e->spare);
	e->spare = -1;
	unix_name_remove(op, e->m, &e->made);
}
