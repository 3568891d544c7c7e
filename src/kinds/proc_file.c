/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/proc_file.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/text.h"
#include "kinds/common.h"
#include "kinds/path.h"
#include "tree/tree.h"
#include "watch/recorder.h"

/* A number up to the next slash, the end, or " (deleted)". */
static bool parse_pid(struct text *t, pid_t *ret)
{
	uint64_t n;

	if (!text_unsigned(t, 10, INT32_MAX, &n) || n == 0 ||
	    (!text_empty(t) && *t->p != '/' && !text_equals(t, DELETED_SUFFIX)))
		return false;
	*ret = (pid_t)n;
	return true;
}

bool proc_path_parse(const char *text, struct proc_path *ret)
{
	struct text t = text_of(text, strlen(text));
	struct proc_path p = { 0 };

	if (!parse_pid(&t, &p.pid))
		return false;
	if (text_literal(&t, "/task/") && !parse_pid(&t, &p.tid))
		p.tid = 0;
	*ret = p;
	return true;
}

bool proc_file_is(const struct fd_facts *f, struct proc_path *ret)
{
	const char *p;
	size_t len;

	if (!f->mount || strcmp(f->mount->fstype, "proc") != 0)
		return false;
	len = strcmp(f->mount->mountpoint, "/") == 0 ? 0 : strlen(f->mount->mountpoint);
	if (strncmp(f->link, f->mount->mountpoint, len) != 0)
		return false;
	for (p = f->link + len; *p == '/'; p++)
		;
	return proc_path_parse(p, ret);
}

static bool has_thread(const struct task *t, pid_t tid)
{
	if (tid == 0 || t->pid == tid)
		return true;
	for (size_t i = 0; i < t->n_threads; i++) {
		if (t->threads[i].tid == tid)
			return true;
	}
	return false;
}

static int refuse(struct operation *op, const struct fd_facts *f, const char *what, pid_t pid)
{
	(void)error_raise(op->error, EOPNOTSUPP, "%s: a file in /proc of %s %d, which cannot be carried",
			  facts_describe(op, f), what, (int)pid);
	error_hint(op->error, "let the program close it before the dump");
	return -EOPNOTSUPP;
}

int proc_file_check(struct operation *op, const struct fd_facts *f, const struct proc_path *p, bool *ret_dead)
{
	const struct task *t = tree_find(&op->tree, p->pid);
	const char *name;
	int r = path_check(op, f, &name);

	*ret_dead = false;
	if (r < 0)
		return r;
	if (r == PATH_SAME && t && has_thread(t, p->tid))
		return 0;
	if (r == PATH_SAME)
		return refuse(op, f, "a task outside of the tree,", p->tid ? p->tid : p->pid);
	/* The numbers may be those of another task by now. */
	if (p->tid != 0 && p->tid != p->pid)
		return refuse(op, f, "a thread that has ended,", p->tid);
	if (t)
		return refuse(op, f, "a task that has ended and whose number is taken again,", p->pid);
	*ret_dead = true;
	return 0;
}

bool proc_file_is_path(const char *path)
{
	char prefix[PATH_MAX];
	struct proc_path p;
	struct statfs fs;

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t len = (size_t)(slash - path);

		if (len >= sizeof(prefix) || !proc_path_parse(slash + 1, &p))
			continue;
		(void)snprintf(prefix, sizeof(prefix), "%.*s", len ? (int)len : 1, path);
		recorder_step(0, NULL, "statfs", "%s", prefix);
		if (statfs(prefix, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC)
			return true;
	}
	return false;
}
