/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"
#include "ipc-shm.pb-c.h"
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

struct sysv_segment;

/* A shared memory object (shared anonymous memory, memfd): one inode, however many areas show it. */
struct shared_object {
	struct shared_object *next;
	uint32_t id;		    /* shmid: pagemap-shmem-ID.img */
	uint64_t dev, ino;	    /* dump */
	struct sysv_segment *sysv;  /* dump: it is a segment's; id is the segment's, dev and ino say nothing */
	uint64_t size;		    /* bytes: up to the highest mapped byte, or the file's size when @whole */
	bool whole;		    /* a file of its own (memfd), not only what the areas show */
	uint32_t map_flags;	    /* MAP_HUGETLB and its size bits, MAP_NORESERVE */
	int fd;			    /* dump: of a memfd; restore: what the puppets map; else -1 */
	struct task *user;	    /* dump: a task that maps it … */
	const struct proc_map *map; /* … and where */
	struct page_runs runs;
};

/* A System V shared memory segment (man 7 sysvipc). */
struct sysv_segment {
	IpcShmEntry *entry; /* with desc; every value is checked */
	uint64_t page_size; /* of its pages: huge ones are larger */
	uint64_t span;	    /* bytes that attaching it takes: the size, rounded up to pages */
	uint64_t areas;	    /* of the tree that show it; the kernel counts each as one attachment */
	struct task *user;  /* the first that does */

	/* restore */
	bool made;  /* by this restore */
	bool taken; /* it was there */
	void *held; /* where the engine attached it, until the tasks have; NULL */
};

/* restore: what one shmat() gave to a task: one area, or the pieces that munmap() and mprotect() left of it. */
struct sysv_attach {
	struct sysv_segment *segment;
	struct sysv_attach *next; /* of the task */
	uint64_t base;		  /* where its first byte is, or was */
	uint64_t covered;	  /* bytes of all areas; less than the segment's span: parts of it are unmapped */
	uint64_t place;		  /* where it is attached before its pieces are moved; = base when nothing is missing */
	bool writable, exec;
	size_t areas, mapped; /* how many there are; how many the puppet has */
};

/* What an area of task->mm->vmas refers to; the arrays run in parallel. */
struct area_link {
	const struct proc_map *map; /* dump */
	struct file *file;
	struct shared_object *shared;
	struct sysv_attach *attach; /* restore, of a System V segment */
};

/* task->mm_plan */
struct mm_plan {
	struct area_link *links; /* n_vmas, in the arena */
	struct page_runs runs;
	struct page_runs guards; /* dump: guard regions */
	int pages_fd; /* restore; -1 when closed */
	uint64_t pages_size;
	uint8_t *vdso;		      /* restore: the image's vdso, in the arena; NULL when not in the image */
	VmaEntry *old_vdso;	      /* restore: it stays beside this kernel's, whose areas are those below; NULL … */
	uint32_t old_vdso_prot;	      /* … and this is its protection in the end */
	size_t vdso_area, vvar_area;  /* indices, SIZE_MAX = none */
	struct sysv_attach *attached; /* restore */
	bool shares_table;	      /* restore: of descriptors, with another task */
};

/* What the host has, learned once. */
struct memory_host {
	unsigned shmem_major, shmem_minor; /* the kernel's own tmpfs: shared anonymous memory, memfds */
	uint64_t vdso_start, vdso_end;	   /* firn's own; 0 = none */
	uint64_t vvar_start, vvar_end;	   /* vvar areas that touch each other count as one */
	uint64_t zero_pfn;		   /* 0 = not readable, or there is none */
};

