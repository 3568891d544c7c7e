/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <signal.h>

#include "watch/deadline.h"
#include "watch/front.h"
#include "watch/rollback.h"
#include "watch/scribe.h"
#include "watch/stall.h"

/* What the front says when an operation fails. Private to front.c and front_report.c. */

enum front_end { END_NONE, END_SIGNAL, END_LIMIT };

struct front {
	enum front_role role;
	const char *name;               /* "dump", "restore" */
	const struct options *options;
	char *log_path;                 /* owned; NULL = standard error */

	pid_t engine;
	int engine_pidfd, done_fd, signal_fd;
	sigset_t signals, mask_before;
	struct scribe scribe;
	struct console *console;
	struct deadlines deadlines;
	uint64_t due_ns;                /* when the front wanted to wake up; 0: at no certain time */
	pid_t ready_tid;                /* the engine's thread that was ready to run at the last look, 0: none; */
	uint64_t ran_ns, looked_ns;     /* how long it had had a processor then, and when that was */
	bool had_children;              /* restore: before the engine was started */
	bool draw;                      /* standard error is a terminal */
	uint64_t drawn_ns;

	enum front_end why;             /* why the operation was cancelled */
	enum verdict verdict;
	int signo;
	struct stall_facts *facts;      /* as they were at that moment; owned, may be NULL */
	uint64_t cancel_ns, result_ns;
	bool killed;                    /* the front killed the engine */
	bool engine_gone;               /* it ended; otherwise it was given up */
	int engine_status;              /* as wait() gives it, when it ended */
	struct rollback_proof proof;
	size_t left;                    /* restored tasks that could not be ended */
	pid_t report_pid;               /* the process that writes stall-report.txt; 0 = none */
};

/* A path below the work folder (or the images folder); malloc'd, NULL when @name is NULL. */
char *front_path(const struct options *o, const char *name);

/* The operation was just cancelled: the log gets the reason, and the stall report when a limit passed. */
void front_report_cancel(struct front *f);
/* After the rollback: the error's line and the stall report; returns the exit code. */
int front_report_failure(struct front *f);
/* Waits, bounded, for the stall report's file. */
void front_report_end(struct front *f);
