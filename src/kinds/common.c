/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kinds/common.h"
#include "watch/recorder.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17 /* needs CONFIG_CHECKPOINT_RESTORE */
#endif

/* What F_SETFL can change (man 2 fcntl); the access mode and the creation flags are fixed by open. */
#define SETTABLE_FLAGS (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)

const char *facts_describe(struct operation *op, const struct fd_facts *f)
{
	const char *text;

	if (f->task)
		text = arena_printf(&op->arena, "pid %d (%s), %s → %s", f->task->pid, f->task->comm, f->what, f->link);
	else
		text = arena_printf(&op->arena, "%s → %s", f->what, f->link);
	return text ? text : "a descriptor";
}

int fown_fill(struct fd_facts *f, FownEntry **ret, struct arena *a)
{
	FownEntry *m = arena_alloc(a, sizeof(*m));
	struct f_owner_ex owner = { 0 };
	uid_t uids[2] = { 0 };
	int signum;

	if (!m)
		return -ENOMEM;
	fown_entry__init(m);
	*ret = m;
	/* An O_PATH descriptor has none of this: fcntl() answers EBADF (man 2 open). */
	if (f->fd < 0 || (f->info.flags & O_PATH))
		return 0;
	signum = fcntl(f->fd, F_GETSIG);
	if (signum > 0)
		m->signum = (uint32_t)signum;
	if (fcntl(f->fd, F_GETOWN_EX, &owner) < 0 || owner.pid == 0)
		return 0;
	m->pid_type = (uint32_t)owner.type;
	m->pid = (uint32_t)owner.pid;
	if (fcntl(f->fd, F_GETOWNER_UIDS, uids) == 0) {
		m->uid = uids[0];
		m->euid = uids[1];
	}
	return 0;
}

/*
 * The kernel remembers the caller's real and effective uid with the owner and checks them when it sends SIGIO. The
 * raw system call changes this thread's ids alone (the C library would change every thread's); the saved id stays 0,
 * so the way back is open and the permitted capabilities survive.
 */
static int set_owner_as(int fd, const struct f_owner_ex *owner, uid_t uid, uid_t euid)
{
	int r = 0;

	if (syscall(SYS_setresuid, uid, euid, -1) < 0)
		return -errno;
	if (fcntl(fd, F_SETOWN_EX, owner) < 0)
		r = -errno;
	if (syscall(SYS_setresuid, 0, 0, -1) < 0 && r == 0)
		r = -errno;
	return r;
}

int fown_apply(struct operation *op, int fd, const FownEntry *m, const char *describe)
{
	struct f_owner_ex owner;
	int r;

	if (!m || (m->pid == 0 && m->signum == 0))
		return 0;
	if (m->signum > 64 || m->pid_type > F_OWNER_PGRP || m->pid > INT32_MAX)
		return error_raise(op->error, EINVAL, "%s: damaged owner for SIGIO in the image", describe);
	if (m->signum != 0 && fcntl(fd, F_SETSIG, (int)m->signum) < 0)
		return error_raise_call(op->error, errno, "fcntl(F_SETSIG)", "%s", describe);
	if (m->pid == 0)
		return 0;
	owner.type = (int)m->pid_type;
	owner.pid = (pid_t)m->pid;
	if (m->uid != 0 || m->euid != 0)
		r = set_owner_as(fd, &owner, m->uid, m->euid);
	else
		r = fcntl(fd, F_SETOWN_EX, &owner) < 0 ? -errno : 0;
	if (r == -ESRCH) {
		log_warn(owner.pid, "%s: its owner for SIGIO, %u, is not part of the tree; left without one", describe,
			 m->pid);
		return 0;
	}
	if (r < 0)
		return error_raise_call(op->error, -r, "fcntl(F_SETOWN_EX)", "%s", describe);
	return 0;
}

int file_set_flags(struct operation *op, struct file *f, uint32_t flags)
{
	int now;

	f->async = (flags & O_ASYNC) && !(flags & O_PATH);
	if (f->opened_as_wanted)
		return 0;
	now = fcntl(f->fd, F_GETFL);
	if (now < 0)
		return error_raise_call(op->error, errno, "fcntl(F_GETFL)", "%s", f->describe);
	if ((now & SETTABLE_FLAGS) == ((int)flags & SETTABLE_FLAGS))
		return 0;
	if (fcntl(f->fd, F_SETFL, (int)flags & SETTABLE_FLAGS) < 0)
		return error_raise_call(op->error, errno, "fcntl(F_SETFL)", "%s", f->describe);
	return 0;
}

bool fdinfo_value(const struct fd_facts *f, const char *key, int base, uint64_t *ret)
{
	size_t len = strlen(key);
	const char *p = f->info.rest;

	while (p && *p) {
		if (strncmp(p, key, len) == 0 && p[len] == ':') {
			char *end;
			unsigned long long v;

			errno = 0;
			v = strtoull(p + len + 1, &end, base);
			if (errno || end == p + len + 1)
				return false;
			*ret = v;
			return true;
		}
		p = strchr(p, '\n');
		if (p)
			p++;
	}
	return false;
}

int reopen(int fd, int flags)
{
	char path[32];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, flags | O_CLOEXEC | O_NOCTTY);
	return r < 0 ? -errno : r;
}
