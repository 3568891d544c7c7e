/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "watch/glance.h"

/* Memory that a process of bounded_run() shares with its maker, zeroed; NULL when it is out. Freed with munmap(2). */
void *bounded_memory(size_t size);

/*
 * Runs @fn(@arg) in a process of its own, for calls that may never return: those that ask a file system, or wait for the
 * memory map of another task. What it finds it leaves in bounded_memory(). It is waited for @timeout_ms at most, then
 * killed and, if even that does not end it, left behind. True when it has ended by itself. @fn must not allocate.
 */
bool bounded_run(void (*fn)(void *arg), void *arg, int timeout_ms);

/* The name of such a process. It has no descriptor of its maker's. */
#define BOUNDED_NAME "firn-look"

/* glance(), which may block. False when it did: then the rest of @ret is glance_status()'s. */
bool bounded_glance(pid_t pid, pid_t tid, int timeout_ms, struct glance *ret);
