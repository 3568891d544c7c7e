/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/stall_object.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"

#define LOCKS_LIMIT ((size_t)16 << 20)

static void copy(char *dst, size_t size, const char *src)
{
	(void)snprintf(dst, size, "%s", src);
}

const struct proc_mount *mount_of_path(const struct proc_mount *mounts, size_t n, const char *path)
{
	const struct proc_mount *best = NULL;
	size_t best_len = 0;

	for (size_t i = 0; i < n && path[0] == '/'; i++) {
		const char *point = mounts[i].mountpoint;
		size_t len = strcmp(point, "/") == 0 ? 0 : strlen(point);

		if (strncmp(path, point, len) != 0 || (path[len] != '/' && path[len] != '\0' && path[len] != ' '))
			continue;
		if (best && len < best_len)
			continue;
		best = &mounts[i];
		best_len = len;
	}
	return best;
}

static void take_mount(struct stall_object *o, const struct proc_mount *m)
{
	o->mounted = true;
	o->mnt_id = m->mnt_id;
	o->dev_major = m->major;
	o->dev_minor = m->minor;
	copy(o->fs_type, sizeof(o->fs_type), m->fstype);
	copy(o->mount_point, sizeof(o->mount_point), m->mountpoint);
	copy(o->source, sizeof(o->source), m->source);
	o->fuse = strncmp(m->fstype, "fuse", 4) == 0 && strcmp(m->fstype, "fusectl") != 0;
	o->waiting = -1;
}

/* @mnt_id < 0: by the path alone. */
static void find_mount(struct stall_object *o, int dirfd, int mnt_id)
{
	const struct proc_mount *found = NULL;
	struct arena a = { 0 };
	struct proc_mount *mounts;
	size_t n;

	if (read_proc_mountinfo(dirfd, &a, &mounts, &n) == 0) {
		for (size_t i = 0; i < n && mnt_id >= 0; i++)
			if (mounts[i].mnt_id == mnt_id)
				found = &mounts[i];
		if (mnt_id < 0)
			found = mount_of_path(mounts, n, o->path);
		if (found)
			take_mount(o, found);
	}
	arena_release(&a);
}

bool stall_object_of_fd(pid_t pid, int fd, struct stall_object *ret)
{
	AUTOCLOSE int dirfd = procfs_open(pid);
	struct arena a = { 0 };
	struct proc_fdinfo info;
	char name[32], *link;
	bool known;

	*ret = (struct stall_object){ .pid = pid, .fd = fd };
	if (dirfd < 0)
		return false;
	(void)snprintf(name, sizeof(name), "fd/%d", fd);
	known = read_proc_link(dirfd, name, &a, &link) == 0;
	if (known) {
		copy(ret->path, sizeof(ret->path), link);
		known = read_proc_fdinfo(dirfd, fd, &a, &info) == 0;
	}
	if (known) {
		ret->ino = info.ino;
		find_mount(ret, dirfd, info.mnt_id);
	}
	arena_release(&a);
	return ret->path[0] != '\0';
}

bool stall_object_of_path(const char *path, struct stall_object *ret)
{
	AUTOCLOSE int dirfd = procfs_open(getpid());

	*ret = (struct stall_object){ .fd = -1 };
	copy(ret->path, sizeof(ret->path), path);
	if (dirfd >= 0)
		find_mount(ret, dirfd, -1);
	return ret->mounted;
}

/* ---- locks ---- */

const char *stall_lock_name(enum proc_lock_sort sort)
{
	switch (sort) {
	case LOCK_SORT_POSIX:
		return "POSIX lock";
	case LOCK_SORT_FLOCK:
		return "flock";
	case LOCK_SORT_OFD:
		return "open file description lock";
	case LOCK_SORT_LEASE:
		return "lease";
	}
	return "lock";
}

