/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The proof that nothing was left changed, made by the front after the engine ended (or could not be ended). */

struct rollback_proof {
	size_t checked;                 /* threads that the engine ever held */
	size_t gone;                    /* of these: ended since */
	size_t held;                    /* of these: still traced by the engine */
	pid_t held_pid, held_tid;       /* one of them */
	char held_state;
};

/* Looks at every target of the recorder until none is traced by the engine (process @engine or its tracer thread),
 * at most @timeout_ms. */
void rollback_prove(pid_t engine, int timeout_ms, struct rollback_proof *ret);

/* Has this process any child? Asked before an engine is started. */
bool rollback_have_children(void);

/*
 * A failed restore: kills and reaps the children of this process except those in @keep. The front is the sub-reaper of
 * what it restores, so every task that the engine left behind is or becomes its child. @known_only: the process
 * had children before; then only those that the recorder knows are touched. At most @timeout_ms; returns how many are
 * left.
 */
size_t rollback_end_restored(const pid_t *keep, size_t n_keep, bool known_only, int timeout_ms);

/* Waits until the guard of a dump's sockets (kinds/tcp_hold.c) has ended: at once when there is none. False when it has
 * not within @timeout_ms. */
bool rollback_await_guard(int timeout_ms);
/* The same for System V segments that the engine made and did not remove again: they would outlive everything. */
void rollback_remove_segments(void);

/* Removes the names that a killed engine has noted with recorder_name_add(). A process of its own does it, which is waited
 * for at most so long: the file system may not answer. */
void rollback_remove_names(int timeout_ms);
