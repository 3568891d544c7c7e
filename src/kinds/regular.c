/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/regular.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/inherit.h"
#include "kinds/proc_file.h"
#include "kinds/registry.h"
#include "watch/recorder.h"

/*
 * Whatever is found again by its path: regular files, directories, devices without state, block devices that
 * are only read, and anything at all that
 * is open with O_PATH. The executable, working and root directories and mapped files are such entries, too.
 */

/* /dev/null, zero, full, random, urandom: nothing is kept per open file (admin-guide/devices.txt). */
bool device_is_stateless(dev_t rdev)
{
	static const unsigned minors[] = { 3, 5, 7, 8, 9 };

	for (size_t i = 0; i < ARRAY_SIZE(minors); i++) {
		if (rdev == makedev(1, minors[i]))
			return true;
	}
	return false;
}

static bool regular_recognise(const struct fd_facts *f)
{
	mode_t mode = f->st.st_mode;

	/* Mounted nowhere in the task's namespace: memfds, SysV segments, … cannot be found by a path. */
	if (f->link[0] != '/' || (f->number >= 0 && !f->mount))
		return false;
	if (f->info.flags & O_PATH)
		return true;
	return S_ISREG(mode) || S_ISDIR(mode) || (S_ISCHR(mode) && device_is_stateless(f->st.st_rdev)) ||
	       (S_ISBLK(mode) && (f->info.flags & O_ACCMODE) == O_RDONLY);
}

static int check_ghost(struct operation *op, const struct fd_facts *f)
{
	uint64_t bytes = (uint64_t)f->st.st_blocks * 512;

	if (S_ISREG(f->st.st_mode) && bytes > op->options->ghost_limit) {
		(void)error_raise(op->error, EOPNOTSUPP,
				  "%s: a deleted file with %" PRIu64 " bytes, and only %" PRIu64
				  " may be kept in the images",
				  facts_describe(op, f), bytes, op->options->ghost_limit);
		error_hint(op->error, "raise --ghost-limit to %" PRIu64 " or more", bytes);
		return -EOPNOTSUPP;
	}
	return 0;
}

/* The key of --external and --inherit-fd, and the name in the images. */
#define EXTERNAL_KEY "file[%x:%" PRIx64 "]"
#define EXTERNAL_BEGIN "file["

bool regular_is_external(const struct operation *op, const struct fd_facts *f)
{
	char key[64];

	/* All anonymous inodes (eventfd …) are one to fstat(). */
	if (op->options->n_external == 0 || f->number < 0 || f->link[0] != '/' || S_ISSOCK(f->st.st_mode))
		return false;
	(void)snprintf(key, sizeof(key), EXTERNAL_KEY, (unsigned)f->info.mnt_id, (uint64_t)f->st.st_ino);
	return external_listed(op, key);
}

int regular_check_path(struct operation *op, const struct fd_facts *f)
{
	struct proc_path proc;
	const char *name;
	bool dead;
	int r;

	if (f->external)
		return 0;
	if (proc_file_is(f, &proc))
		return proc_file_check(op, f, &proc, &dead);
	if (!path_is_sane(f->link))
		return error_raise(op->error, EOPNOTSUPP, "%s: not reachable from firn's root directory",
				   facts_describe(op, f));
	r = path_check(op, f, &name);
	if (r < 0 || r == PATH_SAME)
		return r < 0 ? r : 0;
	if (r == PATH_GHOST)
		return check_ghost(op, f);
	if (op->options->link_remap && !S_ISDIR(f->st.st_mode))
		return 0;
	(void)error_raise(op->error, EOPNOTSUPP, "%s: the path no longer leads to this file, which has %lu other name%s",
			  facts_describe(op, f), (unsigned long)f->st.st_nlink, f->st.st_nlink == 1 ? "" : "s");
	if (S_ISDIR(f->st.st_mode))
		error_hint(op->error, "something is mounted over the path, or it was renamed meanwhile");
	else
		error_hint(op->error, "--link-remap gives it a name for the time until the restore");
	return -EOPNOTSUPP;
}

/* A log that others may append to meanwhile has no size to check (CRIU does the same). */
static bool size_matters(uint32_t flags)
{
	return !((flags & O_ACCMODE) == O_WRONLY && (flags & O_APPEND));
}

static int external_name(struct operation *op, const struct fd_facts *f, const char **ret)
{
	*ret = arena_printf(&op->arena, EXTERNAL_KEY, (unsigned)f->info.mnt_id, (uint64_t)f->st.st_ino);
	return *ret ? PATH_SAME : raise_no_memory(op);
}

