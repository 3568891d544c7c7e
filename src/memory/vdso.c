/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/uio.h>

#include "memory/plan.h"
#include "watch/recorder.h"

/*
 * The vdso is code of the kernel, and a restored task goes on calling it at the addresses that its C library resolved
 * long ago. So the kernel at hand must map a vdso of the same shape: the same distance to vvar, the same size, and the
 * same functions at the same places. Where its bytes differ, nothing may stand inside.
 */

struct vdso_symbols {
	const uint8_t *base;
	size_t len;
	const Elf64_Sym *symbols;
	size_t n;
	const char *names;
	size_t names_len;
};

/* Pointers stay inside of the buffer; the vdso is linked at 0, so addresses are offsets. */
static int parse_vdso(const uint8_t *buf, size_t len, struct vdso_symbols *ret)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)(const void *)buf;
	struct vdso_symbols v = { .base = buf, .len = len };

	if (len < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 || eh->e_ident[EI_CLASS] != ELFCLASS64)
		return -EINVAL;
	if (eh->e_shentsize != sizeof(Elf64_Shdr) || eh->e_shoff > len || eh->e_shoff % 8 ||
	    eh->e_shnum > (len - eh->e_shoff) / sizeof(Elf64_Shdr))
		return -EINVAL;
	for (size_t i = 0; i < eh->e_shnum; i++) {
		const Elf64_Shdr *sh = (const Elf64_Shdr *)(const void *)(buf + eh->e_shoff) + i, *str;

		if (sh->sh_type != SHT_DYNSYM)
			continue;
		if (sh->sh_link >= eh->e_shnum || sh->sh_offset > len || sh->sh_size > len - sh->sh_offset ||
		    sh->sh_offset % 8)
			return -EINVAL;
		str = (const Elf64_Shdr *)(const void *)(buf + eh->e_shoff) + sh->sh_link;
		if (str->sh_offset > len || str->sh_size > len - str->sh_offset || str->sh_size == 0 ||
		    buf[str->sh_offset + str->sh_size - 1] != '\0')
			return -EINVAL;
		v.symbols = (const Elf64_Sym *)(const void *)(buf + sh->sh_offset);
		v.n = sh->sh_size / sizeof(Elf64_Sym);
		v.names = (const char *)buf + str->sh_offset;
		v.names_len = str->sh_size;
	}
	if (!v.symbols)
		return -EINVAL;
	*ret = v;
	return 0;
}

static bool symbol_in(const struct vdso_symbols *v, const char *name, uint64_t value)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->symbols[i].st_name < v->names_len && v->symbols[i].st_value == value &&
		    strcmp(v->names + v->symbols[i].st_name, name) == 0)
			return true;
	return false;
}

int vdso_same_symbols(const uint8_t *image, const uint8_t *ours, size_t len)
{
	struct vdso_symbols a, b;

	if (parse_vdso(image, len, &a) < 0 || parse_vdso(ours, len, &b) < 0)
		return -EINVAL;
	for (size_t i = 0; i < a.n; i++) {
		if (a.symbols[i].st_name >= a.names_len)
			return -EINVAL;
		if (a.symbols[i].st_shndx == SHN_UNDEF || ELF64_ST_TYPE(a.symbols[i].st_info) != STT_FUNC)
			continue;
		if (!symbol_in(&b, a.names + a.symbols[i].st_name, a.symbols[i].st_value))
			return (int)i + 1;
	}
	return 0;
}

static int refuse(struct operation *op, struct task *t, const char *why)
{
	(void)error_raise(op->error, EOPNOTSUPP, "pid %d (%s): its vdso cannot be given back: %s", t->pid, t->comm,
			  why);
	error_hint(op->error, "the checkpoint was made on another build of the kernel; restore it there");
	return -EOPNOTSUPP;
}

static bool stands_inside(const struct task *t, const VmaEntry *v)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		const CoreEntry *core = t->threads[i].core;
		const ThreadInfoX86 *ti = core ? core->thread_info : NULL;

		if (ti && ti->gpregs && ti->gpregs->ip >= v->start && ti->gpregs->ip < v->end)
			return true;
	}
	return false;
}

int vdso_check(struct operation *op, struct task *t)
{
	const struct memory_host *h = &op->memory->host;
	const struct mm_plan *p = t->mm_plan;
	const VmaEntry *vdso = p->vdso_area == SIZE_MAX ? NULL : t->mm->vmas[p->vdso_area];
	const VmaEntry *vvar = p->vvar_area == SIZE_MAX ? NULL : t->mm->vmas[p->vvar_area];
	const uint8_t *ours = (const uint8_t *)(uintptr_t)h->vdso_start;
	size_t len = h->vdso_end - h->vdso_start;

	if (!vdso && !vvar)
		return 0;
	if (!vdso || !vvar)
		return refuse(op, t, "the task had unmapped a part of it");
	if (!ours || !h->vvar_start)
		return refuse(op, t, "this kernel has none");
	if (vdso->end - vdso->start != len || vvar->end - vvar->start != h->vvar_end - h->vvar_start)
		return refuse(op, t, "this kernel's has another size");
	if (h->vvar_end != h->vdso_start || vvar->end != vdso->start)
		return refuse(op, t, "its data does not lie directly before it");
	if (!p->vdso || memcmp(p->vdso, ours, len) == 0)
		return 0;
	if (vdso_same_symbols(p->vdso, ours, len) != 0)
		return refuse(op, t, "this kernel's has its functions at other places");
	if (stands_inside(t, vdso))
		return refuse(op, t, "a thread stood inside, and this kernel's has other code");
	log_info(t->pid, "vdso: other code than at the dump, the same functions at the same places");
	return 0;
}

/* The kernel takes the vdso's address as a wish; see whether it was granted. */
int vdso_check_place(struct operation *op, struct task *t)
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
