/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/watched.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/path.h"
#include "kinds/registry.h"
#include "kinds/regular.h"
#include "watch/recorder.h"

/*
 * The file handle of fdinfo leads to the inode (as O_PATH, which tells nobody anything), and /proc/self/fd to its path.
 * Not every file system has handles (overlayfs without nfs_export), and a file whose name the kernel has forgotten comes
 * without a path: then the folders that the tree has open or works in, and those of --irmap-scan-path, are searched for the inode
 * number. A handle without a path is good for a restore on the same file system.
 */

/* Numbers of handles in CRIU's images: always 16 words. */
#define HANDLE_WORDS 16
/* Folders deeper than this are not searched, and below the working folders no more names than that. */
#define SEARCH_DEPTH 16
#define SEARCH_NAMES 200000

static const char *const search_first[] = { "/etc", "/var/spool", "/var/log", "/usr/share/dbus-1/system-services",
					    "/run" };

struct mounts {
	struct proc_mount *all;
	size_t n;
};

static int get_mounts(struct operation *op, const struct mounts **ret)
{
	void **slot = files_kind_state(op, &kind_inotify);
	AUTOCLOSE int self = -1;
	struct mounts *m = *slot;
	int r;

	if (!m) {
		m = arena_alloc(&op->arena, sizeof(*m));
		if (!m)
			return raise_no_memory(op);
		self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
		recorder_step(0, NULL, "read", "/proc/self/mountinfo");
		r = self < 0 ? -errno : read_proc_mountinfo(self, &op->arena, &m->all, &m->n);
		if (r < 0)
			return error_raise_call(op->error, -r, "read", "/proc/self/mountinfo");
		*slot = m;
	}
	*ret = m;
	return 0;
}

static bool mount_is_of(const struct proc_mount *m, uint32_t dev)
{
	return m->major == dev >> 20 && m->minor == (dev & 0xfffff);
}

const char *watched_mount_point(struct operation *op, uint32_t mnt_id)
{
	const struct mounts *m;

	if (get_mounts(op, &m) < 0)
		return NULL;
	for (size_t i = 0; i < m->n; i++) {
		if ((uint32_t)m->all[i].mnt_id == mnt_id)
			return m->all[i].mountpoint;
	}
	return NULL;
}

/* ---- handles ---- */

struct handle {
	struct file_handle h;
	uint8_t bytes[MAX_HANDLE_SZ];
};

/* open_by_handle_at() wants a descriptor of the mount that is more than O_PATH, and opening its root would be an event
 * for whoever watches that; as working directory O_PATH does. -errno, not raised. */
static int open_in_mount(const char *mountpoint, struct handle *h)
{
	AUTOCLOSE int root = open(mountpoint, O_PATH | O_CLOEXEC), old = open(".", O_PATH | O_CLOEXEC);
	int fd;

	if (root < 0 || old < 0 || fchdir(root) < 0)
		return -errno;
	fd = open_by_handle_at(AT_FDCWD, &h->h, O_PATH | O_CLOEXEC);
	fd = fd < 0 ? -errno : fd;
	if (fchdir(old) < 0)
		log_warn(0, "fchdir: back from %s: %s", mountpoint, strerror(errno));
	return fd;
}

/* The path of @fd, if it leads there. */
static char *path_of(struct operation *op, int fd, const struct stat *st)
{
	AUTOCLOSE int self = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char name[16], *link;
	struct stat now;

	(void)snprintf(name, sizeof(name), "%d", fd);
	if (self < 0 || read_proc_link(self, name, &op->arena, &link) < 0 || !path_is_sane(link))
		return NULL;
	if (fstatat(AT_FDCWD, link, &now, AT_SYMLINK_NOFOLLOW) < 0 || now.st_ino != st->st_ino ||
	    now.st_dev != st->st_dev)
		return NULL;
	return link;
}

/* Through each mount of the file system until one shows the path; a mount of a part of it may not. A descriptor, with
 * *ret_path set or NULL; -errno, not raised. */
