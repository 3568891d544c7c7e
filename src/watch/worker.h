/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"

/*
 * The engine's helper thread. ptrace belongs to the tracer thread, and that thread never makes a call that can block
 * on foreign ground: it hands the whole job to the worker and waits. When the job is stuck and the operation is
 * cancelled, worker_call() returns -ECANCELED although the job has not: the tracer thread then heals and lets go
 * every task, and the engine ends by _exit(), which a stuck thread cannot prevent.
 *
 * A cancelled operation gives the running job 0.3 s to see that and end. In STAGE_ROLLBACK jobs are taken although
 * the operation is cancelled, and each has one second. After a job that never ended, worker_call() fails with -EBUSY.
 */
typedef int (*worker_fn)(void *arg);

/* Runs @fn(@arg) in the helper thread (started at the first call) and returns what it returned; -ECANCELED, raised
 * in @e, when the operation was cancelled meanwhile. The tracer thread blocks; @fn must not call ptrace. */
int worker_call(worker_fn fn, void *arg, struct error *e);
