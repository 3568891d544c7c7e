/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads what `firn show` prints. Works on firn's images and on CRIU's (also 3.x), which differ where they may: the ids
 * stand in ids-N.img or in core-N.img, and a zombie's list of threads in CRIU's pstree.img is not initialised.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/show.h"
#include "pagemap.pb-c.h"

#define PAGE 4096ull
#define ARGV_MAX 4096ull /* bytes of the command line that are shown */
#define PE_PARENT 1u
#define PE_PRESENT 4u
#define VMA_AREA_VSYSCALL 4u

static int raise_damaged(struct error *e, const struct show *s, const char *what, uint32_t id)
{
	error_raise(e, EBADMSG, "%s: %s %u", s->path, what, id);
	error_hint(e, "The checkpoint is damaged: copy it again from where it was made, or dump again.");
	return -EBADMSG;
}

static int raise_memory(struct error *e, const struct show *s)
{
	return error_raise(e, ENOMEM, "%s: out of memory", s->path);
}

/* All entries of an image into one array; a missing one has none when it is @optional. */
static int read_entries(struct show *s, enum image_type t, uint64_t id, bool optional, void *ret_array, size_t *ret_n,
			struct error *e)
{
	const ProtobufCMessageDescriptor *desc = image_descriptor(t);
	ProtobufCMessage **array = NULL, *m;
	size_t n = 0, room = 0;
	struct image_reader r;
	int result = image_reader_open(&r, &s->dir, t, id, optional, &s->arena, e);

	if (result == -ENOENT && optional)
		result = 0;
	else if (result == 0)
		while ((result = image_read(&r, desc, &m, e)) == 1) {
			if (n == room) {
				room = room ? room * 2 : 16;
				array = arena_grow(&s->arena, array, n, room, sizeof(*array));
				if (!array)
					return raise_memory(e, s);
			}
			array[n++] = m;
		}
	if (result < 0)
		return result;
	*(ProtobufCMessage ***)ret_array = array;
	*ret_n = n;
	return 0;
}

/* The first entry, or NULL when the image is not there and @optional. */
static int read_one(struct show *s, enum image_type t, uint64_t id, bool optional, void *ret, struct error *e)
{
	ProtobufCMessage *m = NULL;
	struct image_reader r;
	int result = image_reader_open(&r, &s->dir, t, id, optional, &s->arena, e);

	if (result == -ENOENT && optional)
		result = 1;
	else if (result == 0)
		result = image_read(&r, image_descriptor(t), &m, e);
	if (result == 0)
		return error_raise(e, EBADMSG, "%s: no entry where one is needed; the checkpoint is damaged", r.name);
	if (result < 0)
		return result;
	*(ProtobufCMessage **)ret = m;
	return 0;
}

static int compare_file_ids(const void *a, const void *b)
{
	uint32_t x = (*(FileEntry *const *)a)->id, y = (*(FileEntry *const *)b)->id;

	return x < y ? -1 : x > y;
}

const FileEntry *show_find_file(const struct show *s, uint32_t id)
{
	const FileEntry key = { .id = id }, *pointer = &key;
	FileEntry **found =
		s->n_files ? bsearch(&pointer, s->files, s->n_files, sizeof(*s->files), compare_file_ids) : NULL;

	return found ? *found : NULL;
}

const char *show_file_path(const struct show *s, uint32_t id)
{
	const FileEntry *f = show_find_file(s, id);

	return f && f->reg ? f->reg->name : NULL;
}

static int add_page_bytes(struct error *e, const struct image_reader *r, uint64_t pages, uint64_t *sum)
{
	/* Entries hold 32-bit counts of pages; only very many of them can overflow. */
	if (__builtin_add_overflow(*sum, pages * PAGE, sum))
		return error_raise(e, EBADMSG, "%s: more pages than there is memory", r->name);
	return 0;
}

