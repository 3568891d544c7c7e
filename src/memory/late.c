/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <syscall.h>

#include "memory/plan.h"
#include "watch/recorder.h"

/*
 * restore: what comes when the pages are in place, since nothing can be written or changed there afterwards.
 *
 *  - Guard regions (madvise(MADV_GUARD_INSTALL), Linux 6.13): pages that fault, without areas of their own. Newer C libraries
 *    put them under thread stacks. Locked areas refuse them, so an area with both is locked after.
 *  - Names of anonymous memory (PR_SET_VMA_ANON_NAME, Linux 5.17): best effort, many kernels are built without.
 *  - Seals (mseal(), Linux 6.10).
 */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#define NAME_MAX_BYTES 79u /* ANON_VMA_NAME_MAX_LEN without the NUL */

const char *guards_check(const MmEntry *mm)
{
	size_t area = 0;

	if (mm->n_firn_guards % 2)
		return "its guard regions are not pairs of addresses";
	for (size_t i = 0; i < mm->n_firn_guards; i += 2) {
		uint64_t start = mm->firn_guards[i], end = mm->firn_guards[i + 1];

		if (start % PAGE_BYTES || end % PAGE_BYTES || start >= end || (i > 0 && start < mm->firn_guards[i - 1]))
			return "a guard region is not possible";
		while (area < mm->n_vmas && mm->vmas[area]->end <= start)
			area++;
		/* A region may go on in the next area. */
		for (size_t k = area; start < end; start = mm->vmas[k++]->end)
			if (k >= mm->n_vmas || mm->vmas[k]->start > start ||
			    (mm->vmas[k]->status & (AREA_VDSO | AREA_VVAR | AREA_VSYSCALL)))
				return "a guard region lies outside of the areas";
	}
	for (size_t i = 0; i < mm->n_vmas; i++)
		if (mm->vmas[i]->firn_name && strlen(mm->vmas[i]->firn_name) > NAME_MAX_BYTES)
			return "the name of an area is too long";
	return NULL;
}

bool area_has_guards(const MmEntry *mm, const VmaEntry *v)
{
	for (size_t i = 0; i + 1 < mm->n_firn_guards; i += 2)
		if (mm->firn_guards[i] < v->end && mm->firn_guards[i + 1] > v->start)
			return true;
	return false;
}

/* Room for one more call, after a run of the batch when there is none. */
static int make_room(struct operation *op, struct batch *b)
{
	int r;

	if (batch_has_room(b, 1, 128))
		return 0;
	r = puppet_run(b, op->error);
	batch_reset(b);
	return r;
}

static int install_guards(struct operation *op, const struct task *t, struct batch *b)
{
	const MmEntry *mm = t->mm;

	for (size_t i = 0; i < mm->n_firn_guards; i += 2) {
		int r = make_room(op, b);

		if (r < 0)
			return r;
		batch_call(b, 0, SYS_madvise, mm->firn_guards[i], mm->firn_guards[i + 1] - mm->firn_guards[i],
			   MADV_GUARD_INSTALL);
	}
	return 0;
}

static int change_area(struct operation *op, const struct task *t, const VmaEntry *v, struct batch *b)
{
	uint64_t len = v->end - v->start;
	int r = 0;

	if ((v->flags & MAP_LOCKED) && area_has_guards(t->mm, v)) {
		r = make_room(op, b);
		/* ENOMEM for the pages that guard: it is locked all the same. */
		if (r == 0)
			batch_call(b, CALL_MAY_FAIL, SYS_mlock2, v->start, len, v->firn_lock_on_fault ? 1 : 0);
	}
	if (r == 0 && v->firn_name) {
		r = make_room(op, b);
		if (r == 0)
			batch_call(b, CALL_MAY_FAIL, SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, v->start, len,
				   batch_string(b, v->firn_name));
	}
	if (r == 0 && v->firn_sealed) {
		r = make_room(op, b);
		if (r == 0)
			batch_call(b, 0, SYS_mseal, v->start, len, 0);
	}
	return r;
}

int memory_late(struct operation *op, struct task *t)
{
	struct batch b;
	int r = batch_begin(&b, &t->threads[0].puppet, op->error);

	if (r == 0)
		r = install_guards(op, t, &b);
	for (size_t i = 0; i < t->mm->n_vmas && r == 0; i++)
		if (!(t->mm->vmas[i]->status & (AREA_VDSO | AREA_VVAR | AREA_VSYSCALL)))
			r = change_area(op, t, t->mm->vmas[i], &b);
	if (r == 0 && b.n_calls)
		r = puppet_run(&b, op->error);
	batch_end(&b);
	return r;
}