void stall_find_holders(struct stall_object *o)
{
	AUTOCLOSE int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTOFREE char *text = NULL;
	struct arena a = { 0 };
	struct proc_lock *locks;
	size_t len, n = 0;
	struct stat st;

	if (!o->ino && o->path[0] == '/' && stat(o->path, &st) == 0)
		o->ino = st.st_ino;
	if (!o->ino || !o->mounted || procfs_read(proc, "locks", LOCKS_LIMIT, &text, &len) < 0)
		return;
	if (parse_proc_locks(text, len, &a, &locks, &n) < 0)
		n = 0;
	for (size_t i = 0; i < n && o->n_holders < STALL_HOLDERS; i++) {
		const struct proc_lock *l = &locks[i];
		struct stall_holder *holder = &o->holders[o->n_holders];
		struct glance g;

		if (l->waiting || l->ino != o->ino || l->dev_major != o->dev_major || l->dev_minor != o->dev_minor)
			continue;
		*holder = (struct stall_holder){
			.pid = l->pid > 0 ? l->pid : -1, .sort = l->sort, .breaking = l->breaking, .type = l->type
		};
		if (l->pid > 0) {
			glance_status(l->pid, l->pid, &g);
			copy(holder->name, sizeof(holder->name), g.gone ? "" : g.name);
		}
		o->n_holders++;
	}
	arena_release(&a);
}

/* ---- servers ---- */

enum fuse_device { FUSE_NOT, FUSE_OTHER, FUSE_UNKNOWN, FUSE_THIS };

static enum fuse_device judge_descriptor(int dirfd, int fd, unsigned connection, struct arena *a)
{
	struct proc_fdinfo info;
	uint32_t number;
	char name[32], *link;

	(void)snprintf(name, sizeof(name), "fd/%d", fd);
	if (read_proc_link(dirfd, name, a, &link) < 0 || strcmp(link, "/dev/fuse") != 0)
		return FUSE_NOT;
	if (read_proc_fdinfo(dirfd, fd, a, &info) < 0 || parse_fdinfo_fuse(info.rest, &number) < 0)
		return FUSE_UNKNOWN;
	return number == connection ? FUSE_THIS : FUSE_OTHER;
}

/* What the process's descriptors say, the best of them. */
static enum fuse_device judge_process(pid_t pid, unsigned connection)
{
	AUTOCLOSE int dirfd = procfs_open(pid);
	enum fuse_device best = FUSE_NOT;
	struct arena a = { 0 };
	size_t n = 0;
	int *fds;

	if (dirfd < 0 || read_proc_fds(dirfd, &a, &fds, &n) < 0)
		n = 0;
	for (size_t i = 0; i < n && best != FUSE_THIS; i++) {
		enum fuse_device one = judge_descriptor(dirfd, fds[i], connection, &a);

		if (one > best)
			best = one;
	}
	arena_release(&a);
	return best;
}

void stall_find_servers(struct stall_object *o)
{
	AUTOCLOSE int connections = open("/sys/fs/fuse/connections", O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTOCLOSEDIR DIR *proc = opendir("/proc");
	const struct dirent *entry;
	long long waiting;
	char name[32];

	(void)snprintf(name, sizeof(name), "%u/waiting", o->dev_minor);
	if (connections >= 0 && read_proc_number(connections, name, 10, &waiting) == 0)
		o->waiting = (long)waiting;
	while (proc && (entry = readdir(proc)) != NULL) {
		pid_t pid = atoi(entry->d_name);
		enum fuse_device d = pid > 0 ? judge_process(pid, o->dev_minor) : FUSE_NOT;

		/* One that is sure takes the place of those that might be. */
		if (d == FUSE_THIS && !o->servers_sure)
			o->n_servers = 0;
		if (d == FUSE_THIS)
			o->servers_sure = true;
		if ((d == FUSE_THIS || (d == FUSE_UNKNOWN && !o->servers_sure)) && o->n_servers < STALL_SERVERS)
			glance_status(pid, pid, &o->servers[o->n_servers++]);
	}
}
