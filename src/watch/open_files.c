/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/open_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "kernel/procfs.h"
#include "watch/bounded.h"

#define SIZES_MAX 1024
#define SIZES_MS 300

/* What the process that asks for sizes gets and gives. */
struct sizes {
	pid_t pid;
	size_t n;
	struct {
		int fd;
		int64_t size;
	} of[SIZES_MAX];
};

bool fs_type_is_remote(const char *type)
{
	static const char *const beginnings[] = { "fuse", "nfs", "9p", "virtiofs", "cifs", "smb", "ceph", "autofs" };

	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
		if (strncmp(type, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	return false;
}

static void ask_sizes(void *arg)
{
	struct sizes *s = arg;
	struct statx stx;
	char path[64];

	for (size_t i = 0; i < s->n; i++) {
		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", s->pid, s->of[i].fd);
		if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE, &stx) == 0 &&
		    S_ISREG(stx.stx_mode))
			s->of[i].size = (int64_t)stx.stx_size;
	}
}

static void fill_sizes(pid_t pid, struct open_file *files, size_t n)
{
	struct sizes *s = bounded_memory(sizeof(*s));
	size_t at = 0;

	if (!s)
		return;
	s->pid = pid;
	for (size_t i = 0; i < n && s->n < SIZES_MAX; i++) {
		if (files[i].path[0] != '/' || files[i].remote)
			continue;
		s->of[s->n].fd = files[i].fd;
		s->of[s->n++].size = -1;
	}
	if (s->n)
		(void)bounded_run(ask_sizes, s, SIZES_MS);
	for (size_t i = 0; i < n && at < s->n; i++)
		if (files[i].fd == s->of[at].fd)
			files[i].size = s->of[at++].size;
	(void)munmap(s, sizeof(*s));
}

static void fill_mount(struct open_file *f, int mnt_id, const struct proc_mount *mounts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (mounts[i].mnt_id != mnt_id)
			continue;
		f->fs_type = mounts[i].fstype;
		f->fs_source = mounts[i].source;
		f->mount_point = mounts[i].mountpoint;
		f->remote = fs_type_is_remote(mounts[i].fstype);
		return;
	}
	/* A mount of another namespace, or one that was taken away (umount -l): whether its server answers is not known. Pipes
	 * and the like have mounts of the kernel's own. */
	f->remote = f->path[0] == '/';
}

int open_files_look(pid_t pid, struct arena *a, struct open_file **ret, size_t *ret_n)
{
	AUTOCLOSE int dirfd = procfs_open(pid);
	struct proc_mount *mounts = NULL;
	size_t n = 0, n_mounts = 0;
	int *fds, r;

	if (dirfd < 0)
		return dirfd;
	r = read_proc_fds(dirfd, a, &fds, &n);
	if (r)
		return r;
	(void)read_proc_mountinfo(dirfd, a, &mounts, &n_mounts);
	*ret = arena_array(a, n ? n : 1, sizeof(**ret));
	*ret_n = 0;
	for (size_t i = 0; i < n && *ret; i++) {
		struct open_file f = { .fd = fds[i], .size = -1 };
		struct proc_fdinfo info;
		char name[32], *path;

		(void)snprintf(name, sizeof(name), "fd/%d", fds[i]);
		if (read_proc_link(dirfd, name, a, &path) || read_proc_fdinfo(dirfd, fds[i], a, &info))
			continue;
		f.path = path;
		f.pos = info.pos;
		f.flags = info.flags;
		f.rest = info.rest;
		fill_mount(&f, info.mnt_id, mounts, n_mounts);
		(*ret)[(*ret_n)++] = f;
	}
	if (!*ret)
		return -ENOMEM;
	fill_sizes(pid, *ret, *ret_n);
	return 0;
}

const struct open_file *open_file_find(const struct open_file *files, size_t n, int fd)
{
	for (size_t i = 0; i < n; i++)
		if (files[i].fd == fd)
			return &files[i];
	return NULL;
}

char *open_file_describe(const struct open_file *f, struct arena *a)
{
	static const char *const modes[] = { "reading", "writing", "reading and writing", "nothing" };
	const char *mode = f->flags & O_PATH ? "its path alone" : modes[f->flags & O_ACCMODE];
	char size[64] = "";

	if (f->size == 0)
		(void)snprintf(size, sizeof(size), "EMPTY: 0 bytes, ");
	else if (f->size > 0)
		(void)snprintf(size, sizeof(size), "%lld bytes, ", (long long)f->size);
	else if (f->remote)
		(void)snprintf(size, sizeof(size), "size not asked for, ");
	if (f->path[0] != '/')
		return arena_printf(a, "fd %d → %s (for %s)", f->fd, f->path, mode);
	return arena_printf(a, "fd %d → %s (%sat %llu, for %s%s%s)", f->fd, f->path, size, (unsigned long long)f->pos,
			    mode, f->remote && f->fs_type ? ", on " : "", f->remote && f->fs_type ? f->fs_type : "");
}