static bool in_image(const PagemapEntry *p)
{
	/* Before CRIU 3.0 there were no flags, and all that was not in the parent was there. */
	if (p->has_flags)
		return p->flags & PE_PRESENT;
	return !p->in_parent;
}

/* Where the bytes from @addr lie: those of one run. */
struct page_search {
	uint64_t addr;
	bool found;
	uint64_t offset, len; /* in the pages file; bytes up to the end of the run */
};

/* Sums the pages that are present; with @search also finds an address. */
static int read_pagemap(struct show *s, enum image_type t, uint64_t id, uint64_t *ret_present, uint32_t *ret_pages_id,
			struct page_search *search, struct error *e)
{
	struct image_reader r;
	ProtobufCMessage *m;
	uint64_t present = 0;
	int result = image_reader_open(&r, &s->dir, t, id, true, &s->arena, e);

	if (result == -ENOENT)
		return 0;
	if (result == 0)
		result = image_read(&r, &pagemap_head__descriptor, &m, e);
	if (result <= 0)
		return result;
	*ret_pages_id = ((PagemapHead *)m)->pages_id;
	while ((result = image_read(&r, &pagemap_entry__descriptor, &m, e)) == 1) {
		const PagemapEntry *p = (const PagemapEntry *)m;
		uint64_t bytes = p->nr_pages * PAGE;

		if (!in_image(p))
			continue;
		if (search && search->addr >= p->vaddr && search->addr - p->vaddr < bytes)
			*search = (struct page_search){ search->addr, true, present + (search->addr - p->vaddr),
							bytes - (search->addr - p->vaddr) };
		result = add_page_bytes(e, &r, p->nr_pages, &present);
		if (result < 0)
			return result;
	}
	if (result < 0)
		return result;
	*ret_present = present;
	return 0;
}

/* The command line out of the task's own pages. What is not there is no error: it may lie in a parent checkpoint. */
static int read_argv(struct show *s, struct show_task *t, uint32_t pages_id, const struct page_search *where,
		     struct error *e)
{
	uint64_t want = t->mm->mm_arg_end - t->mm->mm_arg_start, size;
	AUTOCLOSE int fd = -1;
	char *text;
	ssize_t len;
	int r;

	if (!where->found || t->mm->mm_arg_end <= t->mm->mm_arg_start)
		return 0;
	if (want > where->len)
		want = where->len;
	if (want > ARGV_MAX)
		want = ARGV_MAX;
	r = image_pages_open(&s->dir, pages_id, &fd, &size, e);
	if (r < 0)
		return r;
	text = arena_alloc(&s->arena, want + 1);
	t->argv = arena_array(&s->arena, want, sizeof(char *));
	if (!text || !t->argv)
		return raise_memory(e, s);
	len = where->offset < size ? pread(fd, text, want, (off_t)where->offset) : 0;
	for (char *p = text; len > 0 && p < text + len; p += strlen(p) + 1)
		t->argv[t->n_argv++] = p;
	if (t->n_argv == 0)
		t->argv = NULL;
	return 0;
}

static int load_memory(struct show *s, struct show_task *t, struct error *e)
{
	struct page_search where = { 0 };
	uint32_t pages_id = 0;
	int r = read_one(s, IMAGE_MM, t->entry->pid, true, &t->mm, e);

	if (r < 0 || !t->mm)
		return r;
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (v->end < v->start)
			return raise_damaged(e, s, "an area that ends before it starts in the memory of pid",
					     t->entry->pid);
		if (v->status & VMA_AREA_VSYSCALL)
			continue;
		if (__builtin_add_overflow(t->mapped, v->end - v->start, &t->mapped))
			return raise_damaged(e, s, "areas larger than any address space in the memory of pid",
					     t->entry->pid);
	}
	t->exe = show_file_path(s, t->mm->exe_file_id);
	where.addr = t->mm->mm_arg_start;
	r = read_pagemap(s, IMAGE_PAGEMAP, t->entry->pid, &t->present, &pages_id, &where, e);
	if (r < 0)
		return r;
	if (__builtin_add_overflow(s->present, t->present, &s->present))
		return raise_damaged(e, s, "more pages than there is memory, with pid", t->entry->pid);
	return read_argv(s, t, pages_id, &where, e);
}

