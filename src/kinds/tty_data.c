/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <asm/termbits.h>
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/features.h"
#include "kinds/common.h"
#include "kinds/tty.h"
#include "watch/recorder.h"

/*
 * What waits to be read in a pty pair. The kernel shows it to a reader alone, so it is taken out and put back at once,
 * with nothing in between that could fail or wait: TIOCSTI puts a byte into the read queue of either side as if it had
 * been received. Meanwhile the terminal is quiet (no echo, no signals, no translation) but for lines, which keep their
 * ends. Packet mode is off meanwhile: a read would begin with a byte of status, and changed modes would make some. Switching
 * it on again takes away a status that waits (TIOCPKT, man 2 ioctl_tty), so then the dump is refused.
 */

#define QUEUE_MAX 2048u    /* the line discipline holds 4095 bytes; near that, more waits behind it out of reach */

static int set_quiet(int fd, const struct termios *old, bool lines)
{
	struct termios quiet = { .c_cflag = old->c_cflag, .c_lflag = lines ? ICANON : 0 };

	/* All control characters are off (0); VMIN and VTIME 0: a read never waits. */
	return ioctl(fd, TCSETS, &quiet) < 0 ? -errno : 0;
}

static int put(int fd, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (ioctl(fd, TIOCSTI, &data[i]) < 0)
			return -errno;
	}
	return 0;
}

/* Bytes taken, or -errno. */
static int take(int fd, uint8_t *buf, size_t size)
{
	size_t len = 0;

	for (;;) {
		int waiting = 0;
		ssize_t n;

		if (ioctl(fd, FIONREAD, &waiting) < 0)
			return -errno;
		if (waiting <= 0 || len == size)
			return (int)len;
		n = read(fd, buf + len, (size_t)waiting < size - len ? (size_t)waiting : size - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return (int)len;
		len += n > 0 ? (size_t)n : 0;
	}
}

static int take_and_put_back(struct tty *t, int fd, uint8_t *buf, size_t size)
{
	const bool slave = !tty_is_master(t->m);
	struct termios old;
	int n, r = 0;

	if (ioctl(fd, TCGETS, &old) < 0)
		return -errno;
	if (slave)
		r = set_quiet(fd, &old, false);    /* a line without its end shows up too */
	if (r < 0)
		return r;
	n = take(fd, buf, size);
	if (slave)
		r = set_quiet(fd, &old, old.c_lflag & ICANON);
	if (n > 0 && r == 0)
		r = put(fd, buf, (size_t)n);
	if (slave && ioctl(fd, TCSETS, &old) < 0 && r == 0)
		r = -errno;
	return r < 0 ? r : n;
}

static int refuse(struct operation *op, const struct tty *t, int waiting, const char *why)
{
	error_raise(op->error, EOPNOTSUPP, "%s: %d bytes wait to be read on this side of a pty, which are not carried: %s",
		    facts_describe(op, &t->file->facts), waiting, why);
	error_hint(op->error, "Let the program read them, then dump again.");
	return -EOPNOTSUPP;
}

int tty_data_dump(struct operation *op, struct tty *t, const struct tty *master)
{
	AUTOFREE uint8_t *buf = NULL;
	int fd = t->file->facts.fd, waiting = 0, on = 1, off = 0, n;

	if (ioctl(fd, FIONREAD, &waiting) < 0)
		return error_raise_call(op->error, errno, "ioctl(FIONREAD)", "%s", facts_describe(op, &t->file->facts));
	if (waiting <= 0)
		return 0;
	if ((unsigned)waiting > QUEUE_MAX)
		return refuse(op, t, waiting, "they are too many");
	if (!(op->features->cap_eff & 1ull << CAP_SYS_ADMIN))
		return refuse(op, t, waiting, "putting them back needs CAP_SYS_ADMIN");
	buf = malloc(2 * QUEUE_MAX);
	if (!buf)
		return raise_no_memory(op);
	recorder_step(t->file->facts.task->pid, t->file->facts.task->comm, "read", "%s, %d bytes, put back at once",
		      t->file->describe, waiting);
	if (master->m->packet_mode && ioctl(master->file->facts.fd, TIOCPKT, &off) < 0)
		return error_raise_call(op->error, errno, "ioctl(TIOCPKT)", "%s", facts_describe(op, &t->file->facts));
	n = take_and_put_back(t, fd, buf, 2 * QUEUE_MAX);
	if (master->m->packet_mode && ioctl(master->file->facts.fd, TIOCPKT, &on) < 0 && n >= 0)
		n = -errno;
	if (n < 0)
		return error_raise_call(op->error, -n, "ioctl(TIOCSTI)", "%s: its unread data", facts_describe(op, &t->file->facts));
	t->data = arena_memdup(&op->arena, buf, n ? (size_t)n : 1);
	t->data_len = (size_t)n;
	return t->data ? 0 : raise_no_memory(op);
}

int tty_data_write(struct operation *op)
{
	struct image_writer w = { 0 };
	bool opened = false;
	int r = 0;

	for (const struct tty *t = *tty_list(op); r == 0 && t; t = t->next) {
		TtyDataEntry m = TTY_DATA_ENTRY__INIT;

		if (t->data_len == 0)
			continue;
		if (!opened)
			r = image_writer_open(&w, &op->images, IMAGE_TTY_DATA, 0, op->error);
		opened = true;
		m.tty_id = t->m->id;
		m.data.data = (uint8_t *)t->data;
		m.data.len = t->data_len;
		if (r == 0)
			r = image_write(&w, &m.base, op->error);
	}
	if (opened && r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

int tty_data_read(struct operation *op)
{
	struct image_reader reader = { 0 };
	ProtobufCMessage *m;
	int r;

	r = image_reader_open_if_there(&reader, &op->images, IMAGE_TTY_DATA, 0, &op->arena, op->error);
	while (r >= 0 && (r = image_read(&reader, &tty_data_entry__descriptor, &m, op->error)) > 0) {
		const TtyDataEntry *d = (const TtyDataEntry *)m;
		struct tty *t = tty_find(op, d->tty_id);

		if (!t || t->m->type != TTY_TYPE__PTY || t->data || d->data.len > 2 * QUEUE_MAX)
			return error_raise(op->error, EBADMSG, "%s: the data of terminal %u is damaged", reader.name, d->tty_id);
		t->data = d->data.data;
		t->data_len = d->data.len;
	}
	return r;
}

int tty_data_restore(struct operation *op, const struct tty *t)
{
	struct termios old;
	int fd = t->file->fd, r = 0;

	if (t->data_len == 0 || t->external || !t->m->termios)
		return 0;
	if (!tty_is_master(t->m)) {
		r = ioctl(fd, TCGETS, &old) < 0 ? -errno : set_quiet(fd, &old, t->m->termios->c_lflag & ICANON);
		if (r < 0)
			return error_raise_call(op->error, -r, "ioctl(TCSETS)", "%s", t->file->describe);
	}
	r = put(fd, t->data, t->data_len);
	if (r < 0)
		return error_raise_call(op->error, -r, "ioctl(TIOCSTI)", "%s: its %zu unread bytes", t->file->describe, t->data_len);
	return 0;    /* its own modes follow */
}
