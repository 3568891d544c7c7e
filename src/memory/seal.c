/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/prctl.h>
#include <syscall.h>
#include <unistd.h>

#include "memory/plan.h"
#include "watch/recorder.h"

/* restore: the fields of an address space that are no areas: where code, data, heap, stack, arguments and environment
 * lie, the auxiliary vector, the link to the program. One prctl(PR_SET_MM_MAP) sets them all (man 2 prctl). */

int memory_seal(struct operation *op, struct channel *c, struct task *t)
{
	const MmEntry *mm = t->mm;
	struct prctl_mm_map map;
	struct batch b;
	uint64_t auxv;
	int exe = -1, fd, r;
	size_t call;

	if (!t->mm_plan)
		return 0;
	if (t->exe) {
		r = files_mapping_fd(op, t->exe, O_RDONLY, &fd);
		if (r >= 0)
			r = channel_send(op, c, &t->threads[0].puppet, &fd, 1, &exe);
		if (r < 0)
			return r;
	}
	r = batch_begin(&b, &t->threads[0].puppet, op->error);
	if (r < 0)
		return r;
	auxv = batch_data(&b, mm->mm_saved_auxv, mm->n_mm_saved_auxv * sizeof(uint64_t));
	map = (struct prctl_mm_map){
		.start_code = mm->mm_start_code,
		.end_code = mm->mm_end_code,
		.start_data = mm->mm_start_data,
		.end_data = mm->mm_end_data,
		.start_brk = mm->mm_start_brk,
		.brk = mm->mm_brk,
		.start_stack = mm->mm_start_stack,
		.arg_start = mm->mm_arg_start,
		.arg_end = mm->mm_arg_end,
		.env_start = mm->mm_env_start,
		.env_end = mm->mm_env_end,
		.auxv = (__u64 *)(uintptr_t)auxv,
		.auxv_size = (__u32)(mm->n_mm_saved_auxv * sizeof(uint64_t)),
		.exe_fd = (__u32)exe,
	};
	recorder_step(t->pid, t->comm, "prctl(PR_SET_MM_MAP)", "its memory fields and exe link");
	call = batch_call(&b, CALL_MAY_FAIL, SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, batch_data(&b, &map, sizeof(map)),
			  sizeof(map), 0);
	if (exe >= 0)
		batch_call(&b, 0, SYS_close, (uint64_t)exe);
	r = puppet_run(&b, op->error);
	if (r >= 0 && batch_result(&b, call) < 0) {
		int number = (int)-batch_result(&b, call);

		r = error_raise_call(op->error, number, "prctl(PR_SET_MM_MAP)",
				     "pid %d (%s), exe %s, brk %#" PRIx64 "-%#" PRIx64, t->pid, t->comm,
				     t->exe ? t->exe->describe : "none", mm->mm_start_brk, mm->mm_brk);
		if (number == EPERM)
			error_hint(op->error, "the link to the program needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN");
		else if (number == EINVAL)
			error_hint(op->error,
				   "the values do not fit each other, or the kernel lacks CONFIG_CHECKPOINT_RESTORE");
	}
	batch_end(&b);
	return r < 0 ? r : 0;
}
