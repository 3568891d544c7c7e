/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "puppet/puppet.h"

/*
 * Stopping a thread without its noticing: PTRACE_SEIZE and PTRACE_INTERRUPT (man 2 ptrace). Signals that arrive
 * meanwhile are delivered to the thread before it stops. All calls belong to the tracer thread.
 */
enum seize_outcome {
	SEIZE_STOPPED = 0,              /* stopped by firn */
	SEIZE_GROUP_STOPPED = 1,        /* it was stopped by a signal already: p->stop_signal */
	SEIZE_GONE = 2,                 /* it ended before it could be stopped */
};

/* Attaches and asks for the stop, without waiting for it. 0, SEIZE_GONE, or -errno raised; names another tracer. */
int seize_begin(struct puppet *p, unsigned long options, struct error *e);
/* Waits for the stop and reads registers and signal mask. An enum seize_outcome, or -errno raised. Blocks. */
int seize_finish(struct puppet *p, struct error *e);
/* Lets a thread that firn stopped run for @ns, and stops it again: as seize_finish(). Blocks. */
int seize_again(struct puppet *p, long ns, struct error *e);
/* Lets a stopped thread go as it was. Never raises: what can be done is done, 0 or -errno for the log. */
int seize_release(struct puppet *p);
