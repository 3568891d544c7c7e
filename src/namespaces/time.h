/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/*
 * The tree's CLOCK_MONOTONIC and CLOCK_BOOTTIME (man 7 time_namespaces, Linux 5.6; CLOCK_REALTIME is the same for all). A
 * dump writes what they show; a restore puts the tree into a time namespace in which they go on from there:
 *
 *   - a tree that was in a time namespace of its own, always;
 *   - a tree with the clocks of the machine when these are other ones now: after a boot, on another machine, and where
 *     the images do not tell (CRIU's). On the same boot it has the machine's clocks again, which went on meanwhile.
 *
 * Functions return 0 or -errno, raised, and are the worker's; none of them waits for anybody.
 */

/* dump: refuses a tree that is not in one time namespace, and one whose children would be in another; fills op->clocks.
 * After tree_collect(). */
int time_namespace_check(struct operation *op);
/* dump: writes timens-N.img. After every timer was read: a timer that is told less time than the clock has left would go off
 * too early. */
int time_namespace_dump(struct operation *op);

/* restore: reads timens-N.img, after the tree's ids, and decides; nothing is made. @root_ids: of whoever made the dump, or
 * NULL. */
int time_namespace_read(struct operation *op, const TaskKobjIdsEntry *root_ids);
/* restore: makes the namespace if one is wanted, in op->clocks.fd, which the seed enters (restore/seed.c): firn itself keeps
 * its clocks, and so its deadlines. Before the objects are made. */
int time_namespace_create(struct operation *op);

/* For both halves: how far the clocks of firn itself are from the machine's; 0 on a kernel without time namespaces. */
int time_namespace_own_offsets(struct operation *op, struct proc_timens_offsets *ret);
/* The number of this boot, "" when the kernel does not tell. */
#define BOOT_ID_SIZE 40
void time_namespace_boot_id(char ret[BOOT_ID_SIZE]);
