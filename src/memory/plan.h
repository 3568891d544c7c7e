/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"
#include "memory/memory.h"
#include "mm.pb-c.h"
#include "pagemap.pb-c.h"
#include "vma.pb-c.h"

/*
 * What the files of memory/ share among themselves. Functions that take the operation return 0 or -errno, raised, and
 * are the worker's: they may block on the target's mmap lock, on its files and on the images.
 */

#define PAGE_BYTES UINT64_C(4096) /* x86_64; the unit of pagemap entries */

/* VmaEntry.status, as the image format counts its bits. */
enum {
	AREA_REGULAR = 1 << 0,
	AREA_STACK = 1 << 1,
	AREA_VSYSCALL = 1 << 2,
	AREA_VDSO = 1 << 3,
	AREA_HEAP = 1 << 5,
	AREA_FILE_PRIVATE = 1 << 6,
	AREA_FILE_SHARED = 1 << 7,
	AREA_ANON_SHARED = 1 << 8,
	AREA_ANON_PRIVATE = 1 << 9,
	AREA_SYSVIPC = 1 << 10,
	AREA_SOCKET = 1 << 11,
	AREA_VVAR = 1 << 12,
	AREA_AIORING = 1 << 13,
	AREA_MEMFD = 1 << 14,
};

/* PagemapEntry.flags */
enum { PAGES_PARENT = 1 << 0, PAGES_LAZY = 1 << 1, PAGES_PRESENT = 1 << 2 };

/* Pages that lie one after the other in memory and in the pages file. */
struct page_run {
	uint64_t start, end; /* addresses; for shared memory offsets in the object */
	uint64_t file_pos;   /* in pages-N.img */
};

struct page_runs {
	struct page_run *runs; /* malloc'd */
	size_t n, room;
	uint64_t bytes;
};

/* Appends [start, end); joins it to the last run where both touch and @join. -ENOMEM. */
int page_runs_add(struct page_runs *r, uint64_t start, uint64_t end, bool join);
void page_runs_release(struct page_runs *r);

/* A shared memory object (shared anonymous memory, memfd): one inode, however many areas show it. */
struct shared_object {
	struct shared_object *next;
	uint32_t id;		    /* shmid: pagemap-shmem-ID.img */
	uint64_t dev, ino;	    /* dump */
	uint64_t size;		    /* bytes: up to the highest mapped byte, or the file's size when @whole */
	bool whole;		    /* a file of its own (memfd), not only what the areas show */
	uint32_t map_flags;	    /* MAP_HUGETLB and its size bits, MAP_NORESERVE */
	int fd;			    /* dump: of a memfd; restore: what the puppets map; else -1 */
	struct task *user;	    /* dump: a task that maps it … */
	const struct proc_map *map; /* … and where */
	struct page_runs runs;
};

/* What an area of task->mm->vmas refers to; the arrays run in parallel. */
struct area_link {
	const struct proc_map *map; /* dump */
	struct file *file;
	struct shared_object *shared;
};

/* task->mm_plan */
struct mm_plan {
	struct area_link *links; /* n_vmas, in the arena */
	struct page_runs runs;
	int pages_fd; /* restore; -1 when closed */
	uint64_t pages_size;
	const uint8_t *vdso;	     /* restore: the image's vdso, in the arena; NULL when not in the image */
	size_t vdso_area, vvar_area; /* indices, SIZE_MAX = none */
};

/* What the host has, learned once. */
struct memory_host {
	unsigned shmem_major, shmem_minor; /* the kernel's own tmpfs: shared anonymous memory, memfds */
	uint64_t vdso_start, vdso_end;	   /* firn's own; 0 = none */
	uint64_t vvar_start, vvar_end;	   /* vvar areas that touch each other count as one */
	uint64_t zero_pfn;		   /* 0 = not readable */
};

/* op->memory */
struct memory_plan {
	struct shared_object *shared;
	uint32_t next_shmid;
	struct memory_host host;
	bool shared_dumped;
	uint8_t *copy_buffer; /* copy.c's */
};

/* Allocates op->memory at the first call; raised. */
int memory_plan_get(struct operation *op, struct memory_plan **ret);
int memory_host_learn(struct memory_host *h);

/* collect.c: adds the files behind areas to op->files, once that exists; those that were added stay. */
int memory_link_files(struct operation *op, struct task *t);

