/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "watch/recorder.h"

/* When is it too long? Pure: times are handed in, in nanoseconds of CLOCK_MONOTONIC. A limit of 0 ms is none. */
struct deadlines {
	unsigned deadline_ms;           /* the whole operation */
	unsigned stall_ms;              /* without any progress */
	unsigned seize_ms;              /* in STAGE_SEIZE */

	uint64_t start_ns;
	uint64_t progress, progress_ns; /* last value seen to differ, and when */
	uint64_t seize_ns;              /* when STAGE_SEIZE was first seen; 0 = not yet */
};

enum verdict { VERDICT_GO_ON, VERDICT_DEADLINE, VERDICT_STALL, VERDICT_SEIZE };

void deadlines_begin(struct deadlines *d, uint64_t now);
/* Takes a sample. */
enum verdict deadlines_check(struct deadlines *d, uint64_t now, uint64_t progress, enum stage stage);
/* The engine had no processor for @ns since the last sample: that much of its silence is not a stall. */
void deadlines_forgive(struct deadlines *d, uint64_t now, uint64_t ns);
/* Milliseconds until the next sample is worth taking; -1 = never. */
int deadlines_next(const struct deadlines *d, uint64_t now);
