/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <syscall.h>
#include <unistd.h>

#include "kernel/system.h"
#include "memory/plan.h"
#include "watch/recorder.h"

/*
 * AIO contexts (man 2 io_setup). The program sees one as an area: a ring of completed requests, "/[aio]", whose address is
 * the context's id. The kernel keeps its own count of where the next one goes (aio_complete(), fs/aio.c), so the ring
 * alone is not enough: a new context is made to go through as many requests as the old one had, reads of /dev/null, those
 * that wait in the ring are left waiting, and then the ring is moved to its address (aio_ring_mremap(), Linux 3.19) and
 * its events are put in.
 *
 * A request that is under way while the tree is dumped is lost, as with CRIU: the kernel tells nobody of it.
 */

struct ring {
	uint32_t id; /* the kernel's index: never to be changed */
	uint32_t nr, head, tail, magic, compat, incompat, header;
};
#define RING_MAGIC 0xa10a10a1u
#define RING_MAX (64ull << 20)
#define CHUNK 32 /* requests at a time */

bool aio_is_ring(const struct proc_map *m)
{
	return strncmp(m->path, "/[aio]", 6) == 0 && m->shared && (m->vm_flags & VMFLAG_DE);
}

/* ---- dump ---- */

/* The kernel makes room for twice the requests that io_setup() asked for, two more, and what the last page holds; the most
 * that gives a ring of @len bytes. */
static uint32_t requests_of(uint64_t len)
{
	return (uint32_t)((len / sizeof(struct io_event) - 1) / 2 - 1);
}

int aio_add(struct operation *op, struct task *t)
{
	MmEntry *mm = t->mm;
	AioRingEntry *entries = arena_array(&op->arena, mm->n_vmas + 1, sizeof(*entries));

	mm->aios = arena_array(&op->arena, mm->n_vmas + 1, sizeof(*mm->aios));
	if (!entries || !mm->aios)
		return error_raise(op->error, ENOMEM, "pid %d (%s): no memory left for its AIO contexts", t->pid,
				   t->comm);
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *v = mm->vmas[i];
		AioRingEntry *m = &entries[mm->n_aios];

		if (!(v->status & AREA_AIORING))
			continue;
		aio_ring_entry__init(m);
		m->id = v->start;
		m->ring_len = (uint32_t)(v->end - v->start);
		m->nr_req = requests_of(m->ring_len);
		mm->aios[mm->n_aios++] = m;
	}
	return 0;
}

static int refuse_inherited(struct operation *op, const struct task *t, uint64_t start)
{
	(void)error_raise(op->error, EOPNOTSUPP,
			  "pid %d (%s), area %" PRIx64
			  ": the ring of an AIO context that is not its own, which firn cannot carry",
			  t->pid, t->comm, start);
	error_hint(op->error, "a child inherits the ring from its parent without the context: let it unmap that");
	return -EOPNOTSUPP;
}

/* Asks for no event, which only the owner of a context may. */
int aio_ask(struct operation *op, struct task *t)
{
	struct timespec none = { 0, 0 };
	int r = 0;

	for (size_t i = 0; t->mm && i < t->mm->n_aios && r == 0; i++) {
		uint64_t id = t->mm->aios[i]->id;
		struct batch b;

		r = batch_begin(&b, &t->threads[0].puppet, op->error);
		if (r < 0)
			return r;
		batch_call(&b, CALL_MAY_FAIL, SYS_io_getevents, id, 0, 0, 0, batch_data(&b, &none, sizeof(none)));
		r = puppet_run(&b, op->error);
		if (r == 0 && batch_result(&b, 0) == -EINVAL)
			r = refuse_inherited(op, t, id);
		batch_end(&b);
	}
	return r;
}

/* ---- restore ---- */

struct making {
	struct operation *op;
	struct task *t;
	const VmaEntry *v;
	struct batch b;
	uint64_t context; /* where the kernel made it */
	int null;	  /* /dev/null in the puppet */
	struct ring *old; /* the image's ring, whole */
};

static int raise_ring(const struct making *m, const char *what)
{
	return error_raise(m->op->error, EBADMSG, "pid %d (%s), area %" PRIx64 ": the ring of an AIO context: %s",
			   m->t->pid, m->t->comm, m->v->start, what);
}

