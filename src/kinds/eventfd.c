/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kinds/common.h"
#include "kinds/registry.h"

/*
 * The counter is in fdinfo; reading it through the descriptor would take it away. eventfd-semaphore is told since Linux
 * 6.6. The image format has no field for it: the lowest bit of the flags stands for it, where an eventfd (always
 * O_RDWR) has 0, and which CRIU, whose restore sets the flags by F_SETFL, does not look at.
 */
#define FLAG_SEMAPHORE 1u

static bool eventfd_recognise(const struct fd_facts *f)
{
	return strcmp(f->link, "anon_inode:[eventfd]") == 0;
}

static int eventfd_check(struct operation *op, const struct fd_facts *f)
{
	uint64_t counter;

	if (!fdinfo_value(f, "eventfd-count", 16, &counter))
		return error_raise(op->error, EOPNOTSUPP, "%s: the kernel does not tell its counter in fdinfo",
				   facts_describe(op, f));
	return 0;
}

static int eventfd_dump(struct operation *op, struct file *f)
{
	EventfdFileEntry *m = arena_alloc(&op->arena, sizeof(*m));
	uint64_t counter = 0, semaphore = 0;

	if (!m)
		return raise_no_memory(op);
	eventfd_file_entry__init(m);
	if (!fdinfo_value(&f->facts, "eventfd-count", 16, &counter))
		return eventfd_check(op, &f->facts);
	(void)fdinfo_value(&f->facts, "eventfd-semaphore", 10, &semaphore);
	m->id = f->id;
	m->flags = (f->facts.info.flags & ~(uint32_t)O_CLOEXEC) | (semaphore ? FLAG_SEMAPHORE : 0);
	m->counter = counter;
	if (fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->efd = m;
	return 0;
}

static int eventfd_decode(struct operation *op, struct file *f)
{
	const EventfdFileEntry *m = f->entry->efd;

	if (!m || m->id != f->id || m->counter == UINT64_MAX)
		return raise_damaged(op, f, "the eventfd");
	f->describe = arena_printf(&op->arena, "eventfd, counter %llu", (unsigned long long)m->counter);
	return f->describe ? 0 : raise_no_memory(op);
}

static int eventfd_create(struct operation *op, struct file *f)
{
	const EventfdFileEntry *m = f->entry->efd;
	int semaphore = (m->flags & O_ACCMODE) == (O_RDWR | FLAG_SEMAPHORE) ? EFD_SEMAPHORE : 0;

	f->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | semaphore);
	if (f->fd < 0)
		return error_raise_call(op->error, errno, "eventfd", "%s", f->describe);
	/* The call takes 32 bits only; the rest of the counter is written (it cannot block: it was 0). */
	if (m->counter != 0 && write(f->fd, &m->counter, sizeof(m->counter)) != sizeof(m->counter))
		return error_raise_call(op->error, errno, "write", "%s", f->describe);
	return file_set_flags(op, f, m->flags);
}

static int eventfd_finish(struct operation *op, struct file *f)
{
	return fown_apply(op, f->fd, f->entry->efd->fown, f->describe);
}

static void eventfd_describe(const FileEntry *entry, char *buf, size_t size)
{
	if (entry->efd)
		(void)snprintf(buf, size, "eventfd, counter %llu", (unsigned long long)entry->efd->counter);
}

const struct kind kind_eventfd = {
	.name = "eventfd",
	.type = FD_TYPES__EVENTFD,
	.recognise = eventfd_recognise,
	.check = eventfd_check,
	.dump = eventfd_dump,
	.decode = eventfd_decode,
	.create = eventfd_create,
	.finish = eventfd_finish,
	.describe = eventfd_describe,
};
