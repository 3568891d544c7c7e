/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * epoll_ctl(EPOLL_CTL_ADD) takes the number of the target from the table of its caller and remembers it: a later
 * EPOLL_CTL_MOD or EPOLL_CTL_DEL by the task must name the same. The numbers of the image are any numbers, of one task
 * or another, and may be closed by now; so the sets are filled by a thread with an empty table of its own, which fetches
 * each open file from the engine and holds it at its number for the moment of the call. Nobody else's numbers are in
 * the way. That comes last of all: what is watched has its data by then.
 *
 * A signalfd is different. It is ready when the signals of whoever asks are, and an epoll is woken by the signals
 * of the task that made the call (signalfd_poll(), fs/signalfd.c: current->sighand). So the task itself adds it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/system.h"
#include "kinds/common.h"
#include "kinds/epoll.h"
#include "kinds/registry.h"
#include "watch/recorder.h"

/* The thread with the empty table. */
struct scratch {
	struct operation *op;
	int self; /* pidfd of the engine: its table is the one of the other threads */
	int epoll;
	int result;
};

/* In the order in which they are added. */
enum target_class {
	TARGET_FIRED, /* EPOLLONESHOT that was told */
	TARGET_TOLD,  /* EPOLLET, and what is ready now was told before the dump */
	TARGET_PLAIN,
	TARGET_CLASSES,
	TARGET_OF_TASK, /* epolls_attach() */
};

static const struct descriptor *descriptor_of(const struct task *t, const struct file *f)
{
	for (size_t i = 0; i < t->n_descriptors; i++) {
		if (t->descriptors[i].file == f)
			return &t->descriptors[i];
	}
	return NULL;
}

/* As CRIU's images want it: by their numbers in the table of the first task that has the epoll. */
static void find_by_number(const struct operation *op, const struct file *epoll, struct file **targets)
{
	const EventpollFileEntry *m = epoll->entry->epfd;

	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *t = op->tree.tasks[i];

		if (t->files_owner != t || !descriptor_of(t, epoll))
			continue;
		for (size_t k = 0; k < m->n_tfd; k++) {
			const struct descriptor *d = targets[k] ? NULL : task_descriptor(t, (int)m->tfd[k]->tfd);

			if (d && d->file != epoll)
				targets[k] = d->file;
		}
	}
}

/* The open file of each entry, into the state of the epoll. */
static int find_targets(struct operation *op, struct file *f)
{
	const EventpollFileEntry *m = f->entry->epfd;
	struct file **targets = arena_array(&op->arena, m->n_tfd ? m->n_tfd : 1, sizeof(struct file *));
	bool missing = false;

	if (!targets)
		return raise_no_memory(op);
	for (size_t i = 0; i < m->n_tfd; i++) {
		if (m->tfd[i]->id != 0)
			targets[i] = files_find(op, m->tfd[i]->id);
		else
			missing = true;
	}
	if (missing)
		find_by_number(op, f, targets);
	for (size_t i = 0; i < m->n_tfd; i++) {
		if (!targets[i])
			return error_raise(
				op->error, EBADF,
				"files.img: file %u: the epoll watches fd %u, which no task that has the epoll has",
				f->id, m->tfd[i]->tfd);
	}
	f->state = targets;
	return 0;
}

static struct file *target_file(const struct file *epoll, size_t i)
{
	return ((struct file **)epoll->state)[i];
}

static bool has_fired(const EventpollTfdEntry *m)
{
	return (m->events & EPOLLONESHOT) && !(m->events & ~(uint32_t)EPOLL_PRIVATE_BITS);
}

static bool pipe_has_both_ends(const struct operation *op, const struct file *f)
{
	const PipeEntry *m = f->entry->pipe;

	for (size_t i = 0; m && i < op->files->n_files; i++) {
		const FileEntry *o = op->files->files[i]->entry;

		if (o->type == FD_TYPES__PIPE && o->pipe && o->pipe->pipe_id == m->pipe_id &&
		    (o->pipe->flags & O_ACCMODE) != (m->flags & O_ACCMODE))
			return true;
	}
	return false;
}

