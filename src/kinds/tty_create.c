/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/system.h"
#include "kinds/common.h"
#include "kinds/inherit.h"
#include "kinds/registry.h"
#include "kinds/tty.h"
#include "watch/recorder.h"

/*
 * A pty's index is the lowest that is free (devpts), so masters are opened until the wanted one comes and the others are
 * closed again. Every open here has O_NOCTTY: firn's engine must not come by a controlling terminal.
 */

static int open_flags(const struct file *f)
{
	return (int)(f->entry->tty->flags & (O_ACCMODE | O_NONBLOCK | O_LARGEFILE)) | O_NOCTTY | O_CLOEXEC;
}

struct tty *tty_master(struct operation *op, uint32_t index)
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
	error_hint(op->error,
		   "\"fuser -v /dev/pts/%u\" names it, or look for an open /dev/ptmx: end it, then restore again.",
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

/*
 * The node belongs to who opened the master, which is firn now. Images of CRIU tell the owner only of a slave that is open
 * (restore_owner() below); the first task that holds the master is as good as always right.
 */
static int restore_slave_owner(struct operation *op, const struct tty *t)
{
	const struct task *user = t->file->user;
	const CredsEntry *creds = user && user->core && user->core->thread_core ? user->core->thread_core->creds : NULL;
	uid_t uid = t->m->has_firn_slave_uid ? t->m->firn_slave_uid : creds ? creds->fsuid : (uid_t)-1;
	gid_t gid = t->m->has_firn_slave_gid ? t->m->firn_slave_gid : (gid_t)-1;
	char path[32];

	(void)snprintf(path, sizeof(path), "/dev/pts/%u", t->m->pty->index);
	recorder_step(0, NULL, "chown", "%s", path);
	if (chown(path, uid, gid) < 0)
		return error_raise_call(op->error, errno, "chown", "%s, %s", t->file->describe, path);
	if (t->m->has_firn_slave_mode && chmod(path, t->m->firn_slave_mode & 07777) < 0)
		return error_raise_call(op->error, errno, "chmod", "%s, %s", t->file->describe, path);
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
	if (r == 0)
		r = restore_slave_owner(op, t);
	if (r < 0 || !t->m->firn_other_closed)
		return r;
	slave = ioctl(t->file->fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC); /* opened and closed, as it was */
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

/* A pty of no number that matters. */
static int open_any(struct operation *op, struct file *f, int *ret_master)
{
	*ret_master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*ret_master < 0)
		return error_raise_call(op->error, errno, "open", "%s, /dev/ptmx", f->describe);
	return unlock(op, f, *ret_master);
}

/* A slave that lost its master: any pty, and its master closed at once. */
static int create_hung_up(struct operation *op, struct file *f)
{
	AUTOCLOSE int master = -1;
	int r = open_any(op, f, &master);

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
		error_raise(op->error, ENOTTY, "%s: firn was not started on a terminal that could take its place",
			    f->describe);
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

/* The terminal that the caller hands over. Every open file of it is the caller's one. */
static int create_given(struct operation *op, struct file *f, struct tty *t)
{
	char key[64];
	int r;

	(void)snprintf(key, sizeof(key), "tty[%x:%x]", t->m->rdev, t->m->dev);
	r = inherit_take(op, key, f->describe, &f->fd);
	if (r == INHERITED) {
		t->external = true;
		return 0;
	}
	if (r < 0)
		return r;
	error_raise(op->error, EINVAL, "%s: it was dumped with --external %s, and nobody hands it over", f->describe,
		    key);
	error_hint(op->error, "Open a terminal and give it with --inherit-fd 'fd[N]:%s'.", key);
	return -EINVAL;
}

static int create_external(struct operation *op, struct file *f, struct tty *t)
{
	if (!op->options->shell_job) {
		error_raise(op->error, EOPNOTSUPP, "%s: the master side of this terminal is not in the images",
			    f->describe);
		error_hint(op->error, "With --shell-job the terminal firn is started on takes its place.");
		return -EOPNOTSUPP;
	}
	t->external = true;
	return open_own(op, f, open_flags(f), &f->fd);
}

static int create_slave(struct operation *op, struct file *f, struct tty *t)
{
	struct tty *master = tty_master(op, t->m->pty->index);
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
			return tty_master(op, t->m->pty->index);
	}
	return NULL;
}

static struct tty *given_of_session(struct operation *op, uint32_t sid)
{
	for (struct tty *t = *tty_list(op); t && sid; t = t->next) {
		if (tty_is_given(t->m) && t->m->sid == sid && t->file)
			return t;
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

/* /dev/tty whose terminal was hung up: a pty's, and its master closed. */
static int create_hung_up_ctty(struct operation *op, struct file *f)
{
	AUTOCLOSE int master = -1;
	AUTOCLOSE int slave = -1;
	int r = open_any(op, f, &master);

	if (r < 0)
		return r;
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return error_raise_call(op->error, errno, "ioctl(TIOCGPTPEER)", "%s", f->describe);
	return open_as_ctty(op, f, slave);
}

/* /dev/tty of a session whose terminal is handed over. It may be the terminal of another session until the tasks exist:
 * then the terminal itself must do. */
static int create_ctty_given(struct operation *op, struct file *f, struct tty *given)
{
	int r = given->file->fd >= 0 ? 0 : create_given(op, given->file, given);

	if (r < 0)
		return r;
	if (open_as_ctty(op, f, given->file->fd) == 0)
		return 0;
	*op->error = (struct error){ 0 };
	f->fd = reopen(given->file->fd, open_flags(f));
	return f->fd < 0 ? error_raise_call(op->error, -f->fd, "open", "%s", f->describe) : 0;
}

static int create_ctty(struct operation *op, struct file *f, struct tty *t)
{
	const uint32_t sid = t->m->sid ? t->m->sid : f->user ? (uint32_t)f->user->sid : 0;
	struct tty *master = master_of_session(op, sid), *given = given_of_session(op, sid);
	AUTOCLOSE int slave = -1;
	int r;

	if (!t->m->termios)
		return create_hung_up_ctty(op, f);
	if (!master && given)
		return create_ctty_given(op, f, given);
	if (!master) {
		r = create_external(op, f, t);
		if (r < 0)
			return r;
		slave = TAKE_FD(f->fd);
		f->fd = open("/dev/tty", open_flags(f));
		if (f->fd < 0)
			f->fd = TAKE_FD(slave); /* not its controlling terminal: the terminal itself must do */
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

/* The path is the image's: what is no such device is not even opened, which for some does things (a watchdog). */
static int create_device(struct operation *op, struct file *f, const TtyInfoEntry *m)
{
	const struct file *path = f->entry->tty->has_regf_id ? files_find(op, f->entry->tty->regf_id) : NULL;
	const char *name = path ? path->entry->reg->name : "/dev/console";
	struct stat st;

	recorder_step(f->user ? f->user->pid : 0, f->user ? f->user->comm : NULL, "open", "%s", name);
	if (stat(name, &st) < 0)
		return error_raise_call(op->error, errno, "stat", "%s, %s", f->describe, name);
	if (!S_ISCHR(st.st_mode) || m->rdev != (uint32_t)st.st_rdev)
		return error_raise(op->error, ENOTTY, "%s: %s is not the terminal %u:%u here", f->describe, name,
				   m->rdev >> 8 & 0xfff, (m->rdev & 0xff) | (m->rdev >> 12 & 0xfff00));
	f->fd = open(name, open_flags(f) | O_NONBLOCK); /* a serial line may wait for its carrier */
	return f->fd < 0 ? error_raise_call(op->error, errno, "open", "%s, %s", f->describe, name) : 0;
}

int tty_create(struct operation *op, struct file *f)
{
	struct tty *t = f->state;

	switch (t->m->type) {
	case TTY_TYPE__PTY:
		return tty_is_master(t->m) ? create_master(op, t) : create_slave(op, f, t);
	case TTY_TYPE__CTTY:
		return create_ctty(op, f, t);
	case TTY_TYPE__EXT_TTY:
		return f->fd >= 0 ? 0 : create_given(op, f, t);
	default:
		return create_device(op, f, t->m);
	}
}
