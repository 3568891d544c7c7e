/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/unix_facts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "watch/recorder.h"

/* Who is connected to whom: what SOCK_DIAG tells of all unix sockets of this network namespace. */

static int compare_diag(const void *pa, const void *pb)
{
	const struct unix_diag *a = pa, *b = pb;

	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

int unix_facts(struct operation *op, bool again, struct unix_facts **ret)
{
	void **slot = files_kind_state(op, &kind_unix_socket);
	struct unix_facts *facts = *slot;
	int r;

	if (facts && !again) {
		*ret = facts;
		return 0;
	}
	facts = arena_alloc(&op->arena, sizeof(*facts));
	if (!facts)
		return raise_no_memory(op);
	recorder_step(0, NULL, "recvmsg", "netlink: the unix sockets of this network namespace");
	r = read_unix_diag(&op->arena, &facts->all, &facts->n);
	if (r < 0) {
		error_raise_call(op->error, -r, "sock_diag", "asking the kernel for its unix sockets");
		error_hint(op->error, "The kernel needs CONFIG_UNIX_DIAG; as a module it is called unix_diag.");
		return r;
	}
	if (facts->n > 1)
		qsort(facts->all, facts->n, sizeof(*facts->all), compare_diag);
	*slot = facts;
	*ret = facts;
	return 0;
}

const struct unix_diag *unix_facts_find(const struct unix_facts *facts, uint32_t ino)
{
	struct unix_diag key = { .ino = ino };

	return ino && facts->n ? bsearch(&key, facts->all, facts->n, sizeof(key), compare_diag) : NULL;
}

const struct unix_diag *unix_facts_listener(const struct unix_facts *facts, uint32_t ino)
{
	for (size_t i = 0; i < facts->n; i++) {
		for (size_t k = 0; k < facts->all[i].n_icons; k++) {
			if (facts->all[i].icons[k] == ino)
				return &facts->all[i];
		}
	}
	return NULL;
}

struct file *unix_tree_socket(const struct operation *op, uint32_t ino)
{
	for (size_t i = 0; i < op->files->n_files; i++) {
		struct file *f = op->files->files[i];

		if (f->kind == &kind_unix_socket && f->facts.fd >= 0 && (uint32_t)f->facts.st.st_ino == ino)
			return f;
	}
	return NULL;
}

static bool holds(const char *pid, const char *link)
{
	char path[64], now[64];
	const struct dirent *e;
	bool found = false;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, now, sizeof(now) - 1);

		now[n < 0 ? 0 : n] = '\0';
		found = strcmp(now, link) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

bool unix_held_outside(const struct operation *op, uint32_t ino)
{
	const struct dirent *e;
	bool found = false;
	char link[32];
	DIR *dir;

	(void)snprintf(link, sizeof(link), "socket:[%u]", ino);
	recorder_step(0, NULL, "readlink", "/proc/PID/fd of all processes: who holds %s", link);
	dir = opendir("/proc");
	while (dir && !found && (e = readdir(dir))) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid > 0 && pid != getpid() && !tree_find(&op->tree, pid))
			found = holds(e->d_name, link);
	}
	if (dir)
		closedir(dir);
	return found;
}
