/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "memory/plan.h"

/*
 * System V shared memory: what both directions need. A segment is an object of the IPC namespace: it has an id and
 * perhaps a key, and it lives on without tasks until someone removes it (IPC_RMID, from then on SHM_DEST) and nobody is
 * attached any more. The kernel gives the inode behind it the number of the id, so that /proc/PID/smaps tells which
 * segment an area shows (newseg() in ipc/shm.c).
 *
 * In the images: ipcns-shm-N.img has the segment, pagemap-shmem-ID.img its content, and each area the id as shmid.
 */

#ifndef SHM_HUGE_SHIFT
#define SHM_HUGE_SHIFT 26
#endif
#define SHM_HUGE_BITS (0x3fu << SHM_HUGE_SHIFT)
#define SEGMENTS_MAX 32768 /* IPCMNI: more ids than that has only a kernel started with ipcmni_extend */

/* The place of the id: that of the first segment which is not below it. */
static size_t place_of(const struct memory_plan *plan, uint32_t id)
{
	size_t low = 0, high = plan->n_segments;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (plan->segments[mid]->entry->desc->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct sysv_segment *sysv_find(const struct memory_plan *plan, uint32_t id)
{
	size_t i = place_of(plan, id);

	return i < plan->n_segments && plan->segments[i]->entry->desc->id == id ? plan->segments[i] : NULL;
}

struct sysv_segment *sysv_add(struct operation *op, struct memory_plan *plan, IpcShmEntry *entry)
{
	struct sysv_segment *s = arena_alloc(&op->arena, sizeof(*s));
	size_t at = place_of(plan, entry->desc->id);

	if (!s || plan->n_segments >= SEGMENTS_MAX)
		return NULL;
	if (plan->n_segments == plan->segments_room) {
		size_t room = plan->segments_room ? plan->segments_room * 2 : 16;
		struct sysv_segment **grown =
			arena_grow(&op->arena, plan->segments, plan->n_segments, room, sizeof(struct sysv_segment *));

		if (!grown)
			return NULL;
		plan->segments = grown;
		plan->segments_room = room;
	}
	s->entry = entry;
	memmove(&plan->segments[at + 1], &plan->segments[at], (plan->n_segments - at) * sizeof(struct sysv_segment *));
	plan->segments[at] = s;
	plan->n_segments++;
	return s;
}

const char *sysv_name(struct operation *op, const struct sysv_segment *s)
{
	const IpcDescEntry *d = s->entry->desc;
	const char *name =
		d->key != 0 ? arena_printf(&op->arena, "System V shared memory segment %u (key 0x%x)", d->id, d->key)
			    : arena_printf(&op->arena, "System V shared memory segment %u (no key)", d->id);

	return name ? name : "a System V shared memory segment";
}

const char *sysv_check_entry(struct sysv_segment *s)
{
	const IpcShmEntry *e = s->entry;
	uint32_t huge = e->has_hugetlb_flag ? e->hugetlb_flag : 0, shift = (huge & SHM_HUGE_BITS) >> SHM_HUGE_SHIFT;

	if (e->desc->id > INT32_MAX)
		return "its id is out of range";
	if (e->size == 0 || e->size > INT64_MAX / 2)
		return "its size is not possible";
	if (e->desc->mode & ~(uint32_t)(0777 | SHM_DEST | SHM_LOCKED))
		return "its mode has bits that firn does not know";
	if (huge & ~(uint32_t)(SHM_HUGETLB | SHM_HUGE_BITS))
		return "its huge page flags have bits that firn does not know";
	if (!(huge & SHM_HUGETLB))
		shift = 12;
	else if (shift == 0)
		shift = 21; /* the usual default of x86_64 */
	else if (shift < 12 || shift > 40)
		return "its huge pages have no size that could be";
	s->page_size = UINT64_C(1) << shift;
	s->span = (e->size + s->page_size - 1) & ~(s->page_size - 1);
	return NULL;
}

const char *sysv_check_area(const struct sysv_segment *s, const VmaEntry *v)
{
	if (v->pgoff >= s->span || v->end - v->start > s->span - v->pgoff)
		return "it shows more than the segment has";
	if ((v->start | v->end | v->pgoff) & (s->page_size - 1))
		return "its borders are not those of the segment's pages";
	return NULL;
}