static int load_threads(struct show *s, struct show_task *t, struct error *e)
{
	const PstreeEntry *p = t->entry;

	if (t->state == SHOW_ZOMBIE)
		return 0;
	t->threads = arena_array(&s->arena, p->n_threads ? p->n_threads : 1, sizeof(*t->threads));
	if (!t->threads)
		return raise_memory(e, s);
	for (size_t i = 0; i < p->n_threads; i++) {
		const CoreEntry *core = t->core;
		const char *comm;

		if (p->threads[i] != p->pid) {
			int r = read_one(s, IMAGE_CORE, p->threads[i], false, &core, e);

			if (r < 0)
				return r;
		}
		t->threads[i].tid = p->threads[i];
		comm = core->thread_core ? core->thread_core->comm : NULL;
		t->threads[i].comm = comm && *comm ? comm : t->comm;
		t->n_threads++;
	}
	s->n_threads += t->n_threads;
	return 0;
}

static int load_descriptors(struct show *s, struct show_task *t, struct error *e)
{
	const TaskKobjIdsEntry *ids = t->core->ids;
	uint32_t table = t->entry->pid;
	int r = 0;

	if (!ids)
		r = read_one(s, IMAGE_IDS, t->entry->pid, true, &ids, e);
	if (r < 0)
		return r;
	if (ids) {
		t->files_id = table = ids->files_id;
		/* The first task of those that share a table shows it. */
		for (const struct show_task *other = s->tasks; other < t; other++)
			if (other->files_id == table)
				t->fds_shared = true;
	}
	if (t->fds_shared)
		return 0;
	return read_entries(s, IMAGE_FDINFO, table, true, &t->fds, &t->n_fds, e);
}

static enum show_state state_of(const TaskCoreEntry *tc)
{
	switch (tc->task_state) {
	case 1:
		return SHOW_RUNNING;
	case 3:
		return SHOW_STOPPED;
	case 2: /* as CRIU writes it */
	case 6: /* as its image tool calls it */
		return SHOW_ZOMBIE;
	default:
		return SHOW_UNKNOWN;
	}
}

static int load_task(struct show *s, struct show_task *t, struct error *e)
{
	int r = read_one(s, IMAGE_CORE, t->entry->pid, false, &t->core, e);

	if (r < 0)
		return r;
	if (!t->core->tc)
		return raise_damaged(e, s, "no state of the task in the core image of pid", t->entry->pid);
	t->comm = t->core->tc->comm;
	if (!*t->comm)
		t->comm = "?";
	t->state = state_of(t->core->tc);
	r = load_threads(s, t, e);
	if (r < 0 || t->state == SHOW_ZOMBIE)
		return r;
	r = load_memory(s, t, e);
	if (r == 0)
		r = load_descriptors(s, t, e);
	if (r == 0)
		r = read_one(s, IMAGE_FS, t->entry->pid, true, &t->fs, e);
	return r;
}

static int compare_pids(const void *a, const void *b)
{
	uint32_t x = (*(struct show_task *const *)a)->entry->pid, y = (*(struct show_task *const *)b)->entry->pid;

	return x < y ? -1 : x > y;
}

static struct show_task *find_task(struct show_task **sorted, size_t n, uint32_t pid)
{
	const PstreeEntry entry = { .pid = pid };
	const struct show_task key = { .entry = &entry }, *pointer = &key;
	struct show_task **found = bsearch(&pointer, sorted, n, sizeof(*sorted), compare_pids);

	return found ? *found : NULL;
}

