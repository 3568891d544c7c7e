/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/* Reads inventory, pstree, ids and core images into op->tree and checks them: hostile input. Worker thread. */
int images_read_tree(struct operation *op);
