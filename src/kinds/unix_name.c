/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/unix_socket.h"
#include "watch/recorder.h"

/*
 * Names of unix sockets. A path is kept by the kernel as it was given to bind(): it may be relative to a working
 * directory of long ago (name_dir in the image) and its file may be gone. SIOCUNIXFILE (Linux 4.12) opens the very file
 * the socket is bound to, whatever became of its name.
 */
#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

static const char deleted_mark[] = " (deleted)";

const char *unix_name_text(struct operation *op, const uint8_t *name, size_t len)
{
	char *text;

	if (len == 0)
		return "unnamed";
	if (name[0] == '\0')
		text = arena_printf(&op->arena, "@%.*s", (int)len - 1, (const char *)name + 1);
	else
		text = arena_printf(&op->arena, "%.*s", (int)strnlen((const char *)name, len), (const char *)name);
	return text ? text : "?";
}

static int read_fd_link(int fd, char *buf, size_t size)
{
	char link[32];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return (size_t)n == size - 1 ? -ENAMETOOLONG : 0;
}

static int refuse_moved(struct operation *op, const struct file *f, const char *name, const char *now)
{
	error_raise(op->error, EOPNOTSUPP, "%s: bound to %s, but its socket file is %s now",
		    facts_describe(op, &f->facts), name, now);
	error_hint(op->error, "A renamed socket file, and one below another root directory, are not carried yet.");
	return -EOPNOTSUPP;
}

/*
 * A deleted name is bound and deleted again in a restore: whatever is at the path now must be out of the way by then.
 * That is so when nothing is there or a socket file, which the tree takes along or which a restore looks at.
 */
static int check_deleted(struct operation *op, const struct file *f, const char *path)
{
	struct stat st;

	recorder_step(f->facts.task->pid, f->facts.task->comm, "lstat", "former socket file %s", path);
	if (lstat(path, &st) < 0 || S_ISSOCK(st.st_mode))
		return 0;
	error_raise(op->error, EOPNOTSUPP, "%s: bound to %s, which was deleted and is no socket any more",
		    facts_describe(op, &f->facts), path);
	error_hint(op->error, "A restore could not bind it to that path: move away what is there, then dump again.");
	return -EOPNOTSUPP;
}

/* @now: path of the socket file as the kernel tells it. A relative name must be its tail. */
static int dump_directory(struct operation *op, const struct file *f, const char *name, char *now, UnixSkEntry *m)
{
	size_t len = strlen(name), total = strlen(now);

	if (total <= len || now[total - len - 1] != '/' || strcmp(now + total - len, name) != 0)
		return refuse_moved(op, f, name, now);
	now[total - len - 1] = '\0';
	m->name_dir = arena_strdup(&op->arena, now[0] ? now : "/");
	return m->name_dir ? 0 : raise_no_memory(op);
}

static int dump_path(struct operation *op, const struct file *f, const char *name, int fd, UnixSkEntry *m)
{
	FilePermsEntry *perms = arena_alloc(&op->arena, sizeof(*perms));
	char now[PATH_MAX + sizeof(deleted_mark)];
	struct stat st, there;
	size_t len;
	int r;

	if (!perms)
		return raise_no_memory(op);
	recorder_step(f->facts.task->pid, f->facts.task->comm, "fstat", "socket file %s", name);
	if (fstat(fd, &st) < 0)
		return error_raise_call(op->error, errno, "fstat", "%s, socket file %s", facts_describe(op, &f->facts),
					name);
	r = read_fd_link(fd, now, sizeof(now));
	if (r < 0)
		return error_raise_call(op->error, -r, "readlink", "%s, socket file %s", facts_describe(op, &f->facts),
					name);
	file_perms_entry__init(perms);
	perms->mode = st.st_mode;
	perms->uid = st.st_uid;
	perms->gid = st.st_gid;
	m->file_perms = perms;

	len = strlen(now);
	if (st.st_nlink == 0) {
		m->has_deleted = m->deleted = true;
		if (len > strlen(deleted_mark) && strcmp(now + len - strlen(deleted_mark), deleted_mark) == 0)
			now[len - strlen(deleted_mark)] = '\0';
		r = check_deleted(op, f, name[0] == '/' ? name : now);
		if (r < 0)
			return r;
	}
	if (name[0] != '/')
		return dump_directory(op, f, name, now, m);
	if (m->deleted)
		return 0;
	recorder_step(f->facts.task->pid, f->facts.task->comm, "stat", "socket file %s", name);
	if (stat(name, &there) < 0 || there.st_dev != st.st_dev || there.st_ino != st.st_ino)
		return refuse_moved(op, f, name, now);
	return 0;
}

