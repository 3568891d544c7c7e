/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <sys/sysmacros.h>

#include "kinds/kind.h"

/* Small helps for the kinds. */

static inline int raise_no_memory(struct operation *op)
{
	return error_raise(op->error, ENOMEM, "out of memory");
}

/* "files.img: file 7: the eventfd is missing or damaged" */
static inline int raise_damaged(struct operation *op, const struct file *f, const char *what)
{
	return error_raise(op->error, EINVAL, "files.img: file %u: %s is missing or damaged", f->id, what);
}

/* open("/proc/self/fd/@fd", @flags): a new open file of the same object, whatever became of its name. -errno, not raised.
 * Never blocks but for what the file system itself does; not for sockets. */
int reopen(int fd, int flags);

/* As the kernel has it inside, and as CRIU writes it: 12 bits and 20 bits. */
static inline uint32_t kernel_dev(dev_t dev)
{
	return (major(dev) << 20) | (minor(dev) & 0xfffff);
}
