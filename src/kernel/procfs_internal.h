/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/*
 * Reads a small file that the kernel makes as one record (stat, status, fdinfo, timers: single_open() in the kernel),
 * so that a read shorter than the buffer is the whole file. Returns its length, -EFBIG when it fills the buffer, or
 * -errno. Saves an allocation and a second read for files that are read by the ten thousand.
 */
long procfs_read_record(int dirfd, const char *name, char *buf, size_t size);

/* Room for any record but an epoll descriptor's with more than about fifty targets. */
#define PROCFS_RECORD_SIZE 4096
