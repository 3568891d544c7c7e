/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/options.h"

/*
 * Takes away what a dead engine left in the tasks of the tree (o->tree). In a process of its own, which becomes their
 * tracer, has a recorder of its own, and may be killed at any time; blocks until no thread is in the way any more. 0 or
 * -errno; the sentence goes nowhere.
 */
int dump_sweep(const struct options *o);
