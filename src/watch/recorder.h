/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/error.h"

/*
 * The flight recorder: one shared mapping between the front and the engine (and its helper threads).
 *
 * The engine tells here what it is about to do before each step that may block, and never writes to a log file, pipe
 * or terminal itself. The front drains the log ring, draws progress and holds the deadlines. Whoever dies, the other
 * still has the last facts. Everything the engine calls here is lock-free and never blocks for long: when the log
 * ring is full, log_write() waits at most one second altogether for the front and then drops records, counted.
 */

enum stage {
	STAGE_START,
	STAGE_SEIZE,        /* dump: stop every task of the tree */
	STAGE_COLLECT,      /* dump: read facts from /proc */
	STAGE_PUPPET,       /* dump: ask the tasks what only they can tell */
	STAGE_FILES,        /* dump: descriptors and the objects behind them */
	STAGE_MEMORY,       /* dump: copy memory. restore: map and fill it */
	STAGE_IMAGES,       /* dump: write and sync the images. restore: read and check them */
	STAGE_RELEASE,      /* dump: let the tasks go or kill them. restore: let them run */
	STAGE_OBJECTS,      /* restore: create files, pipes, sockets, … */
	STAGE_TREE,         /* restore: create tasks and threads */
	STAGE_STATE,        /* restore: timers, credentials, registers, … */
	STAGE_ROLLBACK,     /* undo after an error */
	STAGE_DONE,
	STAGE_COUNT
};

const char *stage_name(enum stage s);

/* Who the step below is done to, and what it is. Written by one thread (see recorder_step), read by the front. */
struct recorder_step {
	atomic_uint sequence;       /* odd while being written */
	enum stage stage;
	pid_t pid;                  /* the task concerned; 0 = none */
	pid_t tid;                  /* the engine's thread that makes the call: its kernel state explains a stall */
	char comm[16];
	char call[48];              /* the system call or action, e.g. "statx", "ptrace(PTRACE_SEIZE)" */
	char object[512];           /* e.g. "fd 14 → /mnt/nfs/x" */
	uint64_t since_ns;          /* CLOCK_MONOTONIC when the step began */
};

/*
 * A target that the engine holds: what the front checks, and names, when the engine is gone. The table is hashed by
 * tid; tid is 0 in a free slot and negative once the target was let go, so that the front can still check it.
 */
struct recorder_target {
	_Atomic pid_t tid;
	_Atomic pid_t pid;
};

#define RECORDER_TARGETS 65536
#define RECORDER_SEGMENTS 256
#define RECORDER_RING (1u << 20)
#define RECORDER_RUNNING 1
#define RECORDER_NAMES 8
#define RECORDER_NAME_SIZE 512

struct recorder {
	/* engine → front */
	struct recorder_step step;
	atomic_uint_fast64_t progress;      /* bumped at each step and each chunk of work: the stall detector's pulse */
	atomic_uint_fast64_t tasks, tasks_total;
	atomic_uint_fast64_t threads;       /* for the line of totals */
	atomic_uint_fast64_t bytes, bytes_total;
	uint64_t frozen_ns;                 /* dump: from the first seize to the last release; 0 before */
	uint64_t wrote_bytes;               /* dump: image bytes */
	/* explain: a memory file for the answer's text, which the front prints; how many things are refused */
	int answer_fd;
	uint64_t refused;
	pid_t engine_tracer_tid;            /* gets SIGUSR1; the engine's main thread unless it says otherwise */
	atomic_int engine_result;           /* RECORDER_RUNNING until the engine returned 0 or -errno */
	_Atomic pid_t restored_root;        /* restore: the root task once it exists */
	_Atomic pid_t guard;                /* dump: the process that undoes what was done to sockets, the front's child */
	atomic_bool guard_done;
	_Atomic pid_t area_left;            /* dump: a task in which firn's area could not be unmapped; 0: none */
	atomic_bool images_complete;        /* dump: committed; a failure from now on must keep the images */
	atomic_bool restore_released;       /* restore: the tree runs and must no longer be killed */
	char names[RECORDER_NAMES][RECORDER_NAME_SIZE];     /* see recorder_name_add(); "" is free */
	struct error error;                 /* valid once the engine has ended with a code other than 0 */
	atomic_uint target_count;           /* held now */
	atomic_uint target_slots;           /* ever used: a search ends when it met so many */
	struct recorder_target targets[RECORDER_TARGETS];
	atomic_int segments[RECORDER_SEGMENTS]; /* restore: ids + 1 of System V segments made so far; 0 = free */

