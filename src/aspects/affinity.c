/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The CPUs that a thread may run on (man 2 sched_setaffinity). Said in the image only when they are not all: a machine with
 * more of them shall use them. Where they are not there, the thread keeps those of firn.
 */
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "aspects/common.h"
#include "watch/recorder.h"

#define MASK_BYTES 1024 /* 8192 CPUs, the most that a kernel is built for */

static size_t count(const uint8_t *mask, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += (size_t)__builtin_popcount(mask[i]);
	return n;
}

static int collect_thread(struct operation *op, struct thread *t)
{
	ThreadCoreEntry *m = t->core->thread_core;
	_Alignas(cpu_set_t) uint8_t mask[MASK_BYTES] = { 0 };
	long all = sysconf(_SC_NPROCESSORS_CONF);
	size_t len = sizeof(mask);

	if (sched_getaffinity(t->tid, sizeof(mask), (cpu_set_t *)mask) < 0)
		return aspect_raise_call(op, t, errno, "sched_getaffinity", "its CPUs");
	if (all > 0 && count(mask, sizeof(mask)) >= (size_t)all)
		return 0;
	while (len > 8 && mask[len - 1] == 0)
		len--;
	m->has_firn_allowed_cpus = true;
	m->firn_allowed_cpus.len = len;
	m->firn_allowed_cpus.data = arena_memdup(&op->arena, mask, len);
	return m->firn_allowed_cpus.data ? 0 : aspect_no_memory(op, t);
}

static int decode(struct operation *op, struct thread *t)
{
	const ThreadCoreEntry *m = t->core->thread_core;

	if (m->has_firn_allowed_cpus && m->firn_allowed_cpus.len > MASK_BYTES)
		return aspect_damaged(op, t, "a set of CPUs of %zu bytes", m->firn_allowed_cpus.len);
	return 0;
}

static int poke(struct operation *op, struct thread *t)
{
	const ThreadCoreEntry *m = t->core->thread_core;
	_Alignas(cpu_set_t) uint8_t mask[MASK_BYTES] = { 0 };

	(void)op;
	if (!m->has_firn_allowed_cpus)
		return 0;
	memcpy(mask, m->firn_allowed_cpus.data, m->firn_allowed_cpus.len);
	recorder_step(t->task->pid, t->task->comm, "sched_setaffinity", "thread %d", t->tid);
	if (sched_setaffinity(t->tid, sizeof(mask), (const cpu_set_t *)mask) < 0)
		log_warn(t->task->pid, "thread %d cannot be kept to its CPUs: %s", t->tid, strerror(errno));
	return 0;
}

const struct aspect affinity_aspect = {
	.name = "CPUs",
	.collect_thread = collect_thread,
	.decode = decode,
	.poke = poke,
};
