/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/system.h"
#include "kinds/common.h"
#include "kinds/dead.h"
#include "kinds/registry.h"
#include "tree/tree.h"
#include "watch/recorder.h"

/*
 * A pidfd stands for a task: fdinfo tells its pid, or -1 once it was reaped. That of a living task is opened when the
 * task exists again; for a dead one a helper lives and dies once more (restore/grow.c). Since Linux 6.15 a pidfd tells
 * the exit code even then; the image has a field of firn's own for it.
 */

/* PIDFD_THREAD (Linux 6.9) is O_EXCL and stays in the open flags; PIDFD_NONBLOCK is O_NONBLOCK. */
#define PIDFD_OPEN_FLAGS (O_EXCL | O_NONBLOCK)

/* linux/pidfd.h of Linux 6.15; PIDFD_GET_INFO since 6.13. */
struct info {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid, ids[8];
	int32_t exit_code;
};
#define INFO_EXIT (1ull << 3)
#define GET_INFO _IOWR(0xFF, 11, struct info)
/* The ioctl's size is part of its number in user space, and the kernel takes any of at least 64 bytes. */
_Static_assert(sizeof(struct info) == 64, "struct pidfd_info, first version");

static bool pidfd_recognise(const struct fd_facts *f)
{
	return strcmp(f->link, "anon_inode:[pidfd]") == 0 || strncmp(f->link, "pidfd:", 6) == 0;
}

static bool in_tree(const struct operation *op, pid_t pid, bool thread)
{
	if (!thread)
		return tree_find(&op->tree, pid);
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *t = op->tree.tasks[i];

		if (t->pid == pid)
			return true;
		for (size_t k = 0; k < t->n_threads; k++) {
			if (t->threads[k].tid == pid)
				return true;
		}
	}
	return false;
}

static int pidfd_check(struct operation *op, const struct fd_facts *f)
{
	pid_t pid;

	if (parse_fdinfo_pidfd(f->info.rest, &pid) < 0)
		return error_raise(op->error, EOPNOTSUPP, "%s: the kernel does not tell in fdinfo whose pidfd it is",
				   facts_describe(op, f));
	if (pid == -1 || (pid > 0 && in_tree(op, pid, f->info.flags & O_EXCL)))
		return 0;
	/* The tree may have grown, or the task ended, since it was looked over. */
	if (pid > 0 && f->fd >= 0 && sys_pidfd_send_signal(f->fd, 0, NULL) == -ESRCH)
		return 0;
	(void)error_raise(op->error, EOPNOTSUPP, "%s: a pidfd of task %d, which is not part of the tree",
			  facts_describe(op, f), (int)pid);
	error_hint(op->error, "let the program close it before the dump, or dump a tree that has the task in it");
	return -EOPNOTSUPP;
}

static int32_t exit_code_of(const struct fd_facts *f)
{
	struct info info = { .mask = INFO_EXIT };

	return ioctl(f->fd, GET_INFO, &info) == 0 && (info.mask & INFO_EXIT) ? info.exit_code : 0;
}

static int pidfd_dump(struct operation *op, struct file *f)
{
	PidfdEntry *m = arena_alloc(&op->arena, sizeof(*m));
	pid_t pid;

	if (!m)
		return raise_no_memory(op);
	if (parse_fdinfo_pidfd(f->facts.info.rest, &pid) < 0)
		return pidfd_check(op, &f->facts);
	pidfd_entry__init(m);
	m->id = f->id;
	m->ino = (uint32_t)f->facts.st.st_ino;
	/* As pidfd_open() takes them. */
	m->flags = f->facts.info.flags & ~(uint32_t)(O_CLOEXEC | O_ACCMODE);
	m->nspid = pid;
	if (pid == -1) {
		m->firn_exit_code = exit_code_of(&f->facts);
		m->has_firn_exit_code = m->firn_exit_code != 0;
	}
	if (fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->pidfd = m;
	return 0;
}

/* ---- restore ---- */

static int pidfd_decode(struct operation *op, struct file *f)
{
	const PidfdEntry *m = f->entry->pidfd;
	struct dead_task *dead;

	if (!m || m->id != f->id || m->nspid < -1 || m->nspid == 0)
		return raise_damaged(op, f, "the pidfd");
	if (m->nspid > 0 && !in_tree(op, m->nspid, m->flags & O_EXCL))
		return error_raise(op->error, EINVAL,
				   "files.img: file %u: a pidfd of task %d, which is not in the images", f->id,
				   m->nspid);
	f->describe = m->nspid > 0 ? arena_printf(&op->arena, "pidfd of task %d", m->nspid) : "pidfd of a dead task";
	if (!f->describe)
		return raise_no_memory(op);
	if (m->nspid > 0)
		return 0;
	dead = dead_task_of(op, 0, m->ino);
	if (!dead)
		return -ENOMEM;
	dead->exit_code = m->firn_exit_code;
	f->state = dead;
	return 0;
}

static int pidfd_appear(struct operation *op, struct file *f)
{
	const PidfdEntry *m = f->entry->pidfd;
	const struct dead_task *dead = f->state;
	pid_t pid = dead ? dead->helper->pid : m->nspid;

	f->fd = sys_pidfd_open(pid, m->flags & PIDFD_OPEN_FLAGS);
	if (f->fd < 0)
		return error_raise_call(op->error, -f->fd, "pidfd_open", "%s", f->describe);
	return file_set_flags(op, f, m->flags);
}

static int pidfd_finish(struct operation *op, struct file *f)
{
	return fown_apply(op, f->fd, f->entry->pidfd->fown, f->describe);
}

static void pidfd_describe(const FileEntry *entry, char *buf, size_t size)
{
	const PidfdEntry *m = entry->pidfd;

	if (m && m->nspid > 0)
		(void)snprintf(buf, size, "pidfd of task %d", m->nspid);
	else if (m)
		(void)snprintf(buf, size, "pidfd of a dead task");
}

const struct kind kind_pidfd = {
	.name = "pidfd",
	.type = FD_TYPES__PIDFD,
	.recognise = pidfd_recognise,
	.check = pidfd_check,
	.dump = pidfd_dump,
	.decode = pidfd_decode,
	.appear = pidfd_appear,
	.finish = pidfd_finish,
	.describe = pidfd_describe,
};
