/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kinds/dead.h"
#include "kinds/registry.h"
#include "kinds/regular.h"
#include "watch/recorder.h"

/*
 * remap-fpath.img: open files whose path leads nowhere. Either the inode has no name left and its content is in the
 * images (a ghost), or it has other names and gets one more for the time being, link_remap.ID beside the old one.
 */

static int remap_add(struct operation *op, uint32_t orig, uint32_t id, RemapType type)
{
	struct regular_state *s = regular_state(op);
	RemapFilePathEntry *m = arena_alloc(&op->arena, sizeof(*m));

	if (!s || !m)
		return raise_no_memory(op);
	remap_file_path_entry__init(m);
	m->orig_id = orig;
	m->remap_id = id;
	m->has_remap_type = true;
	m->remap_type = type;
	if (s->n_remaps == s->room) {
		s->room = s->room ? s->room * 2 : 16;
		s->remaps = arena_grow(&op->arena, s->remaps, s->n_remaps, s->room, sizeof(RemapFilePathEntry *));
		if (!s->remaps)
			return raise_no_memory(op);
	}
	s->remaps[s->n_remaps++] = m;
	return 0;
}

static int remember_made(struct operation *op, const char *name)
{
	struct regular_state *s = regular_state(op);

	if (!s)
		return -ENOMEM;
	if (s->n_made == s->made_room) {
		s->made_room = s->made_room ? s->made_room * 2 : 16;
		s->made = arena_grow(&op->arena, s->made, s->n_made, s->made_room, sizeof(char *));
		if (!s->made)
			return raise_no_memory(op);
	}
	s->made[s->n_made++] = name;
	return 0;
}