/* area.c: pure ------------------------------------------------------------------------------------------------- */

enum area_sort {
	SORT_ANON,
	SORT_SHARED_ANON,
	SORT_FILE,
	SORT_MEMFD,
	SORT_VDSO,
	SORT_VVAR,
	SORT_VSYSCALL,
};

/* What an area is; -EOPNOTSUPP and *ret_why ("userfaultfd watches it") for what cannot be carried. */
int area_classify(const struct proc_map *m, const struct memory_host *h, enum area_sort *ret, const char **ret_why);
/* Fills an initialised entry; shmid stays 0. */
void area_to_entry(const struct proc_map *m, enum area_sort sort, VmaEntry *ret);
/* Can a page of the area differ from what a fresh mapping shows, so that it must be saved? */
bool area_has_private_pages(const VmaEntry *v);
/* Checks the entries of an image: alignment, order, range, sort, flags. @limit is the end of user addresses. */
int areas_check(VmaEntry *const *v, size_t n, uint64_t limit, size_t *ret_bad, const char **ret_why);
/* Checks pagemap entries of an image against the size of their pages file and builds the runs. */
int runs_check(PagemapEntry *const *e, size_t n, uint64_t pages_size, struct page_runs *ret, size_t *ret_bad,
	       const char **ret_why);
/* Cuts runs at the borders of areas; refuses pages outside of areas or in areas that have none of their own. */
int runs_fit_areas(struct page_runs *r, VmaEntry *const *v, size_t n, uint64_t *ret_bad, const char **ret_why);

/* Ascending or not, overlapping or not: the lowest hole of @size in [low, high) that keeps @margin from each span.
 * Sorts @spans. 0 when there is none. */
struct span {
	uint64_t start, end;
};
uint64_t span_hole(struct span *spans, size_t n, uint64_t size, uint64_t margin, uint64_t low, uint64_t high);

/* scan.c ------------------------------------------------------------------------------------------------------- */

/*
 * Appends the pages of [start, end) that are the task's own (present or swapped, neither a file's nor the zero page).
 * @pagemap_fd: /proc/PID/pagemap. -EOPNOTSUPP when a guard region (MADV_GUARD_INSTALL) is found; -errno else.
 * Nothing is raised.
 */
int scan_pages(int pagemap_fd, bool use_scan, uint64_t zero_pfn, uint64_t start, uint64_t end, struct page_runs *ret);

/* copy.c ------------------------------------------------------------------------------------------------------- */

/* Copies the runs of @t's memory, in order, to the pages file; raised. */
int copy_pages(struct operation *op, struct task *t, const struct page_runs *runs, uint32_t pages_id, int out_fd);
/* Copies runs of a file (offsets) to the pages file at position 0 on; raised. */
int copy_file_pages(struct operation *op, int fd, const struct page_runs *runs, uint32_t pages_id, int out_fd,
		    const char *what);

void copy_release(struct memory_plan *plan);

/* shared.c ----------------------------------------------------------------------------------------------------- */

int shared_for_area(struct operation *op, struct task *t, const struct proc_map *m, const VmaEntry *v,
		    struct shared_object **ret);
struct shared_object *shared_find(const struct memory_plan *plan, uint32_t id);
/* Finds what is in the object and adds it to the total; then copies it. */
int shared_scan(struct operation *op, struct shared_object *s);
int shared_dump(struct operation *op, struct shared_object *s);
int write_pagemap(struct operation *op, enum image_type type, uint32_t id, uint32_t pages_id,
		  const struct page_runs *runs);
int read_pagemap(struct operation *op, enum image_type type, uint32_t id, struct page_runs *ret, int *ret_fd,
		 uint64_t *ret_size);

/* vdso.c ------------------------------------------------------------------------------------------------------- */

/* The number of the first symbol that the image's vdso defines and ours lacks or has elsewhere: 0 = alike. Both are
 * hostile buffers of @len bytes. -EINVAL when the image's is no ELF file. */
int vdso_same_symbols(const uint8_t *image, const uint8_t *ours, size_t len);
int vdso_check(struct operation *op, struct task *t);

/* " (/path)" or "" and so on, for messages: "area 7f…-7f… (/lib/x.so)". */
const char *area_name(struct operation *op, const VmaEntry *v, const struct area_link *l);
