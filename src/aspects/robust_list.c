/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The head of the list of robust futexes (man 2 get_robust_list) of each thread. */
#include <linux/futex.h>
#include <sys/syscall.h>

#include "aspects/common.h"
#include "kernel/system.h"
#include "watch/recorder.h"

static int collect_thread(struct operation *op, struct thread *t)
{
	uint64_t head;
	size_t size;
	int r;

	recorder_step(t->task->pid, t->task->comm, "get_robust_list", "thread %d", t->tid);
	r = sys_get_robust_list(t->tid, &head, &size);
	if (r < 0)
		return aspect_raise_call(op, t, -r, "get_robust_list", "robust futexes");
	t->core->thread_core->futex_rla = head;
	t->core->thread_core->futex_rla_len = (uint32_t)size;
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	const ThreadCoreEntry *m = t->core->thread_core;

	if (m->futex_rla && m->futex_rla_len != sizeof(struct robust_list_head))
		return aspect_damaged(op, t, "a robust futex list head of %u bytes", m->futex_rla_len);
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const ThreadCoreEntry *m = t->core->thread_core;
	int r = aspect_room(op, b, 1, 0);

	if (r == 0 && m->futex_rla)
		batch_call(b, 0, __NR_set_robust_list, m->futex_rla, m->futex_rla_len);
	return r;
}

const struct aspect robust_list_aspect = {
	.name = "robust futexes",
	.collect_thread = collect_thread,
	.decode = decode,
	.apply = apply,
};
