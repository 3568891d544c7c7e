/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>

#include "aspects/aspect.h"

/* What the files of this folder share. */

static inline bool is_leader(const struct thread *t)
{
	return t == t->task->threads;
}

static inline struct thread *leader_of(const struct thread *t)
{
	return t->task->threads;
}

/* Raises EINVAL: "core-7.img: <sentence>". */
#define aspect_damaged(op, t, fmt, ...) \
	error_raise((op)->error, EINVAL, "core-%d.img: " fmt, (t)->tid __VA_OPT__(, ) __VA_ARGS__)
/* Raises @number: "pid 7 (comm), thread 8: <sentence>: CALL: reason". */
#define aspect_raise_call(op, t, number, call, fmt, ...)                                                     \
	error_raise_call((op)->error, (number), (call), "pid %d (%s), thread %d: " fmt, (t)->task->pid,      \
			 (t)->task->comm, (t)->tid __VA_OPT__(, ) __VA_ARGS__)
/* Raises EOPNOTSUPP: "pid 7 (comm), thread 8 <sentence>". */
#define aspect_refuse(op, t, fmt, ...)                                                                       \
	error_raise((op)->error, EOPNOTSUPP, "pid %d (%s), thread %d " fmt, (t)->task->pid, (t)->task->comm, \
		    (t)->tid __VA_OPT__(, ) __VA_ARGS__)
#define aspect_no_memory(op, t) \
	error_raise((op)->error, ENOMEM, "pid %d (%s): no memory", (t)->task->pid, (t)->task->comm)

/* restore: runs and resets the batch when it has no room for @calls calls and @bytes bytes more. */
int aspect_room(struct operation *op, struct batch *b, size_t calls, size_t bytes);

/* restore: the puppets of a task must not stop by a signal that the image has pending: it would be taken for theirs. */
void signal_queues_choose_park(struct task *t);

extern const struct aspect unsupported_aspect, signal_actions_aspect, signal_queues_aspect, alternate_stack_aspect,
	interval_timers_aspect, posix_timers_aspect, membarrier_aspect, robust_list_aspect, clear_child_tid_aspect,
	rseq_aspect, comm_aspect, personality_aspect, huge_pages_aspect, timer_slack_aspect, subreaper_aspect,
	loginuid_aspect, rlimits_aspect, credentials_aspect, parent_death_aspect, dumpable_aspect, scheduling_aspect,
	io_priority_aspect, oom_score_aspect, file_locks_aspect, coredump_filter_aspect, affinity_aspect,
	seccomp_aspect, tsc_aspect, memory_settings_aspect, thread_settings_aspect, autogroup_aspect;