/* Is @f as it was dumped until the tasks run? Not when somebody outside of the tree can send, connect or write meanwhile:
 * an edge that came since must not be taken for an old one. */
static bool is_out_of_reach(const struct operation *op, const struct file *f)
{
	const FileEntry *m = f->entry;

	switch (m->type) {
	case FD_TYPES__EVENTFD:
		return true;
	case FD_TYPES__TIMERFD:
		return m->tfd && m->tfd->ticks > 0;
	case FD_TYPES__PIPE:
		return pipe_has_both_ends(op, f);
	case FD_TYPES__UNIXSK:
		return m->usk && (m->usk->type == SOCK_STREAM || m->usk->type == SOCK_SEQPACKET) &&
		       m->usk->state == TCP_ESTABLISHED && m->usk->peer != 0;
	default:
		return false;
	}
}

static enum target_class class_of(const struct operation *op, const struct file *epoll, const struct file *target,
				  const EventpollTfdEntry *m)
{
	if (target->kind == &kind_signalfd)
		return TARGET_OF_TASK;
	if (has_fired(m))
		return TARGET_FIRED;
	if ((epoll->entry->epfd->flags & EPOLL_FLAG_QUIET) && (m->events & EPOLLET) && !(m->events & EPOLLONESHOT) &&
	    is_out_of_reach(op, target))
		return TARGET_TOLD;
	return TARGET_PLAIN;
}

static int raise_add(struct operation *op, const struct file *epoll, const EventpollTfdEntry *m,
		     const struct file *target, int number, const char *call)
{
	(void)error_raise_call(op->error, number, call, "%s, its target fd %u (%s)", epoll->describe, m->tfd,
			       target->describe);
	if (number == ENOSPC)
		error_hint(op->error, "raise the limit /proc/sys/fs/epoll/max_user_watches");
	return -number;
}

/* ---- the thread ---- */

/* Moves a descriptor of the thread's own away from the number @tfd. */
static int step_aside(int *fd, int tfd)
{
	int moved;

	if (*fd != tfd)
		return 0;
	moved = fcntl(*fd, F_DUPFD_CLOEXEC, tfd + 1);
	if (moved < 0)
		return -errno;
	close(*fd);
	*fd = moved;
	return 0;
}

/* Fetches the engine's @fd to the number @tfd. */
static int fetch(struct scratch *s, int fd, int tfd)
{
	int got, r = step_aside(&s->self, tfd);

	if (r == 0)
		r = step_aside(&s->epoll, tfd);
	if (r < 0)
		return r;
	got = sys_pidfd_getfd(s->self, fd);
	if (got < 0 || got == tfd)
		return got < 0 ? got : 0;
	r = dup3(got, tfd, O_CLOEXEC) < 0 ? -errno : 0;
	close(got);
	return r;
}

/*
 * EPOLLONESHOT that has fired: no event is told until the task arms it again. There is no call for that state: the kernel adds
 * EPOLLERR and EPOLLHUP to whatever is asked for. So all is asked for, and what is ready now is told to this thread. A
 * target that is ready for nothing, an empty pipe say, stays armed for an error or the end.
 */
static int add_fired(const struct scratch *s, const EventpollTfdEntry *m)
{
	struct epoll_event told,
		e = { .events = m->events | EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLRDNORM | EPOLLWRNORM };

	e.data.u64 = m->data;
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, (int)m->tfd, &e) < 0)
		return -errno;
	if (epoll_wait(s->epoll, &told, 1, 0) == 1)
		return 0;
	e.events = m->events;
	return epoll_ctl(s->epoll, EPOLL_CTL_MOD, (int)m->tfd, &e) < 0 ? -errno : 0;
}

