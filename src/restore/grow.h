/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/placement.h"
#include "tree/operation.h"

/*
 * Growing the tree: every task is made by the one who has to be its parent, with the pid, session and group it had.
 * All functions are the tracer thread's, but for the check of pids; each wait is for one puppet's next stop. 0 or
 * -errno, raised.
 */

/* Refuses when a pid or thread number of the images is taken, and names the holder. Worker thread. */
int grow_check_pids(struct operation *op);

/*
 * Makes the root (from the engine), then all others (from their parents): bare tasks that hold nothing but the island
 * at op->island and the channel. Sets sessions and process groups. Zombies are still alive.
 */
int grow_tree(struct operation *op, struct channel *c);

/* Lets the zombies end with their exit codes and takes from their parents what the kernel told them about it. */
int grow_zombies(struct operation *op);

/*
 * Tasks that were dead and that an open file still stands for: helpers in their places, children of the root, and their
 * end. Between the two the files are opened. After grow_zombies().
 */
int grow_dead(struct operation *op);
int bury_dead(struct operation *op);

/* Makes the threads of every task. After memory was restored. */
int grow_threads(struct operation *op);

/* Kills what was made so far; for a restore that fails. */
void grow_kill(struct operation *op);