int regular_dump_entry(struct operation *op, struct file *f)
{
	RegFileEntry *m = arena_alloc(&op->arena, sizeof(*m));
	const struct fd_facts *facts = &f->facts;
	struct proc_path proc;
	const char *name;
	int r;

	if (f->entry->reg)
		return 0; /* made by remap.c */
	if (!m)
		return raise_no_memory(op);
	reg_file_entry__init(m);
	r = facts->external ? external_name(op, facts, &name) : path_check(op, facts, &name);
	if (r < 0)
		return r;
	m->has_ext = m->ext = facts->external;
	m->id = f->id;
	m->flags = facts->info.flags & ~(uint32_t)O_CLOEXEC;
	m->pos = facts->info.pos;
	m->name = arena_strdup(&op->arena, name);
	m->has_mode = true;
	m->mode = facts->st.st_mode;
	m->has_size = S_ISREG(facts->st.st_mode) && size_matters(facts->info.flags);
	m->size = (uint64_t)facts->st.st_size;
	if (!m->name)
		return raise_no_memory(op);
	if (facts->number < 0) {
		/* A mapping, exe, cwd or root: the local copy is O_PATH and has no owner. */
		m->fown = arena_alloc(&op->arena, sizeof(*m->fown));
		if (!m->fown)
			return raise_no_memory(op);
		fown_entry__init(m->fown);
	} else if (fown_fill(&f->facts, &m->fown, &op->arena) < 0) {
		return raise_no_memory(op);
	}
	f->entry->reg = m;
	if (r != PATH_SAME && proc_file_is(facts, &proc))
		return remap_dump_dead(op, f, &proc);
	return r == PATH_SAME ? 0 : remap_dump(op, f, (enum path_state)r, name);
}

struct regular_state *regular_state(struct operation *op)
{
	void **slot = files_kind_state(op, &kind_regular);

	if (!*slot) {
		struct regular_state *s = arena_alloc(&op->arena, sizeof(*s));

		if (!s) {
			(void)raise_no_memory(op);
			return NULL;
		}
		s->next_ghost = 1;
		*slot = s;
	}
	return *slot;
}

struct regular *regular_of(struct operation *op, struct file *f)
{
	if (!f->state)
		f->state = arena_alloc(&op->arena, sizeof(struct regular));
	if (!f->state)
		(void)raise_no_memory(op);
	return f->state;
}

/* ---- restore ---- */

static int regular_decode(struct operation *op, struct file *f)
{
	const RegFileEntry *m = f->entry->reg;

	if (!m || m->id != f->id || !m->name)
		return raise_damaged(op, f, "the file's path");
	if (m->has_ext && m->ext) {
		if (strncmp(m->name, EXTERNAL_BEGIN, strlen(EXTERNAL_BEGIN)) != 0 || m->pos > INT64_MAX)
			return raise_damaged(op, f, "the name of a file from outside");
		f->describe = m->name;
		return regular_of(op, f) ? 0 : -ENOMEM;
	}
	if (!path_is_sane(m->name))
		return error_raise(op->error, EINVAL, "files.img: file %u: \"%.200s\" is no absolute path", f->id,
				   m->name);
	if (m->pos > INT64_MAX)
		return error_raise(op->error, EINVAL, "files.img: file %u (%s): its position is %" PRIu64, f->id,
				   m->name, m->pos);
	f->describe = m->name;
	return regular_of(op, f) ? 0 : -ENOMEM;
}

int regular_open_flags(uint32_t flags, bool mapped_only, mode_t mode)
{
	int f = (int)flags;

	if (mapped_only && S_ISDIR(mode))
		return O_PATH | O_DIRECTORY | O_CLOEXEC;
	if (f & TMPFILE_BIT) /* and with it O_DIRECTORY */
		f &= ~O_TMPFILE;
	f &= ~(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC);
	return f | O_NOCTTY | O_CLOEXEC;
}

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "regular file";
	case S_IFDIR:
		return "directory";
	case S_IFCHR:
		return "character device";
	case S_IFBLK:
		return "block device";
	case S_IFIFO:
		return "FIFO";
	case S_IFLNK:
		return "symbolic link";
	case S_IFSOCK:
		return "socket";
	default:
		return "file of unknown type";
	}
}

