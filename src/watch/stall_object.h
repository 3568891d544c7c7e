/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kernel/procfs.h"
#include "watch/glance.h"

/*
 * What a call hangs on: descriptor → path → mount → file system → its server, and who has a lock of the file. All of it
 * from /proc and /sys;
 * the object itself is not touched, except where its locks are asked for.
 */

#define STALL_SERVERS 4
#define STALL_HOLDERS 8

struct stall_holder {
	pid_t pid;                      /* -1: an open file description has it, whoever that belongs to */
	char name[32];
	enum proc_lock_sort sort;
	bool breaking;                  /* a lease that was asked to be given up; @type is what it is to become */
	int type;                       /* F_RDLCK or F_WRLCK, or F_UNLCK */
};

struct stall_object {
	pid_t pid;                      /* whose descriptor; 0 = none: the path alone is known, as firn sees it */
	int fd;
	char path[512];                 /* "" = there is no object */
	uint64_t ino;                   /* the kernel's number; 0 = unknown */

	bool mounted;                   /* the mount is known: */
	int mnt_id;
	unsigned dev_major, dev_minor;
	char fs_type[32];
	char mount_point[256];
	char source[256];               /* as mountinfo has it: of NFS, 9p, SMB it is the server */

	/* FUSE */
	bool fuse;
	long waiting;                   /* requests without an answer; -1 = unknown */
	bool servers_sure;              /* false: these have /dev/fuse open, and any may be the server */
	struct glance servers[STALL_SERVERS];
	size_t n_servers;

	struct stall_holder holders[STALL_HOLDERS];
	size_t n_holders;
};

/* Each may block: see glance(). False when the descriptor, or the mount of the path, is not found. */
bool stall_object_of_fd(pid_t pid, int fd, struct stall_object *ret);
bool stall_object_of_path(const char *path, struct stall_object *ret);
/* Adds who has locks and leases of the file. Only here the file may be touched, when its number is not known yet (stat). */
void stall_find_holders(struct stall_object *o);
/* Adds the server of a FUSE mount. Looks through all processes. */
void stall_find_servers(struct stall_object *o);

/* The mount that @path lies on: the longest mount point, of two on one place the later. NULL when there is none. Pure. */
const struct proc_mount *mount_of_path(const struct proc_mount *mounts, size_t n, const char *path);

/* "flock", "POSIX lock", "open file description lock", "lease" */
const char *stall_lock_name(enum proc_lock_sort sort);
