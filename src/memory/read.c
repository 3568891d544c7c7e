/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/plan.h"
#include "watch/recorder.h"

/*
 * restore: reads mm-*.img and pagemap-*.img. Everything in them is hostile; after memory_read() the areas ascend, lie
 * in user addresses and refer to files and shared memory that exist, and every run of pages lies in one area and in its
 * pages file. Work is bounded by the sizes of the image files.
 */

/* The pages of one pagemap image. The entries live only here: a large checkpoint has millions. */
int read_pagemap(struct operation *op, enum image_type type, uint32_t id, struct page_runs *ret, int *ret_fd,
		 uint64_t *ret_size)
{
	struct arena scratch = { 0 };
	struct image_reader rd;
	PagemapEntry **entries = NULL;
	size_t n = 0, room = 0, bad = 0;
	ProtobufCMessage *m = NULL;
	const char *why = NULL;
	AUTOCLOSE int fd = -1;
	uint64_t size = 0;
	int r = image_reader_open(&rd, &op->images, type, id, false, &scratch, op->error);

	if (r < 0)
		goto out;
	r = image_read(&rd, &pagemap_head__descriptor, &m, op->error);
	if (r == 0)
		r = error_raise(op->error, EBADMSG, "%s: it has no head", rd.name);
	if (r > 0)
		r = image_pages_open(&op->images, ((PagemapHead *)m)->pages_id, &fd, &size, op->error);
	while (r >= 0 && (r = image_read(&rd, &pagemap_entry__descriptor, &m, op->error)) > 0) {
		if (n == room) {
			PagemapEntry **grown = reallocarray(entries, room ? room * 2 : 256, sizeof(*entries));

			if (!grown) {
				r = error_raise(op->error, ENOMEM, "%s: no memory left to read it", rd.name);
				break;
			}
			entries = grown;
			room = room ? room * 2 : 256;
		}
		entries[n++] = (PagemapEntry *)m;
	}
	if (r >= 0 && runs_check(entries, n, size, ret, &bad, &why) < 0)
		r = error_raise(op->error, EBADMSG, "%s: entry %zu (address %#" PRIx64 "): %s", rd.name, bad,
				entries[bad]->vaddr, why);
	if (r >= 0) {
		*ret_fd = TAKE_FD(fd);
		*ret_size = size;
		r = 0;
	}
out:
	free(entries);
	arena_release(&scratch);
	return r;
}

