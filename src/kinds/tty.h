/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <signal.h>
#include <sys/types.h>

#include "kinds/placement.h"
#include "tty.pb-c.h"

/*
 * restore: gives the sessions their controlling terminals and the terminals their foreground process groups, by calls of
 * the session leaders' puppets; then the locks and modes of ptys that would be in the way of that. After descriptors were
 * placed and process groups set, before the puppets give up their credentials. Tracer thread.
 */
int ttys_attach(struct operation *op, struct channel *c);

/* ---- between tty.c, which dumps, and tty_decode.c, tty_create.c, tty_modes.c and tty_session.c, which restore ---- */

struct tty {
	struct tty *next;
	TtyInfoEntry *m;
	struct file *file;              /* the first open file of it; NULL while none was met */
	bool external;                  /* restore: the terminal that firn itself runs on, or one of --inherit-fd, stands for it */
	const uint8_t *data;            /* unread bytes on this side */
	size_t data_len;
};

static inline bool tty_is_master(const TtyInfoEntry *m)
{
	return m->type == TTY_TYPE__PTY && m->rdev == (5u << 8 | 2u);
}

static inline bool tty_is_slave(const TtyInfoEntry *m)
{
	return m->type == TTY_TYPE__PTY && !tty_is_master(m);
}

/* A terminal of somebody else, given at the restore (--external, --inherit-fd). */
static inline bool tty_is_given(const TtyInfoEntry *m)
{
	return m->type == TTY_TYPE__EXT_TTY;
}

/* The terminals of the operation, in a list; NULL when the list is empty. */
struct tty **tty_list(struct operation *op);
struct tty *tty_find(struct operation *op, uint32_t id);

#define TTY_INDEX_MAX 1048575u    /* minors */
#define TTY_CC 19u                /* control characters in the kernel's struct termios, four in a word of the image */

int tty_load_all(struct operation *op);
int tty_decode(struct operation *op, struct file *f);
int tty_create(struct operation *op, struct file *f);
int tty_finish(struct operation *op, struct file *f);
/* The master of the pty with that number that an open file of the images is, or NULL. */
struct tty *tty_master(struct operation *op, uint32_t index);
/* Packet mode, TIOCEXCL and TIOCSPTLCK of every pty: from then on nobody but root can open the slave. */
int ttys_lock(struct operation *op);

/* Around an ioctl that a job in the background is stopped for (SIGTTOU). */
struct tty_guard {
	sigset_t old;
};
void tty_guard_enter(struct tty_guard *g);
void tty_guard_leave(const struct tty_guard *g);

/* dump: reads what waits on the side @t of the pair of @master and puts it back. */
int tty_data_dump(struct operation *op, struct tty *t, const struct tty *master);
int tty_data_write(struct operation *op);
int tty_data_read(struct operation *op);
/* restore: before the modes of @t are set. */
int tty_data_restore(struct operation *op, const struct tty *t);
