/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/*
 * A pid, or tid, that a restored task is to have and somebody has. 0 or -errno, raised.
 */

/* -EEXIST when it is taken. The number of a task that has ended and that nobody has reaped yet is waited for, two seconds
 * at most: who kills a tree and restores it at once gets here before its parent's wait(). */
int pid_check_free(struct operation *op, pid_t pid);
/* Names who holds @pid, for a clone3() that failed with EEXIST. Returns -EEXIST. */
int raise_pid_taken(struct operation *op, pid_t pid);
