/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/placement.h"
#include "tree/operation.h"

/* Makes the root task and empties it: only the island and the channel's descriptor stay. Tracer thread; waits for
 * its stops. 0 or -errno, raised. */
int seed_root(struct operation *op, struct channel *c);
