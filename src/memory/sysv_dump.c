/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "memory/plan.h"
#include "tree/refusals.h"
#include "watch/recorder.h"

/*
 * dump: System V segments that a task of the tree is attached to, in firn's own IPC namespace (tasks in another are
 * refused with their namespaces). The content is read like that of all shared memory. Segments that nobody is attached
 * to live on by themselves.
 */

static int raise_stat(struct operation *op, const struct task *t, uint32_t id, int number)
{
	(void)error_raise_call(op->error, number, "shmctl(IPC_STAT)", "pid %d (%s), System V shared memory segment %u",
			       t->pid, t->comm, id);
	if (number == EACCES)
		error_hint(op->error, "segments that their mode does not let firn read need CAP_IPC_OWNER");
	else
		error_hint(op->error, "the segment is not in firn's own IPC namespace");
	return -number;
}

static int add_segment(struct operation *op, struct task *t, const struct proc_map *m, const VmaEntry *v,
		       struct sysv_segment **ret)
{
	uint32_t id = (uint32_t)m->inode;
	IpcShmEntry *e = arena_alloc(&op->arena, sizeof(*e));
	IpcDescEntry *d = arena_alloc(&op->arena, sizeof(*d));
	struct sysv_segment *s;
	struct shmid_ds ds;
	const char *why;

	recorder_step(t->pid, t->comm, "shmctl(IPC_STAT)", "System V shared memory segment %u", id);
	if (shmctl((int)id, IPC_STAT, &ds) < 0)
		return raise_stat(op, t, id, errno);
	if (!e || !d)
		return error_raise(op->error, ENOMEM, "no memory left for System V shared memory segment %u", id);
	ipc_shm_entry__init(e);
	ipc_desc_entry__init(d);
	*d = (IpcDescEntry){ .base = d->base,
			     .key = (uint32_t)ds.shm_perm.__key,
			     .uid = ds.shm_perm.uid,
			     .gid = ds.shm_perm.gid,
			     .cuid = ds.shm_perm.cuid,
			     .cgid = ds.shm_perm.cgid,
			     .mode = ds.shm_perm.mode,
			     .id = id };
	e->desc = d;
	e->size = ds.shm_segsz;
	e->has_in_pagemaps = e->in_pagemaps = true;
	if (v->flags & MAP_HUGETLB) {
		e->has_hugetlb_flag = true;
		/* The bits of a huge page's size lie where mmap() has them. */
		e->hugetlb_flag = SHM_HUGETLB | (v->flags & 0x3fu << 26);
	}
	s = sysv_add(op, op->memory, e);
	if (!s)
		return error_raise(op->error, ENOMEM, "no memory left for System V shared memory segment %u", id);
	s->user = t;
	why = sysv_check_entry(s);
	if (why)
		return error_raise(op->error, EOPNOTSUPP, "pid %d (%s), %s: %s", t->pid, t->comm, sysv_name(op, s),
				   why);
	if (!shared_for_segment(op, op->memory, s, m))
		return error_raise(op->error, ENOMEM, "no memory left for System V shared memory segment %u", id);
	*ret = s;
	return 0;
}

int sysv_add_area(struct operation *op, struct task *t, const struct proc_map *m, VmaEntry *v)
{
	struct sysv_segment *s;
	const char *why;
	int r = 0;

	if (m->inode > INT32_MAX)
		return error_raise(op->error, EOPNOTSUPP,
				   "pid %d (%s), area %" PRIx64 "-%" PRIx64
				   ": its System V segment has the impossible id %" PRIu64,
				   t->pid, t->comm, m->start, m->end, m->inode);
	s = sysv_find(op->memory, (uint32_t)m->inode);
	if (!s)
		r = add_segment(op, t, m, v, &s);
	if (r < 0)
		return r;
	why = sysv_check_area(s, v);
	if (why)
		return error_raise(op->error, EOPNOTSUPP, "pid %d (%s), area %" PRIx64 "-%" PRIx64 ", %s: %s", t->pid,
				   t->comm, m->start, m->end, sysv_name(op, s), why);
	s->areas++;
	v->shmid = m->inode;
	return 0;
}

/*
 * Every area that shows a segment is an attachment for the kernel's count. More of them than the tree has belong to
 * somebody else, who would go on with a segment that a restore wants to have for itself. The tree is frozen, so what it
 * has cannot change; fewer would mean that the areas show another namespace's segment with the same id.
 */
static int check_attached(struct operation *op, const struct sysv_segment *s)
{
	const struct task *t = s->user;
	struct shmid_ds ds;

	if (shmctl((int)s->entry->desc->id, IPC_STAT, &ds) < 0)
		return raise_stat(op, t, s->entry->desc->id, errno);
	if (ds.shm_nattch == s->areas)
		return 0;
	if (ds.shm_nattch < s->areas)
		return error_raise(op->error, EOPNOTSUPP,
				   "pid %d (%s), %s: it is not the one of this id in firn's own IPC namespace", t->pid,
				   t->comm, sysv_name(op, s));
	(void)error_raise(op->error, EOPNOTSUPP,
			  "pid %d (%s), %s: tasks outside of the tree are attached to it as well: %" PRIu64
			  " of its %" PRIu64 " attachments are not of the tree (it was made by pid %d)",
			  t->pid, t->comm, sysv_name(op, s), (uint64_t)ds.shm_nattch - s->areas,
			  (uint64_t)ds.shm_nattch, ds.shm_cpid);
	error_hint(op->error, "`grep -l SYSV%08x /proc/*/maps` shows who; they must be in the tree or let go of it",
		   s->entry->desc->key);
	return -EOPNOTSUPP;
}

int memory_check_all(struct operation *op)
{
	const struct memory_plan *plan = op->memory;
	int r = 0;

	for (size_t i = 0; plan && i < plan->n_segments && r == 0; i++)
		r = refusal_note(op, check_attached(op, plan->segments[i]));
	return r;
}

int sysv_write(struct operation *op)
{
	const struct memory_plan *plan = op->memory;
	const CoreEntry *root = op->tree.tasks[0]->core;
	struct image_writer w = { 0 };
	int r;

	if (plan->n_segments == 0)
		return 0;
	r = image_writer_open(&w, &op->images, IMAGE_IPC_SHM, root->ids->ipc_ns_id, op->error);
	for (size_t i = 0; i < plan->n_segments && r >= 0; i++)
		r = image_write(&w, &plan->segments[i]->entry->base, op->error);
	if (r >= 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}
