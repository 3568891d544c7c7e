/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memory/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What one operation knows of memory as a whole, and of the host it runs on. */

static uint64_t frame_of(int pagemap_fd, const volatile uint8_t *page)
{
	uint64_t entry = 0;
	off_t at = (off_t)((uintptr_t)page / PAGE_BYTES * sizeof(entry));

	if (pread(pagemap_fd, &entry, sizeof(entry), at) != sizeof(entry))
		return 0;
	return entry & ((1ull << 55) - 1);
}

/*
 * A read fault in untouched memory maps the shared zero page, so the frame of such a page is the zero page's. Not on
 * every kernel: some have no zero page there and give an ordinary zeroed page, whose frame somebody else may have a
 * moment later. What two pages have in common is the zero page; else the answer is 0, not known.
 */
static int learn_zero_pfn(uint64_t *ret)
{
	AUTOCLOSE int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	volatile uint8_t *pages;
	uint64_t frame;

	if (fd < 0)
		return -errno;
	pages = mmap(NULL, 2 * PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return -errno;
	(void)pages[0];
	(void)pages[PAGE_BYTES];
	frame = frame_of(fd, pages);
	*ret = frame == frame_of(fd, pages + PAGE_BYTES) ? frame : 0;
	munmap((void *)(uintptr_t)pages, 2 * PAGE_BYTES);
	return 0;
}

static void learn_map(struct memory_host *h, const struct proc_map *m, uint64_t shared)
{
	if (m->start <= shared && shared < m->end) {
		h->shmem_major = m->dev_major;
		h->shmem_minor = m->dev_minor;
	} else if (strcmp(m->path, "[vdso]") == 0) {
		h->vdso_start = m->start;
		h->vdso_end = m->end;
	} else if (strncmp(m->path, "[vvar", 5) == 0) {
		if (h->vvar_end != m->start)
			h->vvar_start = m->start;
		h->vvar_end = m->end;
	}
}

int memory_host_learn(struct memory_host *h)
{
	struct arena a = { 0 };
	struct proc_map *maps;
	size_t n;
	int dirfd = procfs_open(getpid());
	void *shared = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int r = 0;

	if (dirfd < 0)
		r = dirfd;
	else if (shared == MAP_FAILED)
		r = -ENOMEM;
	else
		r = read_proc_maps(dirfd, false, &a, &maps, &n);
	for (size_t i = 0; r == 0 && i < n; i++)
		learn_map(h, &maps[i], (uintptr_t)shared);
	(void)learn_zero_pfn(&h->zero_pfn); /* without it zero pages are saved as content */
	if (shared != MAP_FAILED)
		munmap(shared, PAGE_BYTES);
	if (dirfd >= 0)
		close(dirfd);
	arena_release(&a);
	return r;
}

int memory_plan_get(struct operation *op, struct memory_plan **ret)
{
	int r;

	if (!op->memory) {
		struct memory_plan *plan = arena_alloc(&op->arena, sizeof(*plan));

		if (!plan)
			return error_raise(op->error, ENOMEM, "no memory left for the plan of shared memory");
		plan->next_shmid = 1;
		r = memory_host_learn(&plan->host);
		if (r < 0)
			return error_raise_call(op->error, -r, "read /proc/self/maps", "firn's own areas");
		op->memory = plan;
	}
	if (op->next_pages_id == 0)
		op->next_pages_id = 1;
	*ret = op->memory;
	return 0;
}

const char *area_name(struct operation *op, const VmaEntry *v, const struct area_link *l)
{
	const char *path = l && l->map ? l->map->path : l && l->file ? l->file->describe : NULL;
	const char *name;

	if (l && l->attach)
		path = sysv_name(op, l->attach->segment);
	name = arena_printf(&op->arena, "area %" PRIx64 "-%" PRIx64 "%s%s%s", v->start, v->end,
			    path && path[0] ? " (" : "", path ? path : "", path && path[0] ? ")" : "");

	return name ? name : "an area";
}

void memory_release(struct operation *op)
{
	struct memory_plan *plan = op->memory;

	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct mm_plan *mp = op->tree.tasks[i]->mm_plan;

		if (!mp)
			continue;
		page_runs_release(&mp->runs);
		page_runs_release(&mp->guards);
		if (mp->pages_fd >= 0)
			close(mp->pages_fd);
		mp->pages_fd = -1;
	}
	if (!plan)
		return;
	copy_release(plan);
	sysv_detach(plan);
	for (struct shared_object *s = plan->shared; s; s = s->next) {
		page_runs_release(&s->runs);
		if (s->fd >= 0)
			close(s->fd);
		s->fd = -1;
	}
}
