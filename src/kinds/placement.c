/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/placement.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "watch/recorder.h"

#define MESSAGE_FDS 253 /* SCM_MAX_FD, net/scm.h */

int channel_open(struct operation *op, struct channel *c)
{
	int pair[2], highest = 2;

	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *t = op->tree.tasks[i];

		if (t->n_descriptors && t->descriptors[t->n_descriptors - 1].number > highest)
			highest = t->descriptors[t->n_descriptors - 1].number;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_raise_call(op->error, errno, "socketpair", "the channel to the puppets");
	c->engine = pair[0];
	c->number = fcntl(pair[1], F_DUPFD_CLOEXEC, highest + 1);
	if (c->number < 0) {
		(void)error_raise_call(op->error, errno, "fcntl(F_DUPFD)", "descriptor %d, above all of the images",
				       highest + 1);
		error_hint(op->error,
			   "The images need descriptor numbers up to %d: raise the limit of open files (ulimit -n).",
			   highest);
		close(pair[1]);
		return -op->error->number;
	}
	close(pair[1]);
	return 0;
}

static int send_message(struct operation *op, struct channel *c, const int *fds, size_t n)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(MESSAGE_FDS * sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(n * sizeof(int))
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(h), fds, n * sizeof(int));
	if (sendmsg(c->engine, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return error_raise_call(op->error, errno, "sendmsg", "%zu descriptors for a puppet", n);
	return 0;
}

/* Adds the receiving of one message; returns the remote address of its control data. */
static uint64_t add_receive(struct batch *b, struct channel *c)
{
	size_t room = CMSG_SPACE(MESSAGE_FDS * sizeof(int));
	uint64_t control = batch_space(b, room);
	struct iovec iov = { (void *)batch_space(b, 16), 1 };
	struct msghdr m = {
		.msg_iov = (void *)batch_data(b, &iov, sizeof(iov)),
		.msg_iovlen = 1,
		.msg_control = (void *)control,
		.msg_controllen = room,
	};

	batch_call(b, 0, __NR_recvmsg, (uint64_t)c->number, batch_data(b, &m, sizeof(m)), MSG_DONTWAIT);
	return control;
}

static int landed_at(struct operation *op, const struct batch *b, uint64_t control, size_t n, int *ret_numbers)
{
	struct cmsghdr h;

	memcpy(&h, batch_at(b, control), sizeof(h));
	if (h.cmsg_type != SCM_RIGHTS || h.cmsg_len != CMSG_LEN(n * sizeof(int)))
		return error_raise(op->error, EMFILE,
				   "pid %d (%s): it could not take %zu descriptors (its limit of open files?)",
				   b->puppet->pid, b->puppet->comm, n);
	memcpy(ret_numbers, (char *)batch_at(b, control) + CMSG_LEN(0), n * sizeof(int));
	return 0;
}

int channel_send(struct operation *op, struct channel *c, struct puppet *p, const int *fds, size_t n, int *ret_numbers)
{
	struct batch b;
	int r = batch_begin(&b, p, op->error);

	for (size_t i = 0; i < n && r == 0; i += MESSAGE_FDS) {
		size_t count = n - i < MESSAGE_FDS ? n - i : MESSAGE_FDS;
		uint64_t control;

		batch_reset(&b);
		r = send_message(op, c, fds + i, count);
		if (r < 0)
			break;
		control = add_receive(&b, c);
		r = puppet_run(&b, op->error);
		if (r == 0)
			r = landed_at(op, &b, control, count, ret_numbers + i);
	}
	batch_end(&b);
	return r;
}

/*
 * Where received descriptors land is known beforehand: at the lowest free numbers, in an empty table. The numbers wanted
 * ascend, so each lands at or below its own; moved from the last to the first, none is in another's way.
 */
struct landing {
	const struct descriptor *placed; /* those at their numbers already */
	size_t n_placed;
	size_t next_placed;
	int next_free;
};

static int next_landing(struct landing *l)
{
	while (l->next_placed < l->n_placed && l->placed[l->next_placed].number == l->next_free) {
		l->next_placed++;
		l->next_free++;
	}
	return l->next_free++;
}

static void add_moves(struct batch *b, const struct descriptor *d, size_t n, const int *landed)
{
	for (size_t i = n; i-- > 0;) {
		uint64_t want = (uint64_t)d[i].number, at = (uint64_t)landed[i];

		if (at == want) {
			if (d[i].cloexec)
				batch_call(b, 0, __NR_fcntl, at, F_SETFD, FD_CLOEXEC);
			continue;
		}
		batch_call(b, 0, __NR_dup3, at, want, d[i].cloexec ? O_CLOEXEC : 0);
		batch_call(b, 0, __NR_close, at);
	}
}

static int place_message(struct operation *op, struct channel *c, struct task *t, struct batch *b, size_t first,
			 size_t n)
{
	struct landing l = { .placed = t->descriptors, .n_placed = first };
	int fds[MESSAGE_FDS], expected[MESSAGE_FDS], landed[MESSAGE_FDS];
	const struct descriptor *d = t->descriptors + first;
	uint64_t control;
	int r;

	for (size_t i = 0; i < n; i++) {
		fds[i] = d[i].file->fd;
		expected[i] = next_landing(&l);
		if (fds[i] < 0)
			return error_raise(op->error, EINVAL, "pid %d (%s), fd %d → %s: it was not created", t->pid,
					   t->comm, d[i].number, d[i].file->describe);
	}
	batch_reset(b);
	r = send_message(op, c, fds, n);
	if (r < 0)
		return r;
	control = add_receive(b, c);
	add_moves(b, d, n, expected);
	r = puppet_run(b, op->error);
	if (r == 0)
		r = landed_at(op, b, control, n, landed);
	if (r == 0 && memcmp(landed, expected, n * sizeof(int)) != 0)
		r = error_raise(op->error, EINVAL, "pid %d (%s): descriptors landed at other numbers than expected",
				t->pid, t->comm);
	return r;
}

/*
 * The signal of O_ASYNC tells the number that F_SETFL was called with (si_fd, man 2 fcntl), so the task makes that call;
 * for a descriptor that was duplicated afterwards, with the lowest number of the first task.
 */
static int set_async(struct operation *op, const struct task *t, struct batch *b)
{
	int r = 0;

	batch_reset(b);
	for (size_t i = 0; i < t->n_descriptors && r == 0; i++) {
		struct file *f = t->descriptors[i].file;
		int flags;

		if (!f->async)
			continue;
		f->async = false;
		flags = fcntl(f->fd, F_GETFL);
		if (flags < 0)
			return error_raise_call(op->error, errno, "fcntl(F_GETFL)", "%s", f->describe);
		if (!batch_has_room(b, 1, 0)) {
			r = puppet_run(b, op->error);
			batch_reset(b);
		}
		batch_call(b, 0, __NR_fcntl, (uint64_t)t->descriptors[i].number, F_SETFL, (uint64_t)(flags | O_ASYNC));
	}
	return r == 0 && b->n_calls ? puppet_run(b, op->error) : r;
}

int descriptors_place(struct operation *op, struct channel *c, struct task *t)
{
	struct batch b;
	int r = batch_begin(&b, &t->threads[0].puppet, op->error);

	recorder_step(t->pid, t->comm, "recvmsg", "%zu descriptors", t->n_descriptors);
	for (size_t i = 0; i < t->n_descriptors && r == 0; i += MESSAGE_FDS)
		r = place_message(op, c, t, &b, i,
				  t->n_descriptors - i < MESSAGE_FDS ? t->n_descriptors - i : MESSAGE_FDS);
	if (r == 0)
		r = set_async(op, t, &b);
	batch_end(&b);
	return r;
}

int fs_place(struct operation *op, struct channel *c, struct task *t)
{
	int fds[2] = { t->cwd->fd, t->root ? t->root->fd : -1 }, numbers[2];
	size_t n = t->root ? 2 : 1;
	struct batch b;
	int r;

	recorder_step(t->pid, t->comm, "fchdir", "%s", t->cwd->describe);
	r = channel_send(op, c, &t->threads[0].puppet, fds, n, numbers);
	if (r == 0)
		r = batch_begin(&b, &t->threads[0].puppet, op->error);
	if (r < 0)
		return r;
	if (t->root) {
		batch_call(&b, 0, __NR_fchdir, (uint64_t)numbers[1]);
		batch_call(&b, 0, __NR_chroot, batch_string(&b, "."));
	}
	batch_call(&b, 0, __NR_fchdir, (uint64_t)numbers[0]);
	if (t->threads[0].status.umask_known)
		batch_call(&b, 0, __NR_umask, t->threads[0].status.umask);
	for (size_t i = 0; i < n; i++)
		batch_call(&b, 0, __NR_close, (uint64_t)numbers[i]);
	r = puppet_run(&b, op->error);
	batch_end(&b);
	return r;
}