static int open_handle(struct operation *op, const struct mounts *mounts, uint32_t dev, struct handle *h,
		       char **ret_path, struct stat *ret_st)
{
	int fd = -ENOENT;

	*ret_path = NULL;
	for (int part = 0; part < 2 && !*ret_path; part++) {
		for (size_t i = 0; i < mounts->n && !*ret_path; i++) {
			const struct proc_mount *m = &mounts->all[i];
			int now;

			if (!mount_is_of(m, dev) || (strcmp(m->root, "/") != 0) != part)
				continue;
			recorder_step(0, NULL, "open_by_handle_at", "%s", m->mountpoint);
			now = open_in_mount(m->mountpoint, h);
			if (now < 0 || fstat(now, ret_st) < 0) {
				fd = fd < 0 && now < 0 ? now : fd;
				continue;
			}
			if (fd >= 0)
				close(fd);
			fd = now;
			*ret_path = path_of(op, fd, ret_st);
			if (ret_st->st_nlink == 0)
				return fd;
		}
	}
	return fd;
}

static bool handle_of_mark(const struct proc_mark *m, struct handle *ret)
{
	ret->h.handle_bytes = (unsigned)m->handle_len;
	ret->h.handle_type = (int)m->handle_type;
	memcpy(ret->h.f_handle, m->handle, m->handle_len);
	return m->handle_len > 0;
}

/* ---- the search ---- */

struct search {
	struct operation *op;
	const struct mounts *mounts;
	uint64_t ino;
	uint32_t dev;
	const char *found;
	size_t names; /* still to be looked at */
};

static bool is_it(const struct search *s, const char *path)
{
	struct statx stx;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_INO | STATX_MNT_ID, &stx) < 0 ||
	    stx.stx_ino != s->ino || !(stx.stx_mask & STATX_MNT_ID))
		return false;
	for (size_t i = 0; i < s->mounts->n; i++) {
		if ((uint64_t)s->mounts->all[i].mnt_id == stx.stx_mnt_id)
			return mount_is_of(&s->mounts->all[i], s->dev);
	}
	return false;
}

static bool on_file_system(const struct search *s, int fd)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &stx) < 0)
		return false;
	for (size_t i = 0; i < s->mounts->n; i++) {
		if ((uint64_t)s->mounts->all[i].mnt_id == stx.stx_mnt_id)
			return mount_is_of(&s->mounts->all[i], s->dev);
	}
	return false;
}

/* Looks through a folder, and with @depth through those below, without leaving the file system. */
static int search_folder(struct search *s, const char *path, int depth)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME);
	AUTOCLOSEDIR DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	bool overlay = false;
	struct statfs fs;
	int r = 0;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	recorder_step(0, NULL, "getdents", "%s, for a watched file", path);
	if (!on_file_system(s, fd))
		return 0;
	/* Its readdir() may give the numbers of the layers below. */
	overlay = fstatfs(fd, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC;
	while (!s->found && r == 0 && s->names > 0 && (e = readdir(dir))) {
		char *name;

		s->names--;
		if (recorder_cancelled())
			return error_raise(s->op->error, ECANCELED, "cancelled while watched files were searched for");
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    (e->d_ino != s->ino && !overlay && (depth == 0 || e->d_type != DT_DIR)))
			continue;
		name = arena_printf(&s->op->arena, "%s/%s", strcmp(path, "/") == 0 ? "" : path, e->d_name);
		if (!name)
			return raise_no_memory(s->op);
		if ((e->d_ino == s->ino || overlay) && is_it(s, name))
			s->found = name;
		else if (depth > 0 && e->d_type == DT_DIR)
			r = search_folder(s, name, depth - 1);
	}
	return r;
}

/* What the tree has open, and what lies beside it. */
static int search_tree(struct search *s)
{
	const struct operation *op = s->op;
	int r = 0;

	for (size_t i = 0; i < op->files->n_files && !s->found; i++) {
		const struct fd_facts *f = &op->files->files[i]->facts;

		if (f->link && f->st.st_ino == s->ino && path_is_sane(f->link) && is_it(s, f->link))
			s->found = f->link;
	}
	for (size_t i = 0; i < op->files->n_files && !s->found && r == 0; i++) {
		const struct fd_facts *f = &op->files->files[i]->facts;
		char *dir;

		if (!f->link || !path_is_sane(f->link) || op->files->files[i]->kind != &kind_regular)
			continue;
		dir = arena_strdup(&s->op->arena, f->link);
		if (!dir)
			return raise_no_memory(s->op);
		if (!S_ISDIR(f->st.st_mode))
			dir[path_dir_len(dir)] = '\0';
		if (is_it(s, dir))
			s->found = dir;
		else
			r = search_folder(s, dir, 0);
	}
	return r;
}