/* Puts @t and all below it into the order. Iterative: a hostile chain may be deeper than any stack. */
static void visit(struct show *s, struct show_task *t, size_t *n)
{
	struct show_task *top = t;

	for (;;) {
		s->order[(*n)++] = t;
		if (t->first_child) {
			t->first_child->depth = t->depth + 1;
			t = t->first_child;
			continue;
		}
		while (t != top && !t->next_sibling)
			t = t->parent;
		if (t == top)
			return;
		t->next_sibling->depth = t->depth;
		t = t->next_sibling;
	}
}

static int link_tree(struct show *s, struct error *e)
{
	struct show_task **sorted = arena_array(&s->arena, s->n_tasks, sizeof(struct show_task *));
	size_t n = 0;

	s->order = arena_array(&s->arena, s->n_tasks, sizeof(*s->order));
	if (!sorted || !s->order)
		return raise_memory(e, s);
	for (size_t i = 0; i < s->n_tasks; i++)
		sorted[i] = &s->tasks[i];
	qsort(sorted, s->n_tasks, sizeof(*sorted), compare_pids);
	for (size_t i = 1; i < s->n_tasks; i++)
		if (sorted[i - 1]->entry->pid == sorted[i]->entry->pid)
			return raise_damaged(e, s, "the process tree has two tasks with pid", sorted[i]->entry->pid);
	for (size_t i = 0; i < s->n_tasks; i++) {
		struct show_task *t = &s->tasks[i];

		t->parent = t->entry->ppid ? find_task(sorted, s->n_tasks, t->entry->ppid) : NULL;
		if (!t->parent)
			continue;
		if (t->parent->last_child)
			t->parent->last_child->next_sibling = t;
		else
			t->parent->first_child = t;
		t->parent->last_child = t;
	}
	for (size_t i = 0; i < s->n_tasks; i++)
		if (!s->tasks[i].parent)
			visit(s, &s->tasks[i], &n);
	/* Whoever was not reached is its own ancestor. */
	if (n != s->n_tasks)
		return raise_damaged(e, s, "the process tree runs in a circle; tasks outside of it:", (uint32_t)n);
	return 0;
}

static int load_tree(struct show *s, struct error *e)
{
	PstreeEntry **entries;
	int r = read_entries(s, IMAGE_PSTREE, 0, false, &entries, &s->n_tasks, e);

	if (r < 0)
		return r;
	if (s->n_tasks == 0)
		return error_raise(e, EBADMSG, "%s: the process tree is empty; the checkpoint is damaged", s->path);
	s->tasks = arena_array(&s->arena, s->n_tasks, sizeof(*s->tasks));
	if (!s->tasks)
		return raise_memory(e, s);
	for (size_t i = 0; i < s->n_tasks; i++)
		s->tasks[i].entry = entries[i];
	r = link_tree(s, e);
	for (size_t i = 0; r == 0 && i < s->n_tasks; i++)
		r = load_task(s, &s->tasks[i], e);
	return r;
}

static int add_shmem(struct show *s, uint64_t shmid, struct error *e)
{
	uint32_t pages_id = 0;
	uint64_t present = 0;
	int r = read_pagemap(s, IMAGE_PAGEMAP_SHMEM, shmid, &present, &pages_id, NULL, e);

	if (r < 0)
		return r;
	/* Few: one per segment of shared memory. */
	s->shmem = arena_grow(&s->arena, s->shmem, s->n_shmem, s->n_shmem + 1, sizeof(*s->shmem));
	if (!s->shmem)
		return raise_memory(e, s);
	s->shmem[s->n_shmem++] = (struct show_shmem){ shmid, present };
	if (__builtin_add_overflow(s->shmem_present, present, &s->shmem_present))
		return error_raise(e, EBADMSG, "%s: more shared pages than there is memory", s->path);
	return 0;
}

static int compare_shmem(const void *a, const void *b)
{
	uint64_t x = ((const struct show_shmem *)a)->shmid, y = ((const struct show_shmem *)b)->shmid;

	return x < y ? -1 : x > y;
}

