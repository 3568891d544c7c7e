/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/options.h"

/* The engine of `firn dump` (see front.h). On failure the tree runs on as it was and no image is left. */
int dump_engine(const struct options *o, void *arg);