static int read_new(struct making *m, struct ring *ret)
{
	ssize_t n = sys_vm_read(m->t->pid, m->context, ret, sizeof(*ret));

	if (n != (ssize_t)sizeof(*ret))
		return error_raise_call(m->op->error, n < 0 ? (int)-n : EFAULT, "process_vm_readv",
					"pid %d (%s): a new AIO ring", m->t->pid, m->t->comm);
	return 0;
}

/* The ring as it was lies in ordinary memory at its address. */
static int read_old(struct making *m)
{
	uint64_t len = m->v->end - m->v->start;
	ssize_t n;

	if (len > RING_MAX)
		return raise_ring(m, "it is too large");
	m->old = arena_alloc(&m->op->arena, len);
	if (!m->old)
		return error_raise(m->op->error, ENOMEM, "no memory left for an AIO ring");
	n = sys_vm_read(m->t->pid, m->v->start, m->old, len);
	if (n != (ssize_t)len)
		return error_raise_call(m->op->error, n < 0 ? (int)-n : EFAULT, "process_vm_readv",
					"pid %d (%s): an AIO ring", m->t->pid, m->t->comm);
	if (m->old->magic != RING_MAGIC || m->old->header != sizeof(struct ring) ||
	    m->old->nr != (len - sizeof(struct ring)) / sizeof(struct io_event) || m->old->head >= m->old->nr ||
	    m->old->tail >= m->old->nr)
		return raise_ring(m, "its head is damaged");
	return 0;
}

static uint32_t wanted_requests(const struct making *m)
{
	for (size_t i = 0; i < m->t->mm->n_aios; i++) {
		if (m->t->mm->aios[i]->id == m->v->start && m->t->mm->aios[i]->nr_req > 0)
			return m->t->mm->aios[i]->nr_req;
	}
	return requests_of(m->v->end - m->v->start);
}

static int set_up(struct making *m)
{
	struct ring now;
	uint64_t at;
	int r;

	batch_reset(&m->b);
	at = batch_space(&m->b, sizeof(uint64_t));
	batch_call(&m->b, CALL_MAY_FAIL, SYS_io_setup, wanted_requests(m), at);
	r = puppet_run(&m->b, m->op->error);
	if (r == 0 && batch_result(&m->b, 0) < 0) {
		(void)error_raise_call(m->op->error, (int)-batch_result(&m->b, 0), "io_setup",
				       "pid %d (%s), for %u requests", m->t->pid, m->t->comm, wanted_requests(m));
		if (batch_result(&m->b, 0) == -EAGAIN)
			error_hint(m->op->error, "raise the limit /proc/sys/fs/aio-max-nr");
		r = -m->op->error->number;
	}
	if (r < 0)
		return r;
	memcpy(&m->context, batch_at(&m->b, at), sizeof(m->context));
	r = read_new(m, &now);
	if (r == 0 && now.nr != m->old->nr)
		r = error_raise(m->op->error, EOPNOTSUPP,
				"pid %d (%s): the ring of an AIO context has room for %u events here and had %u",
				m->t->pid, m->t->comm, now.nr, m->old->nr);
	return r;
}

/* Up to CHUNK requests that are done as soon as they are made; taken from the ring again, or not. */
static int pass(struct making *m, uint32_t n, bool take)
{
	struct iocb cb = { .aio_fildes = (uint32_t)m->null, .aio_lio_opcode = IOCB_CMD_PREAD };
	uint64_t at[CHUNK], list, events, target;
	struct timespec limit = { 5, 0 };
	int r;

	batch_reset(&m->b);
	target = batch_space(&m->b, 16);
	cb.aio_buf = target;
	cb.aio_nbytes = 1;
	for (uint32_t i = 0; i < n; i++)
		at[i] = batch_data(&m->b, &cb, sizeof(cb));
	list = batch_data(&m->b, at, n * sizeof(at[0]));
	batch_call(&m->b, CALL_MAY_FAIL, SYS_io_submit, m->context, n, list);
	if (take) {
		events = batch_space(&m->b, n * sizeof(struct io_event));
		batch_call(&m->b, CALL_MAY_FAIL, SYS_io_getevents, m->context, n, n, events,
			   batch_data(&m->b, &limit, sizeof(limit)));
	}
	r = puppet_run(&m->b, m->op->error);
	for (size_t i = 0; i < 1 + (size_t)take && r == 0; i++) {
		int64_t got = batch_result(&m->b, i);

		if (got != n)
			r = error_raise_call(m->op->error, got < 0 ? (int)-got : EAGAIN,
					     i ? "io_getevents" : "io_submit", "pid %d (%s), to move an AIO ring on",
					     m->t->pid, m->t->comm);
	}
	return r;
}

