/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memory/vdso.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <syscall.h>

#include "memory/plan.h"
#include "watch/recorder.h"

/*
 * The vdso is code of the kernel, and a restored task goes on calling it at the addresses that its C library resolved
 * long ago. Where this kernel maps the same code in the same shape, it is mapped at the old address. Else
 *
 *  - the old code stays where it was, as memory of the task, and each of its functions begins with a jump to the one of
 *    this kernel's vdso, which lies elsewhere with its data;
 *  - the old data (vvar) becomes zeros. Old code that a signal handler returns into reads there that no clock source is in
 *    use, or that what it has read has changed, and makes a system call. For the coarse clocks and time() it would read 0;
 *  - a thread that stands inside such code is refused, unless it is at the beginning of a function or in a system call.
 *
 * In /proc/PID/maps [vdso] is then this kernel's, which is what a later dump looks for; the old one is memory like any
 * other, also for a later restore. AT_SYSINFO_EHDR stays.
 */

#define STACK_ROOM \
	(UINT64_C(128) << 20) /* the kernel keeps that much free below a stack at least: arch/x86/mm/mmap.c */
#define HEAP_ROOM (UINT64_C(1) << 30)
#define MARGIN (UINT64_C(1) << 20)

static int refuse(struct operation *op, struct task *t, const char *why)
{
	(void)error_raise(op->error, EOPNOTSUPP, "pid %d (%s): its vdso cannot be given back: %s", t->pid, t->comm,
			  why);
	error_hint(op->error, "the checkpoint was made on another build of the kernel; restore it there");
	return -EOPNOTSUPP;
}

static bool thread_inside(const struct thread *th, const VmaEntry *v, const uint8_t *code,
			  const struct vdso_function *f, size_t n)
{
	const ThreadInfoX86 *ti = th->core ? th->core->thread_info : NULL;
	uint64_t ip = ti && ti->gpregs ? ti->gpregs->ip : 0;

	if (ip < v->start || ip >= v->end)
		return false;
	for (size_t i = 0; i < n; i++)
		if (ip - v->start == f[i].offset)
			return false;
	return !vdso_at_call(code, v->end - v->start, ip - v->start);
}

/* A thread of a task that has this memory and is in the middle of the code; NULL. */
static const struct thread *find_inside(const struct operation *op, const struct task *t, const VmaEntry *v)
{
	struct vdso_function f[VDSO_FUNCTIONS_MAX];
	const uint8_t *code = t->mm_plan->vdso;
	size_t n = 0;

	(void)vdso_functions(code, v->end - v->start, f, &n);
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *user = op->tree.tasks[i];

		for (size_t k = 0; (user == t || user->mm_owner == t) && k < user->n_threads; k++)
			if (thread_inside(&user->threads[k], v, code, f, n))
				return &user->threads[k];
	}
	return NULL;
}

static uint64_t below(uint64_t at, uint64_t room)
{
	return at > room ? at - room : 0;
}

/* Where nothing of the task is, nor grows to; as near to the old one as a short jump reaches, where that is possible. */
static int find_place(struct operation *op, struct task *t, const VmaEntry *old, uint64_t size, uint64_t *ret)
{
	const MmEntry *mm = t->mm;
	const uint64_t low = MARGIN, high = (1ull << 47) - PAGE_BYTES;
	AUTOFREE struct span *spans = calloc(mm->n_vmas + 1, sizeof(*spans));
	uint64_t near = old->end + VDSO_NEAR < high ? old->end + VDSO_NEAR : high;

	if (!spans)
		return error_raise(op->error, ENOMEM, "no memory left to look for free addresses");
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *v = mm->vmas[i];
		bool grows =
			(v->flags & MAP_GROWSDOWN) || (v->start <= mm->mm_start_stack && mm->mm_start_stack < v->end);

		spans[i] = (struct span){ grows ? below(v->start, STACK_ROOM) : v->start, v->end };
	}
	if (mm->mm_brk < high)
		spans[mm->n_vmas] = (struct span){ mm->mm_brk, mm->mm_brk + HEAP_ROOM };
	*ret = old->end < near ? span_hole(spans, mm->n_vmas + 1, size, MARGIN, old->end, near) : 0;
	if (*ret == 0 && below(old->start, VDSO_NEAR) > low)
		*ret = span_hole(spans, mm->n_vmas + 1, size, MARGIN, below(old->start, VDSO_NEAR), old->start);
	if (*ret == 0)
		*ret = span_hole(spans, mm->n_vmas + 1, size, MARGIN, low, high);
	return *ret ? 0 : refuse(op, t, "no addresses are free for this kernel's beside it");
}

