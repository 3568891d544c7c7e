/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "memory/plan.h"
#include "watch/recorder.h"

/*
 * Shared memory objects: shared anonymous memory (an inode of the kernel's own tmpfs that no path leads to, shown as
 * "/dev/zero (deleted)") and the content of memfds. One inode is saved once, whoever maps it.
 *
 * An inode without a path is opened through /proc/PID/map_files (CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN). A restore
 * makes the inode the same way: firn maps shared anonymous memory itself and opens its own map_files entry, so that
 * the restored area is again "/dev/zero (deleted)" and no memfd.
 */

static struct shared_object *shared_add(struct operation *op, struct memory_plan *plan, uint32_t id)
{
	struct shared_object *s = arena_alloc(&op->arena, sizeof(*s)), **last = &plan->shared;

	if (!s)
		return NULL;
	s->id = id;
	s->fd = -1;
	while (*last)
		last = &(*last)->next;
	*last = s;
	return s;
}

/* The content of System V segments is kept under their ids, which are the kernel's: they are left to them. */
static uint32_t next_id(struct memory_plan *plan)
{
	struct shmid_ds ds;

	while (shmctl((int)plan->next_shmid, IPC_STAT, &ds) == 0 || errno == EACCES)
		plan->next_shmid++;
	return plan->next_shmid++;
}

static struct shared_object *shared_by_inode(struct operation *op, struct memory_plan *plan, uint64_t dev, uint64_t ino)
{
	struct shared_object *s;

	for (s = plan->shared; s; s = s->next)
		if (!s->sysv && s->dev == dev && s->ino == ino)
			return s;
	s = shared_add(op, plan, next_id(plan));
	if (s) {
		s->dev = dev;
		s->ino = ino;
	}
	return s;
}

struct shared_object *shared_find(const struct memory_plan *plan, uint32_t id)
{
	for (struct shared_object *s = plan->shared; s; s = s->next)
		if (s->id == id)
			return s;
	return NULL;
}

/* dump: @m is known. restore: @m is NULL and the entry's shmid counts. */
int shared_for_area(struct operation *op, struct task *t, const struct proc_map *m, const VmaEntry *v,
		    struct shared_object **ret)
{
	struct memory_plan *plan;
	struct shared_object *s;
	int r = memory_plan_get(op, &plan);

	if (r < 0)
		return r;
	if (m) {
		s = shared_by_inode(op, plan, makedev(m->dev_major, m->dev_minor), m->inode);
	} else {
		s = shared_find(plan, (uint32_t)v->shmid);
		if (!s)
			s = shared_add(op, plan, (uint32_t)v->shmid);
	}
	if (!s)
		return error_raise(op->error, ENOMEM, "no memory left for shared memory %" PRIu64, v->shmid);
	if (!s->user) {
		s->user = t;
		s->map = m;
		s->map_flags = v->flags & (MAP_HUGETLB | 0x3fu << 26 | MAP_NORESERVE);
	}
	if (s->size < v->pgoff + (v->end - v->start))
		s->size = v->pgoff + (v->end - v->start);
	*ret = s;
	return 0;
}

/* dump --------------------------------------------------------------------------------------------------------- */

struct shared_object *shared_for_segment(struct operation *op, struct memory_plan *plan, struct sysv_segment *s,
					 const struct proc_map *m)
{
	struct shared_object *o = shared_add(op, plan, s->entry->desc->id);

	if (!o)
		return NULL;
	o->sysv = s;
	o->user = s->user;
	o->map = m;
	o->size = s->span;
	return o;
}

int memory_add_shared(struct operation *op, int fd, uint32_t *ret_shmid)
{
	struct memory_plan *plan;
	struct shared_object *s;
	struct stat st;
	int r = memory_plan_get(op, &plan);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return error_raise_call(op->error, errno, "fstat", "the content of a memfd");
	s = shared_by_inode(op, plan, st.st_dev, st.st_ino);
	if (!s)
		return error_raise(op->error, ENOMEM, "no memory left for the content of a memfd");
	if (s->fd < 0) {
		s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (s->fd < 0)
			return error_raise_call(op->error, errno, "dup", "the content of a memfd");
	}
	s->whole = true;
	s->size = (uint64_t)st.st_size;
	*ret_shmid = s->id;
	if (plan->shared_dumped) {
		r = shared_scan(op, s);
		if (r >= 0)
			r = shared_dump(op, s);
	}
	return r;
}

