/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"

/* The open files of any task, without asking a file system that may not answer. */

struct open_file {
	int fd;
	const char *path; /* as the link says: "/x/files.img", "pipe:[123]", "anon_inode:[eventfd]" */
	uint64_t pos;
	uint32_t flags; /* of open(2) */
	int64_t size;	/* bytes of a regular file; -1: unknown, not asked, or no regular file */
	bool remote;	/* on a file system whose server may not answer: its size is not asked for */
	const char *fs_type, *fs_source, *mount_point; /* NULL when the mount is not in the task's namespace */
	const char *rest;			       /* the kind's own lines of fdinfo */
};

/* Ascending by descriptor, in the arena. Sizes are asked for by a process of its own, 0.3 s long. 0 or -errno, nothing
 * raised. */
int open_files_look(pid_t pid, struct arena *a, struct open_file **ret, size_t *ret_n);

const struct open_file *open_file_find(const struct open_file *files, size_t n, int fd);

/* Is it of a type whose server may not answer: fuse, nfs, 9p, virtiofs, cifs, smb3, ceph, autofs? */
bool fs_type_is_remote(const char *type);

/* "fd 14 → /x/files.img (0 bytes, empty, at 0, for writing)": one line without newline, foreign text as it is. */
char *open_file_describe(const struct open_file *f, struct arena *a);
