/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interrupted system calls.
 *
 * A thread that is stopped while a call waits shows the call's number in orig_ax and one of the kernel's own codes in
 * ax (include/linux/errno.h). The kernel settles it when the thread goes back to user mode: it either makes the call
 * again (ax = orig_ax, ip back over SYSCALL) or, when a handler runs first, fails it with EINTR. The image must hold
 * the outcome, since the restored thread is not in the kernel any more; orig_ax only informs from then on.
 *
 *     ERESTARTNOINTR           made again, always
 *     ERESTARTSYS              made again unless a signal with a handler without SA_RESTART is pending
 *     ERESTARTNOHAND           made again unless a signal with a handler is pending (pause, sigsuspend, select, ppoll)
 *     ERESTART_RESTARTBLOCK    likewise
 *
 * The last one is for calls with a timeout (nanosleep, poll, futex). The kernel remembers the end of the wait and
 * continues with restart_syscall(2); that memory is in no interface. CRIU writes EINTR in its place. firn makes the
 * call again with its own arguments: a wait that begins anew is what a program that never saw a signal can be given
 * without taking a path it may not have (poll() and nanosleep() do not fail with EINTR when no handler ran; many
 * programs treat it as an error). Absolute timeouts, which glibc's locks use, end on time, and so do sleeps that
 * write the rest over their argument. Where the thread is already in restart_syscall (it was stopped before), the
 * number comes from the MOV to EAX before the SYSCALL instruction; only without one the image says EINTR.
 */
#include "tree/registers.h"

#include <asm/ldt.h>
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "puppet/xstate.h"

enum { ERR_ERESTARTSYS = 512, ERR_ERESTARTNOINTR = 513, ERR_ERESTARTNOHAND = 514, ERR_RESTARTBLOCK = 516 };
enum { CS_64 = 0x33, CS_32 = 0x23, SYSCALL_LENGTH = 2, TLS_FIRST = 12, TLS_COUNT = 3 };

#define USER_END (1ull << 56)   /* of five-level page tables; the kernel checks the exact limit */

static long ask_ptrace(long request, pid_t tid, uintptr_t addr, void *data)
{
	/* The raw call: glibc's prototype has an enum that lacks the newer requests. */
	return syscall(__NR_ptrace, request, tid, addr, data) < 0 ? -errno : 0;
}

static int raise_ptrace(struct operation *op, const struct thread *t, long r, const char *request, const char *what)
{
	return error_raise_call(op->error, (int)-r, request, "pid %d (%s), thread %d: %s", t->task->pid, t->task->comm,
				t->tid, what);
}

/* ---- interrupted system calls ---------------------------------------------------------------------------------- */

static bool has_restart_block(long nr)
{
	return nr == __NR_nanosleep || nr == __NR_clock_nanosleep || nr == __NR_poll || nr == __NR_futex;
}

void registers_settle_restart(struct user_regs_struct *regs, const struct restart_facts *f)
{
	long number = (long)regs->orig_rax;
	bool again;

	if (number < 0)
		return;
	switch (-(long)regs->rax) {
	case ERR_ERESTARTNOINTR:
		again = true;
		break;
	case ERR_ERESTARTSYS:
		again = !f->handler_waits || f->handler_restarts;
		break;
	case ERR_ERESTARTNOHAND:
		again = !f->handler_waits;
		break;
	case ERR_RESTARTBLOCK:
		again = !f->handler_waits;
		if (number == __NR_restart_syscall) {
			number = f->mov_number;
			again = again && has_restart_block(number);
		}
		break;
	default:
		return;
	}
	if (again) {
		regs->rax = (unsigned long)number;
		regs->rip -= SYSCALL_LENGTH;
	} else {
		regs->rax = (unsigned long)-EINTR;
	}
}

/* The number in "mov $number, %eax; syscall" just before @ip, or -1. */
static long number_before(pid_t tid, uint64_t ip)
{
	uint8_t code[7];
	struct iovec local = { code, sizeof(code) }, remote = { (void *)(uintptr_t)(ip - sizeof(code)), sizeof(code) };
	int32_t number;

	if (process_vm_readv(tid, &local, 1, &remote, 1, 0) != (ssize_t)sizeof(code))
		return -1;
	if (code[0] != 0xb8 || code[5] != 0x0f || code[6] != 0x05)
		return -1;
	memcpy(&number, code + 1, sizeof(number));
	return number;
}

