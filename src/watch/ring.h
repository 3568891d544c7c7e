/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "watch/recorder.h"

/*
 * The log's way from the engine to the scribe: whole records in shared memory, any number of producers in any
 * process, one consumer. A producer that is killed in the middle of a record loses that record, never the later ones.
 */

#define RING_RECORD_MAX 4096

/* Adds a record (1 … RING_RECORD_MAX bytes of text without NUL). @urgent wakes the scribe at once. Waits for room
 * while the process-wide second of patience lasts, then drops and counts. */
void ring_put(struct recorder *r, const char *text, size_t len, bool urgent);

/* Moves as many whole records as fit into @buf (at least RING_RECORD_MAX bytes); returns the bytes, 0 when there are
 * none. @dead: every producer is gone or idle, a half-written record may be skipped. */
size_t ring_take(struct recorder *r, char *buf, size_t size, bool dead);

/* Is there anything that was not taken yet, finished or not? */
bool ring_empty(struct recorder *r);

enum ring_sleep { RING_AWAKE, RING_ALERT, RING_DOZE };

/* The scribe waits: RING_ALERT until any record comes, RING_DOZE until an urgent one or much of them or the timeout.
 * @timeout_ms < 0: no limit. Returns at once when the ring is not empty and @how is RING_ALERT. */
void ring_wait(struct recorder *r, enum ring_sleep how, int timeout_ms);
/* Wakes the scribe whatever it waits for. */
void ring_wake(struct recorder *r);