static int link_as(struct operation *op, const struct file *f, const char *name)
{
	char from[32];
	int r = remember_made(op, name);

	if (r < 0)
		return r;
	(void)snprintf(from, sizeof(from), "/proc/self/fd/%d", f->facts.fd);
	recorder_step(f->facts.task->pid, f->facts.task->comm, "linkat", "%s → %s", f->describe, name);
	if (linkat(AT_FDCWD, from, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	r = -errno;
	regular_state(op)->n_made--;
	return r;
}

/* Beside the old name; when that folder is gone, in the nearest one above that is there. Not raised, but for memory. */
static int link_somewhere(struct operation *op, const struct file *f, const char *name, RegFileEntry *m)
{
	size_t len = name[path_dir_len(name)] == '/' ? path_dir_len(name) : 0;
	int r;

	for (;;) {
		m->name = arena_printf(&op->arena, "%.*s/link_remap.%u", (int)len, name, m->id);
		if (!m->name)
			return raise_no_memory(op);
		r = link_as(op, f, m->name);
		if ((r != -ENOENT && r != -ENOTDIR) || len == 0)
			return r;
		while (len > 0 && name[--len] != '/')
			;
	}
}

/* One more name for the inode, and a file in the images that carries it. */
static int dump_linked(struct operation *op, struct file *f, const char *name)
{
	struct file *link = files_add(op, &kind_regular, NULL);
	RegFileEntry *m = arena_alloc(&op->arena, sizeof(*m));
	int r;

	if (!link || !m)
		return raise_no_memory(op);
	reg_file_entry__init(m);
	m->fown = arena_alloc(&op->arena, sizeof(*m->fown));
	if (!m->fown)
		return raise_no_memory(op);
	fown_entry__init(m->fown);
	m->id = link->id;
	link->entry->reg = m;
	r = link_somewhere(op, f, name, m);
	link->describe = m->name;
	if (r < 0) {
		if (error_is_set(op->error))
			return r;
		(void)error_raise_call(op->error, -r, "linkat", "%s: a name for the time until the restore, %s",
				       facts_describe(op, &f->facts), m->name);
		if (r == -EXDEV || r == -ENOENT)
			error_hint(op->error, "the folder that the file was opened in is gone or hidden by a mount");
		return r;
	}
	log_info(f->facts.task->pid, "%s: linked as %s until the restore", f->describe, m->name);
	return remap_add(op, f->id, link->id, REMAP_TYPE__LINKED);
}

static int dump_ghost(struct operation *op, struct file *f)
{
	struct regular_state *s = regular_state(op);
	struct ghost *g;
	int r;

	if (!s)
		return -ENOMEM;
	for (g = s->ghosts; g; g = g->next) {
		if (g->dev == f->facts.st.st_dev && g->ino == f->facts.st.st_ino)
			return remap_add(op, f->id, g->id, REMAP_TYPE__GHOST);
	}
	g = arena_alloc(&op->arena, sizeof(*g));
	if (!g)
		return raise_no_memory(op);
	g->id = s->next_ghost++;
	g->dev = f->facts.st.st_dev;
	g->ino = f->facts.st.st_ino;
	g->next = s->ghosts;
	s->ghosts = g;
	r = ghost_write(op, &f->facts, g->id);
	return r < 0 ? r : remap_add(op, f->id, g->id, REMAP_TYPE__GHOST);
}

int remap_dump(struct operation *op, struct file *f, enum path_state state, const char *name)
{
	int r;

	/* The file may have been unlinked between the check and the freezing. */
	r = regular_check_path(op, &f->facts);
	if (r < 0)
		return r;
	return state == PATH_GHOST ? dump_ghost(op, f) : dump_linked(op, f, name);
}

int remap_dump_dead(struct operation *op, struct file *f, const struct proc_path *p)
{
	bool dead;
	int r = proc_file_check(op, &f->facts, p, &dead);

	return r < 0 || !dead ? r : remap_add(op, f->id, (uint32_t)p->pid, REMAP_TYPE__PROCFS);
}

int remap_dump_all(struct operation *op)
{
	struct regular_state *s = regular_state(op);
	struct image_writer w = { 0 };
	int r;

	if (!s)
		return -ENOMEM;
	if (s->n_remaps == 0)
		return 0;
	r = image_writer_open(&w, &op->images, IMAGE_REMAP_FPATH, 0, op->error);
	for (size_t i = 0; i < s->n_remaps && r == 0; i++)
		r = image_write(&w, &s->remaps[i]->base, op->error);
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

void remap_undo_dump(struct operation *op)
{
	struct regular_state *s = *files_kind_state(op, &kind_regular);

	while (s && s->n_made > 0) {
		recorder_step(0, NULL, "unlink", "%s", s->made[--s->n_made]);
		(void)unlink(s->made[s->n_made]);
	}
}

/* ---- restore ---- */

static struct ghost *ghost_of(struct operation *op, struct regular_state *s, uint32_t id)
{
	struct ghost *g;

	for (g = s->ghosts; g; g = g->next) {
		if (g->id == id)
			return g;
	}
	g = arena_alloc(&op->arena, sizeof(*g));
	if (!g)
		return NULL;
	g->id = id;
	g->next = s->ghosts;
	s->ghosts = g;
	return g;
}

static int ghost_add_file(struct operation *op, struct ghost *g, struct file *f)
{
	if (!g)
		return raise_no_memory(op);
	if (g->n_files == g->room) {
		g->room = g->room ? g->room * 2 : 4;
		g->files = arena_grow(&op->arena, g->files, g->n_files, g->room, sizeof(struct file *));
		if (!g->files)
			return raise_no_memory(op);
	}
	g->files[g->n_files++] = f;
	return 0;
}

static int load_dead(struct operation *op, struct regular *reg, const RemapFilePathEntry *m)
{
	if (m->remap_id == 0 || m->remap_id > INT32_MAX)
		return error_raise(op->error, EINVAL, "remap-fpath.img: file %u was of task %u", m->orig_id, m->remap_id);
	reg->dead = dead_task_of(op, (pid_t)m->remap_id, 0);
	return reg->dead ? 0 : -ENOMEM;
}

static int load_entry(struct operation *op, const RemapFilePathEntry *m)
{
	/* Older images leave the type out: then the top bit of the id tells (the field's number 3 came later). */
	bool ghost = m->has_remap_type ? m->remap_type == REMAP_TYPE__GHOST : (m->remap_id & 0x80000000u) != 0;
	uint32_t id = m->has_remap_type ? m->remap_id : m->remap_id & 0x7fffffffu;
	struct file *f = files_find(op, m->orig_id), *target;
	struct regular *reg, *target_reg;

	if (!f || f->kind != &kind_regular)
		return error_raise(op->error, EINVAL, "remap-fpath.img: file %u is not in files.img", m->orig_id);
	reg = regular_of(op, f);
	if (!reg)
		return -ENOMEM;
	if (reg->ghost || reg->linked || reg->dead)
		return error_raise(op->error, EINVAL, "remap-fpath.img: file %u is there twice", m->orig_id);
	if (ghost) {
		reg->ghost = ghost_of(op, regular_state(op), id);
		return ghost_add_file(op, reg->ghost, f);
	}
	if (m->has_remap_type && m->remap_type == REMAP_TYPE__PROCFS)
		return load_dead(op, reg, m);
	if (m->has_remap_type && m->remap_type != REMAP_TYPE__LINKED)
		return error_raise(op->error, EINVAL, "remap-fpath.img: file %u stands for another in an unknown way",
				   m->orig_id);
	target = files_find(op, id);
	if (!target || target == f || target->kind != &kind_regular)
		return error_raise(op->error, EINVAL,
				   "remap-fpath.img: file %u stands for file %u, which is not in files.img", id,
				   m->orig_id);
	target_reg = regular_of(op, target);
	if (!target_reg)
		return -ENOMEM;
	target_reg->hidden = true;
	reg->linked = target;
	return 0;
}

int remap_load(struct operation *op)
{
	struct image_reader r = { 0 };
	ProtobufCMessage *m;
	int more;

	if (!regular_state(op))
		return -ENOMEM;
	more = image_reader_open_if_there(&r, &op->images, IMAGE_REMAP_FPATH, 0, &op->arena, op->error);
	while (more >= 0 && (more = image_read(&r, &remap_file_path_entry__descriptor, &m, op->error)) > 0)
		more = load_entry(op, (RemapFilePathEntry *)m);
	return more;
}

static bool is_as_dumped(const RegFileEntry *m, const struct stat *st)
{
	if (m->has_mode && (m->mode & S_IFMT) != (st->st_mode & S_IFMT))
		return false;
	return (m->flags & O_PATH) || S_ISREG(st->st_mode) || S_ISFIFO(st->st_mode) ||
	       (S_ISCHR(st->st_mode) && device_is_stateless(st->st_rdev));
}

/*
 * Opened under its old name where that is free, so that /proc/PID/fd says "old (deleted)" again as before; else under
 * the link-remap name itself.
 */
int remap_open_linked(struct operation *op, struct file *f)
{
	const RegFileEntry *m = f->entry->reg;
	const struct regular *reg = f->state;
	const char *from = reg->linked->entry->reg->name, *name;
	int flags = regular_open_flags(m->flags, f->mapped_only, m->mode), saved;
	struct stat st;

	if (S_ISDIR(m->mode))
		return error_raise(op->error, EOPNOTSUPP, "%s: a directory cannot have a link-remap name", m->name);
	name = linkat(AT_FDCWD, from, AT_FDCWD, m->name, 0) == 0 ? m->name : from;
	if (S_ISFIFO(m->mode))
		f->fd = regular_open_fifo(name, flags);
	else
		f->fd = open(name, flags | (m->flags & O_PATH ? O_NOFOLLOW : O_NONBLOCK));
	saved = S_ISFIFO(m->mode) && f->fd < 0 ? -f->fd : errno;
	if (name == m->name)
		(void)unlink(name);
	if (f->fd >= 0 && fstat(f->fd, &st) == 0 && !is_as_dumped(m, &st))
		return error_raise(op->error, EINVAL, "%s, which stands for %s, is another sort of file", from,
				   m->name);
	if (f->fd >= 0)
		return 0;
	(void)error_raise_call(op->error, saved, "open", "%s, which stands for %s", from, m->name);
	if (saved == ENOENT)
		error_hint(op->error, "the name was made by the dump and goes away with the first restore");
	return -saved;
}

/* The names that the dump made have done their work. */
int remap_finish(struct operation *op, struct file *f)
{
	const struct regular *reg = f->state;
	struct regular *target;

	(void)op;
	if (!reg || !reg->linked)
		return 0;
	target = reg->linked->state;
	if (!target->unlinked && unlink(reg->linked->entry->reg->name) < 0 && errno != ENOENT)
		log_warn(0, "%s: unlink: %s", reg->linked->entry->reg->name, strerror(errno));
	target->unlinked = true;
	return 0;
}
