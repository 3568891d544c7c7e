/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Resource limits (man 2 getrlimit). They are read from /proc/PID/limits: prlimit(2) on a task of another user needs
 * CAP_SYS_RESOURCE. Without it a hard limit cannot be raised either; then the restored task gets what firn itself may
 * give, and the log says so.
 */
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "aspects/common.h"
#include "kernel/features.h"
#include "watch/recorder.h"

#define N_LIMITS 16

static int collect_task(struct operation *op, struct task *t)
{
	RlimitEntry **list = arena_array(&op->arena, N_LIMITS, sizeof(*list));
	RlimitEntry *m = arena_array(&op->arena, N_LIMITS, sizeof(*m));
	struct proc_limits limits;
	int r = read_proc_limits(t->proc_fd, &limits);

	if (r < 0)
		return aspect_raise_call(op, t->threads, -r, "read", "its limits");
	if (!list || !m)
		return aspect_no_memory(op, t->threads);
	for (size_t i = 0; i < N_LIMITS; i++) {
		rlimit_entry__init(&m[i]);
		m[i].cur = limits.soft[i];
		m[i].max = limits.hard[i];
		list[i] = &m[i];
	}
	t->core->tc->rlimits->rlimits = list;
	t->core->tc->rlimits->n_rlimits = N_LIMITS;
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	const TaskRlimitsEntry *m = is_leader(t) ? t->core->tc->rlimits : NULL;

	if (!m)
		return 0;
	if (m->n_rlimits > N_LIMITS)
		return aspect_damaged(op, t, "%zu resource limits", m->n_rlimits);
	for (size_t i = 0; i < m->n_rlimits; i++)
		if (m->rlimits[i]->cur > m->rlimits[i]->max)
			return aspect_damaged(op, t, "resource limit %zu is above its maximum", i);
	return 0;
}

/* The puppets inherited firn's own limits. */
static struct rlimit reachable(struct operation *op, const struct thread *t, size_t resource, const RlimitEntry *m)
{
	struct rlimit want = { m->cur, m->max }, own;

	if (features_capable(op->features, CAP_SYS_RESOURCE) || getrlimit((int)resource, &own) < 0 || want.rlim_max <= own.rlim_max)
		return want;
	log_warn(t->task->pid, "resource limit %zu stays at %llu instead of %llu: firn has no CAP_SYS_RESOURCE", resource,
		 (unsigned long long)own.rlim_max, (unsigned long long)want.rlim_max);
	want.rlim_max = own.rlim_max;
	if (want.rlim_cur > want.rlim_max)
		want.rlim_cur = want.rlim_max;
	return want;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const TaskRlimitsEntry *m = is_leader(t) ? t->core->tc->rlimits : NULL;
	int r = aspect_room(op, b, N_LIMITS, N_LIMITS * sizeof(struct rlimit));

	for (size_t i = 0; m && i < m->n_rlimits && r == 0; i++) {
		struct rlimit limit = reachable(op, t, i, m->rlimits[i]);

		batch_call(b, 0, __NR_prlimit64, 0, i, batch_data(b, &limit, sizeof(limit)), 0);
	}
	return r;
}

const struct aspect rlimits_aspect = {
	.name = "resource limits",
	.collect_task = collect_task,
	.decode = decode,
	.apply = apply,
};
