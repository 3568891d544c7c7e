/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/table.h"
#include "kinds/usual_socket.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "kinds/dead.h"
#include "kinds/registry.h"
#include "watch/recorder.h"

int table_create(struct operation *op)
{
	struct file_table *t;

	if (op->files)
		return 0;
	t = arena_alloc(&op->arena, sizeof(*t));
	if (!t)
		return raise_no_memory(op);
	t->next_id = 1;
	t->kind_state = arena_array(&op->arena, n_kinds, sizeof(*t->kind_state));
	if (!t->kind_state)
		return raise_no_memory(op);
	op->files = t;
	return 0;
}

bool kind_is_used(const struct operation *op, const struct kind *k)
{
	for (size_t i = 0; i < op->files->n_files; i++) {
		if (op->files->files[i]->kind == k)
			return true;
	}
	return false;
}

const struct kind *kind_recognise(const struct fd_facts *f)
{
	if (f->external)
		return &kind_regular;
	for (size_t i = 0; i < n_kinds; i++) {
		if (kinds[i]->recognise && kinds[i]->recognise(f))
			return kinds[i];
	}
	return &kind_refused;
}

const struct kind *kind_of_entry(const FileEntry *m)
{
	for (size_t i = 0; i < n_kinds; i++) {
		if (kinds[i]->decode && kinds[i]->type == m->type && (!kinds[i]->owns || kinds[i]->owns(m)))
			return kinds[i];
	}
	return NULL;
}

void **files_kind_state(const struct operation *op, const struct kind *k)
{
	for (size_t i = 0; i < n_kinds; i++) {
		if (kinds[i] == k)
			return &op->files->kind_state[i];
	}
	return NULL;
}

bool task_has_files(const struct task *t)
{
	return t->n_threads > 0 && t->state != TASK_ZOMBIE && t->state != TASK_GONE;
}

void file_step(const struct file *f, const char *verb)
{
	const struct task *t = f->facts.task ? f->facts.task : f->user;

	recorder_step(t ? t->pid : 0, t ? t->comm : NULL, verb, "%s %s", f->kind->name, f->describe ? f->describe : "");
}

uint64_t raise_nofile(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return 1024;
	if (l.rlim_cur < l.rlim_max) {
		rlim_t soft = l.rlim_cur;

		l.rlim_cur = l.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &l) < 0)
			l.rlim_cur = soft;
	}
	return l.rlim_cur;
}

static int table_append(struct operation *op, struct file *f)
{
	struct file_table *t = op->files;

	if (t->n_files == t->room) {
		size_t room = t->room ? t->room * 2 : 64;
		struct file **files = arena_grow(&op->arena, t->files, t->n_files, room, sizeof(*files));

		if (!files)
			return raise_no_memory(op);
		t->files = files;
		t->room = room;
	}
	t->files[t->n_files++] = f;
	return 0;
}

struct file *files_add(struct operation *op, const struct kind *k, const struct fd_facts *facts)
{
	struct file *f = arena_alloc(&op->arena, sizeof(*f));
	FileEntry *m = arena_alloc(&op->arena, sizeof(*m));

	if (!f || !m) {
		(void)raise_no_memory(op);
		return NULL;
	}
	file_entry__init(m);
	f->kind = k;
	f->fd = -1;
	f->facts.fd = -1;
	if (facts) {
		f->facts = *facts;
		f->describe = arena_printf(&op->arena, "%s → %s", facts->what, facts->link);
	}
	f->id = op->files->next_id;
	f->entry = m;
	m->id = f->id;
	m->type = k->type;
	if (table_append(op, f) < 0)
		return NULL;
	op->files->next_id++;
	return f;
}