/* Is what the path leads to now what was dumped? */
static int verify(struct operation *op, const struct file *f, const struct stat *st)
{
	const RegFileEntry *m = f->entry->reg;

	if (m->has_mode && (m->mode & S_IFMT) != (st->st_mode & S_IFMT))
		return error_raise(op->error, EINVAL, "%s is a %s now and was a %s when it was dumped", m->name,
				   type_name(st->st_mode), type_name(m->mode));
	if (S_ISCHR(st->st_mode) && !(m->flags & O_PATH) && !device_is_stateless(st->st_rdev))
		return error_raise(op->error, EINVAL, "%s is the device %u:%u now, which firn does not open", m->name,
				   major(st->st_rdev), minor(st->st_rdev));
	if (S_ISBLK(st->st_mode) && !(m->flags & O_PATH) && (m->flags & O_ACCMODE) != O_RDONLY)
		return error_raise(op->error, EINVAL, "%s is a block device, which firn does not open for writing", m->name);
	if ((S_ISSOCK(st->st_mode) || S_ISLNK(st->st_mode)) && !(m->flags & O_PATH))
		return error_raise(op->error, EINVAL, "%s is a %s, which firn does not open", m->name,
				   type_name(st->st_mode));
	if (m->has_size && S_ISREG(st->st_mode) && (uint64_t)st->st_size != m->size) {
		(void)error_raise(op->error, ESTALE, "%s has %lld bytes now and had %" PRIu64 " when it was dumped",
				  m->name, (long long)st->st_size, m->size);
		error_hint(op->error, "put back the file as it was; the program's memory relies on it");
		return -ESTALE;
	}
	if (m->has_mode && m->mode != st->st_mode)
		log_warn(0, "%s: its permissions are %o now and were %o when it was dumped", m->name,
			 st->st_mode & 07777, m->mode & 07777);
	return 0;
}

static int verify_path(struct operation *op, struct file *f)
{
	const RegFileEntry *m = f->entry->reg;
	struct regular_state *s = regular_state(op);
	struct stat *st;
	int r;

	if (!s)
		return -ENOMEM;
	if (s->verified && strcmp(s->verified, m->name) == 0)
		return verify(op, f, s->verified_st);
	st = arena_alloc(&op->arena, sizeof(*st));
	if (!st)
		return raise_no_memory(op);
	/* As open() will follow it, except for O_PATH|O_NOFOLLOW. */
	if (fstatat(AT_FDCWD, m->name, st, (m->flags & O_NOFOLLOW) ? AT_SYMLINK_NOFOLLOW : 0) < 0) {
		r = -errno;
		(void)error_raise_call(op->error, -r, "stat", "%s", m->name);
		if (r == -ENOENT)
			error_hint(op->error, "the file must be where it was when it was dumped");
		return r;
	}
	r = verify(op, f, st);
	if (r == 0) {
		s->verified = m->name;
		s->verified_st = st;
	}
	return r;
}