static void look_for_handler(const SignalQueueEntry *q, uint64_t mask, const struct thread *t, struct restart_facts *f)
{
	const TaskCoreEntry *tc = t->task->threads[0].core->tc;

	for (size_t i = 0; q && i < q->n_signals; i++) {
		int32_t signo = 0;
		size_t slot;
		bool caught = true;

		if (q->signals[i]->siginfo.len >= sizeof(signo))
			memcpy(&signo, q->signals[i]->siginfo.data, sizeof(signo));
		if (signo < 1 || signo > 64 || mask >> (signo - 1) & 1)
			continue;
		/* The actions lie in the order of the signals, without SIGKILL and SIGSTOP. */
		slot = (size_t)signo - 1 - (signo > 9) - (signo > 19);
		if (tc && slot < tc->n_sigactions) {
			caught = tc->sigactions[slot]->sigaction > 1;
			if (caught && tc->sigactions[slot]->flags & 0x10000000 /* SA_RESTART */ && !f->handler_waits)
				f->handler_restarts = true;
			else if (caught)
				f->handler_restarts = false;
		}
		f->handler_waits |= caught;
	}
}

/* ---- dump ------------------------------------------------------------------------------------------------------ */

static void fill_general(UserX86RegsEntry *m, const struct user_regs_struct *r)
{
	m->r15 = r->r15;
	m->r14 = r->r14;
	m->r13 = r->r13;
	m->r12 = r->r12;
	m->bp = r->rbp;
	m->bx = r->rbx;
	m->r11 = r->r11;
	m->r10 = r->r10;
	m->r9 = r->r9;
	m->r8 = r->r8;
	m->ax = r->rax;
	m->cx = r->rcx;
	m->dx = r->rdx;
	m->si = r->rsi;
	m->di = r->rdi;
	m->orig_ax = r->orig_rax;
	m->ip = r->rip;
	m->cs = r->cs;
	m->flags = r->eflags;
	m->sp = r->rsp;
	m->ss = r->ss;
	m->fs_base = r->fs_base;
	m->gs_base = r->gs_base;
	m->ds = r->ds;
	m->es = r->es;
	m->fs = r->fs;
	m->gs = r->gs;
	m->has_mode = true;
	m->mode = USER_X86_REGS_MODE__NATIVE;
}

/* The three thread-local segments of the GDT (man 2 set_thread_area): empty in 64-bit programs, and kept all the same. */
static int peek_segments(struct operation *op, struct thread *t)
{
	ThreadInfoX86 *ti = t->core->thread_info;
	UserDescT **list = arena_array(&op->arena, TLS_COUNT, sizeof(*list));

	if (!list)
		return error_raise(op->error, ENOMEM, "no memory for segments");
	for (unsigned i = 0; i < TLS_COUNT; i++) {
		struct user_desc d = { 0 };
		UserDescT *m = arena_alloc(&op->arena, sizeof(*m));
		long r = ask_ptrace(PTRACE_GET_THREAD_AREA, t->tid, TLS_FIRST + i, &d);

		if (!m)
			return error_raise(op->error, ENOMEM, "no memory for segments");
		if (r < 0)      /* a kernel without 32-bit programs has no such segments */
			return 0;
		user_desc_t__init(m);
		m->entry_number = TLS_FIRST + i;
		m->base_addr = d.base_addr;
		m->limit = d.limit;
		m->seg_32bit = d.seg_32bit;
		m->contents_h = d.contents & 2;
		m->contents_l = d.contents & 1;
		m->read_exec_only = d.read_exec_only;
		m->limit_in_pages = d.limit_in_pages;
		m->seg_not_present = d.seg_not_present;
		m->usable = d.useable;
		list[i] = m;
	}
	ti->tls = list;
	ti->n_tls = TLS_COUNT;
	return 0;
}

static int peek_xstate(struct operation *op, struct thread *t)
{
	/* The kernel gives what it has, up to this: the largest known area (AMX) is about 11 KiB. */
	size_t room = 64 * 1024;
	AUTOFREE uint8_t *buf = malloc(room);
	struct iovec iov = { buf, room };
	long r;

	if (!buf)
		return error_raise(op->error, ENOMEM, "no memory for the extended registers");
	r = ask_ptrace(PTRACE_GETREGSET, t->tid, NT_X86_XSTATE, &iov);
	if (r < 0)
		return raise_ptrace(op, t, r, "ptrace(PTRACE_GETREGSET)", "the extended registers");
	return xstate_parse(buf, iov.iov_len, &op->arena, &t->core->thread_info->fpregs, op->error);
}