static int lead(struct operation *op, struct task *t, const VmaEntry *old, uint64_t place)
{
	const struct memory_host *h = &op->memory->host;
	char name[VDSO_NAME_MAX];
	const char *why;
	int r = vdso_lead(t->mm_plan->vdso, old->end - old->start, old->start,
			  (const uint8_t *)(uintptr_t)h->vdso_start, h->vdso_end - h->vdso_start, place, name);

	if (r == 0)
		return 0;
	if (r == -ENOSYS)
		why = arena_printf(&op->arena, "this kernel has no %s", name);
	else if (r == -ENOSPC)
		why = arena_printf(&op->arena, "its %s is too short to be led to this kernel's", name);
	else
		why = "the images have other code than this kernel, and that is no vdso";
	return refuse(op, t, why ? why : "no memory left to say why");
}

static void fill_area(VmaEntry *v, uint64_t start, uint64_t len, uint32_t status, uint32_t prot)
{
	vma_entry__init(v);
	v->start = start;
	v->end = start + len;
	v->prot = prot;
	v->flags = MAP_PRIVATE | MAP_ANONYMOUS;
	v->status = AREA_REGULAR | AREA_ANON_PRIVATE | status;
	v->fd = -1;
}

static VmaEntry *kernels_area(struct operation *op, uint64_t start, uint64_t len, uint32_t status, uint32_t prot)
{
	VmaEntry *v = arena_alloc(&op->arena, sizeof(*v));

	if (v)
		fill_area(v, start, len, status, prot);
	return v;
}

/* The kernel's area becomes the task's memory; what the kernel had set for its own sake means nothing there. */
static void make_plain(VmaEntry *v, uint32_t prot)
{
	uint64_t start = v->start, len = v->end - v->start;

	fill_area(v, start, len, 0, prot);
}

/* Puts two areas that follow each other into the list, behind all that lie below them. */
static int insert_areas(struct operation *op, struct task *t, VmaEntry *first, VmaEntry *second)
{
	struct mm_plan *p = t->mm_plan;
	MmEntry *mm = t->mm;
	size_t n = mm->n_vmas, at = 0;
	VmaEntry **vmas = arena_array(&op->arena, n + 2, sizeof(*vmas));
	struct area_link *links = arena_array(&op->arena, n + 3, sizeof(*links));

	if (!first || !second || !vmas || !links)
		return error_raise(op->error, ENOMEM, "pid %d: no memory left for its vdso", t->pid);
	while (at < n && mm->vmas[at]->start < first->start)
		at++;
	memcpy(vmas, mm->vmas, at * sizeof(*vmas));
	memcpy(vmas + at + 2, mm->vmas + at, (n - at) * sizeof(*vmas));
	memcpy(links, p->links, at * sizeof(*links));
	memcpy(links + at + 2, p->links + at, (n - at) * sizeof(*links));
	vmas[at] = first;
	vmas[at + 1] = second;
	mm->vmas = vmas;
	mm->n_vmas = n + 2;
	p->links = links;
	p->vvar_area = at;
	p->vdso_area = at + 1;
	return 0;
}

static int put_beside(struct operation *op, struct task *t, VmaEntry *vdso, VmaEntry *vvar)
{
	const struct memory_host *h = &op->memory->host;
	uint64_t data_len = h->vvar_end - h->vvar_start, code_len = h->vdso_end - h->vdso_start, place = 0;
	struct mm_plan *p = t->mm_plan;
	const struct thread *inside = find_inside(op, t, vdso);
	int r = find_place(op, t, vdso, data_len + code_len, &place);

	if (r == 0)
		r = lead(op, t, vdso, place + data_len);
	if (r < 0)
		return r;
	/* Again: the beginnings of functions are others now. */
	if (!inside)
		inside = find_inside(op, t, vdso);
	if (inside)
		return refuse(op, t, "a thread stood inside, and this kernel's has other code");
	p->old_vdso = vdso;
	p->old_vdso_prot = vdso->prot;
	make_plain(vdso, PROT_READ | PROT_WRITE); /* until vdso_settle() */
	if (vvar)
		make_plain(vvar, vvar->prot);
	log_info(t->pid, "vdso: other code than at the dump; its functions lead to this kernel's at %#" PRIx64,
		 place + data_len);
	return insert_areas(op, t, kernels_area(op, place, data_len, AREA_VVAR, PROT_READ),
			    kernels_area(op, place + data_len, code_len, AREA_VDSO, PROT_READ | PROT_EXEC));
}