/* Size of the folder, and the shared memory, which only the names of its files tell. */
static int scan_one(struct show *s, int folder, struct error *e)
{
	AUTOCLOSE int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTOCLOSEDIR DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	struct stat st;
	int r = 0;

	if (!dir)
		return error_raise_call(e, errno, "open", "images folder %s", s->path);
	(void)TAKE_FD(fd);
	while (r == 0 && (entry = readdir(dir)) != NULL) {
		enum image_type type;
		uint64_t id;
		bool image = image_name_parse(entry->d_name, &type, &id);

		if (!image && strcmp(entry->d_name, "firn.manifest") != 0)
			continue;
		if (folder != s->dir.fd && !image_dir_moved(&s->dir, entry->d_name))
			continue;
		if (fstatat(folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		s->bytes += (uint64_t)st.st_size;
		s->n_image_files++;
		if (!image)
			s->by_firn = true;
		else if (type == IMAGE_INVENTORY)
			s->made = st.st_mtime;
		else if (type == IMAGE_PAGEMAP_SHMEM)
			r = add_shmem(s, id, e);
	}
	return r;
}

static int scan_folder(struct show *s, struct error *e)
{
	int upper = image_dir_folder(&s->dir);
	int r = scan_one(s, s->dir.fd, e);

	if (r == 0 && upper >= 0)
		r = scan_one(s, upper, e);
	if (r == 0 && s->n_shmem)
		qsort(s->shmem, s->n_shmem, sizeof(*s->shmem), compare_shmem);
	return r;
}

/* files.img has what is mapped, executed and stood in as well. */
static int count_open(struct show *s, struct error *e)
{
	bool *met = arena_array(&s->arena, s->n_files + 1, sizeof(*met));

	if (!met)
		return error_raise(e, ENOMEM, "%s: no memory", s->path);
	for (size_t i = 0; i < s->n_tasks; i++)
		for (size_t k = 0; k < s->tasks[i].n_fds; k++) {
			const FileEntry key = { .id = s->tasks[i].fds[k]->id }, *pointer = &key;
			FileEntry **found = s->n_files ? bsearch(&pointer, s->files, s->n_files, sizeof(*s->files),
								 compare_file_ids)
						       : NULL;

			if (!found || met[found - s->files])
				continue;
			met[found - s->files] = true;
			s->n_open++;
		}
	return 0;
}

int show_load(struct show *s, const char *path, struct error *e)
{
	const InventoryEntry *inventory;
	int r;

	*s = (struct show){ .path = path, .dir.fd = -1 };
	r = image_dir_open(&s->dir, path, e);
	if (r == 0)
		r = read_one(s, IMAGE_INVENTORY, 0, false, &inventory, e);
	if (r == 0 && inventory->img_version > IMAGE_VERSION)
		r = error_raise(e, EBADMSG, "%s: images of version %u; this firn knows up to %u", path,
				inventory->img_version, (unsigned)IMAGE_VERSION);
	if (r == 0)
		r = read_entries(s, IMAGE_FILES, 0, true, &s->files, &s->n_files, e);
	if (r == 0 && s->n_files)
		qsort(s->files, s->n_files, sizeof(*s->files), compare_file_ids);
	if (r == 0)
		r = read_entries(s, IMAGE_MEMFD_INODE, 0, true, &s->memfds, &s->n_memfds, e);
	if (r == 0)
		r = read_entries(s, IMAGE_REMAP_FPATH, 0, true, &s->remaps, &s->n_remaps, e);
	if (r == 0)
		r = scan_folder(s, e);
	if (r == 0)
		r = load_tree(s, e);
	return r == 0 ? count_open(s, e) : r;
}

void show_release(struct show *s)
{
	image_dir_close(&s->dir);
	arena_release(&s->arena);
}
