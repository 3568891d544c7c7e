/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dump/images.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "aspects/seccomp.h"
#include "base/cleanup.h"
#include "dump/exited_leader.h"
#include "inventory.pb-c.h"
#include "pstree.pb-c.h"
#include "stats.pb-c.h"
#include "watch/recorder.h"

#define IMAGE_VERSION 2 /* of the image format: the one with a common magic in each file */

#define OWN_TIME_NS 9 /* the tree's; the numbers below stand for firn's own namespaces */

/* Equal numbers mean the same object. The namespaces are firn's own. */
static TaskKobjIdsEntry host_ids(uint32_t n)
{
	TaskKobjIdsEntry ids = TASK_KOBJ_IDS_ENTRY__INIT;

	ids.vm_id = ids.files_id = ids.fs_id = ids.sighand_id = n;
	ids.has_pid_ns_id = ids.has_net_ns_id = ids.has_ipc_ns_id = ids.has_uts_ns_id = true;
	ids.has_time_ns_id = ids.has_mnt_ns_id = ids.has_user_ns_id = ids.has_cgroup_ns_id = true;
	ids.pid_ns_id = 1;
	ids.net_ns_id = 2;
	ids.ipc_ns_id = 3;
	ids.uts_ns_id = 4;
	ids.time_ns_id = 5;
	ids.mnt_ns_id = 6;
	ids.user_ns_id = 7;
	ids.cgroup_ns_id = 8;
	return ids;
}

int images_assign_ids(struct operation *op)
{
	uint32_t next = 2; /* 1 stands for whoever makes the dump */

	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		TaskKobjIdsEntry ids = host_ids(next++);

		if (op->clocks.own)
			ids.time_ns_id = OWN_TIME_NS;
		t->core->ids = arena_memdup(&op->arena, &ids, sizeof(ids));
		if (!t->core->ids)
			return error_raise(op->error, ENOMEM, "pid %d: no memory for its ids", t->pid);
	}
	/* The owner of a shared object may come later in the tree than one who shares it. */
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->state == TASK_ZOMBIE)
			continue;
		t->core->ids->vm_id = t->mm_owner->core->ids->vm_id;
		t->core->ids->files_id = t->files_owner->core->ids->files_id;
		t->core->ids->fs_id = t->fs_owner->core->ids->fs_id;
		t->core->ids->sighand_id = t->sighand_owner->core->ids->sighand_id;
	}
	return 0;
}

/* An image with exactly one message. */
static int write_one(struct operation *op, enum image_type type, uint32_t id, const void *message)
{
	struct image_writer w = { 0 };
	int r = image_writer_open(&w, &op->images, type, id, op->error);

	if (r == 0)
		r = image_write(&w, message, op->error);
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

static int write_pstree(struct operation *op)
{
	struct image_writer w = { 0 };
	int r = image_writer_open(&w, &op->images, IMAGE_PSTREE, 0, op->error);

	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];
		PstreeEntry m = PSTREE_ENTRY__INIT;
		uint32_t zombie_thread = (uint32_t)t->pid;

		m.pid = (uint32_t)t->pid;
		m.ppid = t->parent ? (uint32_t)t->parent->pid : 0;
		m.pgid = (uint32_t)t->pgid;
		m.sid = (uint32_t)t->sid;
		m.n_threads = t->n_threads ? t->n_threads + t->leader_exited : 1;
		m.threads = t->n_threads ? arena_array(&op->arena, m.n_threads, sizeof(uint32_t)) : &zombie_thread;
		if (!m.threads)
			r = error_raise(op->error, ENOMEM, "pid %d: no memory for its threads", t->pid);
		for (size_t k = 0; k < t->n_threads && r == 0; k++)
			m.threads[k + t->leader_exited] = (uint32_t)t->threads[k].tid;
		if (t->leader_exited && r == 0)
			m.threads[0] = (uint32_t)t->pid;
		if (r == 0)
			r = image_write(&w, &m.base, op->error);
	}
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

static int write_core(struct operation *op, CoreEntry *core, pid_t tid)
{
	TaskKobjIdsEntry *ids = core->ids;
	int r = 0;

	if (ids)
		r = write_one(op, IMAGE_IDS, (uint32_t)tid, ids);
	core->ids = NULL; /* they have a file of their own */
	if (r == 0)
		r = write_one(op, IMAGE_CORE, (uint32_t)tid, core);
	core->ids = ids;
	return r;
}

static int write_cores(struct operation *op)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		CoreEntry *first = t->core;
		int r = t->leader_exited ? exited_leader_core(op, t, &first) : 0;

		if (r == 0)
			r = write_core(op, first, t->pid);
		for (size_t k = t->leader_exited ? 0 : 1; k < t->n_threads && r == 0; k++)
			r = write_core(op, t->threads[k].core, t->threads[k].tid);
		if (r < 0)
			return r;
	}
	return 0;
}

int images_write_tree(struct operation *op)
{
	int r = write_pstree(op);

	if (r == 0)
		r = write_cores(op);
	if (r == 0)
		r = seccomp_write(op);
	return r;
}

int images_commit(struct operation *op)
{
	InventoryEntry m = INVENTORY_ENTRY__INIT;
	TaskKobjIdsEntry ids = host_ids(1);

	m.img_version = IMAGE_VERSION;
	m.has_fdinfo_per_id = m.fdinfo_per_id = true;
	m.has_ns_per_id = m.ns_per_id = true;
	m.has_root_cg_set = true;
	m.root_cg_set = 1;
	m.has_lsmtype = true;
	m.lsmtype = LSMTYPE__NO_LSM;
	m.root_ids = &ids;
	m.has_tcp_close = m.tcp_close = op->options->tcp_close;
	m.has_network_lock_method = op->run_id || op->options->network_lock == NETWORK_LOCK_SKIP;
	m.network_lock_method = op->options->network_lock;
	m.dump_criu_run_id = (char *)op->run_id;
	return image_dir_commit(&op->images, &m.base, op->error);
}

void images_write_stats(struct operation *op)
{
	const char *path = op->options->work_path ? op->options->work_path : op->options->images_path;
	StatsEntry m = STATS_ENTRY__INIT;
	DumpStatsEntry dump = DUMP_STATS_ENTRY__INIT;
	struct error error = { 0 };
	AUTOCLOSE int dir = -1;

	recorder_step(0, NULL, "open", "%s/stats-dump", path);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dump.frozen_time = (uint32_t)(recorder->frozen_ns / 1000);
	dump.pages_written = atomic_load(&recorder->bytes) / 4096;
	m.dump = &dump;
	if (dir < 0 || image_write_stats(dir, path, IMAGE_STATS_DUMP, &m.base, &error) < 0)
		log_warn(0, "%s/stats-dump: %s", path, dir < 0 ? strerror(errno) : error.sentence);
}
