/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/unix_socket.h"
#include "watch/recorder.h"

/* Names of unix sockets, in a restore: giving them, and reaching a socket by its name. */

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

static int remove_stale(struct operation *op, const char *path, const char *describe)
{
	struct unix_address a = { .sun.sun_family = AF_UNIX, .len = sizeof(a.sun) };
	AUTOCLOSE int file = -1;
	struct stat st;

	recorder_step(0, NULL, "lstat", "socket file %s", path);
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : error_raise_call(op->error, errno, "lstat", "%s", describe);
	if (!S_ISSOCK(st.st_mode)) {
		error_raise(op->error, EEXIST, "%s: %s exists and is no socket", describe, path);
		error_hint(op->error, "Move it away, then restore again.");
		return -EEXIST;
	}
	/* By way of a descriptor, since a path may be longer than an address. */
	file = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (file < 0)
		return error_raise_call(op->error, errno, "open", "%s, socket file %s", describe, path);
	(void)snprintf(a.sun.sun_path, sizeof(a.sun.sun_path), "/proc/self/fd/%d", file);
	if (!is_stale(&a)) {
		error_raise(op->error, EADDRINUSE, "%s: another process has a socket at %s", describe, path);
		error_hint(op->error, "End that process first (ss -xlp names it), then restore again.");
		return -EADDRINUSE;
	}
	log_debug(0, "%s: removing the stale socket file %s", describe, path);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_raise_call(op->error, errno, "unlink", "%s, stale socket file %s", describe, path);
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

/* Where the socket file is to be: absolute, in the arena. */
static const char *place_of(struct operation *op, const UnixSkEntry *m)
{
	const char *name = unix_name_text(op, m->name.data, m->name.len);

	if (m->firn_path)
		return m->firn_path;
	return name[0] == '/' ? name : arena_printf(&op->arena, "%s/%s", m->name_dir, name);
}

/*
 * A name is bound in a passing folder of its own, by a process whose root or working directory it is, and the socket file
 * goes from there to where it belongs: the kernel keeps the name as it was given, and a renamed socket file stays that of
 * its socket. That serves names which lead elsewhere than to the file, and those of files that are gone.
 */
struct passing_call {
	int fd;		  /* the socket */
	int folder;	  /* the passing folder */
	char name[32];	  /* its name in target */
	int target;	  /* the folder that the file goes to */
	const char *base; /* its name there; NULL: it is deleted */
	struct unix_address address;
};

/* The folders on the way of @path: made, or removed from the last to the first. */
static void make_way(char *path, bool make)
{
	for (char *p = path + 1; make && *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		(void)mkdir(path, 0700);
		*p = '/';
	}
	for (char *p = path + strlen(path); !make && p > path; p--) {
		if (*p != '/')
			continue;
		*p = '\0';
		(void)rmdir(path);
		*p = '/';
	}
}

#define DEEP "d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/x" /* "../" fits 36 times */

static int call_bind_passing(void *arg)
{
	struct passing_call *c = arg;
	char *path = c->address.sun.sun_path, deep[] = DEEP;
	bool relative = path[0] != '/';
	int r = 0;

	if (fchdir(c->folder) < 0 || chroot(".") < 0)
		return -errno;
	if (relative) {
		make_way(deep, true);
		deep[strlen(deep) - 2] = '\0';
		if (chdir(deep) < 0)
			return -errno;
		(void)snprintf(deep, sizeof(deep), "%s", DEEP);
	}
	make_way(path, true);
	if (bind(c->fd, (const struct sockaddr *)&c->address.sun, c->address.len) < 0)
		r = -errno;
	else if (!c->base)
		(void)unlink(path);
	else if (renameat(AT_FDCWD, path, c->target, c->base) < 0) {
		r = -errno;
		(void)unlink(path);
	}
	make_way(path, false);
	if (relative && chdir("/") == 0)
		make_way(deep, false);
	/* Here, so that nothing is left when the engine dies. */
	(void)unlinkat(c->target, c->name, AT_REMOVEDIR);
	return r;
}

/* The folder in which the passing one is made: the file's own, so that it can go there by rename(). ret_base: the file's name in
 * it; NULL: the folder is gone, and this is another. */
static int open_target(struct operation *op, const UnixSkEntry *m, const char *place, const char **ret_base)
{
	const char *slash = strrchr(place, '/');
	char *dir = arena_printf(&op->arena, "%.*s", slash == place ? 1 : (int)(slash - place), place);
	int fd;

	*ret_base = slash + 1;
	if (!dir)
		return -ENOMEM;
	recorder_step(0, NULL, "open", "folder of the socket file %s", place);
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 || !m->deleted)
		return fd < 0 ? -errno : fd;
	/* The folder of a deleted file may be gone too. */
	*ret_base = NULL;
	fd = openat(op->images.fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int bind_passing(struct operation *op, int fd, const UnixSkEntry *m, const char *describe, const char *place)
{
	const struct unix_creds self = { .known = true, .pid = -1, .uid = geteuid(), .gid = getegid() };
	struct passing_call c = { .fd = fd };
	AUTOCLOSE int target = -1, folder = -1;
	const char *path;
	int r;

	(void)snprintf(c.name, sizeof(c.name), ".firn-%d-socket", getpid());
	address_of(m, &c.address);
	target = open_target(op, m, place, &c.base);
	if (target < 0)
		return error_raise_call(op->error, -target, "open", "%s, folder of %s", describe, place);
	path = c.base ? arena_printf(&op->arena, "%.*s%s", (int)(c.base - place), place, c.name) : NULL;
	if (path)
		recorder_name_add(path);
	if (mkdirat(target, c.name, 0700) < 0)
		return error_raise_call(op->error, errno, "mkdir", "%s, a passing folder beside %s", describe, place);
	folder = openat(target, c.name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	c.folder = folder;
	c.target = target;
	if (m->deleted)
		c.base = NULL;
	recorder_step(0, NULL, "bind", "socket file %s", place);
	r = folder < 0 ? -errno : unix_call_as(&self, call_bind_passing, &c, NULL);
	(void)unlinkat(target, c.name, AT_REMOVEDIR);
	if (path)
		recorder_name_remove(path);
	return r < 0 ? error_raise_call(op->error, -r, "bind", "%s", describe) : 0;
}

static int bind_path(struct operation *op, int fd, const UnixSkEntry *m, const char *describe, struct unix_made *ret)
{
	const char *place = place_of(op, m);
	struct unix_address a;
	struct stat st;
	int back, r;

	if (!place)
		return raise_no_memory(op);
	r = m->deleted ? 0 : remove_stale(op, place, describe);
	if (r < 0)
		return r;
	/* The file takes the mode of the socket's own inode, less the umask: never wider than it shall be. */
	if (m->file_perms)
		(void)fchmod(fd, m->file_perms->mode & 07777);
	if (m->deleted || m->firn_path) {
		r = bind_passing(op, fd, m, describe, place);
	} else {
		r = enter_directory(m, &back);
		if (r < 0)
			return error_raise_call(op->error, -r, "chdir", "%s, directory %s", describe, m->name_dir);
		address_of(m, &a);
		recorder_step(0, NULL, "bind", "socket file %s", place);
		if (bind(fd, (const struct sockaddr *)&a.sun, a.len) < 0)
			r = error_raise_call(op->error, errno, "bind", "%s", describe);
		leave_directory(back);
	}
	/* As a new socket has it; an image of firn tells better (unix_finish.c). */
	(void)fchmod(fd, 0777);
	if (r < 0 || m->deleted)
		return r;
	ret->path = place;
	if (lstat(place, &st) == 0) {
		ret->dev = st.st_dev;
		ret->ino = st.st_ino;
	}
	return apply_perms(op, m, place, describe);
}

int unix_name_bind(struct operation *op, int fd, const UnixSkEntry *m, const char *describe, struct unix_made *ret)
{
	struct unix_address a;
	int r;

	*ret = (struct unix_made){ 0 };
	if (unix_name_is_path(&m->name))
		return bind_path(op, fd, m, describe, ret);
	address_of(m, &a);
	if (bind(fd, (const struct sockaddr *)&a.sun, a.len) == 0)
		return 0;
	r = error_raise_call(op->error, errno, "bind", "%s", describe);
	if (errno == EADDRINUSE)
		error_hint(op->error, "Another process has that name: end it first (ss -xlp names it).");
	return r;
}

void unix_name_remove(struct unix_made *made)
{
	struct stat st;

	if (!made->path)
		return;
	recorder_step(0, NULL, "unlink", "socket file %s", made->path);
	if (lstat(made->path, &st) == 0 && st.st_dev == made->dev && st.st_ino == made->ino)
		(void)unlink(made->path);
	made->path = NULL;
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
	if (to->fd < 0 || !(to->m->deleted || to->m->firn_path) || !unix_name_is_path(&to->m->name))
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
	r = unix_call_as(as, call_connect, &c, ret_pid);
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
