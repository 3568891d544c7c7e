/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <syscall.h>
#include <unistd.h>

#include "memory/plan.h"
#include "puppet/area.h"
#include "watch/recorder.h"

/*
 * restore: System V segments. A segment outlives its tasks, so the one of the checkpoint is often still there: it is
 * taken when nobody is attached to it and key, owner and size are the same, and gets its content back. Else it is made
 * anew with its id, which /proc/sys/kernel/shm_next_id asks for (CONFIG_CHECKPOINT_RESTORE;
 * Documentation/admin-guide/sysctl/kernel.rst). The engine stays attached until the tasks are: a segment that is removed
 * already (SHM_DEST), and every one when kernel.shm_rmid_forced is set, ends with its last attachment. Linux lets
 * tasks attach to a removed segment by its id as long as it is there (man 2 shmctl).
 */

#define NEXT_ID "/proc/sys/kernel/shm_next_id"
#define NEAR 32
#define TRIES 8 /* whoever makes a segment at that moment gets our id */

/* images ------------------------------------------------------------------------------------------------------ */

static int read_segments(struct operation *op, struct memory_plan *plan)
{
	const TaskKobjIdsEntry *ids = op->tree.tasks[0]->core->ids;
	ProtobufCMessage *m = NULL;
	struct image_reader rd;
	int r = image_reader_open(&rd, &op->images, IMAGE_IPC_SHM, ids ? ids->ipc_ns_id : 0, false, &op->arena,
				  op->error);

	while (r >= 0 && (r = image_read(&rd, &ipc_shm_entry__descriptor, &m, op->error)) > 0) {
		IpcShmEntry *e = (IpcShmEntry *)m;
		struct sysv_segment *s;
		const char *why;

		if (sysv_find(plan, e->desc->id))
			return error_raise(op->error, EBADMSG, "%s: two segments with the id %u", rd.name, e->desc->id);
		s = sysv_add(op, plan, e);
		if (!s)
			return error_raise(op->error, ENOMEM, "%s: too many segments, or no memory left", rd.name);
		why = sysv_check_entry(s);
		if (why)
			return error_raise(op->error, EBADMSG, "%s: segment %u: %s", rd.name, e->desc->id, why);
		/* Raw content would follow the entry. */
		if (!e->in_pagemaps)
			return error_raise(op->error, EOPNOTSUPP,
					   "%s: segment %u: its content is in this image, a form that firn does not "
					   "read",
					   rd.name, e->desc->id);
	}
	plan->segments_read = r == 0;
	return r;
}

static int add_attachment(struct operation *op, struct task *t, struct sysv_segment *s, const VmaEntry *v,
			  bool writable, struct sysv_attach **ret)
{
	struct sysv_attach *a = t->mm_plan->attached;
	uint64_t base = v->start - v->pgoff;

	/*
	 * Pieces that belonged together do so again: shmdt() takes all of one shmat() and nothing else. Between them there
	 * may be some of others; how many are looked at has an end, whatever an image says.
	 */
	for (int i = 0; a && (a->segment != s || a->base != base || a->writable != writable); i++)
		a = i < NEAR ? a->next : NULL;
	if (!a) {
		a = arena_alloc(&op->arena, sizeof(*a));
		if (!a)
			return error_raise(op->error, ENOMEM, "no memory left for the attachments of pid %d", t->pid);
		a->segment = s;
		a->base = base;
		a->writable = writable;
		a->next = t->mm_plan->attached;
		t->mm_plan->attached = a;
	}
	a->exec = a->exec || (v->prot & PROT_EXEC);
	a->areas++;
	a->covered += v->end - v->start;
	*ret = a;
	return 0;
}