static int search_all(struct search *s)
{
	const struct options *o = s->op->options;
	int r;

	s->names = SIZE_MAX;
	r = search_tree(s);
	s->names = SEARCH_NAMES;
	for (size_t i = 0; i < s->op->tree.n_tasks && r == 0 && !s->found; i++) {
		const struct task *t = s->op->tree.tasks[i];

		if (t->cwd && t->cwd->facts.link && path_is_sane(t->cwd->facts.link))
			r = search_folder(s, t->cwd->facts.link, SEARCH_DEPTH);
	}
	s->names = SIZE_MAX;
	for (size_t i = 0; i < o->n_irmap_scan_path && r == 0 && !s->found; i++) {
		if (is_it(s, o->irmap_scan_path[i]))
			s->found = o->irmap_scan_path[i];
		else
			r = search_folder(s, o->irmap_scan_path[i], SEARCH_DEPTH);
	}
	for (size_t i = 0; i < ARRAY_SIZE(search_first) && r == 0 && !s->found; i++) {
		if (is_it(s, search_first[i]))
			s->found = search_first[i];
		else
			r = search_folder(s, search_first[i], SEARCH_DEPTH);
	}
	return r;
}

/* ---- dump ---- */

/* A deleted file that is kept in the images because the tree has it open. @st of the handle, or NULL. */
static bool find_ghost(const struct operation *op, const struct proc_mark *m, const struct stat *st,
		       struct watched *ret)
{
	for (size_t i = 0; i < op->files->n_files; i++) {
		const struct fd_facts *f = &op->files->files[i]->facts;

		if (op->files->files[i]->kind != &kind_regular || !f->link || f->st.st_nlink > 0 ||
		    (st ? f->st.st_ino != st->st_ino || f->st.st_dev != st->st_dev
			: f->st.st_ino != m->ino || !f->mount || !mount_is_of(f->mount, m->dev)))
			continue;
		*ret = (struct watched){ .ino = f->st.st_ino, .dev = kernel_dev(f->st.st_dev), .ghost = true };
		return true;
	}
	return false;
}

static int raise_lost(struct operation *op, const struct fd_facts *f, const struct proc_mark *m, bool deleted)
{
	(void)error_raise(op->error, EOPNOTSUPP, "%s: it watches inode %llu of the file system %u:%u, %s",
			  facts_describe(op, f), (unsigned long long)m->ino, m->dev >> 20, m->dev & 0xfffff,
			  deleted ? "a deleted file that no task of the tree has open" : "whose path cannot be found");
	error_hint(op->error, deleted ? "let the program take the watch away (inotify_rm_watch)"
				      : "--irmap-scan-path names a folder to search for it");
	return -EOPNOTSUPP;
}

/* Does the kernel still tell of the mark? */
static bool still_there(struct operation *op, const struct fd_facts *f, const struct proc_mark *m)
{
	AUTOCLOSE int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct proc_fanotify group = { 0 };
	struct proc_fdinfo info;

	if (f->fd < 0 || self < 0 || read_proc_fdinfo(self, f->fd, &op->arena, &info) < 0)
		return true;
	if (parse_fdinfo_inotify(info.rest, &op->arena, &group.marks, &group.n_marks) < 0)
		return true;
	if (group.n_marks == 0)
		(void)parse_fdinfo_fanotify(info.rest, &op->arena, &group);
	for (size_t i = 0; i < group.n_marks; i++) {
		if (group.marks[i].ino == m->ino && group.marks[i].dev == m->dev && group.marks[i].wd == m->wd)
			return true;
	}
	return false;
}

static uint32_t mnt_id_of(const char *path)
{
	struct statx stx;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_MNT_ID, &stx) < 0 ||
	    !(stx.stx_mask & STATX_MNT_ID))
		return 0;
	return (uint32_t)stx.stx_mnt_id;
}

