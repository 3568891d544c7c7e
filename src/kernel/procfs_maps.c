/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/procfs.h"

/*
 * /proc/PID/maps and smaps. An area's line begins with a lower-case hexadecimal digit, the lines about it (smaps) with
 * a capital letter. Paths have their newlines escaped and areas' names (PR_SET_VMA_ANON_NAME) must be printable, so a
 * task cannot forge a line.
 */

/* A line per area is about 100 bytes, in smaps about 800; vm.max_map_count is rarely above a million. */
#define MAPS_LIMIT (1UL << 30)

/* The codes of enum proc_vmflag and the VMFLAG_* behind it, in the order of their bits. */
static const char vm_flag_codes[][3] = {
	"rd", "wr", "ex", "sh", "mr", "mw", "me", "ms", "gd", "pf", "lo", "io", "sr", "rr", "dc", "de", "ac", "nr",
	"ht", "sf", "ar", "wf", "dd", "sd", "mm", "hg", "nh", "mg", "um", "uw", "ss", "sl", "gu", "lf", "ui", "dp",
};

static uint64_t vm_flag(const char *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(vm_flag_codes); i++)
		if (vm_flag_codes[i][0] == p[0] && vm_flag_codes[i][1] == p[1])
			return 1ull << i;
	return 0; /* a flag of a newer kernel, or a protection key's bit */
}

/* "rd wr mr mw me ac sd " */
static bool parse_vm_flags(struct text *t, uint64_t *ret)
{
	uint64_t flags = 0;

	for (text_blanks(t); !text_empty(t); text_blanks(t)) {
		if (text_len(t) < 2)
			return false;
		flags |= vm_flag(t->p);
		t->p += 2;
		if (!text_empty(t) && *t->p != ' ')
			return false;
	}
	*ret = flags;
	return true;
}

/* "                 8 kB" → bytes */
static bool parse_kilobytes(struct text *t, uint64_t *ret)
{
	uint64_t value;

	text_blanks(t);
	if (!text_unsigned(t, 10, UINT64_MAX / 1024, &value) || !text_literal(t, " kB"))
		return false;
	*ret = value * 1024;
	return true;
}

static bool parse_key(struct text *t, uint32_t *ret)
{
	text_blanks(t);
	return text_u32(t, 10, ret);
}

/* One of the lines that follow an area in smaps; most say nothing that a dump needs. */
static bool parse_detail(struct text *t, struct proc_map *m)
{
	switch (*t->p) {
	case 'A':
		return !text_literal(t, "Anonymous:") || parse_kilobytes(t, &m->anonymous);
	case 'K':
		return !text_literal(t, "KernelPageSize:") || parse_kilobytes(t, &m->page_size);
	case 'P':
		return !text_literal(t, "ProtectionKey:") || parse_key(t, &m->pkey);
	case 'R':
		return !text_literal(t, "Rss:") || parse_kilobytes(t, &m->rss);
	case 'S':
		return !text_literal(t, "Swap:") || parse_kilobytes(t, &m->swap);
	case 'V':
		return !text_literal(t, "VmFlags:") || parse_vm_flags(t, &m->vm_flags);
	default:
		return true;
	}
}

/* "r-xp" */
static bool parse_permissions(struct text *t, struct proc_map *m)
{
	static const char letters[] = "rwx";
	static const uint32_t bits[] = { PROT_READ, PROT_WRITE, PROT_EXEC };

	if (text_len(t) < 4)
		return false;
	for (int i = 0; i < 3; i++) {
		if (t->p[i] == letters[i])
			m->prot |= bits[i];
		else if (t->p[i] != '-')
			return false;
	}
	if (t->p[3] != 's' && t->p[3] != 'p')
		return false;
	m->shared = t->p[3] == 's';
	t->p += 4;
	return true;
}

/* Consecutive areas are mostly of the same file: they share the string. */
static const char *keep_path(struct text *t, struct arena *a, const struct proc_map *previous)
{
	size_t len = text_len(t);
	char *path;

	if (len == 0)
		return "";
	if (previous && strlen(previous->path) == len && memcmp(previous->path, t->p, len) == 0)
		return previous->path;
	path = arena_alloc(a, len + 1);
	if (!path)
		return NULL;
	memcpy(path, t->p, len);
	path[text_unescape(path, len, '\n')] = '\0';
	return path;
}

/* "55ba605d4000-55ba605d6000 r--p 00000000 fe:00 247498                     /usr/bin/head" */
static int parse_area(struct text *t, struct arena *a, const struct proc_map *previous, struct proc_map *ret)
{
	struct proc_map m = { .page_size = 4096 };

	if (!text_u64(t, 16, &m.start) || !text_char(t, '-') || !text_u64(t, 16, &m.end) || !text_char(t, ' ') ||
	    !parse_permissions(t, &m) || !text_char(t, ' ') || !text_u64(t, 16, &m.offset) || !text_char(t, ' ') ||
	    !text_u32(t, 16, &m.dev_major) || !text_char(t, ':') || !text_u32(t, 16, &m.dev_minor) ||
	    !text_char(t, ' ') || !text_u64(t, 10, &m.inode))
		return -EINVAL;
	if (m.start >= m.end || ((m.start | m.end | m.offset) & 4095) || (previous && m.start < previous->end))
		return -EINVAL;
	if (!text_empty(t) && *t->p != ' ')
		return -EINVAL;
	text_blanks(t);
	m.path = keep_path(t, a, previous);
	if (!m.path)
		return -ENOMEM;
	*ret = m;
	return 0;
}

static bool begins_area(const struct text *line)
{
	return !text_empty(line) && ((*line->p >= '0' && *line->p <= '9') || (*line->p >= 'a' && *line->p <= 'f'));
}

static size_t count_areas(struct text t)
{
	struct text line;
	size_t n = 0;

	while (text_line(&t, &line))
		n += begins_area(&line);
	return n;
}

int parse_proc_maps(const char *text, size_t len, bool smaps, struct arena *a, struct proc_map **ret, size_t *ret_n)
{
	struct text t = text_of(text, len), line;
	size_t n = 0, room = count_areas(t);
	struct proc_map *maps = arena_array(a, room, sizeof(*maps));
	int r;

	if (!maps)
		return -ENOMEM;
	while (text_line(&t, &line)) {
		if (begins_area(&line)) {
			r = parse_area(&line, a, n ? &maps[n - 1] : NULL, &maps[n]);
			if (r < 0)
				return r;
			n++;
		} else if (!smaps || !n || text_empty(&line) || !parse_detail(&line, &maps[n - 1])) {
			return -EINVAL;
		}
	}
	*ret = maps;
	*ret_n = n;
	return 0;
}

/*
 * The kernel hands out the areas a page of text at a time and drops the mmap lock in between: while the task runs, an
 * area may grow or merge and appear to overlap its predecessor. Reading again helps unless the task keeps changing.
 */
#define MAPS_ATTEMPTS 5

int read_proc_maps(int dirfd, bool smaps, struct arena *a, struct proc_map **ret, size_t *ret_n)
{
	for (int i = 0; i < MAPS_ATTEMPTS; i++) {
		AUTOFREE char *buf = NULL;
		size_t len;
		int r = procfs_read(dirfd, smaps ? "smaps" : "maps", MAPS_LIMIT, &buf, &len);

		if (r < 0)
			return r;
		r = parse_proc_maps(buf, len, smaps, a, ret, ret_n);
		if (r != -EINVAL)
			return r;
	}
	return -EAGAIN;
}
