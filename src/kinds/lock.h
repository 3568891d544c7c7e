/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/common.h"

/*
 * File locks and leases. They belong to descriptors (which is where the kernel tells of them) and are taken again by the
 * tasks (aspects/file_locks.c); task->locks has them in between, at the owner of the descriptor table. filelocks.img.
 */

/* dump: adds the locks of one descriptor, or refuses them when they were not asked for. Worker's; does not block. */
int locks_collect(struct operation *op, struct task *t, const struct fd_facts *f);
/* Writes filelocks.img when there is any. */
int locks_write(struct operation *op);
/* restore: after every task's descriptors were read. */
int locks_read(struct operation *op);