int unix_name_dump(struct operation *op, const struct file *f, const uint8_t *name, size_t len, UnixSkEntry *m)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	AUTOCLOSE int fd = -1;

	m->name.data = (uint8_t *)name;
	m->name.len = len;
	if (len == 0 || name[0] == '\0')
		return 0;
	if (len >= sizeof(path))
		return error_raise(op->error, EINVAL, "%s: its name has %zu bytes", facts_describe(op, &f->facts), len);
	memcpy(path, name, len);
	path[len] = '\0';
	recorder_step(f->facts.task->pid, f->facts.task->comm, "ioctl(SIOCUNIXFILE)", "socket file %s", path);
	fd = ioctl(f->facts.fd, SIOCUNIXFILE);
	if (fd < 0)
		return error_raise_call(op->error, errno, "ioctl(SIOCUNIXFILE)", "%s, bound to %s",
					facts_describe(op, &f->facts), path);
	return dump_path(op, f, path, fd, m);
}

int unix_name_check(struct operation *op, const struct file *f, const uint8_t *name, size_t len)
{
	UnixSkEntry *m = arena_alloc(&op->arena, sizeof(*m));

	if (!m)
		return raise_no_memory(op);
	unix_sk_entry__init(m);
	return unix_name_dump(op, f, name, len, m);
}

/* ---- restore ---- */

struct unix_address {
	struct sockaddr_un sun;
	char end; /* a path may fill sun_path to its last byte */
	socklen_t len;
};

static void address_of(const UnixSkEntry *m, struct unix_address *a)
{
	memset(a, 0, sizeof(*a));
	a->sun.sun_family = AF_UNIX;
	memcpy(a->sun.sun_path, m->name.data, m->name.len); /* decode checked that it fits */
	a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + m->name.len);
}

/* The working directory is the process's own; only the worker moves it, and puts it back at once. */
static int enter_directory(const UnixSkEntry *m, int *ret_back)
{
	int back, r;

	*ret_back = -1;
	if (!m->name_dir || !unix_name_is_path(&m->name) || m->name.data[0] == '/')
		return 0;
	back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (back < 0)
		return -errno;
	if (chdir(m->name_dir) < 0) {
		r = -errno;
		close(back);
		return r;
	}
	*ret_back = back;
	return 0;
}

static void leave_directory(int back)
{
	if (back < 0)
		return;
	if (fchdir(back) < 0)
		log_warn(0, "cannot go back to the working directory");
	close(back);
}

/*
 * No living socket is behind the file when the kernel says ECONNREFUSED. It finds a socket by the file, in whatever
 * network namespace, and compares the types before anything else: a datagram socket that knocks is told EPROTOTYPE by
 * every stream and seqpacket socket, listening or only bound, and no server sees a connection of it.
 */
static bool is_stale(const struct unix_address *a)
{
	AUTOCLOSE int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return probe >= 0 && connect(probe, (const struct sockaddr *)&a->sun, a->len) < 0 && errno == ECONNREFUSED;
}

static int remove_stale(struct operation *op, const UnixSkEntry *m, const struct unix_address *a, const char *describe)
{
	const char *name = unix_name_text(op, m->name.data, m->name.len);
	struct stat st;

	recorder_step(0, NULL, "lstat", "socket file %s", name);
	if (lstat(a->sun.sun_path, &st) < 0)
		return errno == ENOENT ? 0 : error_raise_call(op->error, errno, "lstat", "%s", describe);
	if (!S_ISSOCK(st.st_mode)) {
		error_raise(op->error, EEXIST, "%s: %s exists and is no socket", describe, name);
		error_hint(op->error, "Move it away, then restore again.");
		return -EEXIST;
	}
	if (!is_stale(a)) {
		error_raise(op->error, EADDRINUSE, "%s: another process has a socket at %s", describe, name);
		error_hint(op->error, "End that process first (ss -xlp names it), then restore again.");
		return -EADDRINUSE;
	}
	log_debug(0, "%s: removing the stale socket file %s", describe, name);
	if (unlink(a->sun.sun_path) < 0 && errno != ENOENT)
		return error_raise_call(op->error, errno, "unlink", "%s, stale socket file %s", describe, name);
	return 0;
}

static int apply_perms(struct operation *op, const UnixSkEntry *m, const char *path, const char *describe)
{
	const FilePermsEntry *perms = m->file_perms;

	if (!perms)
		return 0;
	if (lchown(path, perms->uid, perms->gid) < 0)
		return error_raise_call(op->error, errno, "lchown", "%s, socket file %s", describe, path);
	if (chmod(path, perms->mode & 07777) < 0)
		return error_raise_call(op->error, errno, "chmod", "%s, socket file %s", describe, path);
	return 0;
}