int watched_find(struct operation *op, const struct fd_facts *f, const struct proc_mark *m, struct watched *ret)
{
	struct search s = { .op = op, .ino = m->ino, .dev = m->dev };
	AUTOCLOSE int fd = -1;
	struct stat st = { .st_nlink = 1 };
	char *path = NULL;
	struct handle h;
	int r = get_mounts(op, &s.mounts);

	if (r < 0)
		return r;
	*ret = (struct watched){ .ino = m->ino, .dev = m->dev };
	if (handle_of_mark(m, &h)) {
		fd = open_handle(op, s.mounts, m->dev, &h, &path, &st);
		/* The inode has been freed, and the mark went with it; or it is a handle that only tells files apart, and
		 * leads nowhere (overlayfs). */
		if (fd == -ESTALE && !still_there(op, f, m))
			return 1;
	}
	if (!path) {
		if (find_ghost(op, m, fd >= 0 ? &st : NULL, ret))
			return 0;
		if (fd >= 0 && st.st_nlink == 0)
			return raise_lost(op, f, m, true);
		r = search_all(&s);
		path = (char *)s.found;
	}
	if (r < 0)
		return r;
	if (!path && fd < 0)
		return raise_lost(op, f, m, false);
	if (!path)
		log_warn(f->task->pid, "%s: inode %llu, which it watches, is known by its file handle alone", f->what,
			 (unsigned long long)m->ino);
	ret->path = path;
	ret->mnt_id = path ? mnt_id_of(path) : 0;
	return 0;
}

FhEntry *watched_handle(struct operation *op, const struct proc_mark *m, const struct watched *w)
{
	FhEntry *h = arena_alloc(&op->arena, sizeof(*h));
	uint64_t *words = arena_array(&op->arena, HANDLE_WORDS, sizeof(*words));

	if (!h || !words) {
		(void)raise_no_memory(op);
		return NULL;
	}
	fh_entry__init(h);
	memcpy(words, m->handle, m->handle_len);
	h->bytes = (uint32_t)m->handle_len;
	h->type = m->handle_type;
	h->handle = words;
	h->n_handle = HANDLE_WORDS;
	h->path = (char *)w->path;
	h->has_mnt_id = w->mnt_id != 0;
	h->mnt_id = w->mnt_id;
	return h;
}

/* ---- restore ---- */

bool watched_handle_is_sane(const FhEntry *m)
{
	return m && m->bytes <= MAX_HANDLE_SZ && (m->bytes == 0 || m->bytes <= m->n_handle * sizeof(uint64_t)) &&
	       (!m->path || (m->path[0] == '/' ? path_is_sane(m->path) : strlen(m->path) < 4096));
}

static int open_path(struct operation *op, const struct file *f, const char *path, int *ret_fd)
{
	AUTOCLOSE int root = -1;

	recorder_step(0, NULL, "open(O_PATH)", "%s, watched by %s", path, f->describe);
	if (path[0] != '/')
		root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	*ret_fd = openat(root < 0 ? AT_FDCWD : root, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (*ret_fd >= 0)
		return 0;
	(void)error_raise_call(op->error, errno, "open", "%s, which is watched by %s", path, f->describe);
	error_hint(op->error, "what was watched must be where it was when it was dumped");
	return -op->error->number;
}

int watched_open(struct operation *op, const struct file *f, uint64_t ino, uint32_t dev, const FhEntry *m, int *ret_fd)
{
	const struct mounts *mounts;
	struct file *ghost = ghost_find(op, dev, ino);
	struct handle h;
	struct stat st;
	char *path;
	int r;

	if (ghost && !m->path) {
		*ret_fd = reopen(ghost->fd, O_PATH);
		return *ret_fd < 0 ? error_raise_call(op->error, -*ret_fd, "open", "%s (deleted)", ghost->describe) : 0;
	}
	if (m->path)
		return open_path(op, f, m->path, ret_fd);
	h.h.handle_bytes = m->bytes;
	h.h.handle_type = (int)m->type;
	memcpy(h.h.f_handle, m->handle, m->bytes);
	r = get_mounts(op, &mounts);
	if (r < 0)
		return r;
	*ret_fd = m->bytes ? open_handle(op, mounts, dev, &h, &path, &st) : -ENOENT;
	if (*ret_fd < 0)
		return error_raise_call(op->error, -*ret_fd, "open_by_handle_at",
					"inode %llu of the file system %u:%u, which is watched by %s",
					(unsigned long long)ino, dev >> 20, dev & 0xfffff, f->describe);
	if (st.st_ino != ino)
		log_warn(0, "%s: inode %llu is found as %llu", f->describe, (unsigned long long)ino,
			 (unsigned long long)st.st_ino);
	return 0;
}
