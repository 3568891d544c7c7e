/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "fh.pb-c.h"
#include "kinds/kind.h"

/*
 * What an inotify or fanotify mark stands on: the kernel tells an inode number, its file system and mostly a file
 * handle (man 2 open_by_handle_at), never a path. Shared by inotify.c and fanotify.c. The worker's; 0 or -errno, raised.
 */

struct watched {
	uint64_t ino;
	uint32_t dev;	  /* of the file system, major << 20 | minor */
	const char *path; /* NULL: by the handle alone, or a ghost */
	uint32_t mnt_id;  /* of the path; 0 unknown */
	bool ghost;	  /* deleted: ino and dev are those of the ghost */
};

/* dump: finds the path of the mark's object, or the deleted file of the tree that it is; refuses when there is neither.
 * Every descriptor of the tree is known. 1: gone, the tree still runs. */
int watched_find(struct operation *op, const struct fd_facts *f, const struct proc_mark *m, struct watched *ret);
/* The image's message. NULL: no memory, raised. */
FhEntry *watched_handle(struct operation *op, const struct proc_mark *m, const struct watched *w);
/* A mount by the number in fdinfo: its mount point. NULL when it is not in firn's namespace. */
const char *watched_mount_point(struct operation *op, uint32_t mnt_id);

/* restore: is the message sane? Pure. */
bool watched_handle_is_sane(const FhEntry *m);
/* restore: an O_PATH descriptor of the object, the caller's. After files_create(). */
int watched_open(struct operation *op, const struct file *f, uint64_t ino, uint32_t dev, const FhEntry *m, int *ret_fd);