int sysv_link_area(struct operation *op, struct task *t, size_t i)
{
	const VmaEntry *v = t->mm->vmas[i];
	bool writable = v->has_fdflags ? (v->fdflags & O_ACCMODE) == O_RDWR : (v->prot & PROT_WRITE) != 0;
	struct memory_plan *plan;
	struct sysv_segment *s;
	const char *why = NULL;
	int r = memory_plan_get(op, &plan);

	if (r >= 0 && !plan->segments_read)
		r = read_segments(op, plan);
	if (r < 0)
		return r;
	s = sysv_find(plan, (uint32_t)v->shmid);
	if (!s)
		why = "it is in none of the images";
	else if ((v->prot & PROT_WRITE) && !writable)
		why = "the area is writable although it was attached to be read";
	else
		why = sysv_check_area(s, v);
	if (why)
		return error_raise(op->error, EBADMSG,
				   "mm-%d.img: area %" PRIx64 "-%" PRIx64 ", System V shared memory segment %" PRIu64
				   ": %s",
				   t->pid, v->start, v->end, v->shmid, why);
	if (!s->user)
		s->user = t;
	s->areas++;
	return add_attachment(op, t, s, v, writable, &t->mm_plan->links[i].attach);
}

/* segments ---------------------------------------------------------------------------------------------------- */

static int refuse_taken(struct operation *op, const struct sysv_segment *s, const char *what, int id,
			const struct shmid_ds *ds)
{
	(void)error_raise(op->error, EEXIST,
			  "%s: its %s is taken by segment %d (key 0x%x, %zu bytes, owner %u, attached %" PRIu64
			  " times, made by pid %d, last used by pid %d)",
			  sysv_name(op, s), what, id, (unsigned)ds->shm_perm.__key, ds->shm_segsz, ds->shm_perm.uid,
			  (uint64_t)ds->shm_nattch, ds->shm_cpid, ds->shm_lpid);
	error_hint(op->error, "`ipcs -m -i %d` shows it; end what uses it, or remove it with `ipcrm -m %d`", id, id);
	return -EEXIST;
}

static int raise_segment(struct operation *op, const struct sysv_segment *s, const char *call, int number)
{
	(void)error_raise_call(op->error, number, call, "%s of %" PRIu64 " bytes", sysv_name(op, s), s->entry->size);
	if (s->entry->hugetlb_flag && (number == ENOMEM || number == EPERM))
		error_hint(op->error, "it needs huge pages (/proc/sys/vm/nr_hugepages) and CAP_IPC_LOCK");
	else if (number == EPERM || number == EACCES)
		error_hint(op->error, "it needs CAP_IPC_OWNER, CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID");
	else if (number == ENOSPC || number == EINVAL)
		error_hint(op->error, "see kernel.shmmax, kernel.shmall and kernel.shmmni in /proc/sys/kernel");
	return -number;
}

/* Is the segment of the checkpoint still there? 1: then it is taken. 0: neither its id nor its key is. */
static int look(struct operation *op, struct sysv_segment *s)
{
	const IpcDescEntry *d = s->entry->desc;
	struct shmid_ds ds;
	int id;

	recorder_step(0, NULL, "shmctl(IPC_STAT)", "System V shared memory segment %u", d->id);
	if (shmctl((int)d->id, IPC_STAT, &ds) == 0) {
		const struct ipc_perm *p = &ds.shm_perm;

		if ((uint32_t)p->__key != d->key || p->uid != d->uid || p->gid != d->gid || p->cuid != d->cuid ||
		    p->cgid != d->cgid || ds.shm_segsz != s->entry->size || ds.shm_nattch > 0)
			return refuse_taken(op, s, "id", (int)d->id, &ds);
		return 1;
	}
	if (errno != EINVAL && errno != EIDRM)
		return raise_segment(op, s, "shmctl(IPC_STAT)", errno);
	if (d->key == 0 || (d->mode & SHM_DEST))
		return 0;
	id = shmget((key_t)d->key, 0, 0);
	if (id < 0 && errno == ENOENT)
		return 0;
	if (id < 0 || shmctl(id, IPC_STAT, &ds) < 0)
		return raise_segment(op, s, "shmget of its key", errno);
	return refuse_taken(op, s, "key", id, &ds);
}

/*
 * shmget() as the user who made the segment: nothing else sets cuid and cgid. Only this thread changes (raw system
 * calls), its capabilities stay, and the process's dumpable flag, which a change of the effective user clears, is put
 * back.
 */
