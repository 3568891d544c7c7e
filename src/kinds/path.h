/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/common.h"

/* Where a file's path leads at the time of the dump. */
enum path_state {
	PATH_SAME = 1,    /* to the very file */
	PATH_GHOST,       /* nowhere, and no other name is left: the content goes into the images */
	PATH_LOST,        /* nowhere or to another file, but the file has other names: link-remap */
};

/*
 * Looks the path up as firn sees it. Returns an enum path_state, or -errno raised. *ret_name (in the arena or the
 * facts) is the path without the kernel's " (deleted)". May block on the path's file system.
 */
int path_check(struct operation *op, const struct fd_facts *f, const char **ret_name);

/* The name that an NFS client gives to a file that was removed while it is open (.nfs and 24 hexadecimal digits; it
 * removes it at the last close). Pure. */
bool path_is_silly(const char *path);

/* The path of the image is absolute, not too long, without "..". Pure. */
bool path_is_sane(const char *path);

/* Length of the path's directory part: "/a/b" → 2, "/a" → 1. Pure. */
size_t path_dir_len(const char *path);

#define DELETED_SUFFIX " (deleted)"
/* Length of @link without the suffix that d_path() adds for an unlinked file. Pure. */
size_t path_undeleted_len(const char *link);
