/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "memory/vdso.h"

/* What a vdso exports, from its table of dynamic symbols. The buffer is hostile: nothing outside of it is touched. */

struct symbols {
	const Elf64_Sym *table;
	size_t n;
	const char *names; /* ends with a NUL */
	size_t names_len;
};

static int find_symbols(const uint8_t *buf, size_t len, struct symbols *ret)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)(const void *)buf;
	const Elf64_Shdr *sections;

	*ret = (struct symbols){ 0 };
	if (len < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 || eh->e_ident[EI_CLASS] != ELFCLASS64)
		return -EINVAL;
	if (eh->e_shentsize != sizeof(Elf64_Shdr) || eh->e_shoff > len || eh->e_shoff % 8 ||
	    eh->e_shnum > (len - eh->e_shoff) / sizeof(Elf64_Shdr))
		return -EINVAL;
	sections = (const Elf64_Shdr *)(const void *)(buf + eh->e_shoff);
	for (size_t i = 0; i < eh->e_shnum; i++) {
		const Elf64_Shdr *sh = &sections[i], *str;

		if (sh->sh_type != SHT_DYNSYM)
			continue;
		if (sh->sh_link >= eh->e_shnum || sh->sh_offset > len || sh->sh_size > len - sh->sh_offset ||
		    sh->sh_offset % 8)
			return -EINVAL;
		str = &sections[sh->sh_link];
		if (str->sh_offset > len || str->sh_size > len - str->sh_offset || str->sh_size == 0 ||
		    buf[str->sh_offset + str->sh_size - 1] != '\0')
			return -EINVAL;
		ret->table = (const Elf64_Sym *)(const void *)(buf + sh->sh_offset);
		ret->n = sh->sh_size / sizeof(Elf64_Sym);
		ret->names = (const char *)buf + str->sh_offset;
		ret->names_len = str->sh_size;
	}
	return ret->table ? 0 : -EINVAL;
}

/* No function's room reaches into another one. */
static void bound_rooms(struct vdso_function *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++)
			if (f[k].offset > f[i].offset && f[k].offset - f[i].offset < f[i].room)
				f[i].room = f[k].offset - f[i].offset;
}

int vdso_functions(const uint8_t *buf, size_t len, struct vdso_function *ret, size_t *ret_n)
{
	struct symbols s;
	size_t n = 0;

	if (find_symbols(buf, len, &s) < 0)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		const Elf64_Sym *sym = &s.table[i];

		if (sym->st_shndx == SHN_UNDEF || ELF64_ST_TYPE(sym->st_info) != STT_FUNC)
			continue;
		if (sym->st_name >= s.names_len || sym->st_value >= len || n == VDSO_FUNCTIONS_MAX)
			return -EINVAL;
		if (strlen(s.names + sym->st_name) >= VDSO_NAME_MAX)
			return -EINVAL;
		ret[n] = (struct vdso_function){ .offset = sym->st_value, .room = len - sym->st_value };
		strcpy(ret[n].name, s.names + sym->st_name);
		if (sym->st_size > 0 && sym->st_size < ret[n].room)
			ret[n].room = sym->st_size;
		n++;
	}
	bound_rooms(ret, n);
	*ret_n = n;
	return 0;
}

/* Most functions have two names, of which one is weak: clock_gettime and __vdso_clock_gettime. */
static const char *plain_name(const char *name)
{
	static const char prefix[] = "__vdso_";

	return strncmp(name, prefix, sizeof(prefix) - 1) == 0 ? name + sizeof(prefix) - 1 : name;
}

static const struct vdso_function *same_function(const struct vdso_function *f, size_t n, const char *plain)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(plain_name(f[i].name), plain) == 0)
			return &f[i];
	return NULL;
}

int vdso_lead(uint8_t *image, size_t len, uint64_t image_at, const uint8_t *ours, size_t ours_len, uint64_t ours_at,
	      char ret_name[VDSO_NAME_MAX])
{
	struct vdso_function theirs[VDSO_FUNCTIONS_MAX], here[VDSO_FUNCTIONS_MAX];
	size_t n, n_here;

	ret_name[0] = 0;
	if (vdso_functions(image, len, theirs, &n) < 0 || vdso_functions(ours, ours_len, here, &n_here) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		uint8_t *at = image + theirs[i].offset;
		const char *plain = plain_name(theirs[i].name);
		const struct vdso_function *f = same_function(here, n_here, plain);
		int r;

		if (f)
			r = vdso_write_jump(at, theirs[i].room, image_at + theirs[i].offset, ours_at + f->offset);
		else if (vdso_stands_alone(plain))
			r = 0;
		else
			r = vdso_write_call(at, theirs[i].room, plain);
		if (r < 0) {
			strcpy(ret_name, theirs[i].name);
			return r;
		}
	}
	return 0;
}
