/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Frozen control groups, versions 1 (freezer.state) and 2 (cgroup.freeze). */

#define FREEZERS_MAX 64

struct freezer {
	char path[512]; /* the group's folder */
	bool v2;
	char state[16]; /* "FROZEN", "FREEZING", "frozen" */
};

struct freezers {
	struct freezer list[FREEZERS_MAX];
	size_t n;
};

/* Adds the groups that are themselves asked to be frozen among those @pid is in and those above them. */
void freezers_of_task(pid_t pid, struct freezers *f);
/* Adds the group in this folder when it is frozen. */
void freezers_of_folder(const char *path, struct freezers *f);
bool freezers_contain(const struct freezers *f, const char *path);
/* 0 or -errno. Asks the kernel, waits for nothing. */
int freezer_thaw(const struct freezer *f);
