/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/tty.h"
#include "watch/recorder.h"

/* Whose terminal it is: sessions, foreground groups, and what must come after them. */

/* A descriptor of the slave side: the file's own, or one for the moment (*ret_temporary). */
static int slave_of(struct operation *op, const struct tty *t, int *ret_fd, int *ret_temporary)
{
	*ret_temporary = -1;
	if (!tty_is_master(t->m)) {
		*ret_fd = t->file->fd;
		return 0;
	}
	*ret_temporary = ioctl(t->file->fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	*ret_fd = *ret_temporary;
	return *ret_fd < 0 ? error_raise_call(op->error, errno, "ioctl(TIOCGPTPEER)", "%s", t->file->describe) : 0;
}

static int attach_leader(struct operation *op, struct channel *c, struct task *leader, const struct tty *t, int slave)
{
	struct puppet *p = &leader->threads[0].puppet;
	struct batch b = { 0 };
	int32_t pgrp = (int32_t)t->m->pgrp;
	size_t set = 0;
	int number, r;

	r = channel_send(op, c, p, &slave, 1, &number);
	if (r < 0)
		return r;
	r = batch_begin(&b, p, op->error);
	if (r < 0)
		return r;
	/* 1: takes it from the session that has it, which only the terminal firn runs on can be (CAP_SYS_ADMIN). */
	batch_call(&b, 0, __NR_ioctl, (uint64_t)number, TIOCSCTTY, t->external);
	/* The leader is in the foreground now, so nothing stops it from giving that to another group. */
	if (pgrp > 0)
		set = batch_call(&b, CALL_MAY_FAIL, __NR_ioctl, (uint64_t)number, TIOCSPGRP,
				 batch_data(&b, &pgrp, sizeof(pgrp)));
	batch_call(&b, 0, __NR_close, (uint64_t)number);
	r = puppet_run(&b, op->error);
	if (r == 0 && pgrp > 0 && batch_result(&b, set) < 0)
		log_warn(leader->pid, "%s: its foreground process group %d does not exist: left to the session leader",
			 t->file->describe, pgrp);
	batch_end(&b);
	return r;
}

/* A shell job whose session is the caller's: the job's group comes to the foreground, as the shell would do. */
static void attach_job(const struct operation *op, const struct tty *t)
{
	pid_t pgrp = (pid_t)t->m->pgrp;
	struct tty_guard g;

	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *task = op->tree.tasks[i];

		if (task->pgid != pgrp || getsid(task->pid) != getsid(0) || getpgid(task->pid) != pgrp)
			continue;
		tty_guard_enter(&g);
		if (ioctl(t->file->fd, TIOCSPGRP, &pgrp) < 0)
			log_warn(task->pid, "%s: process group %d stays in the background", t->file->describe, pgrp);
		tty_guard_leave(&g);
		return;
	}
}

/* Masters and slaves both name their session; the slave comes first where there is one. */
static bool attached_before(struct operation *op, const struct tty *t)
{
	for (const struct tty *o = *tty_list(op); o; o = o->next) {
		if (o == t || !o->file || o->m->sid != t->m->sid || !o->m->termios || o->m->type == TTY_TYPE__CTTY)
			continue;
		if (tty_is_master(t->m) && !tty_is_master(o->m))
			return true;
	}
	return false;
}

int ttys_attach(struct operation *op, struct channel *c)
{
	int r = 0;

	if (!op->files)
		return 0;
	for (const struct tty *t = *tty_list(op); r == 0 && t; t = t->next) {
		struct task *leader = t->m->sid ? tree_find(&op->tree, (pid_t)t->m->sid) : NULL;
		AUTOCLOSE int temporary = -1;
		int slave;

		if (!t->file || !t->m->sid || !t->m->termios || (t->m->type == TTY_TYPE__CTTY && !t->external))
			continue;
		if (!leader || leader->n_threads == 0 || leader->sid != leader->pid) {
			if (t->external)
				attach_job(op, t);
			continue;
		}
		if (attached_before(op, t))
			continue;
		r = slave_of(op, t, &slave, &temporary);
		if (r == 0)
			r = attach_leader(op, c, leader, t, slave);
	}
	return r == 0 ? ttys_lock(op) : r;
}
