/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/options.h"

/* An engine_fn (watch/front.h) for FRONT_EXPLAIN: 0 also when things are refused, recorder->refused says how many. */
int explain_engine(const struct options *o, void *arg);
