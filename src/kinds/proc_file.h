/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct fd_facts;
struct operation;

/*
 * Files and folders of /proc/PID: they exist with their task and are opened when it exists again. Part of the kind
 * "file" (regular.c).
 */

struct proc_path {
	pid_t pid, tid; /* tid 0: no file of a thread */
};

/* dump: does the path lead into /proc/PID, whatever proc is mounted at? */
bool proc_file_is(const struct fd_facts *f, struct proc_path *ret);
/* dump, for those: may it be carried? Once a task that has ended is known by *ret_dead. 0, or -errno raised. */
int proc_file_check(struct operation *op, const struct fd_facts *f, const struct proc_path *p, bool *ret_dead);
/* restore: the same of a path in the image; looks at the file systems on the way. */
bool proc_file_is_path(const char *path);
/* "7", "7/status", "7/task/9/comm" → pids. Pure. */
bool proc_path_parse(const char *text, struct proc_path *ret);
