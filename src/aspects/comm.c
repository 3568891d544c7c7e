/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The name of each thread (man 2 PR_SET_NAME). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"
#include "base/cleanup.h"

static int collect_thread(struct operation *op, struct thread *t)
{
	AUTOFREE char *text = NULL;
	size_t len;
	char *name;
	int r = procfs_read(t->proc_fd, "comm", 64, &text, &len);

	if (r < 0)
		return aspect_raise_call(op, t, -r, "read", "its name");
	if (len > 0 && text[len - 1] == '\n')
		text[len - 1] = '\0';
	name = arena_strdup(&op->arena, text);
	if (!name)
		return aspect_no_memory(op, t);
	t->core->thread_core->comm = name;
	if (is_leader(t))
		t->core->tc->comm = name;
	return 0;
}

static const char *name_of(const struct thread *t)
{
	if (t->core->thread_core->comm)
		return t->core->thread_core->comm;
	return t->core->tc ? t->core->tc->comm : NULL;
}

static int decode(struct operation *op, struct thread *t)
{
	const char *name = name_of(t);

	if (name && strlen(name) > 15)
		return aspect_damaged(op, t, "a name of more than 15 bytes");
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const char *name = name_of(t);
	int r = aspect_room(op, b, 1, 16);

	if (r == 0 && name)
		batch_call(b, 0, __NR_prctl, PR_SET_NAME, batch_string(b, name));
	return r;
}

const struct aspect comm_aspect = {
	.name = "name",
	.collect_thread = collect_thread,
	.decode = decode,
	.apply = apply,
};