/* 47 or 56 bits of user addresses: the second only with five-level page tables, which a hint above 47 bits asks for. */
static uint64_t address_limit(void)
{
	const uint64_t usual = (1ull << 47) - PAGE_BYTES;
	void *p = mmap((void *)(1ull << 50), PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool five = p != MAP_FAILED && (uintptr_t)p > usual;

	if (p != MAP_FAILED)
		munmap(p, PAGE_BYTES);
	return five ? (1ull << 56) - PAGE_BYTES : usual;
}

static int link_area(struct operation *op, struct task *t, size_t i)
{
	const VmaEntry *v = t->mm->vmas[i];
	struct mm_plan *plan = t->mm_plan;
	size_t *kernels = NULL;

	if (v->status & AREA_VDSO)
		kernels = &plan->vdso_area;
	else if (v->status & AREA_VVAR)
		kernels = &plan->vvar_area;
	if (kernels && *kernels != SIZE_MAX)
		return error_raise(op->error, EBADMSG, "mm-%d.img: more than one %s area", t->pid,
				   v->status & AREA_VDSO ? "vdso" : "vvar");
	if (kernels)
		*kernels = i;
	if (v->status & AREA_SYSVIPC)
		return sysv_link_area(op, t, i);
	if (v->status & AREA_ANON_SHARED)
		return shared_for_area(op, t, NULL, v, &plan->links[i].shared);
	if (!(v->status & (AREA_FILE_PRIVATE | AREA_FILE_SHARED | AREA_SOCKET)))
		return 0;
	plan->links[i].file = files_find(op, (uint32_t)v->shmid);
	if (!plan->links[i].file ||
	    ((v->status & AREA_SOCKET) && plan->links[i].file->entry->type != FD_TYPES__PACKETSK))
		return error_raise(op->error, EBADMSG,
				   "mm-%d.img: area %" PRIx64 "-%" PRIx64 " maps file %" PRIu64
				   ", which is not in files.img",
				   t->pid, v->start, v->end, v->shmid);
	return 0;
}

/* CRIU of old has no entries of its own for vvar_vclock's page; older dumps may hold vvar in pieces. */
static int check_mm(struct operation *op, struct task *t)
{
	MmEntry *mm = t->mm;
	const char *why;
	size_t bad;

	if (mm->n_mm_saved_auxv > 64)
		return error_raise(op->error, EBADMSG, "mm-%d.img: %zu auxiliary values are more than a task has",
				   t->pid, mm->n_mm_saved_auxv);
	if (areas_check(mm->vmas, mm->n_vmas, address_limit(), &bad, &why) < 0)
		return error_raise(op->error, EBADMSG, "mm-%d.img: area %" PRIx64 "-%" PRIx64 ": %s", t->pid,
				   mm->vmas[bad]->start, mm->vmas[bad]->end, why);
	why = guards_check(mm);
	if (why)
		return error_raise(op->error, EBADMSG, "mm-%d.img: %s", t->pid, why);
	for (size_t i = 0; i < mm->n_vmas; i++) {
		int r = link_area(op, t, i);

		if (r < 0)
			return r;
	}
	return files_find_path(op, t, mm->exe_file_id, "executable", &t->exe);
}

/* The vdso's pages are there to compare, not to be written into the task. */
static int take_vdso(struct operation *op, struct task *t)
{
	struct mm_plan *p = t->mm_plan;
	const VmaEntry *v = p->vdso_area == SIZE_MAX ? NULL : t->mm->vmas[p->vdso_area];
	uint64_t len = v ? v->end - v->start : 0;
	uint64_t found = 0;
	size_t kept = 0;
	uint8_t *buf;
	ssize_t n;

	if (!v)
		return 0;
	if (len > 64 * PAGE_BYTES)
		return error_raise(op->error, EBADMSG, "mm-%d.img: a vdso of %" PRIu64 " bytes", t->pid, len);
	buf = arena_alloc(&op->arena, len);
	if (!buf)
		return error_raise(op->error, ENOMEM, "pid %d: no memory left for its vdso", t->pid);
	for (size_t i = 0; i < p->runs.n; i++) {
		const struct page_run *run = &p->runs.runs[i];

		if (run->start < v->start || run->start >= v->end) {
			p->runs.runs[kept++] = *run;
			continue;
		}
		n = pread(p->pages_fd, buf + (run->start - v->start), run->end - run->start, (off_t)run->file_pos);
		if (n < 0)
			return error_raise_call(op->error, errno, "pread", "the pages of pid %d", t->pid);
		if (n != (ssize_t)(run->end - run->start))
			return error_raise(op->error, EBADMSG, "the pages of pid %d cannot be read: truncated", t->pid);
		found += run->end - run->start;
	}
	p->runs.n = kept;
	p->runs.bytes -= found;
	if (found && found != len)
		return error_raise(op->error, EBADMSG, "mm-%d.img: a part of its vdso has no pages", t->pid);
	if (found)
		p->vdso = buf;
	return 0;
}

static int read_task(struct operation *op, struct task *t)
{
	struct image_reader rd;
	ProtobufCMessage *m = NULL;
	const char *why;
	uint64_t bad;
	int r;

	recorder_step(t->pid, t->comm, "read", "mm-%d.img", t->pid);
	r = image_reader_open(&rd, &op->images, IMAGE_MM, (uint32_t)t->pid, false, &op->arena, op->error);
	if (r >= 0)
		r = image_read(&rd, &mm_entry__descriptor, &m, op->error);
	if (r == 0)
		r = error_raise(op->error, EBADMSG, "%s: it is empty", rd.name);
	if (r < 0)
		return r;
	t->mm = (MmEntry *)m;
	t->mm_plan = arena_alloc(&op->arena, sizeof(*t->mm_plan));
	if (t->mm_plan)
		t->mm_plan->links = arena_array(&op->arena, t->mm->n_vmas + 1, sizeof(*t->mm_plan->links));
	if (!t->mm_plan || !t->mm_plan->links)
		return error_raise(op->error, ENOMEM, "%s: no memory left to read it", rd.name);
	t->mm_plan->pages_fd = -1;
	t->mm_plan->vdso_area = t->mm_plan->vvar_area = SIZE_MAX;
	r = check_mm(op, t);
	if (r < 0)
		return r;
	r = read_pagemap(op, IMAGE_PAGEMAP, (uint32_t)t->pid, &t->mm_plan->runs, &t->mm_plan->pages_fd,
			 &t->mm_plan->pages_size);
	if (r < 0)
		return r;
	if (runs_fit_areas(&t->mm_plan->runs, t->mm->vmas, t->mm->n_vmas, &bad, &why) < 0)
		return error_raise(op->error, EBADMSG, "pagemap-%d.img: the page at %#" PRIx64 ": %s", t->pid, bad,
				   why);
	r = take_vdso(op, t);
	if (r >= 0)
		r = vdso_check(op, t);
	return r;
}

int memory_read(struct operation *op)
{
	struct memory_plan *plan;
	uint64_t total = 0;
	int r = memory_plan_get(op, &plan);

	for (size_t i = 0; i < op->tree.n_tasks && r >= 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->state == TASK_ZOMBIE || t->state == TASK_GONE || (t->mm_owner && t->mm_owner != t))
			continue;
		r = read_task(op, t);
		if (r >= 0)
			total += t->mm_plan->runs.bytes;
	}
	if (r >= 0 && recorder)
		atomic_store(&recorder->bytes_total, total);
	return r;
}

