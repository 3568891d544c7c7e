/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "restore/read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inventory.pb-c.h"
#include "namespaces/time.h"
#include "pstree.pb-c.h"
#include "tree/tree.h"
#include "watch/recorder.h"

#define PID_LIMIT (4 * 1024 * 1024) /* PID_MAX_LIMIT of 64-bit kernels, man 5 proc_sys_kernel */

static int damaged(struct operation *op, const char *image, const char *what)
{
	return error_raise(op->error, EBADMSG, "%s/%s: %s", op->images.path, image, what);
}

/* Reads an image with exactly one message. */
static int read_one(struct operation *op, enum image_type type, uint32_t id, bool optional,
		    const ProtobufCMessageDescriptor *desc, void *ret)
{
	struct image_reader reader;
	ProtobufCMessage *m;
	int r = image_reader_open(&reader, &op->images, type, id, optional, &op->arena, op->error);

	if (r < 0)
		return r;
	r = image_read(&reader, desc, &m, op->error);
	if (r < 0)
		return r;
	if (r == 0)
		return damaged(op, reader.name, "the image is empty");
	*(ProtobufCMessage **)ret = m;
	return 0;
}

static bool bad_pid(uint32_t pid)
{
	return pid == 0 || pid > PID_LIMIT;
}

static int add_task(struct operation *op, const PstreeEntry *m)
{
	struct task *t;

	if (bad_pid(m->pid) || m->ppid > PID_LIMIT || m->pgid > PID_LIMIT || m->sid > PID_LIMIT)
		return damaged(op, "pstree.img", "a pid out of range");
	if (m->ppid == m->pid || tree_find(&op->tree, (pid_t)m->pid))
		return damaged(op, "pstree.img", "a pid that stands there twice");
	if ((op->tree.n_tasks == 0) != (m->ppid == 0))
		return damaged(op, "pstree.img", "not exactly one root, or not in the first place");
	t = tree_add_task(op, (pid_t)m->pid);
	if (!t)
		return error_raise(op->error, ENOMEM, "no memory for the tree");
	t->ppid = (pid_t)m->ppid;
	t->pgid = (pid_t)m->pgid;
	t->sid = (pid_t)m->sid;
	if (m->n_threads == 0 || m->n_threads > PID_LIMIT)
		return damaged(op, "pstree.img", "a task without threads");
	for (size_t i = 0; i < m->n_threads; i++)
		if (!task_add_thread(op, t, (pid_t)m->threads[i]))
			return error_raise(op->error, ENOMEM, "no memory for the threads of pid %d", t->pid);
	return 0;
}

/* As tree_check() has it for a dump. */
static int check_sessions(struct operation *op)
{
	const struct task *root = op->tree.tasks[0];

	if (op->options->shell_job || root->sid == root->pid)
		return 0;
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *t = op->tree.tasks[i];

		if (t->sid != root->sid || tree_find(&op->tree, t->sid))
			continue;
		(void)error_raise(op->error, EOPNOTSUPP,
				  "pid %d belonged to session %d, whose leader was outside of the tree", t->pid,
				  t->sid);
		error_hint(op->error, "It was a job of a shell: add --shell-job, as for the dump, to restore it into "
				      "firn's session.");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int read_pstree(struct operation *op)
{
	struct image_reader reader;
	ProtobufCMessage *m;
	int r = image_reader_open(&reader, &op->images, IMAGE_PSTREE, 0, false, &op->arena, op->error);

	if (r < 0)
		return r;
	while ((r = image_read(&reader, &pstree_entry__descriptor, &m, op->error)) > 0) {
		r = add_task(op, (const PstreeEntry *)m);
		if (r < 0)
			return r;
	}
	if (r == 0 && op->tree.n_tasks == 0)
		return damaged(op, "pstree.img", "no task in it");
	if (r == 0)
		r = tree_order(op);
	return r < 0 ? r : check_sessions(op);
}

static int compare_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return x < y ? -1 : x > y;
}

/* No number may be used twice by tasks and threads. */
static int check_tids(struct operation *op)
{
	pid_t *all = arena_array(&op->arena, op->tree.n_threads + op->tree.n_tasks, sizeof(*all));
	size_t n = 0;

	if (!all)
		return error_raise(op->error, ENOMEM, "no memory for the tree");
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *t = op->tree.tasks[i];

		all[n++] = t->pid;
		for (size_t k = 1; k < t->n_threads; k++)
			all[n++] = t->threads[k].tid;
	}
	qsort(all, n, sizeof(*all), compare_pids);
	for (size_t i = 1; i < n; i++)
		if (all[i] == all[i - 1])
			return damaged(op, "pstree.img", "a thread number that stands there twice");
	return 0;
}

static int check_core(struct operation *op, const struct task *t, const CoreEntry *core, pid_t tid)
{
	bool leader = tid == t->pid;
	char name[32];

	(void)snprintf(name, sizeof(name), "core-%d.img", tid);
	if (core->mtype != CORE_ENTRY__MARCH__X86_64) {
		(void)error_raise(op->error, EOPNOTSUPP, "%s/%s: made on another kind of processor", op->images.path,
				  name);
		return -EOPNOTSUPP;
	}
	if (leader && !core->tc)
		return damaged(op, name, "nothing about the task in it");
	if (leader && core->tc->task_state == TASK_ZOMBIE)
		return 0;
	if (leader && core->tc->task_state != TASK_ALIVE && core->tc->task_state != TASK_STOPPED)
		return damaged(op, name, "an unknown task state");
	if (!core->thread_info || !core->thread_info->gpregs || !core->thread_info->fpregs || !core->thread_core)
		return damaged(op, name, "no registers in it");
	if (core->thread_info->gpregs->has_mode && core->thread_info->gpregs->mode == USER_X86_REGS_MODE__COMPAT)
		return error_raise(op->error, EOPNOTSUPP, "%s/%s: a 32-bit task, which firn does not carry yet",
				   op->images.path, name);
	return 0;
}