/* op->memory */
struct memory_plan {
	struct shared_object *shared;
	uint32_t next_shmid;
	struct sysv_segment **segments; /* ascending by id; in the arena */
	size_t n_segments, segments_room;
	bool segments_read; /* restore */
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
	SORT_SYSV,
	SORT_FILE,
	SORT_MEMFD,
	SORT_SOCKET,
	SORT_AIO,
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

/* aio.c -------------------------------------------------------------------------------------------------------- */

/* Is it the ring of an AIO context? Pure. */
bool aio_is_ring(const struct proc_map *m);
/* dump: fills mm->aios from the areas. */
int aio_add(struct operation *op, struct task *t);
/* restore: makes the contexts, over copies of their rings that lie where they belong. Tracer thread. */
int aio_restore(struct operation *op, struct task *t);

/* scan.c ------------------------------------------------------------------------------------------------------- */

/*
 * Appends the pages of [start, end) that are the task's own (present or swapped, neither a file's nor the zero page).
 * @pagemap_fd: /proc/PID/pagemap. Guard regions (MADV_GUARD_INSTALL) go to @guards. -errno, nothing is raised.
 */
int scan_pages(int pagemap_fd, bool use_scan, uint64_t zero_pfn, uint64_t start, uint64_t end, struct page_runs *ret,
	       struct page_runs *guards);
/* Guard regions alone, where no page is the task's own. Needs PAGEMAP_SCAN; finds none on kernels that do not tell. */
int scan_guards(int pagemap_fd, uint64_t start, uint64_t end, struct page_runs *guards);

/* late.c: what comes after the pages ---------------------------------------------------------------------------- */

/* Checks guard regions and names of an image; the areas are checked. NULL, or what is wrong. */
const char *guards_check(const MmEntry *mm);
bool area_has_guards(const MmEntry *mm, const VmaEntry *v);
/* restore: guard regions, names and seals of a task. Tracer thread; 0 or -errno, raised. */
int memory_late(struct operation *op, struct task *t);

/* dump.c ------------------------------------------------------------------------------------------------------- */

/* Finds the pages of @t that must be saved, into its runs; raised. */
int scan_task(struct operation *op, struct task *t);

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
/* dump: the content of a System V segment, under its id. */
struct shared_object *shared_for_segment(struct operation *op, struct memory_plan *plan, struct sysv_segment *s,
					 const struct proc_map *m);
/* restore: writes the content kept under @shmid to @map of @size bytes. @clear: not all of it is zero; raised. */
int shared_fill(struct operation *op, uint32_t shmid, uint8_t *map, uint64_t size, bool clear);
struct shared_object *shared_find(const struct memory_plan *plan, uint32_t id);
/* Finds what is in the object and adds it to the total; then copies it. */
int shared_scan(struct operation *op, struct shared_object *s);
int shared_dump(struct operation *op, struct shared_object *s);
int write_pagemap(struct operation *op, enum image_type type, uint32_t id, uint32_t pages_id,
		  const struct page_runs *runs);
int read_pagemap(struct operation *op, enum image_type type, uint32_t id, struct page_runs *ret, int *ret_fd,
		 uint64_t *ret_size);

/* sysv.c: what both directions need ---------------------------------------------------------------------------- */

/* Finds the segment, or NULL. */
struct sysv_segment *sysv_find(const struct memory_plan *plan, uint32_t id);
/* Adds it in its place; the id is not there yet. NULL: no memory, or too many. */
struct sysv_segment *sysv_add(struct operation *op, struct memory_plan *plan, IpcShmEntry *entry);
/* "System V shared memory segment 4 (key 0x1234)"; in the arena. */
const char *sysv_name(struct operation *op, const struct sysv_segment *s);
/* Sets page_size and span from the entry. NULL, or what is wrong with the entry. */
const char *sysv_check_entry(struct sysv_segment *s);
/* restore: does the area lie in the segment? NULL or what is wrong. */
const char *sysv_check_area(const struct sysv_segment *s, const VmaEntry *v);

/* sysv_dump.c -------------------------------------------------------------------------------------------------- */

/* dump: an area that shows a segment; sets v->shmid. Raised. */
int sysv_add_area(struct operation *op, struct task *t, const struct proc_map *m, VmaEntry *v);
/* dump: writes ipcns-shm-N.img when there are segments. */
int sysv_write(struct operation *op);

/* sysv_restore.c ----------------------------------------------------------------------------------------------- */

/* restore: finds the segment behind area @i in ipcns-shm-N.img and sets its link. Raised. */
int sysv_link_area(struct operation *op, struct task *t, size_t i);
/* restore: makes each segment that an area shows, or takes it where it is, and fills it. The engine stays attached. */
int sysv_create(struct operation *op);
/* restore: finds room to attach what is there in pieces. Tracer thread. */
int sysv_place(struct operation *op, struct task *t);
/* restore: the engine lets go of the segments. Never fails. */
void sysv_detach(struct memory_plan *plan);

/* vdso.c ------------------------------------------------------------------------------------------------------- */

/* restore: is it this kernel's? If not, it stays as memory of the task that leads to this kernel's, for which areas are added
 * to t->mm; refused where that cannot be. Before anything looks for free addresses. */
int vdso_check(struct operation *op, struct task *t);
/* restore: did the puppet get it where it was asked for? Fills the old one. Tracer thread. */
int vdso_settle(struct operation *op, struct task *t);

/* " (/path)" or "" and so on, for messages: "area 7f…-7f… (/lib/x.so)". */
const char *area_name(struct operation *op, const VmaEntry *v, const struct area_link *l);
