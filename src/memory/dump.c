/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/features.h"
#include "memory/plan.h"
#include "tree/refusals.h"
#include "watch/recorder.h"

/* dump: which pages there are, their content, and the images that tell of them. */

static int scan_failed(struct operation *op, struct task *t, const VmaEntry *v, const struct area_link *l, int r)
{
	if (r == -ESRCH)
		return error_raise(op->error, ESRCH, "pid %d (%s) ended while its pages were looked for", t->pid,
				   t->comm);
	return error_raise_call(op->error, -r, "ioctl(PAGEMAP_SCAN)", "pid %d (%s), %s", t->pid, t->comm,
				area_name(op, v, l));
}

static int scan_area(struct operation *op, struct task *t, size_t i, int pagemap_fd)
{
	const VmaEntry *v = t->mm->vmas[i];
	const struct area_link *l = &t->mm_plan->links[i];
	bool use_scan = op->features->pagemap_scan;
	int r;

	if (!area_has_private_pages(v)) {
		if (!use_scan || !(v->status & (AREA_FILE_SHARED | AREA_ANON_SHARED)) || (v->flags & MAP_HUGETLB))
			return 0;
		r = scan_guards(pagemap_fd, v->start, v->end, &t->mm_plan->guards);
		return r < 0 ? scan_failed(op, t, v, l, r) : 0;
	}
	/* The kernel may take its content at any time. What the vdso's getrandom() keeps there must not come back twice. */
	if (v->firn_droppable)
		return 0;
	/* CRIU compares the vdso's content with the one that it finds, so it is saved although it is the kernel's. */
	if (v->status & (AREA_VDSO | AREA_AIORING))
		r = page_runs_add(&t->mm_plan->runs, v->start, v->end, true);
	/* Reading pagemap entry by entry takes long on large reservations, in which there is nothing. */
	else if (!use_scan && l->map->rss == 0 && l->map->swap == 0 && !(l->map->vm_flags & (VMFLAG_HT | VMFLAG_GU)))
		r = 0;
	else
		r = scan_pages(pagemap_fd, use_scan, op->memory->host.zero_pfn, v->start, v->end, &t->mm_plan->runs,
			       &t->mm_plan->guards);
	return r < 0 ? scan_failed(op, t, v, l, r) : 0;
}