int registers_peek(struct operation *op, struct thread *t)
{
	struct user_regs_struct regs = t->puppet.regs;
	struct restart_facts facts = { .mov_number = -1 };
	ThreadInfoX86 *ti = t->core->thread_info;
	TaskCoreEntry *tc = t->task->threads[0].core->tc;
	int r;

	if (!t->puppet.regs_known)
		return error_raise(op->error, EINVAL, "pid %d (%s), thread %d: its registers were not read", t->task->pid,
				   t->task->comm, t->tid);
	if (regs.cs != CS_64) {
		error_raise(op->error, EOPNOTSUPP, "pid %d (%s), thread %d runs 32-bit code (cs %#llx)", t->task->pid,
			    t->task->comm, t->tid, regs.cs);
		error_hint(op->error, "firn carries 64-bit programs only");
		return -EOPNOTSUPP;
	}
	if (-(long)regs.rax == ERR_RESTARTBLOCK && regs.orig_rax == __NR_restart_syscall)
		facts.mov_number = number_before(t->tid, regs.rip);
	look_for_handler(t->core->thread_core->signals_p, t->puppet.sigmask, t, &facts);
	look_for_handler(tc ? tc->signals_s : NULL, t->puppet.sigmask, t, &facts);
	registers_settle_restart(&regs, &facts);

	user_x86_regs_entry__init(ti->gpregs);
	fill_general(ti->gpregs, &regs);
	r = peek_segments(op, t);
	if (r < 0)
		return r;
	return peek_xstate(op, t);
}

/* include/uapi/linux/rseq.h; a thread's own struct begins with cpu_id_start, cpu_id (u32 each), rseq_cs. */
struct rseq_section {
	uint32_t version, flags;
	uint64_t start_ip, post_commit_offset, abort_ip;
};
#define RSEQ_CS_OFFSET 8

static bool read_target(pid_t tid, uint64_t addr, void *buf, size_t len)
{
	struct iovec local = { buf, len }, remote = { (void *)(uintptr_t)addr, len };

	return process_vm_readv(tid, &local, 1, &remote, 1, 0) == (ssize_t)len;
}

int registers_leave_rseq(struct operation *op, struct thread *t)
{
	struct __ptrace_rseq_configuration c = { 0 };
	struct rseq_section s;
	uint64_t section;
	uint32_t signature;
	long r = ask_ptrace(PTRACE_GET_RSEQ_CONFIGURATION, t->tid, sizeof(c), &c);

	(void)op;
	/* EIO: Linux before 5.13, or one without rseq. */
	if (r < 0)
		return r == -EIO || r == -EINVAL ? 0 :
			raise_ptrace(op, t, r, "ptrace(PTRACE_GET_RSEQ_CONFIGURATION)", "restartable sequences");
	if (!c.rseq_abi_pointer || !read_target(t->tid, c.rseq_abi_pointer + RSEQ_CS_OFFSET, &section, sizeof(section)) ||
	    !section || !read_target(t->tid, section, &s, sizeof(s)))
		return 0;
	if (t->puppet.regs.rip - s.start_ip >= s.post_commit_offset)
		return 0;
	/* The same checks as the kernel's: what it would kill the thread for is left to it. */
	if (s.abort_ip - s.start_ip < s.post_commit_offset ||
	    !read_target(t->tid, s.abort_ip - sizeof(signature), &signature, sizeof(signature)) || signature != c.signature)
		return 0;
	t->puppet.regs.rip = s.abort_ip;
	return 0;
}

/* ---- restore --------------------------------------------------------------------------------------------------- */

uint64_t registers_sigmask(const struct thread *t)
{
	const CoreEntry *c = t->core;

	if (c->tc)
		return c->tc->blk_sigset;
	return c->thread_core && c->thread_core->has_blk_sigset ? c->thread_core->blk_sigset : 0;
}

int registers_decode(struct operation *op, struct thread *t)
{
	const CoreEntry *c = t->core;
	const UserX86RegsEntry *m;

	if (c->mtype != CORE_ENTRY__MARCH__X86_64)
		return error_raise(op->error, EOPNOTSUPP, "core-%d.img: made on another architecture", t->tid);
	if (!c->thread_info)
		return error_raise(op->error, EINVAL, "core-%d.img: no registers", t->tid);
	m = c->thread_info->gpregs;
	if ((m->has_mode && m->mode != USER_X86_REGS_MODE__NATIVE) || m->cs == CS_32)
		return error_raise(op->error, EOPNOTSUPP, "core-%d.img: a 32-bit program", t->tid);
	if (m->cs != CS_64 || (m->ss & 3) != 3 || m->ss > UINT16_MAX || m->fs > UINT16_MAX || m->gs > UINT16_MAX ||
	    m->ds > UINT16_MAX || m->es > UINT16_MAX)
		return error_raise(op->error, EINVAL, "core-%d.img: damaged segment registers", t->tid);
	if (m->fs_base >= USER_END || m->gs_base >= USER_END || m->ip >= USER_END)
		return error_raise(op->error, EINVAL, "core-%d.img: an address in the registers is none of user space", t->tid);
	if (c->thread_info->n_tls > TLS_COUNT)
		return error_raise(op->error, EINVAL, "core-%d.img: %zu thread-local segments", t->tid, c->thread_info->n_tls);
	return 0;
}

