/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <asm/unistd.h>
#include <fcntl.h>
#include <sys/file.h>

#include "aspects/common.h"

/*
 * File locks and leases (man 2 fcntl, man 2 flock). Each is taken through the descriptor that it was dumped with: a POSIX
 * lock belongs to the process, the others to the open file. Taking one twice changes nothing. The dump's side is in
 * kinds/lock.c, where descriptors are read.
 */

static size_t add_call(struct batch *b, const FileLockEntry *m)
{
	struct flock range = { .l_type = (short)m->type, .l_whence = SEEK_SET, .l_start = m->start, .l_len = m->len };
	const uint64_t fd = (uint64_t)m->fd;

	switch (m->flag) {
	case FILE_LOCK_FLOCK:
		return batch_call(b, CALL_MAY_FAIL, __NR_flock, fd, LOCK_NB | (m->type == F_RDLCK ? LOCK_SH : LOCK_EX));
	case FILE_LOCK_LEASE:
		return batch_call(b, CALL_MAY_FAIL, __NR_fcntl, fd, F_SETLEASE, m->type);
	default:
		return batch_call(b, CALL_MAY_FAIL, __NR_fcntl, fd, m->flag == FILE_LOCK_OFD ? F_OFD_SETLK : F_SETLK,
				  batch_data(b, &range, sizeof(range)));
	}
}

static int raise_taken(struct operation *op, const struct thread *t, const FileLockEntry *m, int number)
{
	(void)error_raise_call(op->error, number, m->flag == FILE_LOCK_FLOCK ? "flock" : "fcntl",
			       "pid %d (%s), fd %d: its %s cannot be taken again", t->task->pid, t->task->comm, m->fd,
			       m->flag == FILE_LOCK_LEASE ? "lease" : "file lock");
	if (number == EAGAIN || number == EACCES)
		error_hint(op->error, "Another task has taken it or has the file open: see /proc/locks.");
	return -number;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const struct task *task = t->task;
	int r = 0;

	if (!is_leader(t) || task->n_locks == 0)
		return 0;
	if (b->n_calls)
		r = puppet_run(b, op->error);
	for (size_t i = 0; i < task->n_locks && r == 0;) {
		size_t first = i, n;

		batch_reset(b);
		for (; i < task->n_locks && batch_has_room(b, 1, 2 * sizeof(struct flock)); i++)
			(void)add_call(b, task->locks[i]);
		n = i - first;
		r = puppet_run(b, op->error);
		for (size_t k = 0; k < n && r == 0; k++) {
			if (batch_result(b, k) < 0)
				r = raise_taken(op, t, task->locks[first + k], (int)-batch_result(b, k));
		}
	}
	batch_reset(b);
	return r;
}

const struct aspect file_locks_aspect = {
	.name = "file locks",
	.apply = apply,
};