static int shared_open(struct operation *op, struct shared_object *s)
{
	char name[64];

	if (s->fd >= 0)
		return 0;
	(void)snprintf(name, sizeof(name), "map_files/%" PRIx64 "-%" PRIx64, s->map->start, s->map->end);
	recorder_step(s->user->pid, s->user->comm, "open", "shared memory, /proc/%d/%s", s->user->pid, name);
	s->fd = openat(s->user->proc_fd, name, O_RDONLY | O_CLOEXEC);
	if (s->fd >= 0)
		return 0;
	(void)error_raise_call(op->error, errno, "open", "pid %d (%s), shared memory, /proc/%d/%s", s->user->pid,
			       s->user->comm, s->user->pid, name);
	if (op->error->number == EPERM)
		error_hint(op->error,
			   "shared anonymous memory can be read with CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN");
	return -op->error->number;
}

/* What is there: SEEK_DATA and SEEK_HOLE see what was swapped out too. hugetlbfs knows no holes: all of it is data. */
int shared_scan(struct operation *op, struct shared_object *s)
{
	uint64_t size = (s->size + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1), at = 0;
	int r = shared_open(op, s);

	if (r < 0)
		return r;
	page_runs_release(&s->runs);
	while (at < size) {
		off_t data = lseek(s->fd, (off_t)at, SEEK_DATA), hole;
		uint64_t start, end;

		if (data < 0 && errno == ENXIO)
			break;
		hole = data < 0 ? -1 : lseek(s->fd, data, SEEK_HOLE);
		if (hole < 0)
			return error_raise_call(op->error, errno, "lseek", "shared memory %u", s->id);
		start = (uint64_t)data & ~(PAGE_BYTES - 1);
		end = ((uint64_t)hole + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
		if (start >= size)
			break;
		if (end > size)
			end = size;
		if (start < at)
			start = at;
		if (start < end && page_runs_add(&s->runs, start, end, true) < 0)
			return error_raise(op->error, ENOMEM, "no memory left for the pages of shared memory %u",
					   s->id);
		at = end > at ? end : at + PAGE_BYTES;
	}
	return 0;
}

/*
 * The bytes between the end of a segment that is no whole number of pages and the end of its last page: no read() gives
 * them, but tasks can write and read them, so they are taken through a mapping.
 */
static int dump_tail(struct operation *op, const struct shared_object *s, int out)
{
	const struct page_runs *r = &s->runs;
	void *page;
	ssize_t n;

	/* Files of huge pages are whole ones. */
	if (!s->sysv || s->sysv->page_size != PAGE_BYTES || s->sysv->entry->size % PAGE_BYTES == 0)
		return 0;
	if (r->n == 0 || r->runs[r->n - 1].end != s->size)
		return 0;
	page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, s->fd, (off_t)(s->size - PAGE_BYTES));
	if (page == MAP_FAILED)
		return error_raise_call(op->error, errno, "mmap", "shared memory %u, its last page", s->id);
	n = pwrite(out, page, PAGE_BYTES, (off_t)(r->bytes - PAGE_BYTES));
	munmap(page, PAGE_BYTES);
	if (n != (ssize_t)PAGE_BYTES)
		return error_raise_call(op->error, n < 0 ? errno : ENOSPC, "pwrite",
					"%s: the pages of shared memory %u", op->images.path, s->id);
	return 0;
}

int shared_dump(struct operation *op, struct shared_object *s)
{
	uint32_t pages_id = op->next_pages_id++;
	AUTOCLOSE int out = -1;
	char what[64];
	int r;

	(void)snprintf(what, sizeof(what), "shared memory %u", s->id);
	r = image_pages_create(&op->images, pages_id, &out, op->error);
	if (r >= 0)
		r = copy_file_pages(op, s->fd, &s->runs, pages_id, out, what);
	if (r >= 0)
		r = dump_tail(op, s, out);
	if (r >= 0)
		r = image_pages_finish(&op->images, pages_id, TAKE_FD(out), s->runs.bytes, op->error);
	if (r >= 0)
		r = write_pagemap(op, IMAGE_PAGEMAP_SHMEM, s->id, pages_id, &s->runs);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	return r;
}

/* restore ------------------------------------------------------------------------------------------------------ */

/* Reads runs of pages straight into a mapping of @size bytes. */
static int fill_mapping(struct operation *op, uint32_t id, const struct page_runs *runs, int pages_fd, uint8_t *map,
			uint64_t size)
{
	for (size_t i = 0; i < runs->n; i++) {
		uint64_t at = runs->runs[i].start, end = runs->runs[i].end, pos = runs->runs[i].file_pos;

		if (end > size)
			end = size;
		while (at < end) {
			uint64_t want = end - at < (16u << 20) ? end - at : (16u << 20);
			ssize_t n = pread(pages_fd, map + at, want, (off_t)pos);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return error_raise_call(op->error, n < 0 ? errno : ENODATA, "pread",
							"the pages of shared memory %u at %#" PRIx64, id, at);
			at += (uint64_t)n;
			pos += (uint64_t)n;
			recorder_moved((uint64_t)n);
			if (recorder_cancelled())
				return error_raise(op->error, ECANCELED, "cancelled while shared memory %u was filled",
						   id);
		}
	}
	return 0;
}

