/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <syscall.h>
#include <unistd.h>

#include "memory/plan.h"
#include "tree/refusals.h"
#include "watch/recorder.h"

/* dump: the areas and fields of an address space, seen from outside. */

static int read_areas(struct operation *op, struct task *t, struct proc_map **ret, size_t *ret_n)
{
	int r;

	recorder_step(t->pid, t->comm, "read", "/proc/%d/smaps", t->pid);
	r = read_proc_maps(t->proc_fd, true, &op->arena, ret, ret_n);
	if (r == -ESRCH || r == -ENOENT)
		return error_raise(op->error, ESRCH, "pid %d (%s) ended while its areas were read", t->pid, t->comm);
	if (r < 0)
		return error_raise_call(op->error, -r, "read", "pid %d (%s), /proc/%d/smaps", t->pid, t->comm, t->pid);
	return 0;
}

static int refuse_area(struct operation *op, struct task *t, const struct proc_map *m, const char *why)
{
	(void)error_raise(op->error, EOPNOTSUPP,
			  "pid %d (%s), area %" PRIx64 "-%" PRIx64 "%s%s%s: %s, which firn cannot carry", t->pid,
			  t->comm, m->start, m->end, m->path[0] ? " (" : "", m->path, m->path[0] ? ")" : "", why);
	error_hint(op->error, "let the task unmap it before the dump");
	return -EOPNOTSUPP;
}

/* The areas of one file mostly lie together. */
static bool was_asked(const struct proc_map *maps, size_t i)
{
	for (size_t k = i; k > 0 && i - k < 32; k--)
		if (maps[k - 1].inode == maps[i].inode && strcmp(maps[k - 1].path, maps[i].path) == 0)
			return true;
	return false;
}

/*
 * Before the freeze: does every mapped file answer? One on a dead server holds up the look over the running tree then, and not
 * the frozen tree. What cannot be asked is asked again when it stands still.
 */
static void ask_mapped_files(const struct task *t, const struct proc_map *maps, size_t n)
{
	for (size_t i = 0; i < n && !recorder_cancelled(); i++) {
		const struct proc_map *m = &maps[i];
		struct statx stx;
		char name[64];

		if (!m->inode || m->path[0] != '/' || was_asked(maps, i))
			continue;
		recorder_step(t->pid, t->comm, "statx", "mapping %" PRIx64 " → %s", m->start, m->path);
		(void)snprintf(name, sizeof(name), "map_files/%" PRIx64 "-%" PRIx64, m->start, m->end);
		/* The type alone: for times and size NFS would write back what is dirty first. */
		(void)statx(t->proc_fd, name, AT_STATX_FORCE_SYNC, STATX_TYPE, &stx);
	}
}

int memory_check(struct operation *op, struct task *t)
{
	struct proc_map *maps = t->maps;
	size_t n = t->n_maps;
	struct memory_plan *plan;
	int r;

	if (t->state == TASK_ZOMBIE || t->state == TASK_GONE || (t->mm_owner && t->mm_owner != t))
		return 0;
	r = memory_plan_get(op, &plan);
	if (r >= 0 && !maps) {
		r = read_areas(op, t, &maps, &n);
		if (r == 0)
			ask_mapped_files(t, maps, n);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		enum area_sort sort;
		const char *why;

		if (area_classify(&maps[i], &plan->host, &sort, &why) == 0)
			continue;
		r = refusal_note(op, refuse_area(op, t, &maps[i], why));
		if (r < 0)
			return r;
	}
	return t->mm_plan ? memory_link_files(op, t) : 0;
}

/* The puppet's own pages are no part of the task. Areas are collected before they are made; this is for a second dump
 * of a task whose first one left them. */
static bool is_puppet_area(const struct task *t, const struct proc_map *m)
{
	const struct puppet_area *a = t->n_threads > 0 ? t->threads[0].puppet.area : NULL;

	if (!a)
		return false;
	return (m->start <= a->code && a->code < m->end) || (m->start <= a->scratch && a->scratch < m->end);
}

/* "[anon:NAME]" of private and "[anon_shmem:NAME]" of shared memory. */
static int add_name(struct operation *op, const struct proc_map *m, VmaEntry *v)
{
	static const char *const prefixes[] = { "[anon:", "[anon_shmem:" };

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t skip = strlen(prefixes[i]), len = strlen(m->path);

		if (strncmp(m->path, prefixes[i], skip) != 0 || m->path[len - 1] != ']')
			continue;
		v->firn_name = arena_printf(&op->arena, "%.*s", (int)(len - skip - 1), m->path + skip);
		return v->firn_name ? 0 : -ENOMEM;
	}
	return 0;
}

static int add_area(struct operation *op, struct task *t, const struct proc_map *m, VmaEntry *v, struct area_link *l)
{
	enum area_sort sort;
	const char *why;
	int r = 0;

	if (area_classify(m, &op->memory->host, &sort, &why) < 0)
		return refuse_area(op, t, m, why);
	vma_entry__init(v);
	area_to_entry(m, sort, v);
	l->map = m;
	r = add_name(op, m, v);
	if (r < 0)
		return error_raise(op->error, ENOMEM, "pid %d (%s): no memory for the names of its areas", t->pid,
				   t->comm);
	if (sort == SORT_SHARED_ANON) {
		r = shared_for_area(op, t, m, v, &l->shared);
		if (r >= 0)
			v->shmid = l->shared->id;
	} else if (sort == SORT_SYSV) {
		r = sysv_add_area(op, t, m, v);
	}
	return r < 0 ? r : 0;
}

