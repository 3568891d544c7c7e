/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <asm/termbits.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kinds/common.h"
#include "kinds/tty.h"

/*
 * What a terminal is set to. ioctls on the terminal that firn itself runs on are made with SIGTTOU blocked, as the engine
 * may be in the background of it.
 */

void tty_guard_enter(struct tty_guard *g)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &set, &g->old);
}

void tty_guard_leave(const struct tty_guard *g)
{
	pthread_sigmask(SIG_SETMASK, &g->old, NULL);
}

static void termios_fill(const TermiosEntry *m, struct termios2 *t)
{
	memset(t, 0, sizeof(*t));
	t->c_iflag = m->c_iflag;
	t->c_oflag = m->c_oflag;
	t->c_cflag = m->c_cflag;
	t->c_lflag = m->c_lflag;
	t->c_ispeed = m->c_ispeed;
	t->c_ospeed = m->c_ospeed;
	memcpy(t->c_cc, m->c_cc, sizeof(t->c_cc)); /* check_termios() saw that there are so many */
}

static int apply_termios(int fd, const TtyInfoEntry *m)
{
	struct termios2 t;
	struct termios plain = { 0 };

	termios_fill(m->termios, &t);
	if (((t.c_cflag & CBAUD) == BOTHER || (t.c_cflag >> IBSHIFT & CBAUD) == BOTHER) && t.c_ospeed)
		return ioctl(fd, TCSETS2, &t) < 0 ? -errno : 0;
	plain.c_iflag = t.c_iflag;
	plain.c_oflag = t.c_oflag;
	plain.c_cflag = t.c_cflag;
	plain.c_lflag = t.c_lflag;
	memcpy(plain.c_cc, t.c_cc, sizeof(plain.c_cc));
	return ioctl(fd, TCSETS, &plain) < 0 ? -errno : 0;
}

static int apply_locked(int fd, const TtyInfoEntry *m)
{
	struct termios locked = { 0 };
	const TermiosEntry *l = m->termios_locked;

	if (!l || !(l->c_iflag | l->c_oflag | l->c_cflag | l->c_lflag))
		return 0;
	locked.c_iflag = l->c_iflag;
	locked.c_oflag = l->c_oflag;
	locked.c_cflag = l->c_cflag;
	locked.c_lflag = l->c_lflag;
	memcpy(locked.c_cc, l->c_cc, sizeof(locked.c_cc));
	return ioctl(fd, TIOCSLCKTRMIOS, &locked) < 0 ? -errno : 0;
}

static int apply_size(int fd, const TtyInfoEntry *m)
{
	struct winsize w;

	if (!m->winsize)
		return 0;
	w = (struct winsize){ .ws_row = (unsigned short)m->winsize->ws_row,
			      .ws_col = (unsigned short)m->winsize->ws_col,
			      .ws_xpixel = (unsigned short)m->winsize->ws_xpixel,
			      .ws_ypixel = (unsigned short)m->winsize->ws_ypixel };
	return ioctl(fd, TIOCSWINSZ, &w) < 0 ? -errno : 0;
}

/* The state of the terminal, once, at the first of its files. A terminal of the caller's keeps its size; consoles and
 * serial lines, which are the machine's, keep everything. */
static int apply_state(struct operation *op, const struct file *f, const struct tty *t)
{
	const TtyInfoEntry *m = t->m;
	struct tty_guard g;
	int r = 0;

	if (!m->termios || tty_is_given(m) || (m->type != TTY_TYPE__PTY && !t->external) || t->file != f)
		return 0;
	r = tty_data_restore(op, t);
	if (r < 0)
		return r;
	tty_guard_enter(&g);
	r = apply_termios(f->fd, m);
	if (r == 0 && !t->external)
		r = apply_locked(f->fd, m);
	if (r == 0 && !t->external)
		r = apply_size(f->fd, m);
	tty_guard_leave(&g);
	return r < 0 ? error_raise_call(op->error, -r, "ioctl", "%s, setting its modes", f->describe) : 0;
}

static int lock(const struct tty *t)
{
	const TtyInfoEntry *m = t->m;
	int on = 1;

	if (tty_is_master(m) && m->packet_mode && ioctl(t->file->fd, TIOCPKT, &on) < 0)
		return -errno;
	if (tty_is_master(m) && m->locked && ioctl(t->file->fd, TIOCSPTLCK, &on) < 0)
		return -errno;
	return m->exclusive && ioctl(t->file->fd, TIOCEXCL) < 0 ? -errno : 0;
}

int ttys_lock(struct operation *op)
{
	int r;

	for (const struct tty *t = *tty_list(op); t; t = t->next) {
		if (!t->file || !t->m->termios || t->external ||
		    (t->m->type != TTY_TYPE__PTY && t->m->type != TTY_TYPE__CTTY))
			continue;
		r = lock(t);
		if (r < 0)
			return error_raise_call(op->error, -r, "ioctl", "%s, setting its locks", t->file->describe);
	}
	return 0;
}

int tty_finish(struct operation *op, struct file *f)
{
	const struct tty *t = f->state;
	int r;

	r = apply_state(op, f, t);
	if (r == 0)
		r = file_set_flags(op, f, f->entry->tty->flags);
	return r == 0 ? fown_apply(op, f->fd, f->entry->tty->fown, f->describe) : r;
}
