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
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/unix_socket.h"
#include "watch/recorder.h"

/*
 * Names of unix sockets, in a dump. A path is kept by the kernel as it was given to bind(): it may be relative to a working
 * directory of long ago (name_dir in the image) or to another root directory, and its file may be elsewhere or gone. SIOCUNIXFILE (Linux 4.12) opens the very file
 * the socket is bound to, whatever became of its name.
 */
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

const char *unix_inherit_key(uint32_t ino, char *buf)
{
	(void)snprintf(buf, 32, "socket:[%u]", ino);
	return buf;
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

/* Is that the socket file? */
static bool is_at(const char *path, const struct stat *st)
{
	struct stat there;

	return lstat(path, &there) == 0 && there.st_dev == st->st_dev && there.st_ino == st->st_ino;
}

/* The folder in which a relative name leads to the file @now: the file's own where the name has no way to others, or else
 * where the task is. In the arena; NULL: not known, or no memory. */
static char *directory_of(struct operation *op, const struct file *f, const char *name, const char *now,
			  const struct stat *st)
{
	size_t len, total = strlen(now);
	char *cwd, *path;

	while (strncmp(name, "./", 2) == 0)
		name += 2;
	len = strlen(name);
	if (total > len && now[total - len - 1] == '/' && strcmp(now + total - len, name) == 0)
		return total - len - 1 == 0 ? arena_strdup(&op->arena, "/")
					    : arena_printf(&op->arena, "%.*s", (int)(total - len - 1), now);
	if (!f->facts.task || read_proc_link(f->facts.task->proc_fd, "cwd", &op->arena, &cwd) < 0)
		return NULL;
	path = arena_printf(&op->arena, "%s/%s", cwd, name);
	if (!path)
		return NULL;
	recorder_step(f->facts.task->pid, f->facts.task->comm, "lstat", "socket file %s", path);
	return is_at(path, st) ? cwd : NULL;
}

/*
 * @now: path of the socket file as the kernel tells it. Where its name does not lead there (it was renamed, the name is
 * relative to a folder that nobody is in any more, or below another root directory), the image says where it is besides.
 */
static int dump_place(struct operation *op, const struct file *f, const char *name, char *now, const struct stat *st,
		      UnixSkEntry *m)
{
	bool there = m->deleted;

	if (name[0] != '/') {
		m->name_dir = directory_of(op, f, name, now, st);
		there |= m->name_dir != NULL;
		if (!m->name_dir)
			m->name_dir = arena_strdup(&op->arena, "/");
		if (!m->name_dir)
			return raise_no_memory(op);
	} else if (!there) {
		recorder_step(f->facts.task->pid, f->facts.task->comm, "lstat", "socket file %s", name);
		there = is_at(name, st);
	}
	if (there)
		return 0;
	recorder_step(f->facts.task->pid, f->facts.task->comm, "lstat", "socket file %s", now);
	if (!is_at(now, st)) {
		error_raise(op->error, EOPNOTSUPP,
			    "%s: bound to %s, and its socket file is not at %s, where the kernel says it is",
			    facts_describe(op, &f->facts), name, now);
		error_hint(op->error,
			   "A socket file in another mount namespace, or hidden by a mount, is not carried.");
		return -EOPNOTSUPP;
	}
	m->firn_path = arena_strdup(&op->arena, now);
	return m->firn_path ? 0 : raise_no_memory(op);
}

static int dump_path(struct operation *op, const struct file *f, const char *name, int fd, UnixSkEntry *m)
{
	FilePermsEntry *perms = arena_alloc(&op->arena, sizeof(*perms));
	char now[PATH_MAX + sizeof(deleted_mark)];
	struct stat st;
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
	}
	return dump_place(op, f, name, now, &st, m);
}

int unix_name_dump(struct operation *op, const struct file *f, const uint8_t *name, size_t len, UnixSkEntry *m)
{
	char path[UNIX_NAME_MAX + 1];
	AUTOCLOSE int fd = -1;

	/* A path that fills sun_path has a zero behind it for the kernel (man 7 unix, "BUGS"). */
	if (len == UNIX_NAME_MAX + 1 && name[0] != '\0' && name[UNIX_NAME_MAX] == '\0')
		len--;
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
