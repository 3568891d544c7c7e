/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/kind.h"
#include "kinds/placement.h"

/*
 * Memory. dump: areas (smaps → VmaEntry), then the pages that differ from what the file or a fresh anonymous mapping
 * would give (PAGEMAP_SCAN, or /proc/PID/pagemap before Linux 6.7), copied into pages-N.img. restore: puppets map the
 * areas and read their pages straight from the images.
 */

/* dump: fills task->maps, task->mm (areas and mm fields) from outside. The worker's job (mmap lock of the target). */
int memory_collect(struct operation *op, struct task *t);
/* Refuses what cannot be carried, before anything is frozen and again after. */
int memory_check(struct operation *op, struct task *t);
/* dump: copies the pages of every address space and of shared memory, writes pagemap-*.img, pages-*.img, mm-*.img. */
int memory_dump(struct operation *op);

/* restore: reads and checks mm-*.img, pagemap-*.img and their pages files. The worker's job. */
int memory_read(struct operation *op);
/* restore: makes the memfds behind shared memory and fills them. The worker's job. */
int memory_create_shared(struct operation *op);
/* restore: an address of @size bytes that is free in every task and in the engine. */
int memory_find_island(struct operation *op, size_t size, uint64_t *ret);
/* restore: the puppet's address space holds only the island; maps and fills all areas (start for all tasks, then
 * finish), vdso included. Tracer thread. */
int memory_restore(struct operation *op, struct channel *c);
/* restore: after every other call of the task: PR_SET_MM_MAP (exe link, auxv, brk, …), final protections, mlock. */
int memory_seal(struct operation *op, struct channel *c, struct task *t);
void memory_release(struct operation *op);
