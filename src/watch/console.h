/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Standard output and standard error, written by a thread of their own: a terminal that is stopped with ctrl-S or a
 * pipe that nobody reads holds that thread and nothing else.
 */
struct console;

/* Queues a copy of @text (whole lines, or a progress line) for descriptor @fd. Starts the thread at the first call.
 * Never blocks; when memory is out or far too much is queued, the text is lost. */
void console_write(struct console **c, int fd, const char *text, size_t len);
void console_printf(struct console **c, int fd, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Waits until everything is written, at most @timeout_ms. True when it is. */
bool console_flush(struct console *c, int timeout_ms);

/* Flushes, then ends and frees, or, when the thread is held, leaves it behind: it dies with the process. */
void console_close(struct console **c, int timeout_ms);
