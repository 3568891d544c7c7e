/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "watch/recorder.h"

/*
 * The scribe drains the log ring.
 *
 * With a log file it is a process of its own, not a thread: the file may lie on a file system whose server is dead,
 * and a process with a thread in uninterruptible sleep is not reported to its parent when it ends. With the log on
 * standard error it is a thread of the front.
 */
struct scribe {
	pid_t pid;                      /* 0 = a thread */
	int pidfd;
	struct scribe_thread *thread;
	bool clear;                     /* before the first call: a progress line may stand where the log's next line goes */
};

/* @path: NULL for standard error, "-" for standard output; else a file, truncated, opened by the scribe itself.
 * @engine_pidfd: when the front is gone, the scribe stays until this process is gone too. */
int scribe_start(struct scribe *s, const char *path, int engine_pidfd);

/* Drains, ends and reaps; a scribe that is held after @timeout_ms is killed and not waited for. False then. */
bool scribe_finish(struct scribe *s, int timeout_ms);
