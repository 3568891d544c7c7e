/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gate: the first and the last system call in a target.
 *
 * Before there is a scratch area, a call has to be made from code that the target has. The vdso has a SYSCALL
 * instruction, but an engine that dies between setting the registers and taking them back would leave the task in the
 * middle of the vdso with registers of a call it never made. So the call is made from a piece of code of firn's own,
 * which heals the task by itself (stub_x86_64.S). It lies where nothing of the target can be: behind the ELF image of
 * the vdso, in the zeros up to the page's end. Writing there through /proc/PID/mem gives the target a private copy of
 * that page; the bytes are zeroed again afterwards.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "kernel/syscalls.h"
#include "puppet/area.h"
#include "puppet/stub.h"
#include "puppet/trace.h"
#include "watch/recorder.h"

#define GATE_SIZE ((size_t)(gate_end - gate_begin))

void saved_from_regs(struct puppet_saved *s, const struct user_regs_struct *r, uint64_t mask)
{
	*s = (struct puppet_saved){
		.r15 = r->r15,
		.r14 = r->r14,
		.r13 = r->r13,
		.r12 = r->r12,
		.bp = r->rbp,
		.bx = r->rbx,
		.r11 = r->r11,
		.r10 = r->r10,
		.r9 = r->r9,
		.r8 = r->r8,
		.ax = r->rax,
		.cx = r->rcx,
		.dx = r->rdx,
		.si = r->rsi,
		.di = r->rdi,
		.sp = r->rsp,
		.ip = r->rip,
		.mask = mask,
		.flags = r->eflags,
	};
	if ((long)r->orig_rax < 0)
		return;
	/* The kernel's own codes, never seen by programs: include/linux/errno.h. */
	switch ((long)r->rax) {
	case -512: /* ERESTARTSYS */
	case -513: /* ERESTARTNOINTR */
	case -514: /* ERESTARTNOHAND */
		s->ax = r->orig_rax;
		s->ip -= 2;
		break;
	case -516: /* ERESTART_RESTARTBLOCK */
		s->ax = __NR_restart_syscall;
		s->ip -= 2;
		break;
	}
}

/* End of the ELF image in a vdso of @size bytes, 0 when it is none. */
static size_t vdso_used(const uint8_t *image, size_t size)
{
	Elf64_Ehdr h;
	uint64_t end;

	if (size < sizeof(h))
		return 0;
	memcpy(&h, image, sizeof(h));
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_shoff > size)
		return 0;
	end = h.e_shoff + (uint64_t)h.e_shnum * h.e_shentsize;
	for (size_t i = 0; i < h.e_phnum; i++) {
		Elf64_Phdr p;
		uint64_t at = h.e_phoff + i * (uint64_t)h.e_phentsize;

		if (h.e_phoff > size || at > size - sizeof(p))
			return 0;
		memcpy(&p, image + at, sizeof(p));
		if (p.p_type == PT_LOAD && p.p_vaddr + p.p_memsz > end)
			end = p.p_vaddr + p.p_memsz;
	}
	return end > size ? 0 : (size_t)end;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/*
 * The first place in the vdso's tail from @at on that nobody uses. A gate that a killed engine left stays as it is: a signal
 * handler of the task may still return into it, for the registers that it holds. Only when no other place is left is the
 * oldest one taken. 0: there is none.
 */
static size_t free_place(const uint8_t *image, size_t at, size_t size)
{
	size_t step = (GATE_SIZE + 15) & ~(size_t)15, first = at;

	for (; at <= size && size - at >= step; at += step) {
		if (all_zero(image + at, step))
			return at;
		if (memcmp(image + at, gate_begin, (size_t)(gate_saved - gate_begin)) != 0)
			return 0;
	}
	return at > first ? first : 0;
}

int gate_open(struct gate *g, struct puppet *p, uint64_t vdso_start, uint64_t vdso_end, struct error *e)
{
	size_t size = vdso_end - vdso_start, at;
	AUTOFREE uint8_t *image = NULL;
	char path[64];
	ssize_t n;

	*g = (struct gate){ .mem_fd = -1 };
	if (vdso_end <= vdso_start || size > 64 * 1024)
		return error_raise(e, EOPNOTSUPP, "pid %d (%s) has no vdso, which firn needs to reach into it", p->pid,
				   p->comm);
	image = malloc(size);
	if (!image)
		return error_raise(e, ENOMEM, "pid %d (%s): no memory for its vdso", p->pid, p->comm);
	(void)snprintf(path, sizeof(path), "/proc/%d/mem", p->tid);
	g->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (g->mem_fd < 0)
		return error_raise_call(e, errno, "open", "pid %d (%s), %s", p->pid, p->comm, path);
	n = pread(g->mem_fd, image, size, (off_t)vdso_start);
	if (n != (ssize_t)size)
		return error_raise_call(e, n < 0 ? errno : EIO, "pread", "pid %d (%s), vdso", p->pid, p->comm);
	at = vdso_used(image, size);
	at = (at + 15) & ~(size_t)15;
	if (at == 0 || at > size || size - at < GATE_SIZE)
		return error_raise(e, EOPNOTSUPP, "pid %d (%s): its vdso leaves no room for firn's gate", p->pid,
				   p->comm);
	at = free_place(image, at, size);
	if (at == 0)
		return error_raise(e, EOPNOTSUPP, "pid %d (%s): somebody else uses the end of its vdso", p->pid,
				   p->comm);
	g->address = vdso_start + at;
	return 0;
}

static int gate_write(struct gate *g, struct puppet *p, struct error *e)
{
	uint8_t code[512];
	struct puppet_saved saved;

	memcpy(code, gate_begin, GATE_SIZE);
	saved_from_regs(&saved, &p->regs, p->sigmask);
	memcpy(code + (gate_saved - gate_begin), &saved, sizeof(saved));
	if (pwrite(g->mem_fd, code, GATE_SIZE, (off_t)g->address) != (ssize_t)GATE_SIZE) {
		(void)error_raise_call(e, errno, "pwrite", "pid %d (%s), /proc/%d/mem at its vdso", p->pid, p->comm,
				       p->pid);
		error_hint(e,
			   "The kernel may forbid forced writes: boot with proc_mem.force_override=ptrace or always.");
		return -e->number;
	}
	g->written = true;
	return 0;
}

int gate_call(struct gate *g, struct puppet *p, long nr, const uint64_t args[6], int64_t *ret, struct error *e)
{
	int r;

	recorder_step(p->pid, p->comm, syscall_name(nr), "in the task, through the gate");
	r = gate_write(g, p, e);
	if (r < 0)
		return r;
	r = puppet_single_call(p, g->address, nr, args, ret, e);
	g->busy = p->running;
	return r;
}

void gate_close(struct gate *g)
{
	static const uint8_t zeros[512];

	if (g->mem_fd < 0)
		return;
	/* A task that is in there heals by itself, if the code stays. */
	if (g->busy)
		log_warn(0, "the gate is left in a vdso: its call did not end");
	else if (g->written && pwrite(g->mem_fd, zeros, GATE_SIZE, (off_t)g->address) < 0)
		log_warn(0, "the gate could not be wiped off a vdso: %s", strerror(errno));
	close(g->mem_fd);
	g->mem_fd = -1;
}
