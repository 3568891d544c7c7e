/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Settings of an address space: memory that is written may not be run (PR_SET_MDWE, Linux 6.3), all of it may be merged
 * with equal pages (PR_SET_MEMORY_MERGE, Linux 6.4), and what is mapped later is locked (mlockall(MCL_FUTURE)).
 *
 * They are given back after every area is in its place. The last is told by nothing but a mapping that is made: it is
 * locked, and then MADV_DONTNEED is refused, or it does not fit into RLIMIT_MEMLOCK. With MCL_ONFAULT its page is not there
 * at once.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"
#include "watch/recorder.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif
#define MDWE_BITS 3u /* PR_MDWE_REFUSE_EXEC_GAIN, PR_MDWE_NO_INHERIT */
#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif
#define PROBE_BYTES 4096ull

enum { ASK_MDWE, ASK_MERGE, ASK_MAP, ASK_CORE, ASK_DONTNEED, ASK_UNMAP };

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	size_t map;

	(void)op;
	if (!is_leader(t) || !t->task->mm)
		return 0;
	ask->data = batch_space(b, 8);
	batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_GET_MDWE);
	batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_GET_MEMORY_MERGE);
	map = batch_call(b, CALL_MAY_FAIL, __NR_mmap, 0, PROBE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0);
	batch_call(b, CALL_MAY_FAIL | CALL_REF(0), __NR_mincore, map, PROBE_BYTES, ask->data);
	batch_call(b, CALL_MAY_FAIL | CALL_REF(0), __NR_madvise, map, PROBE_BYTES, MADV_DONTNEED);
	batch_call(b, CALL_MAY_FAIL | CALL_REF(0), __NR_munmap, map, PROBE_BYTES);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	int64_t mdwe = batch_result(b, ask->first + ASK_MDWE), merge = batch_result(b, ask->first + ASK_MERGE),
		map = batch_result(b, ask->first + ASK_MAP);
	TaskCoreEntry *tc = t->core->tc;
	MmEntry *mm = t->task->mm;

	(void)op;
	if (mdwe > 0) {
		mm->has_firn_mdwe = true;
		mm->firn_mdwe = (uint32_t)mdwe & MDWE_BITS;
	}
	if (merge > 0)
		mm->has_firn_memory_merge = mm->firn_memory_merge = true;
	/* EAGAIN: man 2 mmap. */
	if (map == -EAGAIN || (map > 0 && batch_result(b, ask->first + ASK_DONTNEED) == -EINVAL)) {
		bool there = map > 0 && *(const uint8_t *)batch_at(b, ask->data) & 1;

		tc->has_firn_lock_future = true;
		tc->firn_lock_future = MCL_FUTURE | (there || map == -EAGAIN ? 0u : MCL_ONFAULT);
	}
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	const TaskCoreEntry *tc = t->core->tc;

	if (is_leader(t) && tc->has_firn_lock_future && tc->firn_lock_future != MCL_FUTURE &&
	    tc->firn_lock_future != (MCL_FUTURE | MCL_ONFAULT))
		return aspect_damaged(op, t, "flags %#x of mlockall", tc->firn_lock_future);
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const MmEntry *mm = is_leader(t) ? t->task->mm : NULL;
	int r = aspect_room(op, b, 3, 0);

	if (r < 0 || !mm)
		return r;
	if (mm->firn_mdwe & ~MDWE_BITS)
		return aspect_damaged(op, t, "unknown flags %#x of PR_SET_MDWE", mm->firn_mdwe);
	if (mm->has_firn_memory_merge && mm->firn_memory_merge)
		batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_SET_MEMORY_MERGE, 1, 0, 0, 0);
	if (t->core->tc->has_firn_lock_future)
		batch_call(b, 0, __NR_mlockall, t->core->tc->firn_lock_future);
	if (mm->has_firn_mdwe && mm->firn_mdwe)
		batch_call(b, 0, __NR_prctl, PR_SET_MDWE, mm->firn_mdwe, 0, 0, 0);
	return 0;
}

const struct aspect memory_settings_aspect = {
	.name = "settings of the address space",
	.ask = ask,
	.answer = answer,
	.decode = decode,
	.apply = apply,
};
