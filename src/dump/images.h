/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/* The images that describe the tree itself: pstree, core-*, ids-*, seccomp, and at last the
 * inventory, which makes the folder complete. Worker thread; may block on the images folder. 0 or -errno, raised. */
int images_write_tree(struct operation *op);
int images_commit(struct operation *op);
/* stats-dump, as CRIU writes it into the work folder: no part of the checkpoint, a failure is only logged. */
void images_write_stats(struct operation *op);
/* Sets the ids that say which task shares what (core.ids): before files and memory are written. */
int images_assign_ids(struct operation *op);