static int bind_path(struct operation *op, int fd, const UnixSkEntry *m, const struct unix_address *a,
		     const char *describe, struct unix_made *ret)
{
	struct stat st;
	int r;

	r = remove_stale(op, m, a, describe);
	if (r < 0)
		return r;
	/* The file takes the mode of the socket's own inode, less the umask: never wider than it shall be. */
	if (m->file_perms)
		(void)fchmod(fd, m->file_perms->mode & 07777);
	recorder_step(0, NULL, "bind", "socket file %s", a->sun.sun_path);
	if (bind(fd, (const struct sockaddr *)&a->sun, a->len) < 0)
		return error_raise_call(op->error, errno, "bind", "%s", describe);
	ret->is = true;
	if (lstat(a->sun.sun_path, &st) == 0) {
		ret->dev = st.st_dev;
		ret->ino = st.st_ino;
	}
	return apply_perms(op, m, a->sun.sun_path, describe);
}

int unix_name_bind(struct operation *op, int fd, const UnixSkEntry *m, const char *describe, struct unix_made *ret)
{
	struct unix_address a;
	int back, r;

	*ret = (struct unix_made){ 0 };
	address_of(m, &a);
	if (!unix_name_is_path(&m->name)) {
		if (bind(fd, (const struct sockaddr *)&a.sun, a.len) == 0)
			return 0;
		r = error_raise_call(op->error, errno, "bind", "%s", describe);
		if (errno == EADDRINUSE)
			error_hint(op->error, "Another process has that name: end it first (ss -xlp names it).");
		return r;
	}
	r = enter_directory(m, &back);
	if (r < 0)
		return error_raise_call(op->error, -r, "chdir", "%s, directory %s", describe, m->name_dir);
	r = bind_path(op, fd, m, &a, describe, ret);
	leave_directory(back);
	return r;
}

/*
 * The address by which the socket @to is reached. Its name may be that of another one by now; the file it is bound to is
 * reached through /proc all the same.
 */
static int address_to(const struct unix_target *to, struct unix_address *a, int *ret_file)
{
	int file;

	*ret_file = -1;
	address_of(to->m, a);
	if (to->fd < 0 || !to->m->deleted || !unix_name_is_path(&to->m->name))
		return 0;
	file = ioctl(to->fd, SIOCUNIXFILE);
	if (file < 0)
		return -errno;
	memset(a->sun.sun_path, 0, sizeof(a->sun.sun_path));
	(void)snprintf(a->sun.sun_path, sizeof(a->sun.sun_path), "/proc/self/fd/%d", file);
	a->len = sizeof(a->sun);
	*ret_file = file;
	return 0;
}

struct connect_call {
	int fd;
	struct unix_address address;
};

static int call_connect(void *arg)
{
	const struct connect_call *c = arg;

	return connect(c->fd, (const struct sockaddr *)&c->address.sun, c->address.len) < 0 ? -errno : 0;
}

int unix_name_connect(int fd, const struct unix_target *to, const struct unix_creds *as, pid_t *ret_pid)
{
	struct connect_call c = { .fd = fd };
	const char *path = c.address.sun.sun_path;
	AUTOCLOSE int file = -1;
	int back, r;

	r = address_to(to, &c.address, &file);
	if (r == 0)
		r = enter_directory(to->m, &back);
	if (r < 0)
		return r;
	recorder_step(0, NULL, "connect", "unix socket %s", path[0] ? path : path + 1);
	/* Only the call itself is another's: SIOCUNIXFILE asks for CAP_NET_ADMIN. */
	r = unix_call_as(as, call_connect, &c, sizeof(c), ret_pid);
	leave_directory(back);
	return r;
}

int unix_name_send(int fd, const struct unix_target *to, const struct msghdr *message)
{
	struct msghdr msg = *message;
	struct unix_address a;
	AUTOCLOSE int file = -1;
	int back, r;

	r = address_to(to, &a, &file);
	if (r == 0)
		r = enter_directory(to->m, &back);
	if (r < 0)
		return r;
	msg.msg_name = &a.sun;
	msg.msg_namelen = a.len;
	r = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
	leave_directory(back);
	return r;
}

void unix_name_remove(struct operation *op, const UnixSkEntry *m, struct unix_made *made)
{
	struct unix_address a;
	struct stat st;
	int back;

	(void)op;
	if (!made->is || enter_directory(m, &back) < 0)
		return;
	address_of(m, &a);
	recorder_step(0, NULL, "unlink", "socket file %s", a.sun.sun_path);
	if (lstat(a.sun.sun_path, &st) == 0 && st.st_dev == made->dev && st.st_ino == made->ino)
		(void)unlink(a.sun.sun_path);
	made->is = false;
	leave_directory(back);
}
