/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "puppet/puppet.h"

/*
 * --trace: a line of the log for each system call that was made in a puppet, with its result and time:
 *     thread 126: getitimer(0, 0x7f0000001f40) = 0 <0.000310 for 40 calls>
 * The calls of a batch share one time, from the start of the batch until the engine saw its end: what each took alone
 * is not to be had without a stop for each, since a task may have forbidden itself to read the clock (PR_SET_TSC).
 */

/* What time it is when such lines are wanted, else 0. */
uint64_t call_log_start(void);
/* @start_ns: of call_log_start(); nothing is done when it is 0. */
void call_log_single(const struct puppet *p, long nr, const uint64_t args[6], int64_t ret, uint64_t start_ns);
/* After b->failed was set. Those behind a call that failed were not made, and get no line. */
void call_log_batch(const struct batch *b, uint64_t start_ns);
/* The batch did not come to its end: which of its calls were made is not known. */
void call_log_unfinished(const struct batch *b, uint64_t start_ns);
