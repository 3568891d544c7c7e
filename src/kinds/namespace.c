/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "watch/recorder.h"

/*
 * Files of namespaces ("net:[4026531833]"), as /proc/PID/ns/net gives them. Those that the tree is in are carried (all but
 * that of time are firn's too); a namespace that only a descriptor keeps alive is refused. The image has the id that the
 * tasks have in ids-PID.img and the flag that clone() would take. One that is bind-mounted and opened by that path is a
 * file like any other (regular.c).
 */

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static const struct {
	const char *name;
	uint32_t cflag;
} sorts[] = {
	{ "net", CLONE_NEWNET }, { "mnt", CLONE_NEWNS },    { "pid", CLONE_NEWPID },	   { "ipc", CLONE_NEWIPC },
	{ "uts", CLONE_NEWUTS }, { "user", CLONE_NEWUSER }, { "cgroup", CLONE_NEWCGROUP }, { "time", CLONE_NEWTIME },
};

static uint32_t id_in(const TaskKobjIdsEntry *ids, uint32_t cflag)
{
	switch (cflag) {
	case CLONE_NEWNET:
		return ids->net_ns_id;
	case CLONE_NEWNS:
		return ids->mnt_ns_id;
	case CLONE_NEWPID:
		return ids->pid_ns_id;
	case CLONE_NEWIPC:
		return ids->ipc_ns_id;
	case CLONE_NEWUTS:
		return ids->uts_ns_id;
	case CLONE_NEWUSER:
		return ids->user_ns_id;
	case CLONE_NEWCGROUP:
		return ids->cgroup_ns_id;
	default:
		return ids->time_ns_id;
	}
}

/* Index into sorts, or -1. */
static int sort_of(const char *link)
{
	for (size_t i = 0; i < ARRAY_SIZE(sorts); i++) {
		size_t len = strlen(sorts[i].name);

		if (strncmp(link, sorts[i].name, len) == 0 && strncmp(link + len, ":[", 2) == 0)
			return (int)i;
	}
	return -1;
}

static bool namespace_recognise(const struct fd_facts *f)
{
	return sort_of(f->link) >= 0;
}

static int namespace_check(struct operation *op, const struct fd_facts *f)
{
	AUTOCLOSE int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int sort = sort_of(f->link);
	char name[32], *own;
	int r;

	(void)snprintf(name, sizeof(name), "ns/%s", sorts[sort].name);
	if (sorts[sort].cflag == CLONE_NEWTIME && op->clocks.link && strcmp(op->clocks.link, f->link) == 0)
		return 0;
	r = self < 0 ? -errno : read_proc_link(self, name, &op->arena, &own);
	if (r < 0)
		return error_raise_call(op->error, -r, "readlink", "/proc/self/%s", name);
	if (strcmp(own, f->link) == 0 && !(sorts[sort].cflag == CLONE_NEWTIME && op->clocks.own))
		return 0;
	(void)error_raise(op->error, EOPNOTSUPP, "%s: a namespace file of another namespace than firn's and the tree's",
			  facts_describe(op, f));
	error_hint(op->error, "let the program close it before the dump");
	return -EOPNOTSUPP;
}

static int namespace_dump(struct operation *op, struct file *f)
{
	NsFileEntry *m = arena_alloc(&op->arena, sizeof(*m));
	const struct task *root = op->tree.tasks[0];

	if (!m)
		return raise_no_memory(op);
	ns_file_entry__init(m);
	m->id = f->id;
	m->ns_cflag = sorts[sort_of(f->facts.link)].cflag;
	m->ns_id = id_in(root->core->ids, m->ns_cflag);
	m->flags = f->facts.info.flags & ~(uint32_t)O_CLOEXEC;
	f->entry->nsf = m;
	return 0;
}

static const char *sort_name(uint32_t cflag)
{
	for (size_t i = 0; i < ARRAY_SIZE(sorts); i++) {
		if (sorts[i].cflag == cflag)
			return sorts[i].name;
	}
	return NULL;
}

static int namespace_decode(struct operation *op, struct file *f)
{
	const NsFileEntry *m = f->entry->nsf;
	const struct task *root = op->tree.n_tasks ? op->tree.tasks[0] : NULL;

	if (!m || m->id != f->id || !sort_name(m->ns_cflag))
		return raise_damaged(op, f, "the namespace file");
	if (!root || !root->core || !root->core->ids || id_in(root->core->ids, m->ns_cflag) != m->ns_id)
		return error_raise(op->error, EOPNOTSUPP,
				   "files.img: file %u: a %s namespace that the tasks are not in", f->id,
				   sort_name(m->ns_cflag));
	f->describe = arena_printf(&op->arena, "%s namespace", sort_name(m->ns_cflag));
	return f->describe ? 0 : raise_no_memory(op);
}

static int namespace_create(struct operation *op, struct file *f)
{
	const NsFileEntry *m = f->entry->nsf;
	char path[48];

	if (m->ns_cflag == CLONE_NEWTIME && op->clocks.made)
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", op->clocks.fd);
	else
		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", sort_name(m->ns_cflag));
	f->fd = open(path, (m->flags & O_PATH ? O_PATH : O_RDONLY) | O_CLOEXEC);
	return f->fd < 0 ? error_raise_call(op->error, errno, "open", "%s", path) : 0;
}

static void namespace_describe(const FileEntry *entry, char *buf, size_t size)
{
	if (entry->nsf && sort_name(entry->nsf->ns_cflag))
		(void)snprintf(buf, size, "%s namespace", sort_name(entry->nsf->ns_cflag));
}

const struct kind kind_namespace = {
	.name = "namespace file",
	.type = FD_TYPES__NS,
	.recognise = namespace_recognise,
	.check = namespace_check,
	.dump = namespace_dump,
	.decode = namespace_decode,
	.create = namespace_create,
	.describe = namespace_describe,
};
