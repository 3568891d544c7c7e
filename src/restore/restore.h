/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/options.h"

/* The engine of `firn restore` (see front.h). On failure no task, name or mount of the restore is left. */
int restore_engine(const struct options *o, void *arg);