struct file *files_find(const struct operation *op, uint32_t id)
{
	size_t low = 0, high = op->files ? op->files->n_files : 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (op->files->files[mid]->id == id)
			return op->files->files[mid];
		if (op->files->files[mid]->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void files_release(struct operation *op)
{
	for (size_t i = 0; op->files && i < op->files->n_files; i++) {
		close_fd(&op->files->files[i]->facts.fd);
		close_fd(&op->files->files[i]->fd);
	}
	if (op->files)
		usual_sockets_release(op);
}

void files_undo(struct operation *op)
{
	for (size_t i = 0; op->files && i < op->files->n_files; i++) {
		struct file *f = op->files->files[i];

		if (f->kind->release)
			f->kind->release(op, f);
	}
	files_release(op);
}

int files_create(struct operation *op)
{
	int r;

	(void)raise_nofile();
	for (size_t i = 0; i < op->files->n_files; i++) {
		struct file *f = op->files->files[i];

		if (recorder_cancelled())
			return error_raise(op->error, ECANCELED, "cancelled while open files were created");
		if (f->created || !f->kind->create)
			continue;
		file_step(f, "create");
		r = f->kind->create(op, f);
		if (r < 0)
			return r;
		f->created = true;
	}
	return 0;
}

int files_connect(struct operation *op)
{
	int r;

	for (size_t i = 0; i < op->files->n_files; i++) {
		struct file *f = op->files->files[i];

		if (f->connected || !f->kind->connect)
			continue;
		file_step(f, "connect");
		r = f->kind->connect(op, f);
		if (r < 0)
			return r;
		f->connected = true;
	}
	return 0;
}

int files_appear(struct operation *op)
{
	int r = 0;

	for (size_t i = 0; i < op->files->n_files && r == 0; i++) {
		struct file *f = op->files->files[i];

		if (f->fd >= 0 || !f->kind->appear)
			continue;
		file_step(f, "appear");
		r = f->kind->appear(op, f);
	}
	return r;
}

struct dead_task *dead_task_of(struct operation *op, pid_t pid, uint64_t key)
{
	struct dead_task *d;

	for (d = op->files->dead; d; d = d->next) {
		if (d->pid == pid && d->key == key)
			return d;
	}
	d = arena_alloc(&op->arena, sizeof(*d));
	if (!d) {
		(void)raise_no_memory(op);
		return NULL;
	}
	d->pid = pid;
	d->key = key;
	d->next = op->files->dead;
	op->files->dead = d;
	return d;
}

static int finish_all(struct operation *op, bool last)
{
	int r;

	for (size_t i = 0; i < op->files->n_files; i++) {
		struct file *f = op->files->files[i];

		if (f->finished || !f->kind->finish || f->kind->finish_last != last)
			continue;
		file_step(f, "finish");
		/* Nothing is noted in @f: its page is shared with the tasks by now, and a write would copy it. */
		r = f->kind->finish(op, f);
		if (r < 0)
			return r;
	}
	return 0;
}

int files_finish(struct operation *op)
{
	int r = finish_all(op, false);

	return r == 0 ? finish_all(op, true) : r;
}

int files_settle(struct operation *op)
{
	bool any = false;
	int r = 0;

	for (size_t k = 0; k < n_kinds; k++)
		any |= kinds[k]->settle && kind_is_used(op, kinds[k]);
	for (size_t i = 0; any && i < op->files->n_files; i++) {
		/* go_all needs its own yet. */
		if (!op->files->files[i]->kind->settle && !op->files->files[i]->kind->go_all)
			close_fd(&op->files->files[i]->fd);
	}
	for (size_t i = 0; any && i < op->files->n_files && r == 0; i++) {
		struct file *f = op->files->files[i];

		if (!f->kind->settle)
			continue;
		file_step(f, "settle");
		r = f->kind->settle(op, f);
	}
	return r;
}

int files_mapping_fd(struct operation *op, struct file *f, int open_flags, int *ret_fd)
{
	int now, want = open_flags & O_ACCMODE, fd;
	struct file *extra;

	if (f->fd < 0)
		return error_raise(op->error, EINVAL, "files.img: file %u: a %s cannot be mapped", f->id, f->kind->name);
	now = fcntl(f->fd, F_GETFL);
	if (now < 0)
		return error_raise_call(op->error, errno, "fcntl(F_GETFL)", "%s", f->describe);
	if (!(now & O_PATH) && ((now & O_ACCMODE) == O_RDWR || ((now & O_ACCMODE) == O_RDONLY && want == O_RDONLY))) {
		*ret_fd = f->fd;
		return 0;
	}
	/* A writable mapping wants O_RDWR even when it is only written: mmap() always needs to read (man 2 mmap). */
	want = want == O_RDONLY ? O_RDONLY : O_RDWR;
	file_step(f, "open for a mapping");
	fd = reopen(f->fd, want);
	if (fd < 0)
		return error_raise_call(op->error, -fd, "open", "%s, for a mapping", f->describe);
	extra = files_add(op, f->kind, NULL);
	if (!extra) {
		close(fd);
		return -ENOMEM;
	}
	extra->describe = f->describe;
	extra->state = f->state;
	extra->entry = f->entry;
	extra->created = extra->connected = extra->finished = true;
	extra->mapped_only = true;
	extra->fd = fd;
	*ret_fd = fd;
	return 0;
}

int files_go(struct operation *op)
{
	for (size_t k = 0; k < n_kinds; k++) {
		int r = kinds[k]->go_all && kind_is_used(op, kinds[k]) ? kinds[k]->go_all(op) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

void files_part(struct operation *op, enum parting how)
{
	for (size_t k = 0; op->files && k < n_kinds; k++) {
		if (kinds[k]->part)
			kinds[k]->part(op, how);
	}
}
