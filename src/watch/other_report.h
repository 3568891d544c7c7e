/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "watch/crowd.h"
#include "watch/rescue.h"

/* Writes where a checkpointer that is not firn's own stands, for people: each process of the watched tree with its threads,
 * calls, objects and open files, then what it holds. @what: one sentence without full stop. */
void other_report(const struct crowd *c, const struct aims *aims, const char *what, FILE *out);
