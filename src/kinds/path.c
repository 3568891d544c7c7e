/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/path.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "watch/recorder.h"

size_t path_undeleted_len(const char *link)
{
	size_t len = strlen(link), suffix = strlen(DELETED_SUFFIX);

	if (len > suffix && strcmp(link + len - suffix, DELETED_SUFFIX) == 0)
		return len - suffix;
	return len;
}

bool path_is_sane(const char *path)
{
	const char *p = path;

	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return false;
	while ((p = strstr(p, "/.."))) {
		if (p[3] == '/' || p[3] == '\0')
			return false;
		p += 3;
	}
	return true;
}

size_t path_dir_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash > path ? (size_t)(slash - path) : 1;
}

/* 1: leads to the file; 0: nowhere or elsewhere. */
static int leads_to(struct operation *op, const struct fd_facts *f, const char *name)
{
	struct stat st;

	recorder_step(f->task ? f->task->pid : 0, f->task ? f->task->comm : NULL, "fstatat", "%s → %s", f->what, name);
	if (fstatat(AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP || errno == ESTALE)
			return 0;
		return error_raise_call(op->error, errno, "fstatat", "%s", facts_describe(op, f));
	}
	return st.st_dev == f->st.st_dev && st.st_ino == f->st.st_ino;
}

bool path_is_silly(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	return strncmp(name, ".nfs", 4) == 0 && strlen(name) == 28 && strspn(name + 4, "0123456789abcdef") == 24;
}

static bool is_silly(const struct fd_facts *f)
{
	return f->mount && strncmp(f->mount->fstype, "nfs", 3) == 0 && path_is_silly(f->link);
}

int path_check(struct operation *op, const struct fd_facts *f, const char **ret_name)
{
	size_t len = path_undeleted_len(f->link);
	char *name;
	int r;

	/* A file may really be called "x (deleted)". */
	*ret_name = f->link;
	if (f->st.st_nlink > 0) {
		r = leads_to(op, f, f->link);
		if (r > 0 && is_silly(f))
			return f->st.st_nlink == 1 ? PATH_GHOST : PATH_LOST;
		if (r != 0)
			return r < 0 ? r : PATH_SAME;
	}
	if (f->link[len] != '\0') {
		name = arena_memdup(&op->arena, f->link, len + 1);
		if (!name)
			return raise_no_memory(op);
		name[len] = '\0';
		*ret_name = name;
		if (f->st.st_nlink > 0) {
			r = leads_to(op, f, name);
			if (r != 0)
				return r < 0 ? r : PATH_SAME;
		}
	}
	return f->st.st_nlink == 0 ? PATH_GHOST : PATH_LOST;
}