static int get_as_creator(const IpcShmEntry *e, key_t key, int flags)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2], all[2];
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int dumpable = prctl(PR_GET_DUMPABLE), id = -1, number;

	if (uid == e->desc->cuid && gid == e->desc->cgid)
		return shmget(key, e->size, flags);
	if (syscall(SYS_capget, &head, caps) < 0)
		return -1;
	memcpy(all, caps, sizeof(all));
	all[0].effective = all[0].permitted;
	all[1].effective = all[1].permitted;
	if (syscall(SYS_setresgid, -1, e->desc->cgid, -1) == 0 && syscall(SYS_setresuid, -1, e->desc->cuid, -1) == 0 &&
	    syscall(SYS_capset, &head, all) == 0)
		id = shmget(key, e->size, flags);
	number = errno;
	if (syscall(SYS_setresuid, -1, uid, -1) < 0 || syscall(SYS_capset, &head, all) < 0 ||
	    syscall(SYS_setresgid, -1, gid, -1) < 0 || syscall(SYS_capset, &head, caps) < 0) {
		number = errno;
		if (id >= 0)
			shmctl(id, IPC_RMID, NULL);
		id = -1;
	}
	if (dumpable == 1)
		(void)prctl(PR_SET_DUMPABLE, 1);
	errno = number;
	return id;
}

static int ask_for_id(struct operation *op, const struct sysv_segment *s)
{
	AUTOCLOSE int fd = open(NEXT_ID, O_WRONLY | O_CLOEXEC);
	int number;

	if (fd >= 0 && dprintf(fd, "%u", s->entry->desc->id) > 0)
		return 0;
	number = errno;
	(void)error_raise_call(op->error, number, fd < 0 ? "open" : "write", "%s, " NEXT_ID, sysv_name(op, s));
	error_hint(op->error, number == ENOENT ? "the kernel is built without CONFIG_CHECKPOINT_RESTORE"
					       : "it needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN");
	return -number;
}

static int make(struct operation *op, struct sysv_segment *s)
{
	const IpcShmEntry *e = s->entry;
	key_t key = e->desc->mode & SHM_DEST ? IPC_PRIVATE : (key_t)e->desc->key;
	int flags = IPC_CREAT | IPC_EXCL | (int)(e->desc->mode & 0777) | (int)e->hugetlb_flag;

	for (int i = 0; i < TRIES; i++) {
		int r = ask_for_id(op, s), id;

		if (r < 0)
			return r;
		recorder_step(0, NULL, "shmget", "System V shared memory segment %u, %" PRIu64 " bytes", e->desc->id,
			      e->size);
		id = get_as_creator(e, key, flags);
		if (id < 0)
			return raise_segment(op, s, "shmget", errno);
		if ((uint32_t)id == e->desc->id) {
			recorder_segment_add(id);
			s->made = true;
			return 0;
		}
		/* The number was asked for, and somebody else got it. When he still has it, look() says who. */
		shmctl(id, IPC_RMID, NULL);
		r = look(op, s);
		if (r != 0)
			return r < 0 ? r
				     : error_raise(op->error, EEXIST, "%s: its id was taken by another one",
						   sysv_name(op, s));
	}
	return error_raise(op->error, EAGAIN, "%s: other segments are made all the time, it does not get its id",
			   sysv_name(op, s));
}

static int attach(struct operation *op, struct sysv_segment *s)
{
	const IpcDescEntry *d = s->entry->desc;
	struct shmid_ds ds;
	void *p;

	recorder_step(0, NULL, "shmat", "System V shared memory segment %u", d->id);
	p = shmat((int)d->id, NULL, 0);
	if (p == (void *)-1)
		return raise_segment(op, s, "shmat", errno);
	s->held = p;
	if (shmctl((int)d->id, IPC_STAT, &ds) < 0)
		return raise_segment(op, s, "shmctl(IPC_STAT)", errno);
	if (ds.shm_nattch != 1)
		return refuse_taken(op, s, "id", (int)d->id, &ds);
	ds.shm_perm.uid = d->uid;
	ds.shm_perm.gid = d->gid;
	ds.shm_perm.mode = (unsigned short)((ds.shm_perm.mode & ~0777) | (d->mode & 0777));
	if (shmctl((int)d->id, IPC_SET, &ds) < 0)
		return raise_segment(op, s, "shmctl(IPC_SET)", errno);
	if ((d->mode ^ ds.shm_perm.mode) & SHM_LOCKED &&
	    shmctl((int)d->id, d->mode & SHM_LOCKED ? SHM_LOCK : SHM_UNLOCK, NULL) < 0)
		return raise_segment(op, s, "shmctl(SHM_LOCK)", errno);
	if (!(d->mode & SHM_DEST))
		return 0;
	if (shmctl((int)d->id, IPC_RMID, NULL) < 0)
		return raise_segment(op, s, "shmctl(IPC_RMID)", errno);
	recorder_segment_remove((int)d->id);
	return 0;
}

