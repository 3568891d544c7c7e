/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "kernel/system.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "kinds/tty.h"
#include "watch/recorder.h"

/*
 * A pty's index is the lowest that is free (devpts), so masters are opened until the wanted one comes and the others are
 * closed again. Every open here has O_NOCTTY: firn's engine must not come by a controlling terminal. ioctls on the
 * terminal that firn itself runs on are made with SIGTTOU blocked, as the engine may be in the background of it.
 *
 * Longer than most: a pair's two sides, its session and its foreground group are one order of steps, read in one piece.
 */

struct tty_guard {
	sigset_t old;
};

static void guard_enter(struct tty_guard *g)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &set, &g->old);
}

static void guard_leave(const struct tty_guard *g)
{
	pthread_sigmask(SIG_SETMASK, &g->old, NULL);
}

/* ---- decode ---- */

static int check_termios(const TermiosEntry *t)
{
	if (!t)
		return 0;
	return t->n_c_cc < (TTY_CC + 3) / 4 || t->c_line > 30 ? -EINVAL : 0;
}

static int check_info(struct operation *op, const char *image, const TtyInfoEntry *m)
{
	if (check_termios(m->termios) < 0 || check_termios(m->termios_locked) < 0 || m->sid > INT32_MAX || m->pgrp > INT32_MAX ||
	    (m->winsize && (m->winsize->ws_row > UINT16_MAX || m->winsize->ws_col > UINT16_MAX ||
			    m->winsize->ws_xpixel > UINT16_MAX || m->winsize->ws_ypixel > UINT16_MAX)))
		return error_raise(op->error, EBADMSG, "%s: terminal %u is damaged", image, m->id);
	if (m->type == TTY_TYPE__PTY && (!m->pty || m->pty->index > TTY_INDEX_MAX))
		return error_raise(op->error, EBADMSG, "%s: terminal %u has no index", image, m->id);
	if (m->termios && m->termios->c_line != 0)
		return error_raise(op->error, EOPNOTSUPP, "%s: terminal %u has the line discipline %u, which is not carried", image,
				   m->id, m->termios->c_line);
	if (m->type == TTY_TYPE__EXT_TTY || m->type == TTY_TYPE__UNKNOWN)
		return error_raise(op->error, EOPNOTSUPP, "%s: terminal %u is of a type that is not carried yet", image, m->id);
	return 0;
}

int tty_load_all(struct operation *op)
{
	struct image_reader reader = { 0 };
	ProtobufCMessage *m;
	struct tty *tty;
	int r;

	r = image_reader_open(&reader, &op->images, IMAGE_TTY_INFO, 0, false, &op->arena, op->error);
	if (r < 0)
		return r;
	while ((r = image_read(&reader, &tty_info_entry__descriptor, &m, op->error)) > 0) {
		r = check_info(op, reader.name, (TtyInfoEntry *)m);
		if (r < 0)
			return r;
		if (tty_find(op, ((TtyInfoEntry *)m)->id))
			return error_raise(op->error, EBADMSG, "%s: two terminals have the id %u", reader.name,
					   ((TtyInfoEntry *)m)->id);
		tty = arena_alloc(&op->arena, sizeof(*tty));
		if (!tty)
			return raise_no_memory(op);
		*tty = (struct tty){ .next = *tty_list(op), .m = (TtyInfoEntry *)m };
		*tty_list(op) = tty;
	}
	return r == 0 ? tty_data_read(op) : r;
}

static const char *type_text(const TtyInfoEntry *m)
{
	return tty_is_master(m) ? "master of pty" : m->type == TTY_TYPE__PTY ? "pty" :
	       m->type == TTY_TYPE__CTTY ? "/dev/tty" : m->type == TTY_TYPE__CONSOLE ? "/dev/console" : "terminal";
}