/* The lowest hole: programs and libraries lie high, so a puppet's area rarely comes near anything that grows. */
int memory_find_island(struct operation *op, size_t size, uint64_t *ret)
{
	const uint64_t margin = 1ull << 20, low = 1ull << 20;
	struct arena scratch = { 0 };
	struct proc_map *own = NULL;
	struct span *spans = NULL;
	size_t n_own = 0, n = 0;
	AUTOCLOSE int dirfd = procfs_open(getpid());
	int r = dirfd < 0 ? dirfd : read_proc_maps(dirfd, false, &scratch, &own, &n_own);

	size = (size + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	if (r < 0) {
		r = error_raise_call(op->error, -r, "read /proc/self/maps", "firn's own areas");
		goto out;
	}
	for (size_t i = 0; i < op->tree.n_tasks; i++)
		n += op->tree.tasks[i]->mm_plan ? op->tree.tasks[i]->mm->n_vmas : 0;
	spans = calloc(n + n_own + 1, sizeof(*spans));
	if (!spans) {
		r = error_raise(op->error, ENOMEM, "no memory left to look for a free address");
		goto out;
	}
	n = 0;
	for (size_t i = 0; i < n_own; i++)
		spans[n++] = (struct span){ own[i].start, own[i].end };
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *t = op->tree.tasks[i];

		for (size_t k = 0; t->mm_plan && k < t->mm->n_vmas; k++)
			spans[n++] = (struct span){ t->mm->vmas[k]->start, t->mm->vmas[k]->end };
	}
	*ret = span_hole(spans, n, size, margin, low, (1ull << 47) - PAGE_BYTES);
	r = *ret ? 0
		 : error_raise(op->error, ENOMEM, "no %zu bytes of addresses are free in every task of the checkpoint",
			       size);
out:
	free(spans);
	arena_release(&scratch);
	return r;
}
