/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole hostile folder of images, read and checked as a restore does it before it makes anything. */
#include "aspects/aspect.h"
#include "folder.h"
#include "restore/read.h"

static int read_all(struct operation *op)
{
	int r = images_read_tree(op);

	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++)
		r = aspects_decode(op, op->tree.tasks[i]);
	if (r == 0)
		r = files_read(op);
	if (r == 0)
		r = memory_read(op);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)folder_read(data, size, read_all);
	return 0;
}