/* The path's entry is no file of its own: nothing shall open it. */
static int claim_path(struct operation *op, struct file *f, const TtyFileEntry *m)
{
	struct file *path;

	if (!m->has_regf_id)
		return 0;
	path = files_find(op, m->regf_id);
	if (!path || path->entry->type != FD_TYPES__REG || !path->entry->reg || path->entry->reg->name[0] != '/')
		return raise_damaged(op, f, "the path of a terminal");
	path->created = path->connected = path->finished = true;
	return 0;
}

int tty_decode(struct operation *op, struct file *f)
{
	const TtyFileEntry *m = f->entry->tty;
	struct tty *tty;

	if (!m || m->id != f->id || !m->fown)
		return raise_damaged(op, f, "the terminal");
	tty = tty_find(op, m->tty_info_id);
	if (!tty)
		return raise_damaged(op, f, "the terminal's entry in tty-info.img");
	if (tty->file && tty_is_master(tty->m))
		return raise_damaged(op, f, "the master of a pty (two open files of one)");
	if (!tty->file)
		tty->file = f;
	f->state = tty;
	if (tty->m->pty)
		f->describe = arena_printf(&op->arena, "%s %u", type_text(tty->m), tty->m->pty->index);
	else
		f->describe = arena_printf(&op->arena, "%s", type_text(tty->m));
	return f->describe ? claim_path(op, f, m) : raise_no_memory(op);
}

/* ---- create ---- */

static int open_flags(const struct file *f)
{
	return (int)(f->entry->tty->flags & (O_ACCMODE | O_NONBLOCK | O_LARGEFILE)) | O_NOCTTY | O_CLOEXEC;
}

static struct tty *master_of(struct operation *op, uint32_t index)
{
	for (struct tty *t = *tty_list(op); t; t = t->next) {
		if (t->file && tty_is_master(t->m) && t->m->pty->index == index)
			return t;
	}
	return NULL;
}

static int raise_taken(struct operation *op, const struct file *f, uint32_t index)
{
	error_raise(op->error, EBUSY, "%s: /dev/pts/%u is in use by another program", f->describe, index);
	error_hint(op->error, "\"fuser -v /dev/pts/%u\" names it, or look for an open /dev/ptmx: end it, then restore again.",
		   index);
	return -EBUSY;
}

/* Opens masters until the one with @index comes; the ones before it are closed at the end. */
static int open_master(struct operation *op, const struct file *f, uint32_t index, int *ret)
{
	AUTOFREE int *others = NULL;
	size_t n = 0, room = 0;
	int fd = -1, r = 0;

	while (r == 0) {
		unsigned int number = 0;

		fd = open("/dev/ptmx", open_flags(f));
		if (fd < 0 || ioctl(fd, TIOCGPTN, &number) < 0) {
			r = error_raise_call(op->error, errno, "open", "%s, /dev/ptmx", f->describe);
			break;
		}
		if (number == index)
			break;
		if (n == room) {
			int *bigger = reallocarray(others, room + 64, sizeof(int));

			if (!bigger) {
				r = raise_no_memory(op);
				break;
			}
			others = bigger;
			room += 64;
		}
		others[n++] = TAKE_FD(fd);
		if (number > index)
			r = raise_taken(op, f, index);
		else if (recorder_cancelled())
			r = error_raise(op->error, ECANCELED, "%s: cancelled", f->describe);
	}
	while (n > 0)
		close(others[--n]);
	if (r == 0)
		*ret = fd;
	else if (fd >= 0)
		close(fd);
	return r;
}

static int unlock(struct operation *op, const struct file *f, int master)
{
	int zero = 0;

	if (ioctl(master, TIOCSPTLCK, &zero) < 0)
		return error_raise_call(op->error, errno, "ioctl(TIOCSPTLCK)", "%s", f->describe);
	return 0;
}