static int pass_all(struct making *m, uint32_t n, bool take)
{
	int r = 0;

	while (n > 0 && r == 0) {
		uint32_t now = n < CHUNK ? n : CHUNK;

		if (recorder_cancelled())
			return error_raise(m->op->error, ECANCELED, "cancelled while AIO contexts were restored");
		recorder_moved(0);
		r = pass(m, now, take);
		n -= now;
	}
	return r;
}

/* Over the copy of the old ring, which goes; then the events that wait, and those that were. */
static int move(struct making *m)
{
	uint64_t len = m->v->end - m->v->start, data = len - sizeof(struct ring);
	struct ring now;
	ssize_t n;
	int r = read_new(m, &now);

	if (r < 0)
		return r;
	if (now.head != m->old->head || now.tail != m->old->tail)
		return error_raise(m->op->error, EIO, "pid %d (%s): an AIO ring stands at %u-%u instead of %u-%u",
				   m->t->pid, m->t->comm, now.head, now.tail, m->old->head, m->old->tail);
	batch_reset(&m->b);
	batch_call(&m->b, 0, SYS_mremap, m->context, len, len, 3 /* MREMAP_MAYMOVE | MREMAP_FIXED */, m->v->start);
	r = puppet_run(&m->b, m->op->error);
	if (r < 0)
		return r;
	n = sys_vm_write(m->t->pid, m->v->start + sizeof(struct ring), m->old + 1, data);
	return n == (ssize_t)data ? 0
				  : error_raise_call(m->op->error, n < 0 ? (int)-n : EFAULT, "process_vm_writev",
						     "pid %d (%s): an AIO ring", m->t->pid, m->t->comm);
}

static int restore_ring(struct making *m)
{
	uint32_t waiting;
	int r = read_old(m);

	if (r < 0)
		return r;
	recorder_step(m->t->pid, m->t->comm, "io_setup", "an AIO context of %u events", m->old->nr);
	waiting = (m->old->tail + m->old->nr - m->old->head) % m->old->nr;
	r = set_up(m);
	if (r == 0)
		r = pass_all(m, m->old->head, true);
	if (r == 0)
		r = pass_all(m, waiting, false);
	return r == 0 ? move(m) : r;
}

int aio_restore(struct operation *op, struct task *t)
{
	struct making m = { .op = op, .t = t, .null = -1 };
	bool any = false;
	int r;

	for (size_t i = 0; i < t->mm->n_vmas; i++)
		any |= (t->mm->vmas[i]->status & AREA_AIORING) != 0;
	if (!any)
		return 0;
	r = batch_begin(&m.b, &t->threads[0].puppet, op->error);
	if (r < 0)
		return r;
	batch_call(&m.b, 0, SYS_openat, (uint64_t)AT_FDCWD, batch_string(&m.b, "/dev/null"), O_RDONLY | O_CLOEXEC, 0);
	r = puppet_run(&m.b, op->error);
	if (r == 0)
		m.null = (int)batch_result(&m.b, 0);
	for (size_t i = 0; i < t->mm->n_vmas && r == 0; i++) {
		m.v = t->mm->vmas[i];
		if (m.v->status & AREA_AIORING)
			r = restore_ring(&m);
	}
	if (r == 0) {
		batch_reset(&m.b);
		batch_call(&m.b, 0, SYS_close, (uint64_t)m.null);
		r = puppet_run(&m.b, op->error);
	}
	batch_end(&m.b);
	return r;
}
