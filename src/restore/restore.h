/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/options.h"

/* The engine of `firn restore`, an engine_fn (watch/front.h). */
int restore_engine(const struct options *o, void *arg);
