/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "watch/front.h"

/* The engine's process around the engine's body. */

/* Body of the child: prepares signals and standard streams, runs @engine, writes the pid file of a restore, leaves the
 * result in the recorder, tells the front through the eventfd @done_fd, ends. @front: the parent's pid. */
_Noreturn void engine_process(enum front_role role, const struct options *o, engine_fn engine, void *arg, pid_t front,
			      int done_fd);
