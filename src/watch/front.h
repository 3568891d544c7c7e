/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/options.h"

enum front_role { FRONT_DUMP, FRONT_RESTORE, FRONT_EXPLAIN };

/* The engine's body: runs in a process of its own. Returns 0 or -errno with recorder->error raised. */
typedef int (*engine_fn)(const struct options *o, void *arg);

/*
 * Runs @engine under supervision and returns the exit code of the program (see EXIT STATUS in firn(8)).
 *
 * The front maps the recorder and writes the log's first line before anything that can block on foreign ground, then
 * forks the engine, drains its log (a scribe does: the front itself never touches a file that may hang),
 * draws progress, turns SIGINT, SIGTERM and SIGHUP and passed deadlines into a cancelled operation, writes the stall
 * report, ends an engine that does not end by itself, and proves that every target is untraced and running.
 *
 * For FRONT_EXPLAIN the engine writes its answer to recorder->answer_fd, a memory file, and the front prints it.
 *
 * For FRONT_RESTORE without --restore-detached it then waits for the restored root task (it is its sub-reaper).
 */
int front_run(enum front_role role, const struct options *o, engine_fn engine, void *arg);