static int create_master(struct operation *op, struct tty *t)
{
	AUTOCLOSE int slave = -1;
	int r;

	if (t->file->fd >= 0)
		return 0;
	r = open_master(op, t->file, t->m->pty->index, &t->file->fd);
	if (r == 0)
		r = unlock(op, t->file, t->file->fd);
	if (r < 0 || !t->m->firn_other_closed)
		return r;
	slave = ioctl(t->file->fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);    /* opened and closed, as it was */
	return slave < 0 ? error_raise_call(op->error, errno, "ioctl(TIOCGPTPEER)", "%s", t->file->describe) : 0;
}

static int restore_owner(struct operation *op, const struct file *f, const TtyInfoEntry *m)
{
	const struct file *path = f->entry->tty->has_regf_id ? files_find(op, f->entry->tty->regf_id) : NULL;

	if (m->has_uid && m->has_gid && fchown(f->fd, m->uid, m->gid) < 0)
		return error_raise_call(op->error, errno, "fchown", "%s", f->describe);
	if (path && path->entry->reg->has_mode && fchmod(f->fd, path->entry->reg->mode & 07777) < 0)
		return error_raise_call(op->error, errno, "fchmod", "%s", f->describe);
	return 0;
}

static int open_peer(struct operation *op, struct file *f, int master)
{
	f->fd = ioctl(master, TIOCGPTPEER, open_flags(f));
	return f->fd < 0 ? error_raise_call(op->error, errno, "ioctl(TIOCGPTPEER)", "%s", f->describe) : 0;
}

/* A slave that lost its master: any pty, and its master closed at once. */
static int create_hung_up(struct operation *op, struct file *f)
{
	AUTOCLOSE int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	int r;

	if (master < 0)
		return error_raise_call(op->error, errno, "open", "%s, /dev/ptmx", f->describe);
	r = unlock(op, f, master);
	return r == 0 ? open_peer(op, f, master) : r;
}

/* The terminal that firn was started on: its standard streams, else its controlling terminal. */
static int open_own(struct operation *op, const struct file *f, int flags, int *ret)
{
	char path[32];
	unsigned int dev;
	int fd;

	for (int i = 0; i < 3; i++) {
		if (ioctl(i, TIOCGDEV, &dev) < 0)
			continue;
		fd = reopen(i, flags | O_NOCTTY | O_CLOEXEC);
		if (fd < 0)
			return error_raise_call(op->error, -fd, "open", "%s, firn's own terminal", f->describe);
		*ret = fd;
		return 0;
	}
	fd = open("/dev/tty", flags | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		error_raise(op->error, ENOTTY, "%s: firn was not started on a terminal that could take its place", f->describe);
		error_hint(op->error, "Start firn restore --shell-job on a terminal.");
		return -ENOTTY;
	}
	if (ioctl(fd, TIOCGDEV, &dev) == 0 && ((dev >> 8) & 0xfff) == UNIX98_PTY_SLAVE_MAJOR) {
		close(fd);
		(void)snprintf(path, sizeof(path), "/dev/pts/%u", (dev & 0xff) | ((dev >> 12) & 0xfff00));
		fd = open(path, flags | O_NOCTTY | O_CLOEXEC);
		if (fd < 0)
			return error_raise_call(op->error, errno, "open", "%s, %s", f->describe, path);
	}
	*ret = fd;
	return 0;
}

static int create_external(struct operation *op, struct file *f, struct tty *t)
{
	if (!op->options->shell_job) {
		error_raise(op->error, EOPNOTSUPP, "%s: the master side of this terminal is not in the images", f->describe);
		error_hint(op->error, "With --shell-job the terminal firn is started on takes its place.");
		return -EOPNOTSUPP;
	}
	t->external = true;
	return open_own(op, f, open_flags(f), &f->fd);
}

static int create_slave(struct operation *op, struct file *f, struct tty *t)
{
	struct tty *master = master_of(op, t->m->pty->index);
	int r;

	if (!t->m->termios)
		return create_hung_up(op, f);
	if (!master)
		return create_external(op, f, t);
	r = create_master(op, master);
	if (r == 0)
		r = open_peer(op, f, master->file->fd);
	return r == 0 ? restore_owner(op, f, t->m) : r;
}

