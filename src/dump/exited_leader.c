/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The first thread of a process may end before the others (pthread_exit() in main()). It stays as a zombie until they
 * have ended, and the process keeps its number.
 *
 * The images know no thread that has ended. So it is written as one whose registers call exit(), from the SYSCALL
 * instruction of the vdso, with every signal blocked and nothing that the kernel would do at its end (robust futexes,
 * clear_child_tid). Whoever restores that has the same process after its first instruction, CRIU too.
 */
#include "dump/exited_leader.h"

#include <errno.h>
#include <sys/signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define CODE_MAX (16 * 1024)
#define CS_64 0x33
#define SS_64 0x2b
#define FLAGS_PLAIN 0x202 /* interrupts on, and the bit that is always 1 */

static int find_exit(struct operation *op, const struct task *t, uint64_t *ret)
{
	uint8_t code[CODE_MAX];

	for (size_t i = 0; i < t->n_maps; i++) {
		const struct proc_map *m = &t->maps[i];
		size_t size = m->end - m->start;
		struct iovec local = { code, size }, remote = { (void *)(uintptr_t)m->start, size };

		if (strcmp(m->path, "[vdso]") != 0 || size > sizeof(code))
			continue;
		if (process_vm_readv(task_living(t), &local, 1, &remote, 1, 0) != (ssize_t)size)
			return error_raise_call(op->error, errno, "process_vm_readv", "pid %d (%s), vdso", t->pid,
						t->comm);
		for (size_t k = 0; k + 1 < size; k++)
			if (code[k] == 0x0f && code[k + 1] == 0x05) {
				*ret = m->start + k;
				return 0;
			}
	}
	return error_raise(op->error, EOPNOTSUPP,
			   "pid %d (%s): its first thread has ended, and it has no vdso to make another end with",
			   t->pid, t->comm);
}

static ThreadInfoX86 *registers_for_exit(struct operation *op, const struct thread *model, uint64_t at, int code)
{
	ThreadInfoX86 *ti = arena_memdup(&op->arena, model->core->thread_info, sizeof(*ti));
	UserX86RegsEntry *regs = ti ? arena_memdup(&op->arena, ti->gpregs, sizeof(*regs)) : NULL;

	if (!regs)
		return NULL;
	ti->gpregs = regs;
	ti->clear_tid_addr = 0;
	regs->ip = at;
	regs->ax = __NR_exit;
	regs->orig_ax = UINT64_MAX;
	regs->di = (uint64_t)(code >> 8 & 0xff);
	regs->cs = CS_64;
	regs->ss = SS_64;
	regs->flags = FLAGS_PLAIN;
	return ti;
}

/* As the model's, without what belongs to one thread. */
static ThreadCoreEntry *thread_of(struct operation *op, const struct thread *model, char *comm)
{
	ThreadCoreEntry *m = arena_memdup(&op->arena, model->core->thread_core, sizeof(*m));
	SignalQueueEntry *queue = arena_alloc(&op->arena, sizeof(*queue));
	ThreadSasEntry *sas = arena_alloc(&op->arena, sizeof(*sas));

	if (!m || !queue || !sas)
		return NULL;
	signal_queue_entry__init(queue);
	thread_sas_entry__init(sas);
	sas->ss_flags = SS_DISABLE;
	m->sas = sas;
	m->signals_p = queue;
	m->comm = comm;
	m->futex_rla = 0;
	m->futex_rla_len = 0;
	m->rseq_entry = NULL;
	m->has_seccomp_mode = m->has_seccomp_filter = m->has_pdeath_sig = false;
	m->has_blk_sigset = true;
	m->blk_sigset = UINT64_MAX;
	return m;
}

int exited_leader_core(struct operation *op, struct task *t, CoreEntry **ret)
{
	struct thread *model = &t->threads[0];
	CoreEntry *leader = arena_memdup(&op->arena, model->core, sizeof(*leader)), *rest;
	char *comm = arena_strdup(&op->arena, t->leader_comm);
	uint64_t at;
	int r = find_exit(op, t, &at);

	if (r < 0)
		return r;
	rest = arena_memdup(&op->arena, model->core, sizeof(*rest));
	if (leader && comm) {
		leader->thread_info = registers_for_exit(op, model, at, t->leader_exit_code);
		leader->thread_core = thread_of(op, model, comm);
	}
	if (!leader || !comm || !rest || !leader->thread_info || !leader->thread_core)
		return error_raise(op->error, ENOMEM, "pid %d (%s): no memory for its first thread", t->pid, t->comm);
	/* A leader's mask is kept with the task. */
	rest->thread_core->has_blk_sigset = true;
	rest->thread_core->blk_sigset = leader->tc->blk_sigset;
	leader->tc->comm = comm;
	leader->tc->blk_sigset = UINT64_MAX;
	leader->tc->has_firn_leader_exited = leader->tc->firn_leader_exited = true;
	rest->tc = NULL;
	rest->ids = NULL;
	model->core = rest;
	*ret = leader;
	return 0;
}
