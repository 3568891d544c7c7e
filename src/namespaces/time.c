/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "namespaces/time.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/procfs.h"
#include "timens.pb-c.h"
#include "tree/refusals.h"
#include "watch/recorder.h"

#define NSEC_PER_SEC 1000000000ll

int time_namespace_own_offsets(struct operation *op, struct proc_timens_offsets *ret)
{
	AUTOCLOSE int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = self < 0 ? -errno : read_proc_timens_offsets(self, ret);

	if (r == -ENOENT) {
		*ret = (struct proc_timens_offsets){ 0 };
		return 0;
	}
	return r < 0 ? error_raise_call(op->error, -r, "read", "/proc/self/timens_offsets") : 0;
}

void time_namespace_boot_id(char ret[BOOT_ID_SIZE])
{
	AUTOCLOSE int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, ret, BOOT_ID_SIZE - 1);

	ret[len < 0 ? 0 : len] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

/* ---- dump ---- */

static const struct thread *first_thread(const struct operation *op)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++)
		if (op->tree.tasks[i]->n_threads > 0)
			return &op->tree.tasks[i]->threads[0];
	return NULL;
}

static int read_link(struct operation *op, const struct thread *t, const char *name, char **ret)
{
	int r = read_proc_link(t->proc_fd, name, &op->arena, ret);

	return r < 0 ? error_raise_call(op->error, -r, "readlink", "pid %d (%s), thread %d: %s", t->task->pid,
					t->task->comm, t->tid, name)
		     : 0;
}

/* Every thread has both of its own: unshare(CLONE_NEWTIME) changes the second one of the caller alone. */
static int check_thread(struct operation *op, const struct thread *t)
{
	char *own, *children;
	int r = 0;

	/* One that ends while the tree runs must not end the look at all others. */
	if (op->refusals && faccessat(t->proc_fd, "status", F_OK, 0) < 0)
		return 0;
	r = read_link(op, t, "ns/time", &own);
	if (r == 0)
		r = read_link(op, t, "ns/time_for_children", &children);
	if (r < 0)
		return r;
	if (strcmp(own, op->clocks.link) != 0) {
		(void)error_raise(
			op->error, EOPNOTSUPP,
			"pid %d (%s), thread %d is in a time namespace of its own (%s), not in that of the root of "
			"the tree (%s), which firn does not carry yet",
			t->task->pid, t->task->comm, t->tid, own, op->clocks.link);
		error_hint(op->error, "Dump the part of the tree that is in one time namespace.");
		return -EOPNOTSUPP;
	}
	if (strcmp(own, children) != 0) {
		(void)error_raise(
			op->error, EOPNOTSUPP,
			"pid %d (%s), thread %d has another time namespace for its children (%s) than for itself (%s), "
			"which firn does not carry yet",
			t->task->pid, t->task->comm, t->tid, children, own);
		error_hint(op->error, "Dump the child that is in it instead.");
		return -EOPNOTSUPP;
	}
	return 0;
}

/* The offsets that a task shows are those of its children, which have its own namespace. */
static int measure(struct operation *op, const struct thread *t)
{
	struct proc_timens_offsets tree, own;
	int r = time_namespace_own_offsets(op, &own);

	if (r < 0)
		return r;
	r = read_proc_timens_offsets(t->task->proc_fd, &tree);
	if (r < 0)
		return error_raise_call(op->error, -r, "read", "pid %d (%s): timens_offsets", t->task->pid,
					t->task->comm);
	if (__builtin_sub_overflow(tree.monotonic, own.monotonic, &op->clocks.monotonic_ahead) ||
	    __builtin_sub_overflow(tree.boottime, own.boottime, &op->clocks.boottime_ahead))
		return error_raise(op->error, ERANGE, "pid %d (%s): the clocks of its time namespace are too far away",
				   t->task->pid, t->task->comm);
	return 0;
}

int time_namespace_check(struct operation *op)
{
	AUTOCLOSE int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const struct thread *first = first_thread(op);
	char *mine;
	int r;

	op->clocks = (struct tree_clocks){ 0 };
	/* ENOENT: a kernel without time namespaces. */
	if (!first || self < 0 || read_proc_link(self, "ns/time", &op->arena, &mine) < 0)
		return 0;
	recorder_step(first->task->pid, first->task->comm, "readlink", "ns/time");
	r = read_link(op, first, "ns/time", &op->clocks.link);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		const struct task *t = op->tree.tasks[i];

		for (size_t k = 0; k < t->n_threads && r == 0; k++)
			r = refusal_note(op, check_thread(op, &t->threads[k]));
	}
	if (r < 0 || strcmp(mine, op->clocks.link) == 0)
		return r;
	op->clocks.own = true;
	return measure(op, first);
}

/* What the tree's clock shows now. */
static int show(struct operation *op, clockid_t clock, int64_t ahead, Timespec *ret)
{
	struct timespec now;
	int64_t ns;

	(void)clock_gettime(clock, &now);
	ns = now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
	if (__builtin_add_overflow(ns, ahead, &ns) || ns < 0)
		return error_raise(op->error, ERANGE, "the clocks of the tree's time namespace are too far away");
	ret->tv_sec = (uint64_t)(ns / NSEC_PER_SEC);
	ret->tv_nsec = (uint64_t)(ns % NSEC_PER_SEC);
	return 0;
}

/* Tells a restore whether it has the very clocks that firn has now. */
static int tell_machine(struct operation *op, TimensEntry *m, char boot_id[BOOT_ID_SIZE])
{
	struct proc_timens_offsets own;
	int r = time_namespace_own_offsets(op, &own);

	if (r < 0)
		return r;
	time_namespace_boot_id(boot_id);
	m->firn_boot_id = boot_id[0] ? boot_id : NULL;
	m->has_firn_monotonic_offset = own.monotonic != 0;
	m->firn_monotonic_offset = own.monotonic;
	m->has_firn_boottime_offset = own.boottime != 0;
	m->firn_boottime_offset = own.boottime;
	return 0;
}

int time_namespace_dump(struct operation *op)
{
	TimensEntry m = TIMENS_ENTRY__INIT;
	Timespec monotonic = TIMESPEC__INIT, boottime = TIMESPEC__INIT;
	struct image_writer w = { 0 };
	char boot_id[BOOT_ID_SIZE];
	uint32_t id = op->clocks.own ? op->tree.tasks[0]->core->ids->time_ns_id : 0;
	int r = show(op, CLOCK_MONOTONIC, op->clocks.monotonic_ahead, &monotonic);

	if (r == 0)
		r = show(op, CLOCK_BOOTTIME, op->clocks.boottime_ahead, &boottime);
	if (r == 0 && !op->clocks.own)
		r = tell_machine(op, &m, boot_id);
	m.monotonic = &monotonic;
	m.boottime = &boottime;
	if (r == 0)
		r = image_writer_open(&w, &op->images, IMAGE_TIMENS, id, op->error);
	if (r == 0)
		r = image_write(&w, &m.base, op->error);
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}
