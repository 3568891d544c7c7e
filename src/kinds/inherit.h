/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/*
 * What comes from outside: --external TYPE[ID] at the dump names it, --inherit-fd fd[N]:KEY at the restore gives an open
 * descriptor in its place. The keys, as CRIU has them:
 *
 *     pipe:[INODE]            a pipe; INODE decimal, as /proc/PID/fd shows it and PipeEntry.pipe_id has it
 *     socket:[INODE]          a socket; decimal
 *     tty[RDEV:DEV]           a terminal; st_rdev and st_dev, hexadecimal
 *     file[MNT_ID:INODE]      a file; hexadecimal, MNT_ID of /proc/PID/fdinfo/N
 *     path/to/file            a file by its path in the images, with or without the first slash
 *
 * "pipe[1]" and "socket[1]" are taken for "pipe:[1]" and "socket:[1]".
 */

/* ---- dump; pure ---- */

/* Is "@key", or "@key:VALUE", among the arguments of --external? */
bool external_listed(const struct operation *op, const char *key);
/* Does one of them begin with @beginning? */
bool external_begins(const struct operation *op, const char *beginning);

/* ---- restore ---- */

/* The caller's descriptor for @key, which must not be closed and may be used for several files; -1: none was given.
 * Pure. */
int inherit_find(const struct operation *op, const char *key);

enum { INHERITED = 1 };
/* A copy of it (the same open file) in *ret_fd, owned by the caller: INHERITED. 0: none was given. -errno, raised. */
int inherit_take(struct operation *op, const char *key, const char *describe, int *ret_fd);
