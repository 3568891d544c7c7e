/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "watch/recorder.h"

/*
 * The limit of a short wait that looks again and again. A machine that stands still, a guest that is paused, processors that
 * others have: in such a time the other side could do nothing, so one look counts PATIENCE_LOOK_MS at most, however long
 * ago the last one was. Look more often than that.
 */

#define PATIENCE_LOOK_MS 50
#define PATIENCE_PAUSE_MS 20 /* for waits that can be woken and look again after it */

struct patience {
	uint64_t left_ns, looked_ns;
};

static inline struct patience patience_begin(unsigned ms)
{
	return (struct patience){ .left_ns = ms * 1000000ull, .looked_ns = monotonic_ns() };
}

/* Looks at the clock. True once the time is over. */
static inline bool patience_is_over(struct patience *p)
{
	uint64_t now = monotonic_ns(), passed = now - p->looked_ns;

	if (passed > PATIENCE_LOOK_MS * 1000000ull)
		passed = PATIENCE_LOOK_MS * 1000000ull;
	p->looked_ns = now;
	p->left_ns -= passed < p->left_ns ? passed : p->left_ns;
	return p->left_ns == 0;
}

/* CLOCK_MONOTONIC at the end of one pause, for calls that want a point in time. */
static inline struct timespec patience_pause_end(void)
{
	uint64_t at = monotonic_ns() + PATIENCE_PAUSE_MS * 1000000ull;

	return (struct timespec){ .tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000) };
}
