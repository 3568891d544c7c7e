/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fs.pb-c.h"
#include "kinds/lock.h"
#include "kinds/registry.h"
#include "kinds/table.h"
#include "watch/recorder.h"

/*
 * files.img (every open file), fdinfo-ID.img (the descriptors of a table; ID is core.ids.files_id) and fs-PID.img
 * (cwd, root and umask).
 */

static int dump_files(struct operation *op)
{
	int r;

	/* A kind may add files while it is asked: the array and its length change under way. */
	for (size_t i = 0; i < op->files->n_files; i++) {
		struct file *f = op->files->files[i];

		if (recorder_cancelled())
			return error_raise(op->error, ECANCELED, "cancelled while open files were dumped");
		file_step(f, "dump");
		r = f->kind->dump ? f->kind->dump(op, f) : 0;
		if (r < 0)
			return r;
		log_debug(f->facts.task ? f->facts.task->pid : 0, "file %u: %s: %s", f->id, f->kind->name, f->describe);
	}
	for (size_t k = 0; k < n_kinds; k++) {
		recorder_step(0, NULL, "dump", "the %ss of the tree", kinds[k]->name);
		r = kinds[k]->dump_all && kind_is_used(op, kinds[k]) ? kinds[k]->dump_all(op) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* A socket outside of the tree: CRIU finds it only before the one that is connected to it. */
static bool comes_first(const struct file *f)
{
	return f->entry->type == FD_TYPES__UNIXSK && !f->facts.task;
}

static int write_files(struct operation *op)
{
	struct image_writer w = { 0 };
	int r;

	r = image_writer_open(&w, &op->images, IMAGE_FILES, 0, op->error);
	for (size_t i = 0; i < 2 * op->files->n_files && r == 0; i++) {
		const struct file *f = op->files->files[i % op->files->n_files];

		if (comes_first(f) == (i < op->files->n_files))
			r = image_write(&w, &f->entry->base, op->error);
	}
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

static int write_fdinfo(struct operation *op, const struct task *t)
{
	struct image_writer w = { 0 };
	int r;

	r = image_writer_open(&w, &op->images, IMAGE_FDINFO, t->core->ids->files_id, op->error);
	for (size_t i = 0; i < t->n_descriptors && r == 0; i++) {
		const struct descriptor *d = &t->descriptors[i];
		FdinfoEntry m = FDINFO_ENTRY__INIT;

		m.id = d->file->id;
		m.type = d->file->entry->type;
		m.fd = (uint32_t)d->number;
		m.flags = d->cloexec ? FD_CLOEXEC : 0;
		r = image_write(&w, &m.base, op->error);
	}
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

static int write_fs(struct operation *op, const struct task *t)
{
	struct image_writer w = { 0 };
	FsEntry m = FS_ENTRY__INIT;
	int r;

	m.cwd_id = t->cwd->id;
	m.root_id = t->root->id;
	m.has_umask = t->threads[0].status.umask_known;
	m.umask = t->threads[0].status.umask;
	r = image_writer_open(&w, &op->images, IMAGE_FS, (uint32_t)t->pid, op->error);
	if (r == 0)
		r = image_write(&w, &m.base, op->error);
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

int files_write(struct operation *op)
{
	int r;

	r = dump_files(op);
	if (r == 0)
		r = write_files(op);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (!task_has_files(t))
			continue;
		if (t->files_owner == t)
			r = write_fdinfo(op, t);
		if (r == 0)
			r = write_fs(op, t);
	}
	return r < 0 ? r : locks_write(op);
}

/* ---- restore ---- */

static int compare_ids(const void *pa, const void *pb)
{
	const struct file *a = *(struct file *const *)pa, *b = *(struct file *const *)pb;

	return a->id < b->id ? -1 : a->id > b->id;
}

static int read_entry(struct operation *op, FileEntry *m)
{
	const struct kind *k = kind_of_entry(m);
	struct file *f;

	if (m->id == 0 || m->id == UINT32_MAX)
		return error_raise(op->error, EINVAL, "files.img: a file has the id %u", m->id);
	if (!k) {
		const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(&fd_types__descriptor, (int)m->type);

		(void)error_raise(op->error, EOPNOTSUPP, "files.img: file %u: type %s cannot be restored by this version of firn",
				  m->id, v ? v->name : "of an unknown number");
		return -EOPNOTSUPP;
	}
	f = files_add(op, k, NULL);
	if (!f)
		return -ENOMEM;
	f->id = m->id;
	f->entry = m;
	f->describe = k->name;
	f->mapped_only = true;
	return 0;
}

static int read_files(struct operation *op)
{
	struct file_table *t = op->files;
	struct image_reader r = { 0 };
	ProtobufCMessage *m;
	int more;

	more = image_reader_open(&r, &op->images, IMAGE_FILES, 0, false, &op->arena, op->error);
	while (more >= 0 && (more = image_read(&r, &file_entry__descriptor, &m, op->error)) > 0)
		more = read_entry(op, (FileEntry *)m);
	if (more < 0)
		return more;
	if (t->n_files > 0)
		qsort(t->files, t->n_files, sizeof(*t->files), compare_ids);
	for (size_t i = 1; i < t->n_files; i++) {
		if (t->files[i - 1]->id == t->files[i]->id)
			return error_raise(op->error, EINVAL, "files.img: two files have the id %u", t->files[i]->id);
	}
	t->next_id = t->n_files ? t->files[t->n_files - 1]->id + 1 : 1;
	return 0;
}

static int decode_all(struct operation *op)
{
	int r;

	for (size_t k = 0; k < n_kinds; k++) {
		r = kinds[k]->load_all && kind_is_used(op, kinds[k]) ? kinds[k]->load_all(op) : 0;
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < op->files->n_files; i++) {
		r = op->files->files[i]->kind->decode(op, op->files->files[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare_numbers(const void *pa, const void *pb)
{
	const struct descriptor *a = pa, *b = pb;

	return a->number < b->number ? -1 : a->number > b->number;
}

/* The entry's place in the task's (unsorted) array; grows it. */
static int read_descriptor(struct operation *op, struct task *t, const FdinfoEntry *m, const char *name, size_t *room,
			   uint64_t limit)
{
	struct descriptor *d;
	struct file *f = files_find(op, m->id);

	if (!f || f->entry->type != m->type)
		return error_raise(op->error, EINVAL, "%s: fd %u of pid %d refers to file %u, which is %s", name, m->fd, t->pid,
				   m->id, f ? "of another type" : "not in files.img");
	if (m->fd >= limit) {
		(void)error_raise(op->error, EMFILE, "%s: pid %d has fd %u, and firn may open only %llu files", name, t->pid,
				  m->fd, (unsigned long long)limit);
		error_hint(op->error, "raise the hard limit of open files for firn, e.g. with prlimit --nofile=1048576");
		return -EMFILE;
	}
	if (t->n_descriptors == *room) {
		*room = *room ? *room * 2 : 64;
		t->descriptors = arena_grow(&op->arena, t->descriptors, t->n_descriptors, *room, sizeof(*d));
		if (!t->descriptors)
			return raise_no_memory(op);
	}
	d = &t->descriptors[t->n_descriptors++];
	d->number = (int)m->fd;
	d->cloexec = (m->flags & FD_CLOEXEC) != 0;
	d->file = f;
	f->mapped_only = false;
	if (!f->user)
		f->user = t;
	return 0;
}

static int read_fdinfo(struct operation *op, struct task *t, uint64_t limit)
{
	struct image_reader r = { 0 };
	ProtobufCMessage *m;
	size_t room = 0;
	int more;

	if (!t->core || !t->core->ids)
		return error_raise(op->error, EINVAL, "core-%d.img: the ids of the task are missing", t->pid);
	more = image_reader_open(&r, &op->images, IMAGE_FDINFO, t->core->ids->files_id, false, &op->arena, op->error);
	while (more >= 0 && (more = image_read(&r, &fdinfo_entry__descriptor, &m, op->error)) > 0)
		more = read_descriptor(op, t, (FdinfoEntry *)m, r.name, &room, limit);
	if (more < 0)
		return more;
	if (t->n_descriptors > 1)
		qsort(t->descriptors, t->n_descriptors, sizeof(*t->descriptors), compare_numbers);
	for (size_t i = 1; i < t->n_descriptors; i++) {
		if (t->descriptors[i - 1].number == t->descriptors[i].number)
			return error_raise(op->error, EINVAL, "%s: fd %d of pid %d is there twice", r.name,
					   t->descriptors[i].number, t->pid);
	}
	return 0;
}

int files_find_path(struct operation *op, struct task *t, uint32_t id, const char *what, struct file **ret)
{
	struct file *f = files_find(op, id);

	if (!f || f->entry->type != FD_TYPES__REG || f->kind->owns)
		return error_raise(op->error, EINVAL, "pid %d: its %s, file %u, is not in files.img", t->pid, what, id);
	if (!f->user)
		f->user = t;
	*ret = f;
	return 0;
}

static int read_fs(struct operation *op, struct task *t)
{
	struct image_reader r = { 0 };
	ProtobufCMessage *m;
	const FsEntry *fs;
	int more;

	more = image_reader_open(&r, &op->images, IMAGE_FS, (uint32_t)t->pid, false, &op->arena, op->error);
	if (more == 0)
		more = image_read(&r, &fs_entry__descriptor, &m, op->error);
	if (more < 0)
		return more;
	if (more == 0)
		return error_raise(op->error, EINVAL, "%s is empty", r.name);
	fs = (const FsEntry *)m;
	more = files_find_path(op, t, fs->cwd_id, "working directory", &t->cwd);
	if (more == 0)
		more = files_find_path(op, t, fs->root_id, "root directory", &t->root);
	if (more < 0)
		return more;
	if (strcmp(t->root->entry->reg->name, "/") == 0)
		t->root = NULL;
	if (fs->has_umask && fs->umask > 0777)
		return error_raise(op->error, EINVAL, "%s: the umask %o is not one", r.name, fs->umask);
	t->threads[0].status.umask = fs->umask;
	t->threads[0].status.umask_known = fs->has_umask;
	return 0;
}

int files_read(struct operation *op)
{
	uint64_t limit = raise_nofile();
	int r;

	r = table_create(op);
	if (r == 0)
		r = read_files(op);
	if (r == 0)
		r = decode_all(op);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (!task_has_files(t))
			continue;
		if (t->files_owner == t)
			r = read_fdinfo(op, t, limit);
		if (r == 0 && t->fs_owner == t)
			r = read_fs(op, t);
	}
	return r < 0 ? r : locks_read(op);
}