/* All segments are there before the content of any is touched. */
int sysv_create(struct operation *op)
{
	const struct memory_plan *plan = op->memory;
	int r = 0;

	for (size_t i = 0; i < plan->n_segments && r >= 0; i++) {
		struct sysv_segment *s = plan->segments[i];

		if (s->areas == 0)
			continue;
		r = look(op, s);
		s->taken = r > 0;
		if (r == 0)
			r = make(op, s);
		if (r >= 0)
			r = attach(op, s);
	}
	for (size_t i = 0; i < plan->n_segments && r >= 0; i++) {
		const struct sysv_segment *s = plan->segments[i];

		if (s->areas > 0)
			r = shared_fill(op, s->entry->desc->id, s->held, s->span, s->taken);
		if (r >= 0 && s->taken)
			log_info(0, "%s was still there and is used again", sysv_name(op, s));
	}
	return r;
}

void sysv_detach(struct memory_plan *plan)
{
	for (size_t i = 0; i < plan->n_segments; i++) {
		if (plan->segments[i]->held)
			shmdt(plan->segments[i]->held);
		plan->segments[i]->held = NULL;
	}
}

void memory_undo(struct operation *op)
{
	struct memory_plan *plan = op->memory;

	if (!plan)
		return;
	sysv_detach(plan);
	for (size_t i = 0; i < plan->n_segments; i++) {
		struct sysv_segment *s = plan->segments[i];
		int id = (int)s->entry->desc->id;

		if (s->taken)
			log_warn(0, "%s was there before; it stays, and may have the content of the checkpoint now",
				 sysv_name(op, s));
		if (s->made && !(s->entry->desc->mode & SHM_DEST) && shmctl(id, IPC_RMID, NULL) < 0)
			log_warn(0, "%s, made by this restore, could not be removed: %s", sysv_name(op, s),
				 strerror(errno));
		recorder_segment_remove(id);
		s->made = s->taken = false;
	}
}

/* tasks ------------------------------------------------------------------------------------------------------- */

static uint64_t align_up(uint64_t at, uint64_t size)
{
	return (at + size - 1) & ~(size - 1);
}

/*
 * Of some attachments only pieces are left, and in the gaps there may be other areas. Those are attached elsewhere, the
 * pieces moved to their places, and the rest unmapped. One hole in the task's addresses has room for all of them.
 */
int sysv_place(struct operation *op, struct task *t)
{
	AUTOFREE struct span *spans = NULL;
	uint64_t total = 0, at;

	for (struct sysv_attach *a = t->mm_plan->attached; a; a = a->next) {
		a->place = a->base;
		if (a->covered == a->segment->span)
			continue;
		if (a->segment->span + a->segment->page_size > (1ull << 56) - total)
			total = 1ull << 56;
		else
			total += a->segment->span + a->segment->page_size;
	}
	if (total == 0)
		return 0;
	spans = calloc(t->mm->n_vmas + 1, sizeof(*spans));
	if (!spans)
		return error_raise(op->error, ENOMEM, "no memory left to look for free addresses");
	for (size_t i = 0; i < t->mm->n_vmas; i++)
		spans[i] = (struct span){ t->mm->vmas[i]->start, t->mm->vmas[i]->end };
	spans[t->mm->n_vmas] = (struct span){ op->island, op->island + AREA_SIZE };
	at = span_hole(spans, t->mm->n_vmas + 1, total, PAGE_BYTES, 1ull << 20, (1ull << 47) - PAGE_BYTES);
	if (at == 0)
		return error_raise(op->error, ENOMEM,
				   "pid %d (%s): its System V segments, attached in part, find no free addresses",
				   t->pid, t->comm);
	for (struct sysv_attach *a = t->mm_plan->attached; a; a = a->next) {
		if (a->covered == a->segment->span)
			continue;
		a->place = align_up(at, a->segment->page_size);
		at = a->place + a->segment->span;
	}
	return 0;
}
