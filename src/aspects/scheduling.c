/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Policy, priority and nice value of each thread (man 7 sched). The nice value of a thread that is not scheduled by it
 * (SCHED_FIFO, SCHED_RR, SCHED_IDLE) is kept for the day it is: sched_getattr() tells it for SCHED_IDLE alone, and
 * sched_setattr() sets it for none of the three (kernel/sched/syscalls.c, __setparam_fair()).
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>

#include "aspects/common.h"
#include "kernel/system.h"
#include "watch/recorder.h"

#define POLICY_DEADLINE 6
#define POLICY_EXT 7
#define RESET_ON_FORK 1u                 /* SCHED_FLAG_RESET_ON_FORK */
#define RECLAIM 2u                       /* SCHED_FLAG_RECLAIM */
#define DL_OVERRUN 4u                    /* SCHED_FLAG_DL_OVERRUN */

static bool is_real_time(uint32_t policy)
{
	return policy == SCHED_FIFO || policy == SCHED_RR;
}

/* -1 is a nice value as well as a failure. */
static int read_nice(pid_t tid, int *ret)
{
	int value;

	errno = 0;
	value = getpriority(PRIO_PROCESS, (id_t)tid);
	if (value == -1 && errno)
		return -errno;
	*ret = value;
	return 0;
}

static uint64_t flags_of(uint32_t policy)
{
	return policy == POLICY_DEADLINE ? RESET_ON_FORK | RECLAIM | DL_OVERRUN : RESET_ON_FORK;
}

/* Since Linux 6.12 a thread of a fair policy may ask for a slice. One that did not has the scheduler's, as firn has. */
static bool asks_for_slice(const struct system_sched_attr *attr)
{
	struct system_sched_attr own;

	return (attr->policy == SCHED_OTHER || attr->policy == SCHED_BATCH) && attr->runtime != 0 &&
	       sys_sched_getattr(0, &own) == 0 && own.policy == SCHED_OTHER && own.runtime != attr->runtime;
}

static int collect_thread(struct operation *op, struct thread *t)
{
	ThreadCoreEntry *m = t->core->thread_core;
	struct system_sched_attr attr;
	int nice, r = sys_sched_getattr(t->tid, &attr);

	if (r < 0)
		return aspect_raise_call(op, t, -r, "sched_getattr", "its scheduling");
	nice = attr.nice;
	r = is_real_time(attr.policy) ? read_nice(t->tid, &nice) : 0;
	if (r < 0)
		return aspect_raise_call(op, t, -r, "getpriority", "its nice value");
	m->has_sched_nice = m->has_sched_policy = true;
	m->sched_nice = nice;
	m->sched_policy = attr.policy;
	m->has_sched_prio = attr.priority != 0;
	m->sched_prio = attr.priority;
	m->firn_sched_flags = attr.flags & flags_of(attr.policy);
	m->has_firn_sched_flags = m->firn_sched_flags != 0;
	if (attr.policy == POLICY_DEADLINE) {
		m->has_firn_sched_deadline = m->has_firn_sched_period = true;
		m->firn_sched_deadline = attr.deadline;
		m->firn_sched_period = attr.period;
	}
	if (attr.policy == POLICY_DEADLINE || asks_for_slice(&attr)) {
		m->has_firn_sched_runtime = true;
		m->firn_sched_runtime = attr.runtime;
	}
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	const ThreadCoreEntry *m = t->core->thread_core;

	if (m->sched_policy == POLICY_DEADLINE && (!m->firn_sched_runtime || !m->firn_sched_deadline))
		return aspect_damaged(op, t, "a deadline policy without a deadline");
	if (m->sched_policy > POLICY_EXT || m->sched_prio > 99 || m->sched_nice < -20 ||
	    m->sched_nice > 19 || (m->sched_prio != 0) != is_real_time(m->sched_policy))
		return aspect_damaged(op, t, "scheduling policy %u, priority %u, nice %d", m->sched_policy, m->sched_prio,
				      m->sched_nice);
	return 0;
}

/* Where sched_setattr() leaves the nice value alone. */
static int set_nice(struct operation *op, struct thread *t, int wanted)
{
	int now, r = read_nice(t->tid, &now);

	if (r == 0 && now == wanted)
		return 0;
	if (r == 0 && setpriority(PRIO_PROCESS, (id_t)t->tid, wanted) < 0)
		r = -errno;
	return r < 0 ? aspect_raise_call(op, t, -r, "setpriority", "nice %d", wanted) : 0;
}

static int poke(struct operation *op, struct thread *t)
{
	const ThreadCoreEntry *m = t->core->thread_core;
	struct system_sched_attr attr = {
		.size = sizeof(attr),
		.policy = m->sched_policy,
		.priority = m->sched_prio,
		.nice = m->sched_nice,
		.flags = m->firn_sched_flags & flags_of(m->sched_policy),
		.runtime = m->firn_sched_runtime,
		.deadline = m->firn_sched_deadline,
		.period = m->firn_sched_period,
	};
	int r;

	if (!m->has_sched_policy)
		return 0;
	recorder_step(t->task->pid, t->task->comm, "sched_setattr", "thread %d", t->tid);
	r = sys_sched_setattr(t->tid, &attr);
	if (r < 0) {
		(void)aspect_raise_call(op, t, -r, "sched_setattr", "policy %u, priority %u, nice %d", attr.policy, attr.priority,
					attr.nice);
		error_hint(op->error, m->sched_policy == POLICY_DEADLINE ?
					      "A deadline needs CAP_SYS_NICE, processor time that others have not reserved, and that all "
					      "processors are allowed." :
					      "A higher priority than firn's own needs CAP_SYS_NICE.");
	}
	if (r == 0 && (is_real_time(attr.policy) || attr.policy == SCHED_IDLE))
		r = set_nice(op, t, m->sched_nice);
	return r;
}

const struct aspect scheduling_aspect = {
	.name = "scheduling",
	.collect_thread = collect_thread,
	.decode = decode,
	.poke = poke,
};