int shared_fill(struct operation *op, uint32_t shmid, uint8_t *map, uint64_t size, bool clear)
{
	struct page_runs runs = { 0 };
	AUTOCLOSE int pages_fd = -1;
	uint64_t pages_size;
	int r = read_pagemap(op, IMAGE_PAGEMAP_SHMEM, shmid, &runs, &pages_fd, &pages_size);

	if (r >= 0 && runs.n > 0 && runs.runs[runs.n - 1].end > size)
		r = error_raise(op->error, EINVAL,
				"shared memory %u: its pages lie behind its end at %" PRIu64 " bytes", shmid, size);
	/* Only now, when the images are known to be good: what is there may be somebody's last copy. */
	if (r >= 0 && clear && madvise(map, size, MADV_REMOVE) < 0)
		memset(map, 0, size);
	if (r >= 0)
		r = fill_mapping(op, shmid, &runs, pages_fd, map, size);
	page_runs_release(&runs);
	return r;
}

int memory_shared_fill(struct operation *op, uint32_t shmid, int fd, uint64_t size)
{
	struct page_runs runs = { 0 };
	AUTOCLOSE int pages_fd = -1;
	uint64_t pages_size;
	void *map = MAP_FAILED;
	int r = read_pagemap(op, IMAGE_PAGEMAP_SHMEM, shmid, &runs, &pages_fd, &pages_size);

	if (r < 0)
		return r;
	if (runs.n > 0 && runs.runs[runs.n - 1].start >= size) {
		r = error_raise(op->error, EINVAL,
				"shared memory %u: its pages lie behind its end at %" PRIu64 " bytes", shmid, size);
	} else if (runs.n > 0) {
		uint64_t len = (size + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);

		recorder_step(0, NULL, "mmap", "shared memory %u, %" PRIu64 " bytes", shmid, size);
		map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			r = error_raise_call(op->error, errno, "mmap", "shared memory %u of %" PRIu64 " bytes", shmid,
					     size);
		else
			r = fill_mapping(op, shmid, &runs, pages_fd, map, len);
		if (map != MAP_FAILED)
			munmap(map, len);
	}
	page_runs_release(&runs);
	return r;
}

/* A descriptor of the inode behind firn's own shared mapping; a memfd where map_files is not allowed. */
static int shared_make(struct operation *op, struct shared_object *s)
{
	int flags = MAP_SHARED | MAP_ANONYMOUS | (int)s->map_flags;
	unsigned memfd_flags = MFD_CLOEXEC;
	char path[64];
	void *map;
	int number;

	map = mmap(NULL, s->size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (map == MAP_FAILED) {
		number = errno;
		(void)error_raise_call(op->error, number, "mmap", "shared memory %u of %" PRIu64 " bytes", s->id,
				       s->size);
		if (s->map_flags & MAP_HUGETLB)
			error_hint(op->error, "it needs huge pages: see /proc/sys/vm/nr_hugepages");
		return -number;
	}
	(void)snprintf(path, sizeof(path), "/proc/self/map_files/%" PRIxPTR "-%" PRIxPTR, (uintptr_t)map,
		       (uintptr_t)map + s->size);
	s->fd = open(path, O_RDWR | O_CLOEXEC);
	number = errno;
	munmap(map, s->size);
	if (s->fd >= 0)
		return 0;
	log_debug(0, "shared memory %u: open %s: %s; a memfd takes its place", s->id, path, strerror(number));
	if (s->map_flags & MAP_HUGETLB)
		memfd_flags |= MFD_HUGETLB | (s->map_flags & 0x3fu << 26);
	s->fd = memfd_create("dev/zero", memfd_flags);
	if (s->fd < 0 || ftruncate(s->fd, (off_t)s->size) < 0)
		return error_raise_call(op->error, errno, "memfd_create", "shared memory %u of %" PRIu64 " bytes",
					s->id, s->size);
	return 0;
}

int memory_create_shared(struct operation *op)
{
	struct memory_plan *plan;
	int r = memory_plan_get(op, &plan);

	for (struct shared_object *s = plan ? plan->shared : NULL; s && r >= 0; s = s->next) {
		recorder_step(s->user->pid, s->user->comm, "mmap", "shared memory %u, %" PRIu64 " bytes", s->id,
			      s->size);
		r = shared_make(op, s);
		if (r >= 0)
			r = memory_shared_fill(op, s->id, s->fd, s->size);
	}
	return r < 0 ? r : sysv_create(op);
}
