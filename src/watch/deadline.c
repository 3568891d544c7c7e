/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/deadline.h"

#define NS_PER_MS 1000000ull

void deadlines_begin(struct deadlines *d, uint64_t now)
{
	d->start_ns = now;
	d->progress = 0;
	d->progress_ns = now;
	d->seize_ns = 0;
}

static bool passed(uint64_t since, unsigned limit_ms, uint64_t now)
{
	return limit_ms && now - since >= limit_ms * NS_PER_MS;
}

enum verdict deadlines_check(struct deadlines *d, uint64_t now, uint64_t progress, enum stage stage)
{
	if (progress != d->progress) {
		d->progress = progress;
		d->progress_ns = now;
	}
	if (stage == STAGE_SEIZE && !d->seize_ns)
		d->seize_ns = now;
	if (passed(d->start_ns, d->deadline_ms, now))
		return VERDICT_DEADLINE;
	if (passed(d->progress_ns, d->stall_ms, now))
		return VERDICT_STALL;
	if (stage == STAGE_SEIZE && passed(d->seize_ns, d->seize_ms, now))
		return VERDICT_SEIZE;
	return VERDICT_GO_ON;
}

void deadlines_forgive(struct deadlines *d, uint64_t now, uint64_t ns)
{
	d->progress_ns = now - d->progress_ns > ns ? d->progress_ns + ns : now;
}

static uint64_t sooner(uint64_t best, uint64_t since, unsigned limit_ms)
{
	uint64_t at = since + limit_ms * NS_PER_MS;

	return limit_ms && at < best ? at : best;
}

int deadlines_next(const struct deadlines *d, uint64_t now)
{
	uint64_t at = sooner(UINT64_MAX, d->start_ns, d->deadline_ms), ms;

	at = sooner(at, d->progress_ns, d->stall_ms);
	/* Progress is only seen by sampling: an eighth of the limit is how late a stall may be noticed. */
	if (d->stall_ms)
		at = sooner(at, now, d->stall_ms / 8 > 20 ? d->stall_ms / 8 : 20);
	if (d->seize_ms)
		at = sooner(at, d->seize_ns ? d->seize_ns : now, d->seize_ms);
	if (at == UINT64_MAX)
		return -1;
	ms = at > now ? (at - now + NS_PER_MS - 1) / NS_PER_MS : 0;
	return ms > 3600000 ? 3600000 : (int)ms;
}
