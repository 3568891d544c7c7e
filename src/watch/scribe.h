/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "watch/recorder.h"

/*
 * The scribe drains the log ring. It is a process of its own, so that the log is complete up to the last record whoever is
 * killed, front or engine or both; and since the log may lie on a file system whose server is dead: a process with a
 * thread in uninterruptible sleep is not reported to its parent when it ends.
 */
struct scribe {
	pid_t pid;                      /* 0 = none */
	int pidfd;
	bool clear;                     /* before the first call: a progress line may stand where the log's next line goes */
};

/* @path: NULL for standard error, "-" for standard output; else a file, truncated, opened by the scribe itself.
 * @engine_pidfd: when the front is gone, the scribe stays until this process is gone too. */
int scribe_start(struct scribe *s, const char *path, int engine_pidfd);

/* Drains, ends and reaps; a scribe that is held after @timeout_ms is killed and not waited for. False then. */
bool scribe_finish(struct scribe *s, int timeout_ms);