static void general_from_image(struct user_regs_struct *r, const UserX86RegsEntry *m)
{
	*r = (struct user_regs_struct){
		.r15 = m->r15, .r14 = m->r14, .r13 = m->r13, .r12 = m->r12, .rbp = m->bp, .rbx = m->bx, .r11 = m->r11,
		.r10 = m->r10, .r9 = m->r9, .r8 = m->r8, .rax = m->ax, .rcx = m->cx, .rdx = m->dx, .rsi = m->si,
		.rdi = m->di, .rip = m->ip, .cs = m->cs, .eflags = m->flags, .rsp = m->sp, .ss = m->ss,
		.fs_base = m->fs_base, .gs_base = m->gs_base, .ds = m->ds, .es = m->es, .fs = m->fs, .gs = m->gs,
		/* Not in a system call: the kernel must not settle a restart a second time. */
		.orig_rax = (unsigned long)-1,
	};
}

static int poke_segments(struct operation *op, struct thread *t)
{
	const ThreadInfoX86 *ti = t->core->thread_info;

	for (size_t i = 0; i < ti->n_tls; i++) {
		const UserDescT *m = ti->tls[i];
		struct user_desc d = {
			.entry_number = m->entry_number, .base_addr = m->base_addr, .limit = m->limit,
			.seg_32bit = m->seg_32bit, .contents = (m->contents_h ? 2u : 0) | (m->contents_l ? 1u : 0),
			.read_exec_only = m->read_exec_only, .limit_in_pages = m->limit_in_pages,
			.seg_not_present = m->seg_not_present, .useable = m->usable,
		};
		long r;

		if (!d.base_addr && !d.limit && d.seg_not_present)
			continue;
		if (m->entry_number < TLS_FIRST || m->entry_number >= TLS_FIRST + TLS_COUNT)
			return error_raise(op->error, EINVAL, "core-%d.img: thread-local segment %u", t->tid, m->entry_number);
		r = ask_ptrace(PTRACE_SET_THREAD_AREA, t->tid, m->entry_number, &d);
		if (r < 0)
			return raise_ptrace(op, t, r, "ptrace(PTRACE_SET_THREAD_AREA)", "a thread-local segment");
	}
	return 0;
}

static int poke_xstate(struct operation *op, struct thread *t)
{
	size_t size = xstate_size();
	AUTOFREE uint8_t *buf = malloc(size);
	struct iovec iov = { buf, size };
	long r;

	if (!buf)
		return error_raise(op->error, ENOMEM, "no memory for the extended registers");
	r = xstate_build(t->core->thread_info->fpregs, buf, size, op->error);
	if (r < 0)
		return (int)r;
	r = ask_ptrace(PTRACE_SETREGSET, t->tid, NT_X86_XSTATE, &iov);
	if (r < 0)
		return raise_ptrace(op, t, r, "ptrace(PTRACE_SETREGSET, NT_X86_XSTATE)", "the extended registers");
	return 0;
}

int registers_poke(struct operation *op, struct thread *t)
{
	struct user_regs_struct regs;
	struct iovec iov = { &regs, sizeof(regs) };
	uint64_t mask = registers_sigmask(t);
	long r;

	r = poke_xstate(op, t);
	if (r < 0)
		return (int)r;
	r = poke_segments(op, t);
	if (r < 0)
		return (int)r;
	general_from_image(&regs, t->core->thread_info->gpregs);
	r = ask_ptrace(PTRACE_SETREGSET, t->tid, NT_PRSTATUS, &iov);
	if (r < 0)
		return raise_ptrace(op, t, r, "ptrace(PTRACE_SETREGSET, NT_PRSTATUS)", "the general registers");
	r = ask_ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(mask), &mask);
	if (r < 0)
		return raise_ptrace(op, t, r, "ptrace(PTRACE_SETSIGMASK)", "the signal mask");
	return 0;
}