static int read_task_core(struct operation *op, struct task *t)
{
	int r = read_one(op, IMAGE_CORE, (uint32_t)t->pid, false, &core_entry__descriptor, &t->core);

	if (r == 0)
		r = check_core(op, t, t->core, t->pid);
	if (r < 0)
		return r;
	t->state = (enum task_state)t->core->tc->task_state;
	t->exit_code = (int)t->core->tc->exit_code;
	comm_copy(t->comm, t->core->tc->comm ? t->core->tc->comm : "");
	if (t->state == TASK_ZOMBIE) {
		op->tree.n_threads -= t->n_threads;
		t->n_threads = 0;
		return 0;
	}
	if (t->threads[0].tid != t->pid)
		return damaged(op, "pstree.img", "a task whose first thread is not itself");
	t->threads[0].core = t->core;
	for (size_t k = 0; k < t->n_threads; k++) {
		struct thread *th = &t->threads[k];

		if (bad_pid((uint32_t)th->tid))
			return damaged(op, "pstree.img", "a thread number out of range");
		if (k > 0) {
			r = read_one(op, IMAGE_CORE, (uint32_t)th->tid, false, &core_entry__descriptor, &th->core);
			if (r == 0)
				r = check_core(op, t, th->core, th->tid);
			if (r < 0)
				return r;
		}
		memcpy(th->puppet.comm, t->comm, sizeof(t->comm));
	}
	return 0;
}

static int refuse_namespace(struct operation *op, const struct task *t, const char *which)
{
	return error_raise(op->error, EOPNOTSUPP,
			   "pid %d (%s) was dumped in a %s namespace of its own, which firn does not restore yet",
			   t->pid, t->comm, which);
}

/* Namespaces, but that of time, must all be those of whoever made the dump; sharing follows from equal numbers. */
static int read_ids(struct operation *op, struct task *t, const TaskKobjIdsEntry *root)
{
	TaskKobjIdsEntry *ids;
	int r = read_one(op, IMAGE_IDS, (uint32_t)t->pid, false, &task_kobj_ids_entry__descriptor, &ids);

	if (r < 0)
		return r;
	t->core->ids = ids;
	if (!root)
		return 0;
#define CHECK_NS(field, name)                                                   \
	if (root->has_##field && ids->has_##field && root->field != ids->field) \
	return refuse_namespace(op, t, name)
	CHECK_NS(pid_ns_id, "pid");
	CHECK_NS(net_ns_id, "net");
	CHECK_NS(ipc_ns_id, "ipc");
	CHECK_NS(uts_ns_id, "uts");
	CHECK_NS(mnt_ns_id, "mount");
	CHECK_NS(user_ns_id, "user");
	CHECK_NS(cgroup_ns_id, "cgroup");
#undef CHECK_NS
	return 0;
}

/* The first task in tree order with the same number owns the object. */
static void find_owners(struct tree *tree, struct task *t)
{
	const TaskKobjIdsEntry *mine = t->core->ids;

	for (size_t i = 0; i < tree->n_tasks && tree->tasks[i] != t; i++) {
		struct task *other = tree->tasks[i];
		const TaskKobjIdsEntry *theirs = other->core->ids;

		if (!theirs || other->state == TASK_ZOMBIE)
			continue;
		if (t->mm_owner == t && theirs->vm_id == mine->vm_id)
			t->mm_owner = other;
		if (t->files_owner == t && theirs->files_id == mine->files_id)
			t->files_owner = other;
		if (t->fs_owner == t && theirs->fs_id == mine->fs_id)
			t->fs_owner = other;
		if (t->sighand_owner == t && theirs->sighand_id == mine->sighand_id)
			t->sighand_owner = other;
	}
}

static int check_inventory(struct operation *op, const InventoryEntry *m)
{
	if (m->img_version < 1 || m->img_version > 2)
		return error_raise(op->error, EOPNOTSUPP, "%s/inventory.img: image format version %u, firn knows 1 and 2",
				   op->images.path, m->img_version);
	op->run_id = m->dump_criu_run_id;
	op->lock_left = m->network_lock_method == NETWORK_LOCK_NFTABLES ? NETWORK_LOCK_NFTABLES :
			m->network_lock_method == NETWORK_LOCK_SKIP	? NETWORK_LOCK_SKIP :
									  NETWORK_LOCK_IPTABLES;
	op->tcp_close = op->options->tcp_close;
	if (m->tcp_close && !op->tcp_close) {
		error_raise(op->error, EOPNOTSUPP, "%s/inventory.img: the dump has let TCP connections end", op->images.path);
		error_hint(op->error, "Say --tcp-close here as well: they come back closed.");
		return -EOPNOTSUPP;
	}
	return 0;
}

int images_read_tree(struct operation *op)
{
	InventoryEntry *inventory;
	int r = read_one(op, IMAGE_INVENTORY, 0, false, &inventory_entry__descriptor, &inventory);

	if (r == 0)
		r = check_inventory(op, inventory);
	if (r == 0)
		r = read_pstree(op);
	if (r == 0)
		r = check_tids(op);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		r = read_task_core(op, t);
		if (r < 0 || t->state == TASK_ZOMBIE)
			continue;
		r = read_ids(op, t, inventory->root_ids);
		if (r == 0)
			find_owners(&op->tree, t);
	}
	if (r == 0 && op->tree.tasks[0]->state == TASK_ZOMBIE)
		return damaged(op, "pstree.img", "a root task that has ended already");
	return r == 0 ? time_namespace_read(op, inventory->root_ids) : r;
}
