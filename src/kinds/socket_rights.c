/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "kernel/system.h"
#include "kinds/common.h"
#include "kinds/proc_file.h"
#include "kinds/registry.h"
#include "kinds/socket.h"
#include "kinds/table.h"
#include "watch/recorder.h"

/*
 * Descriptors that wait in a socket's queue (SCM_RIGHTS). A peek gives firn copies of them; each is an open file that the
 * tree may hold elsewhere too, or that exists in the queue alone.
 */

static struct file *find_open_file(const struct operation *op, int fd, const struct stat *st)
{
	for (size_t i = 0; i < op->files->n_files; i++) {
		struct file *f = op->files->files[i];

		if (f->facts.fd >= 0 && f->facts.number >= -1 && f->facts.st.st_ino == st->st_ino &&
		    f->facts.st.st_dev == st->st_dev && f->facts.st.st_mode == st->st_mode &&
		    sys_kcmp(getpid(), getpid(), KCMP_FILE, (unsigned long)fd, (unsigned long)f->facts.fd) == 0)
			return f;
	}
	return NULL;
}

static int facts_of_copy(struct operation *op, const struct file *holder, int fd, struct fd_facts *ret)
{
	AUTOCLOSE int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char name[32], *link;
	int r;

	if (self < 0)
		return -errno;
	*ret = (struct fd_facts){ .task = holder->facts.task, .number = -1, .fd = fd };
	ret->what = arena_printf(&op->arena, "a descriptor in the queue of %s", holder->facts.what);
	if (!ret->what)
		return -ENOMEM;
	(void)snprintf(name, sizeof(name), "fd/%d", fd);
	r = read_proc_link(self, name, &op->arena, &link);
	if (r < 0)
		return r;
	ret->link = link;
	r = read_proc_fdinfo(self, fd, &op->arena, &ret->info);
	if (r < 0)
		return r;
	recorder_step(ret->task->pid, ret->task->comm, "fstat", "%s → %s", ret->what, link);
	return fstat(fd, &ret->st) < 0 ? -errno : 0;
}

/* It can be made when its task exists, and queues are filled before. */
static int refuse_late(struct operation *op, const struct fd_facts *f, const struct kind *k)
{
	(void)error_raise(op->error, EOPNOTSUPP, "%s: a %s waits in the queue of a socket, where it cannot be carried",
			  facts_describe(op, f), k == &kind_pidfd ? "pidfd" : "file of /proc/PID");
	error_hint(op->error, "let the program receive it before the dump");
	return -EOPNOTSUPP;
}

/* Takes @fd. */
static int resolve(struct operation *op, const struct file *holder, int fd, uint32_t *ret_id)
{
	struct fd_facts facts = { .fd = fd };
	const struct kind *k;
	struct file *f;
	int r;

	r = facts_of_copy(op, holder, fd, &facts);
	if (r < 0) {
		close(fd);
		return error_raise_call(op->error, -r, "fstat", "%s, a descriptor in its queue", holder->describe);
	}
	k = kind_recognise(&facts);
	if (k == &kind_pidfd || proc_file_is_path(facts.link)) {
		close(fd);
		return refuse_late(op, &facts, k);
	}
	f = find_open_file(op, fd, &facts.st);
	if (f) {
		close(fd);
		*ret_id = f->id;
		return 0;
	}
	r = k->check ? k->check(op, &facts) : 0;
	f = r == 0 ? files_add(op, k, &facts) : NULL;
	if (!f) {
		close(fd);
		return r < 0 ? r : -ENOMEM;
	}
	f->user = facts.task;
	*ret_id = f->id;
	return 0;
}

int packet_resolve_rights(struct operation *op, const struct file *holder, struct packet *p)
{
	int r = 0;

	p->rights = arena_array(&op->arena, p->n_rights ? p->n_rights : 1, sizeof(*p->rights));
	if (!p->rights)
		r = raise_no_memory(op);
	for (size_t i = 0; i < p->n_rights; i++) {
		if (r == 0)
			r = resolve(op, holder, p->fds[i], &p->rights[i]);
		else
			close(p->fds[i]);
	}
	p->fds = NULL;
	return r;
}
