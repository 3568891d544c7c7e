/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/placement.h"
#include "tree/operation.h"

/* The last things done to each puppet: the channel is closed, the island unmapped, the registers are set. Then all run.
 * Tracer thread; waits for the puppets. 0 or -errno, raised. */
int finish_tree(struct operation *op, struct channel *c);
/* Did the first thread of @t end before the others? It lives until finish_tree() lets it end again. */
bool has_exited_leader(const struct task *t);
/* Lets every thread go. From here on nothing can be undone: failures are only logged. */
int release_tree(struct operation *op);
