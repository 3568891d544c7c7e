/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "kernel/procfs.h"

/*
 * Frozen control groups: version 1 (freezer.state, ancestors counted) and version 2 (cgroup.freeze of the group and of its
 * ancestors, Linux 5.2). Nothing here blocks: the files belong to no server and need no lock of a task.
 */

/* Where the groups are mounted; read when it is first needed. {0} to begin with. In the arena. */
struct group_mounts {
	struct proc_mount *mounts;
	size_t n;
};

/* The path of a task's group from the text of /proc/PID/cgroup (man 7 cgroups): of version 2 with @controller NULL, else of
 * the hierarchy of version 1 that has this controller. In the arena; NULL when it has none or there is no memory. */
const char *parse_proc_cgroup(const char *text, size_t len, const char *controller, struct arena *a);

/* 1: the task is in a frozen group, or one that is being frozen, whose folder is written to @ret. 0: it is not, or that cannot
 * be seen from here (not mounted, another cgroup namespace). -errno: /proc cannot be read. */
int frozen_group_of(int proc_fd, struct group_mounts *mounts, struct arena *a, char *ret, size_t size);
