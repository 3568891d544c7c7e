/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/kind.h"
#include "kinds/placement.h"

/*
 * Memory. dump: areas (smaps → VmaEntry), then the pages that differ from what the file or a fresh anonymous mapping
 * would give (PAGEMAP_SCAN, or /proc/PID/pagemap before Linux 6.7), copied into pages-N.img. restore: puppets map the
 * areas and read their pages straight from the images.
 */

/*
 * dump: fills task->maps, task->mm (areas and mm fields) from outside. Call it for every task, before a puppet area is
 * made. Tasks that share another's mm are skipped. Mapped files are added to op->files as soon as that exists: here,
 * in memory_check(), at the latest in memory_dump(). The worker's job (mmap lock of the target).
 */
int memory_collect(struct operation *op, struct task *t);
/* Refuses what cannot be carried, before anything is frozen (then it reads the areas itself) and again after
 * memory_collect(). The worker's job. */
int memory_check(struct operation *op, struct task *t);
/* Refuses what only the whole tree shows; the tree is frozen, memory_collect() was called for each task. */
int memory_check_all(struct operation *op);
/* Looks at the pages that a dump would write now, after memory_collect() of every task, and adds them up; nothing is
 * stopped. Guard regions are refused. */
int memory_estimate(struct operation *op, uint64_t *ret_bytes);
/* dump: copies the pages of every address space and of shared memory, writes pagemap-*.img, pages-*.img, mm-*.img. */
int memory_dump(struct operation *op);
/* dump: the current brk, which only the task can tell: adds brk(0) to a batch; afterwards takes the answer. */
size_t memory_ask_brk(struct batch *b);
int memory_answer_brk(struct operation *op, struct task *t, const struct batch *b, size_t call);
/* dump: are the AIO contexts the task's own? Only the task can tell. Tracer thread. */
int aio_ask(struct operation *op, struct task *t);
/* dump, for the kinds that carry memfds: the content of the tmpfs, memfd or hugetlbfs file @fd (a copy of the
 * descriptor is kept) is saved by memory_dump() under the id *ret_shmid; the same inode gives the same id. */
int memory_add_shared(struct operation *op, int fd, uint32_t *ret_shmid);
/* restore, its counterpart: writes the content kept under @shmid into @fd, which is open for writing and already has
 * its @size. Raised on failure. The worker's job. */
int memory_shared_fill(struct operation *op, uint32_t shmid, int fd, uint64_t size);

/* restore: reads and checks mm-*.img, pagemap-*.img and their pages files. The worker's job. */
int memory_read(struct operation *op);
/* restore: makes the inodes behind shared memory and the System V segments, and fills them. The worker's job. */
int memory_create_shared(struct operation *op);
/* restore: an address of @size bytes that is free in every task and in the engine. */
int memory_find_island(struct operation *op, size_t size, uint64_t *ret);
/* restore: the puppet's address space holds only the island; maps and fills all areas (start for all tasks, then
 * finish), vdso included. Tracer thread. */
int memory_restore(struct operation *op, struct channel *c);
/* restore: PR_SET_MM_MAP (exe link, auxv, brk, …). The exe link needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, so it
 * comes before the credentials are given up. Tracer thread. */
int memory_seal(struct operation *op, struct channel *c, struct task *t);
/* restore that failed, when its tasks are gone: removes what was made and would stay. The worker's job. */
void memory_undo(struct operation *op);
void memory_release(struct operation *op);
