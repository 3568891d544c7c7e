/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/* Asks every task what only the task itself can tell, in one batch for each thread. Tracer thread. What was put into
 * the tasks for it is taken out again, also on failure. */
int interview_tree(struct operation *op);