/* The pty pair of the tree that is the controlling terminal of @sid. */
static struct tty *master_of_session(struct operation *op, uint32_t sid)
{
	for (struct tty *t = *tty_list(op); t && sid; t = t->next) {
		if (t->m->type == TTY_TYPE__PTY && t->m->sid == sid && t->m->termios)
			return master_of(op, t->m->pty->index);
	}
	return NULL;
}

/* In a child of firn's, alone in a session of its own: takes the pty, opens /dev/tty, leaves the descriptor for the
 * parent to take. Its end does not hang up a pty (tty_jobctrl.c: disassociate_ctty()). */
static void ctty_child(int slave, int flags, int sync)
{
	int fd = -1;
	char go;

	signal(SIGHUP, SIG_IGN);
	if (setsid() >= 0 && ioctl(slave, TIOCSCTTY, 0) == 0)
		fd = open("/dev/tty", flags);
	if (write(sync, &fd, sizeof(fd)) == sizeof(fd))
		(void)!read(sync, &go, 1);
	_exit(0);
}

static int take_from_child(pid_t pid, int sync, int *ret)
{
	AUTOCLOSE int pidfd = sys_pidfd_open(pid, 0);
	struct timeval limit = { .tv_sec = 5 };
	int number = -1;

	if (pidfd < 0)
		return pidfd;
	(void)setsockopt(sync, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (read(sync, &number, sizeof(number)) != sizeof(number))
		return -ETIMEDOUT;
	if (number < 0)
		return -ENXIO;
	*ret = sys_pidfd_getfd(pidfd, number);
	return *ret < 0 ? *ret : 0;
}

static int open_as_ctty(struct operation *op, struct file *f, int slave)
{
	int sync[2], r, status;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sync) < 0)
		return error_raise_call(op->error, errno, "socketpair", "%s", f->describe);
	pid = fork();
	if (pid == 0) {
		close(sync[0]);
		ctty_child(slave, open_flags(f) & ~O_NOCTTY, sync[1]);
	}
	close(sync[1]);
	r = pid < 0 ? -errno : take_from_child(pid, sync[0], &f->fd);
	close(sync[0]);
	if (pid > 0) {
		(void)kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	return r < 0 ? error_raise_call(op->error, -r, "open", "%s, /dev/tty in a session of its own", f->describe) : 0;
}