static int add_areas(struct operation *op, struct task *t)
{
	VmaEntry *entries = arena_array(&op->arena, t->n_maps + 1, sizeof(*entries));
	MmEntry *mm = t->mm;

	mm->vmas = arena_array(&op->arena, t->n_maps + 1, sizeof(*mm->vmas));
	t->mm_plan->links = arena_array(&op->arena, t->n_maps + 1, sizeof(*t->mm_plan->links));
	if (!entries || !mm->vmas || !t->mm_plan->links)
		return error_raise(op->error, ENOMEM, "pid %d (%s): no memory left for its %zu areas", t->pid, t->comm,
				   t->n_maps);
	for (size_t i = 0; i < t->n_maps; i++) {
		VmaEntry *v = &entries[mm->n_vmas], *last = mm->n_vmas ? v - 1 : NULL;
		int r;

		if (is_puppet_area(t, &t->maps[i]))
			continue;
		r = add_area(op, t, &t->maps[i], v, &t->mm_plan->links[mm->n_vmas]);
		if (r == -EOPNOTSUPP && op->refusals) {
			r = refusal_note(op, r);
			if (r == 0)
				continue;
		}
		if (r < 0)
			return r;
		/* [vvar] and [vvar_vclock] (split since Linux 6.13) are one area in the images. */
		if (last && (v->status & last->status & AREA_VVAR) && last->end == v->start) {
			last->end = v->end;
			continue;
		}
		mm->vmas[mm->n_vmas++] = v;
	}
	return 0;
}

int memory_link_files(struct operation *op, struct task *t)
{
	MmEntry *mm = t->mm;

	for (size_t i = 0; op->files && i < mm->n_vmas; i++) {
		struct area_link *l = &t->mm_plan->links[i];
		VmaEntry *v = mm->vmas[i];
		int r;

		if (!(v->status & (AREA_FILE_PRIVATE | AREA_FILE_SHARED | AREA_SOCKET)) || l->file)
			continue;
		if (v->status & AREA_SOCKET)
			r = files_find_ring(op, t, l->map, &l->file);
		else
			r = files_add_mapping(op, t, l->map, v->fdflags != 0, &l->file);
		if (r < 0)
			return r;
		v->shmid = l->file->id;
	}
	return 0;
}

static int add_auxv(struct operation *op, struct task *t)
{
	uint64_t *auxv;
	size_t n;
	int r = read_proc_auxv(t->proc_fd, &op->arena, &auxv, &n);

	if (r < 0)
		return error_raise_call(op->error, -r, "read", "pid %d (%s), /proc/%d/auxv", t->pid, t->comm, t->pid);
	/* The images hold it without the ending AT_NULL. */
	while (n >= 2 && auxv[n - 2] == AT_NULL)
		n -= 2;
	t->mm->mm_saved_auxv = auxv;
	t->mm->n_mm_saved_auxv = n;
	return 0;
}

static int add_fields(struct operation *op, struct task *t)
{
	MmEntry *mm = t->mm;
	struct proc_stat s;
	int r = read_proc_stat(t->proc_fd, &s);

	if (r < 0)
		return error_raise_call(op->error, -r, "read", "pid %d (%s), /proc/%d/stat", t->pid, t->comm, t->pid);
	mm->mm_start_code = s.start_code;
	mm->mm_end_code = s.end_code;
	mm->mm_start_data = s.start_data;
	mm->mm_end_data = s.end_data;
	mm->mm_start_stack = s.start_stack;
	mm->mm_start_brk = s.start_brk;
	mm->mm_arg_start = s.arg_start;
	mm->mm_arg_end = s.arg_end;
	mm->mm_env_start = s.env_start;
	mm->mm_env_end = s.env_end;
	/* The end of the heap until the task itself is asked (memory_ask_brk). */
	mm->mm_brk = s.start_brk;
	for (size_t i = 0; i < mm->n_vmas; i++)
		if ((mm->vmas[i]->status & AREA_HEAP) && mm->vmas[i]->end > mm->mm_brk)
			mm->mm_brk = mm->vmas[i]->end;
	return 0;
}

int memory_collect(struct operation *op, struct task *t)
{
	struct memory_plan *plan;
	int r;

	if (t->state == TASK_ZOMBIE || t->state == TASK_GONE || (t->mm_owner && t->mm_owner != t))
		return 0;
	r = memory_plan_get(op, &plan);
	if (r >= 0)
		r = read_areas(op, t, &t->maps, &t->n_maps);
	if (r < 0)
		return r;
	t->mm = arena_alloc(&op->arena, sizeof(*t->mm));
	t->mm_plan = arena_alloc(&op->arena, sizeof(*t->mm_plan));
	if (!t->mm || !t->mm_plan)
		return error_raise(op->error, ENOMEM, "pid %d (%s): no memory left for its areas", t->pid, t->comm);
	mm_entry__init(t->mm);
	t->mm_plan->pages_fd = -1;
	r = add_areas(op, t);
	if (r >= 0)
		r = memory_link_files(op, t);
	if (r >= 0)
		r = aio_add(op, t);
	if (r >= 0)
		r = add_auxv(op, t);
	if (r >= 0)
		r = add_fields(op, t);
	return r;
}

size_t memory_ask_brk(struct batch *b)
{
	return batch_call(b, 0, SYS_brk, 0);
}

int memory_answer_brk(struct operation *op, struct task *t, const struct batch *b, size_t call)
{
	uint64_t brk = (uint64_t)batch_result(b, call);

	if (!t->mm)
		return 0;
	if (brk < t->mm->mm_start_brk)
		return error_raise(op->error, EINVAL,
				   "pid %d (%s): its brk %#" PRIx64 " lies below its start %#" PRIx64, t->pid, t->comm,
				   brk, t->mm->mm_start_brk);
	t->mm->mm_brk = brk;
	return 0;
}