int vdso_check(struct operation *op, struct task *t)
{
	const struct memory_host *h = &op->memory->host;
	const struct mm_plan *p = t->mm_plan;
	VmaEntry *vdso = p->vdso_area == SIZE_MAX ? NULL : t->mm->vmas[p->vdso_area];
	VmaEntry *vvar = p->vvar_area == SIZE_MAX ? NULL : t->mm->vmas[p->vvar_area];
	size_t len = h->vdso_end - h->vdso_start;
	bool same_shape;

	if (!vdso && !vvar)
		return 0;
	if (!vdso)
		return refuse(op, t, "the task had unmapped its code and kept its data");
	if (!h->vdso_start || !h->vvar_start)
		return refuse(op, t, "this kernel has none");
	if (h->vvar_end != h->vdso_start)
		return refuse(op, t, "this kernel's data does not lie directly before it");
	same_shape = vvar && vvar->end == vdso->start && vdso->end - vdso->start == len &&
		     vvar->end - vvar->start == h->vvar_end - h->vvar_start;
	if (same_shape && !p->vdso)
		log_warn(t->pid, "its vdso's code is not in the images: taken for that of this kernel");
	if (same_shape && (!p->vdso || memcmp(p->vdso, (const void *)(uintptr_t)h->vdso_start, len) == 0))
		return 0;
	if (!p->vdso)
		return refuse(op, t, "this kernel's has another size, and its code is not in the images");
	return put_beside(op, t, vdso, vvar);
}

/* The kernel takes the vdso's address as a wish; see whether it was granted. */
static int check_place(struct operation *op, struct task *t)
{
	const struct mm_plan *p = t->mm_plan;
	char magic[4] = "";
	struct iovec local = { magic, sizeof(magic) }, remote;

	if (p->vdso_area == SIZE_MAX)
		return 0;
	remote = (struct iovec){ (void *)(uintptr_t)t->mm->vmas[p->vdso_area]->start, sizeof(magic) };
	if (process_vm_readv(t->threads[0].puppet.pid, &local, 1, &remote, 1, 0) == sizeof(magic) &&
	    memcmp(magic, "\177ELF", 4) == 0)
		return 0;
	return error_raise(op->error, EFAULT, "pid %d (%s): the kernel did not map the vdso at %#" PRIx64, t->pid,
			   t->comm, t->mm->vmas[p->vdso_area]->start);
}

int vdso_settle(struct operation *op, struct task *t)
{
	struct mm_plan *p = t->mm_plan;
	VmaEntry *old = p->old_vdso;
	struct iovec local, remote;
	struct batch b;
	int r = check_place(op, t);

	if (r < 0 || !old)
		return r;
	local = (struct iovec){ p->vdso, old->end - old->start };
	remote = (struct iovec){ (void *)(uintptr_t)old->start, local.iov_len };
	recorder_step(t->pid, t->comm, "process_vm_writev", "the vdso of the dump");
	if (process_vm_writev(t->threads[0].puppet.pid, &local, 1, &remote, 1, 0) != (ssize_t)local.iov_len)
		return error_raise_call(op->error, errno, "process_vm_writev", "pid %d (%s): the vdso of the dump",
					t->pid, t->comm);
	old->prot = p->old_vdso_prot;
	r = batch_begin(&b, &t->threads[0].puppet, op->error);
	if (r == 0)
		batch_call(&b, 0, SYS_mprotect, old->start, local.iov_len, old->prot);
	if (r == 0)
		r = puppet_run(&b, op->error);
	batch_end(&b);
	return r < 0 ? r : 0;
}