static int create_ctty(struct operation *op, struct file *f, struct tty *t)
{
	struct tty *master = master_of_session(op, t->m->sid ? t->m->sid : f->user ? (uint32_t)f->user->sid : 0);
	AUTOCLOSE int slave = -1;
	int r;

	if (!master) {
		r = create_external(op, f, t);
		if (r < 0)
			return r;
		slave = TAKE_FD(f->fd);
		f->fd = open("/dev/tty", open_flags(f));
		if (f->fd < 0)
			f->fd = TAKE_FD(slave);    /* not its controlling terminal: the terminal itself must do */
		return 0;
	}
	r = create_master(op, master);
	if (r < 0)
		return r;
	slave = ioctl(master->file->fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return error_raise_call(op->error, errno, "ioctl(TIOCGPTPEER)", "%s", f->describe);
	return open_as_ctty(op, f, slave);
}

static int create_device(struct operation *op, struct file *f)
{
	const struct file *path = f->entry->tty->has_regf_id ? files_find(op, f->entry->tty->regf_id) : NULL;
	const char *name = path ? path->entry->reg->name : "/dev/console";
	struct stat st;

	recorder_step(f->user ? f->user->pid : 0, f->user ? f->user->comm : NULL, "open", "%s", name);
	f->fd = open(name, open_flags(f) | O_NONBLOCK);    /* a serial line may wait for its carrier */
	if (f->fd < 0)
		return error_raise_call(op->error, errno, "open", "%s, %s", f->describe, name);
	if (fstat(f->fd, &st) < 0 || !S_ISCHR(st.st_mode))
		return error_raise(op->error, ENOTTY, "%s: %s is no terminal here", f->describe, name);
	return 0;
}

int tty_create(struct operation *op, struct file *f)
{
	struct tty *t = f->state;

	switch (t->m->type) {
	case TTY_TYPE__PTY:
		return tty_is_master(t->m) ? create_master(op, t) : create_slave(op, f, t);
	case TTY_TYPE__CTTY:
		return create_ctty(op, f, t);
	default:
		return create_device(op, f);
	}
}

/* ---- finish ---- */

static void termios_fill(const TermiosEntry *m, struct termios2 *t)
{
	memset(t, 0, sizeof(*t));
	t->c_iflag = m->c_iflag;
	t->c_oflag = m->c_oflag;
	t->c_cflag = m->c_cflag;
	t->c_lflag = m->c_lflag;
	t->c_ispeed = m->c_ispeed;
	t->c_ospeed = m->c_ospeed;
	memcpy(t->c_cc, m->c_cc, sizeof(t->c_cc));    /* check_termios() saw that there are so many */
}

static int apply_termios(int fd, const TtyInfoEntry *m)
{
	struct termios2 t;
	struct termios plain = { 0 };

	termios_fill(m->termios, &t);
	if ((t.c_cflag & CBAUD) == BOTHER && t.c_ospeed)
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
	w = (struct winsize){ .ws_row = (unsigned short)m->winsize->ws_row, .ws_col = (unsigned short)m->winsize->ws_col,
			      .ws_xpixel = (unsigned short)m->winsize->ws_xpixel,
			      .ws_ypixel = (unsigned short)m->winsize->ws_ypixel };
	return ioctl(fd, TIOCSWINSZ, &w) < 0 ? -errno : 0;
}

static int apply_modes(int fd, const TtyInfoEntry *m)
{
	int on = 1;

	if (tty_is_master(m) && m->packet_mode && ioctl(fd, TIOCPKT, &on) < 0)
		return -errno;
	if (tty_is_master(m) && m->locked && ioctl(fd, TIOCSPTLCK, &on) < 0)
		return -errno;
	return m->exclusive && ioctl(fd, TIOCEXCL) < 0 ? -errno : 0;
}

/* The state of the terminal, once, at the first of its files. A terminal of the caller's keeps its size; consoles and
 * serial lines, which are the machine's, keep everything. */
static int apply_state(struct operation *op, const struct file *f, const struct tty *t)
{
	const TtyInfoEntry *m = t->m;
	struct tty_guard g;
	int r = 0;

	if (!m->termios || (m->type != TTY_TYPE__PTY && !t->external) || t->file != f)
		return 0;
	r = tty_data_restore(op, t);
	if (r < 0)
		return r;
	guard_enter(&g);
	r = apply_termios(f->fd, m);
	if (r == 0 && !t->external)
		r = apply_locked(f->fd, m);
	if (r == 0 && !t->external)
		r = apply_size(f->fd, m);
	if (r == 0 && !t->external)
		r = apply_modes(f->fd, m);
	guard_leave(&g);
	return r < 0 ? error_raise_call(op->error, -r, "ioctl", "%s, setting its modes", f->describe) : 0;
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

/* ---- sessions ---- */

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
		set = batch_call(&b, CALL_MAY_FAIL, __NR_ioctl, (uint64_t)number, TIOCSPGRP, batch_data(&b, &pgrp, sizeof(pgrp)));
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
		guard_enter(&g);
		if (ioctl(t->file->fd, TIOCSPGRP, &pgrp) < 0)
			log_warn(task->pid, "%s: process group %d stays in the background", t->file->describe, pgrp);
		guard_leave(&g);
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
	return r;
}
