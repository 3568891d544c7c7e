/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/*
 * Looks over the running tree for whatever a dump refuses, so that it is refused before anything is frozen. What
 * changes meanwhile is caught by the same rules when the tree stands still. Worker thread.
 */
int precheck_tree(const struct operation *op);