int regular_open_fifo(const char *name, int flags)
{
	AUTOCLOSE int hold = -1;
	int fd;

	if (!(flags & O_PATH) && (flags & (O_ACCMODE | O_NONBLOCK)) != (O_RDONLY | O_NONBLOCK)) {
		hold = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (hold < 0)
			return -errno;
	}
	fd = open(name, flags | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* The open itself, for an object that was verified. */
static int open_path(struct operation *op, struct file *f)
{
	const RegFileEntry *m = f->entry->reg;
	int flags = regular_open_flags(m->flags, f->mapped_only, m->mode);

	if (S_ISFIFO(m->mode)) {
		f->fd = regular_open_fifo(m->name, flags);
		return f->fd < 0 ? error_raise_call(op->error, -f->fd, "open", "%s", m->name) : 0;
	}
	f->fd = open(m->name, flags);
	f->opened_as_wanted = true;
	if (f->fd < 0) {
		(void)error_raise_call(op->error, errno, "open", "%s", m->name);
		if (op->error->number == ETXTBSY)
			error_hint(op->error, "a program runs from this file now, so it cannot be opened for writing");
		return -op->error->number;
	}
	return 0;
}

int regular_adjust(struct operation *op, struct file *f)
{
	const RegFileEntry *m = f->entry->reg;

	if ((m->flags & O_PATH) || (f->mapped_only && S_ISDIR(m->mode)))
		return 0;
	if (m->pos != 0 && lseek(f->fd, (off_t)m->pos, SEEK_SET) < 0)
		return error_raise_call(op->error, errno, "lseek", "%s, to %" PRIu64, m->name, m->pos);
	return file_set_flags(op, f, m->flags);
}

/*
 * A descriptor of the caller's takes the file's place: INHERITED; 0: none was given. As with CRIU, what was dumped with
 * --external gets the position and the flags of before, and what is given for a path stays as it is.
 */
static int take_inherited(struct operation *op, struct file *f)
{
	const RegFileEntry *m = f->entry->reg;
	struct stat st;
	int r = inherit_take(op, m->name, f->describe, &f->fd);

	if (r == 0 && m->has_ext && m->ext) {
		error_raise(op->error, EINVAL, "%s: it was dumped with --external, and nobody hands it over", m->name);
		error_hint(op->error, "Open what shall take its place and give it with --inherit-fd 'fd[N]:%s'.", m->name);
		return -EINVAL;
	}
	if (r != INHERITED || !m->ext)
		return r;
	f->opened_as_wanted = false;
	if (m->has_size && fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size != m->size) {
		error_raise(op->error, ESTALE, "%s: what --inherit-fd gives for it has %lld bytes, and it had %" PRIu64
			    " when it was dumped", m->name, (long long)st.st_size, m->size);
		return -ESTALE;
	}
	return INHERITED;
}

/* What is no file (a pipe given for one) has no position. */
static int regular_adjust_inherited(struct operation *op, struct file *f)
{
	const RegFileEntry *m = f->entry->reg;

	if (m->pos != 0 && lseek(f->fd, (off_t)m->pos, SEEK_SET) < 0 && errno != ESPIPE)
		return error_raise_call(op->error, errno, "lseek", "%s, to %" PRIu64, m->name, m->pos);
	return m->flags & O_PATH ? 0 : file_set_flags(op, f, m->flags);
}

int regular_create(struct operation *op, struct file *f)
{
	struct regular *reg = regular_of(op, f);
	int r;

	if (!reg)
		return -ENOMEM;
	r = take_inherited(op, f);
	if (r < 0)
		return r;
	if (r == INHERITED)
		return f->entry->reg->ext ? regular_adjust_inherited(op, f) : 0;
	reg->late = reg->dead || proc_file_is_path(f->entry->reg->name);
	if (reg->late)
		return 0;
	if (reg->ghost)
		return ghosts_create(op);
	if (reg->linked) {
		r = remap_open_linked(op, f);
	} else {
		r = verify_path(op, f);
		if (r == 0)
			r = open_path(op, f);
	}
	return r < 0 ? r : regular_adjust(op, f);
}

static int regular_create_own(struct operation *op, struct file *f)
{
	const struct regular *reg = f->state;

	return reg && reg->hidden ? 0 : regular_create(op, f);
}

/*
 * lseek() made the kernel write the text up to there, and a read would go on in what it wrote: as the task is now, traced
 * and half restored. A read elsewhere makes it begin anew (seq_read_iter(), fs/seq_file.c) and leaves the position.
 */
static void forget_text(const struct file *f)
{
	const RegFileEntry *m = f->entry->reg;
	char byte;

	if (S_ISREG(m->mode) && m->pos != 0 && (m->flags & O_ACCMODE) != O_WRONLY && !(m->flags & O_PATH))
		(void)!pread(f->fd, &byte, 1, m->pos == 1);
}

/* A file of /proc/PID: the task exists by now, and a helper in the place of a dead one. */
static int regular_appear(struct operation *op, struct file *f)
{
	const struct regular *reg = f->state;
	int r;

	if (!reg || !reg->late || reg->hidden)
		return 0;
	r = verify_path(op, f);
	if (r == 0)
		r = open_path(op, f);
	if (r == 0)
		r = regular_adjust(op, f);
	if (r == 0)
		forget_text(f);
	return r;
}

static int regular_finish(struct operation *op, struct file *f)
{
	const RegFileEntry *m = f->entry->reg;
	int r = 0;

	if (f->fd >= 0 && !(m->flags & O_PATH))
		r = fown_apply(op, f->fd, m->fown, f->describe);
	return r < 0 ? r : remap_finish(op, f);
}

static void regular_release(struct operation *op, struct file *f)
{
	(void)f;
	remap_undo_dump(op);
}

const struct kind kind_regular = {
	.name = "file",
	.type = FD_TYPES__REG,
	.recognise = regular_recognise,
	.check = regular_check_path,
	.dump = regular_dump_entry,
	.dump_all = remap_dump_all,
	.load_all = remap_load,
	.decode = regular_decode,
	.create = regular_create_own,
	.appear = regular_appear,
	.finish = regular_finish,
	.release = regular_release,
};