static int add_target(struct scratch *s, const struct file *epoll, const struct file *target,
		      const EventpollTfdEntry *m)
{
	struct epoll_event e = { .events = m->events, .data.u64 = m->data };
	int r;

	if (target->fd < 0)
		return raise_add(s->op, epoll, m, target, EBADF, "epoll_ctl");
	r = fetch(s, target->fd, (int)m->tfd);
	if (r < 0)
		return raise_add(s->op, epoll, m, target, -r, "dup3");
	if (has_fired(m))
		r = add_fired(s, m);
	else
		r = epoll_ctl(s->epoll, EPOLL_CTL_ADD, (int)m->tfd, &e) < 0 ? -errno : 0;
	close((int)m->tfd);
	return r < 0 ? raise_add(s->op, epoll, m, target, -r, "epoll_ctl") : 0;
}

/* Edge-triggered targets are told of once when they are added; one call takes all that is ready. */
static int take_told(const struct scratch *s, size_t n)
{
	AUTOFREE struct epoll_event *told = n ? calloc(n, sizeof(*told)) : NULL;

	if (n == 0)
		return 0;
	if (!told)
		return raise_no_memory(s->op);
	(void)epoll_wait(s->epoll, told, n > 65536 ? 65536 : (int)n, 0);
	return 0;
}

static int fill_class(struct scratch *s, const struct file *f, enum target_class class)
{
	const EventpollFileEntry *m = f->entry->epfd;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < m->n_tfd && r == 0; i++) {
		const struct file *target = target_file(f, i);

		if (recorder_cancelled())
			return error_raise(s->op->error, ECANCELED, "cancelled while epolls were filled");
		if (class_of(s->op, f, target, m->tfd[i]) != class)
			continue;
		r = add_target(s, f, target, m->tfd[i]);
		n++;
	}
	return r == 0 && class == TARGET_TOLD ? take_told(s, n) : r;
}

static int fill(struct scratch *s, const struct file *f)
{
	int r = 0;

	s->epoll = sys_pidfd_getfd(s->self, f->fd);
	if (s->epoll < 0)
		return error_raise_call(s->op->error, -s->epoll, "pidfd_getfd", "%s", f->describe);
	for (int class = 0, failed = 0; class < TARGET_CLASSES && !failed; class ++) {
		r = fill_class(s, f, (enum target_class) class);
		failed = r < 0;
	}
	close(s->epoll);
	return r;
}

static void *scratch_main(void *arg)
{
	struct scratch *s = arg;
	int r = sys_close_range(0, UINT_MAX, CLOSE_RANGE_UNSHARE);

	if (r < 0) {
		s->result = error_raise_call(s->op->error, -r, "close_range", "a table of descriptors for epolls");
		return NULL;
	}
	s->self = sys_pidfd_open(getpid(), 0);
	if (s->self < 0)
		r = error_raise_call(s->op->error, -s->self, "pidfd_open", "firn's own process");
	for (size_t i = 0; i < s->op->files->n_files && r == 0; i++) {
		if (s->op->files->files[i]->kind == &kind_epoll)
			r = fill(s, s->op->files->files[i]);
	}
	s->result = r;
	return NULL;
}

/* All at once: one thread serves every epoll. */
int epolls_fill(struct operation *op)
{
	struct scratch s = { .op = op, .self = -1, .epoll = -1 };
	void **filled = files_kind_state(op, &kind_epoll);
	pthread_t thread;
	int number, r = 0;

	if (*filled)
		return 0;
	*filled = op;
	for (size_t i = 0; i < op->files->n_files && r == 0; i++) {
		if (op->files->files[i]->kind == &kind_epoll)
			r = find_targets(op, op->files->files[i]);
	}
	if (r < 0)
		return r;
	number = pthread_create(&thread, NULL, scratch_main, &s);
	if (number != 0)
		return error_raise_call(op->error, number, "pthread_create", "a table of descriptors for epolls");
	(void)pthread_join(thread, NULL);
	return s.result;
}

/* ---- signalfds, by the task's puppet ---- */

/* The first that has both, or else the first that has the epoll. */
static struct task *task_of(const struct operation *op, const struct file *epoll, const struct file *target,
			    uint32_t tfd)
{
	struct task *any = NULL;

	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		const struct descriptor *d;

		if (t->state == TASK_ZOMBIE || t->files_owner != t || !descriptor_of(t, epoll))
			continue;
		d = task_descriptor(t, (int)tfd);
		if (d && d->file == target)
			return t;
		any = any ? any : t;
	}
	return any;
}

