/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kinds/common.h"
#include "kinds/registry.h"

/*
 * A signalfd is a mask and nothing else: a read takes the signals that wait for the task that reads, so the queues come
 * back with the tasks. An epoll that watches one hangs on the signals of the task that added it: kinds/epoll_restore.c.
 */

static bool signalfd_recognise(const struct fd_facts *f)
{
	return strcmp(f->link, "anon_inode:[signalfd]") == 0;
}

static int signalfd_check(struct operation *op, const struct fd_facts *f)
{
	uint64_t mask;

	if (parse_fdinfo_signalfd(f->info.rest, &mask) < 0)
		return error_raise(op->error, EOPNOTSUPP, "%s: the kernel does not tell its mask in fdinfo",
				   facts_describe(op, f));
	return 0;
}

static int signalfd_dump(struct operation *op, struct file *f)
{
	SignalfdEntry *m = arena_alloc(&op->arena, sizeof(*m));
	int r;

	if (!m)
		return raise_no_memory(op);
	signalfd_entry__init(m);
	r = signalfd_check(op, &f->facts);
	if (r < 0)
		return r;
	(void)parse_fdinfo_signalfd(f->facts.info.rest, &m->sigmask);
	m->id = f->id;
	m->flags = f->facts.info.flags & ~(uint32_t)O_CLOEXEC;
	if (fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->sgfd = m;
	return 0;
}

static int signalfd_decode(struct operation *op, struct file *f)
{
	const SignalfdEntry *m = f->entry->sgfd;

	if (!m || m->id != f->id)
		return raise_damaged(op, f, "the signalfd");
	f->describe = arena_printf(&op->arena, "signalfd, mask %016llx", (unsigned long long)m->sigmask);
	return f->describe ? 0 : raise_no_memory(op);
}

static int signalfd_create(struct operation *op, struct file *f)
{
	const SignalfdEntry *m = f->entry->sgfd;
	uint64_t mask = m->sigmask; /* as the kernel lays it out; the C library's set is longer */

	f->fd = (int)syscall(SYS_signalfd4, -1, &mask, sizeof(mask), SFD_CLOEXEC | SFD_NONBLOCK);
	if (f->fd < 0)
		return error_raise_call(op->error, errno, "signalfd", "%s", f->describe);
	return file_set_flags(op, f, m->flags);
}

static int signalfd_finish(struct operation *op, struct file *f)
{
	return fown_apply(op, f->fd, f->entry->sgfd->fown, f->describe);
}

static void signalfd_describe(const FileEntry *entry, char *buf, size_t size)
{
	if (entry->sgfd)
		(void)snprintf(buf, size, "signalfd, mask %016llx", (unsigned long long)entry->sgfd->sigmask);
}

const struct kind kind_signalfd = {
	.name = "signalfd",
	.type = FD_TYPES__SIGNALFD,
	.recognise = signalfd_recognise,
	.check = signalfd_check,
	.dump = signalfd_dump,
	.decode = signalfd_decode,
	.create = signalfd_create,
	.finish = signalfd_finish,
	.describe = signalfd_describe,
};
