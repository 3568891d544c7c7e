/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The I/O priority of each thread (man 2 ioprio_set). The image format has no field for it but firn's own. */
#include "aspects/common.h"
#include "kernel/system.h"

static int collect_thread(struct operation *op, struct thread *t)
{
	int value = sys_ioprio_get(t->tid);

	if (value < 0)
		return aspect_raise_call(op, t, -value, "ioprio_get", "its I/O priority");
	t->core->thread_core->has_firn_io_priority = true;
	t->core->thread_core->firn_io_priority = (uint32_t)value;
	return 0;
}

static int poke(struct operation *op, struct thread *t)
{
	const ThreadCoreEntry *m = t->core->thread_core;
	int r;

	/* What follows from the nice value by itself needs no setting. */
	if (!m->has_firn_io_priority || sys_ioprio_get(t->tid) == (int)m->firn_io_priority)
		return 0;
	r = sys_ioprio_set(t->tid, (int)m->firn_io_priority);
	return r < 0 ? aspect_raise_call(op, t, -r, "ioprio_set", "I/O priority %#x", m->firn_io_priority) : 0;
}

const struct aspect io_priority_aspect = {
	.name = "I/O priority",
	.collect_thread = collect_thread,
	.poke = poke,
};
