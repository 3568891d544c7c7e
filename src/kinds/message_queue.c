/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "watch/recorder.h"

/*
 * POSIX message queues (man 7 mq_overview). A queue lives in the kernel's IPC namespace until somebody removes its name,
 * with the messages in it: it stays there while the program is dumped, and the restore opens it again by its name.
 *
 * A descriptor of mq_open() lies on a mount that no namespace shows, and its path is the name that mq_open() was given. In
 * the images it is a regular file below /dev/mqueue, where its file system is mounted by custom.
 */

#define MQUEUE_MAGIC_NUMBER 0x19800202 /* MQUEUE_MAGIC of ipc/mqueue.c */
#define FOLDER "/dev/mqueue"
#define FLAGS_KEPT ((uint32_t)(O_ACCMODE | O_NONBLOCK))

static bool queue_recognise(const struct fd_facts *f)
{
	struct statfs fs;

	return f->link[0] == '/' && !f->mount && S_ISREG(f->st.st_mode) && f->fd >= 0 && fstatfs(f->fd, &fs) == 0 &&
	       fs.f_type == MQUEUE_MAGIC_NUMBER;
}

/* "QSIZE:129  NOTIFY:2  SIGNO:0  NOTIFY_PID:8260": NOTIFY says how, so NOTIFY_PID tells whether. Somebody outside of the
 * tree keeps what he asked for. */
static int check_notification(struct operation *op, const struct fd_facts *f)
{
	AUTOCLOSE int fd = reopen(f->fd, O_RDONLY); /* this one may be for writing alone */
	char text[128] = "", *found;
	const struct task *waits;

	if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return error_raise_call(op->error, fd < 0 ? -fd : errno, "read", "%s", facts_describe(op, f));
	found = strstr(text, "NOTIFY_PID:");
	waits = found ? tree_find(&op->tree, (pid_t)strtol(found + strlen("NOTIFY_PID:"), NULL, 10)) : NULL;
	if (!waits)
		return 0;
	(void)error_raise(
		op->error, EOPNOTSUPP,
		"%s: pid %d (%s) waits for a notification of this POSIX message queue (mq_notify), which firn does "
		"not carry",
		facts_describe(op, f), waits->pid, waits->comm);
	error_hint(op->error, "Let it take the notification back before the dump.");
	return -EOPNOTSUPP;
}

static int queue_check(struct operation *op, const struct fd_facts *f)
{
	if (f->st.st_nlink == 0 || strchr(f->link + 1, '/')) {
		(void)error_raise(op->error, EOPNOTSUPP,
				  "%s: a POSIX message queue without a name (mq_unlink), which firn cannot open again",
				  facts_describe(op, f));
		error_hint(op->error, "let the program close it before the dump");
		return -EOPNOTSUPP;
	}
	return check_notification(op, f);
}

static int queue_dump(struct operation *op, struct file *f)
{
	RegFileEntry *m = arena_alloc(&op->arena, sizeof(*m));

	if (!m)
		return raise_no_memory(op);
	reg_file_entry__init(m);
	m->id = f->id;
	m->flags = f->facts.info.flags & ~(uint32_t)O_CLOEXEC;
	m->name = arena_printf(&op->arena, FOLDER "%s", f->facts.link);
	m->has_mode = true;
	m->mode = f->facts.st.st_mode;
	m->has_firn_message_queue = m->firn_message_queue = true;
	if (!m->name || fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->reg = m;
	return 0;
}

static bool queue_owns(const FileEntry *entry)
{
	return entry->reg && entry->reg->firn_message_queue;
}

static int queue_decode(struct operation *op, struct file *f)
{
	const RegFileEntry *m = f->entry->reg;
	const char *name = m->name ? m->name + strlen(FOLDER "/") : NULL;

	if (m->id != f->id || !m->name || strncmp(m->name, FOLDER "/", strlen(FOLDER "/")) != 0 || !name[0] ||
	    strchr(name, '/') || strlen(name) > 255)
		return raise_damaged(op, f, "the message queue");
	f->describe = arena_printf(&op->arena, "POSIX message queue /%s", name);
	return f->describe ? 0 : raise_no_memory(op);
}

static int queue_create(struct operation *op, struct file *f)
{
	const RegFileEntry *m = f->entry->reg;

	recorder_step(0, NULL, "mq_open", "%s", f->describe);
	f->fd = (int)syscall(SYS_mq_open, m->name + strlen(FOLDER "/"), (m->flags & FLAGS_KEPT) | O_CLOEXEC, 0, NULL);
	if (f->fd < 0) {
		int number = errno;

		(void)error_raise_call(op->error, number, "mq_open", "%s", f->describe);
		if (number == ENOENT)
			error_hint(op->error,
				   "It was removed after the dump, or this is another IPC namespace or machine.");
		return -number;
	}
	return file_set_flags(op, f, m->flags);
}

static int queue_finish(struct operation *op, struct file *f)
{
	return fown_apply(op, f->fd, f->entry->reg->fown, f->describe);
}

const struct kind kind_message_queue = {
	.name = "message queue",
	.type = FD_TYPES__REG,
	.owns = queue_owns,
	.recognise = queue_recognise,
	.check = queue_check,
	.dump = queue_dump,
	.decode = queue_decode,
	.create = queue_create,
	.finish = queue_finish,
};