int scan_task(struct operation *op, struct task *t)
{
	AUTOCLOSE int fd = -1;
	int r = 0;

	recorder_step(t->pid, t->comm, "ioctl(PAGEMAP_SCAN)", "/proc/%d/pagemap", t->pid);
	fd = openat(t->proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_raise_call(op->error, errno, "open", "pid %d (%s), /proc/%d/pagemap", t->pid, t->comm,
					t->pid);
	page_runs_release(&t->mm_plan->runs);
	page_runs_release(&t->mm_plan->guards);
	for (size_t i = 0; i < t->mm->n_vmas && r >= 0; i++)
		r = refusal_note(op, scan_area(op, t, i, fd));
	return r;
}

/* A page's worth of entry per message: a run may be longer than 32 bits can count. */
#define ENTRY_PAGES_MAX (1u << 30)

int write_pagemap(struct operation *op, enum image_type type, uint32_t id, uint32_t pages_id,
		  const struct page_runs *runs)
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	PagemapEntry entry = PAGEMAP_ENTRY__INIT;
	struct image_writer w = { 0 };
	int r = image_writer_open(&w, &op->images, type, id, op->error);

	head.pages_id = pages_id;
	if (r >= 0)
		r = image_write(&w, &head.base, op->error);
	entry.has_flags = true;
	entry.flags = PAGES_PRESENT;
	for (size_t i = 0; i < runs->n && r >= 0; i++) {
		uint64_t at = runs->runs[i].start, pages = (runs->runs[i].end - at) / PAGE_BYTES;

		while (pages > 0 && r >= 0) {
			entry.vaddr = at;
			entry.nr_pages = pages < ENTRY_PAGES_MAX ? (uint32_t)pages : ENTRY_PAGES_MAX;
			r = image_write(&w, &entry.base, op->error);
			at += entry.nr_pages * PAGE_BYTES;
			pages -= entry.nr_pages;
		}
	}
	if (r >= 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

static int write_mm(struct operation *op, const struct task *t, MmEntry *mm)
{
	const struct page_runs *guards = &t->mm_owner->mm_plan->guards; /* who shares it has no plan of its own */
	struct image_writer w = { 0 };
	int r;

	mm->n_firn_guards = 0;
	if (t->exe)
		mm->exe_file_id = t->exe->id;
	mm->firn_guards = arena_array(&op->arena, 2 * guards->n + 1, sizeof(uint64_t));
	if (!mm->firn_guards)
		return error_raise(op->error, ENOMEM, "pid %d (%s): no memory for its guard regions", t->pid, t->comm);
	for (size_t i = 0; i < guards->n; i++) {
		mm->firn_guards[mm->n_firn_guards++] = guards->runs[i].start;
		mm->firn_guards[mm->n_firn_guards++] = guards->runs[i].end;
	}
	r = image_writer_open(&w, &op->images, IMAGE_MM, (uint32_t)t->pid, op->error);
	if (r >= 0)
		r = image_write(&w, &mm->base, op->error);
	if (r >= 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

/*
 * The vdso is the same in every task of a kernel, but for what was written into it through ptrace. Where a task's differs
 * from firn's only in bytes that are zero in firn's (the padding behind the ELF file), firn's is the pristine one.
 */
static int pristine_vdso(struct operation *op, struct task *t, int pages_fd)
{
	const struct memory_host *h = &op->memory->host;
	const struct page_runs *runs = &t->mm_plan->runs;
	uint8_t theirs[64 * PAGE_BYTES];
	const uint8_t *ours = (const uint8_t *)(uintptr_t)h->vdso_start;
	uint64_t len = h->vdso_end - h->vdso_start, pos = 0;
	const VmaEntry *v = NULL;

	for (size_t i = 0; i < t->mm->n_vmas; i++)
		if (t->mm->vmas[i]->status & AREA_VDSO)
			v = t->mm->vmas[i];
	if (!v || v->end - v->start != len || len > sizeof(theirs))
		return 0;
	for (size_t i = 0; i < runs->n; i++)
		if (runs->runs[i].start <= v->start && v->start < runs->runs[i].end)
			pos = runs->runs[i].file_pos + (v->start - runs->runs[i].start);
	if (pread(pages_fd, theirs, len, (off_t)pos) != (ssize_t)len)
		return error_raise(op->error, EIO, "%s: the pages of pid %d (%s) cannot be read back", op->images.path,
				   t->pid, t->comm);
	for (uint64_t i = 0; i < len; i++)
		if (theirs[i] != ours[i] && ours[i] != 0)
			return 0;
	if (memcmp(theirs, ours, len) == 0)
		return 0;
	if (pwrite(pages_fd, ours, len, (off_t)pos) != (ssize_t)len)
		return error_raise_call(op->error, errno, "pwrite", "%s: the pages of pid %d (%s)", op->images.path,
					t->pid, t->comm);
	return 0;
}

static int dump_task(struct operation *op, struct task *t)
{
	uint32_t pages_id = op->next_pages_id++;
	AUTOCLOSE int fd = -1;
	int r = image_pages_create(&op->images, pages_id, &fd, op->error);

	if (r >= 0)
		r = copy_pages(op, t, &t->mm_plan->runs, pages_id, fd);
	if (r >= 0)
		r = pristine_vdso(op, t, fd);
	if (r >= 0)
		r = image_pages_finish(&op->images, pages_id, TAKE_FD(fd), t->mm_plan->runs.bytes, op->error);
	if (r >= 0)
		r = write_pagemap(op, IMAGE_PAGEMAP, (uint32_t)t->pid, pages_id, &t->mm_plan->runs);
	if (r >= 0)
		r = write_mm(op, t, t->mm);
	if (r >= 0)
		log_info(t->pid, "memory: %zu areas, %" PRIu64 " pages in %zu runs", t->mm->n_vmas,
			 t->mm_plan->runs.bytes / PAGE_BYTES, t->mm_plan->runs.n);
	page_runs_release(&t->mm_plan->runs);
	return r;
}

int memory_dump(struct operation *op)
{
	struct memory_plan *plan;
	uint64_t total = 0;
	int r = memory_plan_get(op, &plan);

	if (r < 0)
		return r;
	for (size_t i = 0; i < op->tree.n_tasks && r >= 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (!t->mm_plan)
			continue;
		r = memory_link_files(op, t);
		if (r >= 0)
			r = scan_task(op, t);
		total += t->mm_plan->runs.bytes;
	}
	for (struct shared_object *s = plan->shared; s && r >= 0; s = s->next) {
		r = shared_scan(op, s);
		total += s->runs.bytes;
	}
	if (r >= 0 && recorder)
		atomic_store(&recorder->bytes_total, total);
	for (struct shared_object *s = plan->shared; s && r >= 0; s = s->next)
		r = shared_dump(op, s);
	plan->shared_dumped = r >= 0;
	if (r >= 0)
		r = sysv_write(op);
	for (size_t i = 0; i < op->tree.n_tasks && r >= 0; i++)
		if (op->tree.tasks[i]->mm_plan)
			r = dump_task(op, op->tree.tasks[i]);
	/* Who shares an address space has a copy of its areas: readers look for a file of each task. */
	for (size_t i = 0; i < op->tree.n_tasks && r >= 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->mm_owner && t->mm_owner != t)
			r = write_mm(op, t, t->mm_owner->mm);
	}
	return r;
}