/* A target that the task adds itself. */
struct own_target {
	struct task *task;
	const struct file *epoll, *target;
	const EventpollTfdEntry *m;
	int at;		     /* where the target is in the task's table: at its number, or a copy elsewhere */
	bool taken, cloexec; /* another file is at the number */
};

/* In the table of the task the number may be closed or taken by now: then the target stands there for the moment of the
 * call. */
static int attach_at(struct operation *op, const struct own_target *o, bool keep)
{
	struct epoll_event e = { .events = o->m->events, .data.u64 = o->m->data };
	uint64_t tfd = o->m->tfd, epoll = (uint64_t)descriptor_of(o->task, o->epoll)->number;
	struct batch b = { 0 };
	size_t saved = 0, add;
	int r = batch_begin(&b, &o->task->threads[0].puppet, op->error);

	if (r < 0)
		return r;
	if (o->taken)
		saved = batch_call(&b, 0, __NR_fcntl, tfd, F_DUPFD_CLOEXEC, 0);
	if ((uint64_t)o->at != tfd) {
		batch_call(&b, 0, __NR_dup3, (uint64_t)o->at, tfd, O_CLOEXEC);
		batch_call(&b, 0, __NR_close, (uint64_t)o->at);
	}
	add = batch_call(&b, CALL_MAY_FAIL, __NR_epoll_ctl, epoll, EPOLL_CTL_ADD, tfd, batch_data(&b, &e, sizeof(e)));
	if (o->taken) {
		batch_call(&b, CALL_REF(0), __NR_dup3, saved, tfd, o->cloexec ? O_CLOEXEC : 0);
		batch_call(&b, CALL_REF(0), __NR_close, saved);
	} else if (!keep) {
		batch_call(&b, 0, __NR_close, tfd);
	}
	r = puppet_run(&b, op->error);
	if (r == 0 && batch_result(&b, add) < 0)
		r = raise_add(op, o->epoll, o->m, o->target, (int)-batch_result(&b, add), "epoll_ctl");
	batch_end(&b);
	return r;
}

static int attach(struct operation *op, struct channel *c, const struct file *f, const struct file *target,
		  const EventpollTfdEntry *m)
{
	struct own_target o = { .task = task_of(op, f, target, m->tfd), .epoll = f, .target = target, .m = m };
	const struct descriptor *there;
	int r;

	if (!o.task) {
		log_warn(0, "%s: no task holds it: its signalfd, fd %u, is left out", f->describe, m->tfd);
		return 0;
	}
	recorder_step(o.task->pid, o.task->comm, "epoll_ctl", "%s, fd %u", f->describe, m->tfd);
	there = task_descriptor(o.task, (int)m->tfd);
	if (there && there->file == target) {
		o.at = (int)m->tfd;
		return attach_at(op, &o, true);
	}
	/* A number that is closed by now may be the very one that the channel was put at. */
	o.taken = there || (int)m->tfd == c->number;
	o.cloexec = !there || there->cloexec;
	r = channel_send(op, c, &o.task->threads[0].puppet, &target->fd, 1, &o.at);
	return r == 0 ? attach_at(op, &o, false) : r;
}

int epolls_attach(struct operation *op, struct channel *c)
{
	int r = 0;

	for (size_t i = 0; op->files && i < op->files->n_files; i++) {
		const struct file *f = op->files->files[i];
		const EventpollFileEntry *m = f->entry->epfd;

		for (size_t k = 0; f->kind == &kind_epoll && k < m->n_tfd && r == 0; k++) {
			const struct file *target = target_file(f, k);

			if (class_of(op, f, target, m->tfd[k]) == TARGET_OF_TASK)
				r = attach(op, c, f, target, m->tfd[k]);
		}
		if (r < 0)
			return r;
	}
	return r;
}
