/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The execution domain (man 2 personality): one number in the image for the whole task. */
#include <sys/syscall.h>

#include "aspects/common.h"

static int collect_task(struct operation *op, struct task *t)
{
	long long value;
	int r = read_proc_number(t->proc_fd, "personality", 16, &value);

	if (r < 0)
		return aspect_raise_call(op, t->threads, -r, "read", "its personality");
	t->core->tc->personality = (uint32_t)value;
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	int r = aspect_room(op, b, 1, 0);

	if (r == 0)
		batch_call(b, 0, __NR_personality, leader_of(t)->core->tc->personality);
	return r;
}

const struct aspect personality_aspect = {
	.name = "personality",
	.collect_task = collect_task,
	.apply = apply,
};
