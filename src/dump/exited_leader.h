/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/* The message of a first thread that has ended before the others of its process (task.leader_exited). What is the
 * process's moves to it from the thread that stood for it. Worker thread; 0 or -errno, raised. */
int exited_leader_core(struct operation *op, struct task *t, CoreEntry **ret);