	/* front → engine */
	atomic_bool cancelled;              /* set once; the engine rolls back as soon as it sees it */
	atomic_bool hurry;                  /* set a second later: cuts the rolling back short, too */

	uint64_t start_ns;                  /* CLOCK_MONOTONIC; the zero of the log's times */

	/* the scribe's state, see watch/scribe.h */
	atomic_int log_errno;               /* why the log could not be opened or written; 0 = fine */
	atomic_bool log_stop;               /* the front: nobody writes any more, drain and end */

	/* the log ring: see watch/ring.h */
	atomic_uint ring_pulse;             /* futex: a record came */
	atomic_uint ring_sleep;             /* how the scribe sleeps */
	atomic_uint ring_room;              /* futex: records were taken */
	atomic_uint ring_waiters;           /* producers that wait for room */
	atomic_uint_fast64_t ring_waited_ns;    /* by all producers together */
	atomic_uint_fast64_t ring_head, ring_tail, ring_dropped;
	_Alignas(8) char ring[RECORDER_RING];
};

/* The process's recorder, mapped by recorder_init() before the engine is forked; never NULL after that. In a process
 * without one (unit tests, `firn show`) the calls below do nothing. */
extern struct recorder *recorder;

int recorder_init(void);

/* Enters a stage: logs it and makes it the first word of every later report. */
void recorder_stage(enum stage s);

/*
 * "I am about to call @call on @object for @pid." Call it before every system call that can block on something that
 * is not firn's own: it costs well under a microsecond besides formatting. @comm may be NULL. The object's text is
 * what a person reads when the call never returns.
 */
void recorder_step(pid_t pid, const char *comm, const char *call, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* A consistent copy of the current step, for the front. False without a recorder. */
bool recorder_read_step(struct recorder_step *ret);

/* Something moved: @bytes of memory or image content. */
void recorder_moved(uint64_t bytes);

/* Remembers that the engine is about to trace @tid of process @pid, and forgets it after it was let go. */
void recorder_target_add(pid_t pid, pid_t tid);
void recorder_target_remove(pid_t tid);
/* Was @tid ever added, or is it the restored root? */
bool recorder_target_known(pid_t tid);

/* Remembers a System V shared memory segment that a restore made, for a front whose engine died, and forgets it. */
void recorder_segment_add(int id);
void recorder_segment_remove(int id);

/* restore: a file or an empty directory that the engine makes for a moment only. When the engine is killed before it has
 * removed it, the front does. The worker's; best effort: what does not fit is not noted. */
void recorder_name_add(const char *path);
void recorder_name_remove(const char *path);

/*
 * Has the front asked for an end (signal, deadline, stall)? Every loop and every interrupted wait of the engine asks.
 * The front also sends the tracer thread SIGUSR1 every 100 ms until it ends, so that a blocking waitpid() or
 * futex() returns with EINTR (the handler does nothing, no SA_RESTART).
 *
 * In STAGE_ROLLBACK and STAGE_PUPPET the answer is no, so that what heals a task can wait for it as usual; it becomes yes
 * one second after the cancelling, and two seconds after it the front kills the engine: what is left to do must then be
 * quick. Between two calls in a task ask recorder_end_asked(), which is the plain truth in every stage.
 */
bool recorder_cancelled(void);
bool recorder_end_asked(void);

/* The log. Levels as CRIU counts them: 0 always, 1 error, 2 warning, 3 info, 4 debug, 5 each call in a target. */
enum log_level { LOG_MSG, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };
extern int log_verbosity;
void log_write(enum log_level level, pid_t pid, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_error(pid, ...) log_write(LOG_ERROR, pid, __VA_ARGS__)
#define log_warn(pid, ...) log_write(LOG_WARN, pid, __VA_ARGS__)
#define log_info(pid, ...) log_write(LOG_INFO, pid, __VA_ARGS__)
#define log_debug(pid, ...)                                      \
	do {                                                     \
		if (__builtin_expect(log_verbosity >= LOG_DEBUG, 0)) \
			log_write(LOG_DEBUG, pid, __VA_ARGS__);  \
	} while (0)
#define log_trace(pid, ...)                                      \
	do {                                                     \
		if (__builtin_expect(log_verbosity >= LOG_TRACE, 0)) \
			log_write(LOG_TRACE, pid, __VA_ARGS__);  \
	} while (0)

static inline uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}
