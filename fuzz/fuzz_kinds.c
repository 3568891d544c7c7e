/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* files.img and the images beside it (tty-info, sk-queues, pipes-data …), for one task whose table is fdinfo-1.img. */
#include "folder.h"

static int read_kinds(struct operation *op)
{
	struct task *t = tree_add_task(op, 1);
	struct thread *leader = t ? task_add_thread(op, t, 1) : NULL;
	CoreEntry *core = arena_alloc(&op->arena, sizeof(*core));
	TaskKobjIdsEntry *ids = arena_alloc(&op->arena, sizeof(*ids));
	char text[128];
	int r;

	PROMISED(leader && core && ids);
	core_entry__init(core);
	task_kobj_ids_entry__init(ids);
	ids->files_id = ids->vm_id = ids->fs_id = ids->sighand_id = 1;
	core->ids = ids;
	t->core = leader->core = core;
	t->state = TASK_ALIVE;
	r = files_read(op);
	for (size_t i = 0; op->files && i < op->files->n_files; i++) {
		const struct file *f = op->files->files[i];

		PROMISED(f->kind && f->entry);
		if (r == 0 && f->kind->describe)
			f->kind->describe(f->entry, text, sizeof(text));
		if (r == 0)
			touch_string(f->describe);
	}
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)folder_read(data, size, read_kinds);
	return 0;
}
