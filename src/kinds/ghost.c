/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ghost-file.pb-c.h"
#include "kinds/registry.h"
#include "kinds/regular.h"
#include "time.pb-c.h"
#include "watch/recorder.h"

/*
 * Deleted files. A ghost lives in ghost-file-ID.img: owner, mode, times, content. At the restore it gets a temporary
 * name beside its old one, is filled, and is then given each of its old names just as long as it takes to open it, so
 * that /proc/PID/fd reads "/old/name (deleted)" again. All of that happens within ghosts_create(), which removes every
 * name it made, whatever happens.
 */

#define CONTENT_CHUNK (1u << 20)
/* A file whose holes are not worth an entry is written whole. */
#define SPARSE_MIN (64u << 10)

/* ---- dump ---- */

static int write_range(struct operation *op, struct image_writer *w, const struct fd_facts *f, int fd, uint64_t off,
		       uint64_t len)
{
	AUTOFREE uint8_t *buf = malloc(CONTENT_CHUNK);
	int r;

	if (!buf)
		return raise_no_memory(op);
	while (len > 0) {
		ssize_t n;

		recorder_step(f->task->pid, f->task->comm, "pread", "%s → %s at %" PRIu64, f->what, f->link, off);
		n = pread(fd, buf, len < CONTENT_CHUNK ? len : CONTENT_CHUNK, (off_t)off);
		if (n <= 0)
			return error_raise_call(op->error, n < 0 ? errno : EIO, "pread", "%s, at %" PRIu64,
						facts_describe(op, f), off);
		r = image_write_raw(w, buf, (size_t)n, op->error);
		if (r < 0)
			return r;
		recorder_moved((uint64_t)n);
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int write_chunks(struct operation *op, struct image_writer *w, const struct fd_facts *f, int fd,
			const struct ghost_chunk *chunks, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		GhostChunkEntry m = GHOST_CHUNK_ENTRY__INIT;

		m.off = chunks[i].off;
		m.len = chunks[i].len;
		r = image_write(w, &m.base, op->error);
		if (r == 0)
			r = write_range(op, w, f, fd, m.off, m.len);
	}
	return r;
}

static int write_ghost(struct operation *op, struct image_writer *w, const struct fd_facts *f, int fd)
{
	Timeval atim = TIMEVAL__INIT, mtim = TIMEVAL__INIT;
	GhostFileEntry m = GHOST_FILE_ENTRY__INIT;
	struct ghost_chunk *chunks = NULL;
	char target[PATH_MAX] = "";
	uint64_t size = (uint64_t)f->st.st_size;
	size_t n = 0;
	int r;

	m.uid = f->st.st_uid;
	m.gid = f->st.st_gid;
	m.mode = f->st.st_mode;
	m.has_dev = m.has_ino = true;
	m.dev = kernel_dev(f->st.st_dev);
	m.ino = f->st.st_ino;
	atim.tv_sec = (uint64_t)f->st.st_atim.tv_sec;
	atim.tv_usec = (uint64_t)f->st.st_atim.tv_nsec / 1000;
	mtim.tv_sec = (uint64_t)f->st.st_mtim.tv_sec;
	mtim.tv_usec = (uint64_t)f->st.st_mtim.tv_nsec / 1000;
	m.atim = &atim;
	m.mtim = &mtim;
	m.has_rdev = S_ISCHR(f->st.st_mode) || S_ISBLK(f->st.st_mode);
	m.rdev = (uint32_t)f->st.st_rdev;
	if (S_ISLNK(f->st.st_mode)) {
		ssize_t len = readlinkat(f->fd, "", target, sizeof(target) - 1);

		if (len < 0)
			return error_raise_call(op->error, errno, "readlinkat", "%s", facts_describe(op, f));
		m.symlnk_target = target;
	}
	if (S_ISREG(f->st.st_mode)) {
		r = ghost_chunks_plan(fd, size, &op->arena, &chunks, &n);
		if (r < 0)
			return error_raise_call(op->error, -r, "lseek", "%s", facts_describe(op, f));
		m.chunks = size > SPARSE_MIN && !(n == 1 && chunks[0].len == size);
		m.has_chunks = m.has_size = m.chunks;
		m.size = size;
	}
	r = image_write(w, &m.base, op->error);
	if (r < 0 || !S_ISREG(f->st.st_mode))
		return r;
	return m.chunks ? write_chunks(op, w, f, fd, chunks, n) : write_range(op, w, f, fd, 0, size);
}

int ghost_write(struct operation *op, const struct fd_facts *f, uint32_t id)
{
	struct image_writer w = { 0 };
	AUTOCLOSE int fd = -1;
	int r;

	if (S_ISREG(f->st.st_mode)) {
		/* The task's own descriptor may be write-only or O_PATH; reading must not change the access time. */
		fd = reopen(f->fd, O_RDONLY | O_NOATIME);
		if (fd == -EPERM)
			fd = reopen(f->fd, O_RDONLY);
		if (fd < 0)
			return error_raise_call(op->error, -fd, "open", "%s, to read a deleted file", facts_describe(op, f));
	}
	r = image_writer_open(&w, &op->images, IMAGE_GHOST_FILE, id, op->error);
	if (r == 0)
		r = write_ghost(op, &w, f, fd);
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

/* ---- restore ---- */

/* What ghost_create() makes under way, and removes again. */
struct making {
	struct operation *op;
	struct ghost *ghost;
	const GhostFileEntry *entry;
	struct image_reader reader;
	char *dir;                   /* of the first name */
	size_t dir_made;             /* the part of dir with this length, and all longer ones, are for the time being; 0: none */
	char *temporary;             /* NULL while there is no such name */
	const char *kept;            /* of a folder: its own name, for what was in it */
	int base;                    /* O_RDWR on the inode, O_PATH for a directory */
};

static int read_ghost(struct making *m)
{
	struct operation *op = m->op;
	ProtobufCMessage *msg;
	int r;

	r = image_reader_open(&m->reader, &op->images, IMAGE_GHOST_FILE, m->ghost->id, false, &op->arena, op->error);
	if (r == 0)
		r = image_read(&m->reader, &ghost_file_entry__descriptor, &msg, op->error);
	if (r < 0)
		return r;
	if (r == 0)
		return error_raise(op->error, EINVAL, "%s is empty", m->reader.name);
	m->entry = (const GhostFileEntry *)msg;
	m->ghost->dev = m->entry->dev;
	m->ghost->ino = m->entry->ino;
	if (S_ISLNK(m->entry->mode) && (!m->entry->symlnk_target || !m->entry->symlnk_target[0]))
		return error_raise(op->error, EINVAL, "%s: the target of the symbolic link is missing", m->reader.name);
	if ((S_ISCHR(m->entry->mode) || S_ISBLK(m->entry->mode)) && !m->entry->has_rdev)
		return error_raise(op->error, EINVAL, "%s: the number of the device is missing", m->reader.name);
	switch (m->entry->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFIFO:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFSOCK:
		return 0;
	default:
		return error_raise(op->error, EINVAL, "%s: a deleted file of type %o", m->reader.name,
				   m->entry->mode & S_IFMT);
	}
}

static int write_all(struct making *m, const uint8_t *data, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t n = pwrite(m->base, data, len, (off_t)off);

		if (n <= 0)
			return error_raise_call(m->op->error, n < 0 ? errno : EIO, "pwrite", "%s, a deleted file",
						m->temporary);
		recorder_moved((uint64_t)n);
		data += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int fill_chunks(struct making *m)
{
	struct operation *op = m->op;
	uint64_t end = 0;
	int r;

	if (!m->entry->has_size || m->entry->size > INT64_MAX)
		return error_raise(op->error, EINVAL, "%s: the size is missing or damaged", m->reader.name);
	if (ftruncate(m->base, (off_t)m->entry->size) < 0)
		return error_raise_call(op->error, errno, "ftruncate", "%s, a deleted file of %" PRIu64 " bytes",
					m->temporary, m->entry->size);
	for (;;) {
		const GhostChunkEntry *chunk;
		ProtobufCMessage *msg;
		const uint8_t *data;

		r = image_read(&m->reader, &ghost_chunk_entry__descriptor, &msg, op->error);
		if (r <= 0)
			return r;
		chunk = (const GhostChunkEntry *)msg;
		if (!ghost_chunk_is_sane(chunk->off, chunk->len, end, m->entry->size))
			return error_raise(op->error, EINVAL, "%s: a chunk of %" PRIu64 " bytes at %" PRIu64 " has no place",
					   m->reader.name, chunk->len, chunk->off);
		end = chunk->off + chunk->len;
		r = image_read_raw(&m->reader, chunk->len, &data, op->error);
		if (r == 0)
			r = write_all(m, data, chunk->len, chunk->off);
		if (r < 0)
			return r;
	}
}

static int fill(struct making *m)
{
	const uint8_t *data;
	size_t len;
	int r;

	if (m->entry->has_chunks && m->entry->chunks)
		return fill_chunks(m);
	len = m->reader.len - m->reader.pos;
	r = image_read_raw(&m->reader, len, &data, m->op->error);
	return r < 0 ? r : write_all(m, data, len, 0);
}

/* The folder may be gone, too: it is made again for the time being. When something else has its name, or that of one
 * above, the file is made in the nearest folder that is there. */
static int make_dir(struct making *m)
{
	size_t len = strlen(m->dir);
	struct stat st;

	if (stat(m->dir, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	for (size_t i = 1; i <= len; i++) {
		char c = m->dir[i];
		int r;

		if (c != '/' && c != '\0')
			continue;
		m->dir[i] = '\0';
		r = mkdir(m->dir, 0755) < 0 ? -errno : 0;
		if (r == 0 && m->dir_made == 0)
			m->dir_made = i;
		if (r == -EEXIST && (stat(m->dir, &st) < 0 || !S_ISDIR(st.st_mode))) {
			m->dir[path_dir_len(m->dir)] = '\0';
			return 0;
		}
		if (r < 0 && r != -EEXIST)
			return error_raise_call(m->op->error, -r, "mkdir", "%s, for a deleted file", m->dir);
		m->dir[i] = c;
	}
	return 0;
}

static void remove_dirs(struct making *m)
{
	while (m->dir_made > 0 && strlen(m->dir) >= m->dir_made) {
		if (rmdir(m->dir) < 0 || !strrchr(m->dir, '/'))
			break;
		*strrchr(m->dir, '/') = '\0';
	}
}

static void remove_name(const struct making *m, const char *name)
{
	(void)unlinkat(AT_FDCWD, name, S_ISDIR(m->entry->mode) ? AT_REMOVEDIR : 0);
	recorder_name_remove(name);
}

static int make_name(struct making *m, const char *name)
{
	const GhostFileEntry *e = m->entry;

	switch (e->mode & S_IFMT) {
	case S_IFDIR:
		return mkdir(name, 0700);
	case S_IFLNK:
		return symlink(e->symlnk_target, name);
	case S_IFREG:
		return m->base = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	default:
		return mknod(name, (e->mode & S_IFMT) | 0600, e->has_rdev ? e->rdev : 0);
	}
}

/* How firn itself opens the inode. */
static int base_flags(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return O_RDONLY | O_DIRECTORY;
	case S_IFIFO:
		return O_RDWR | O_NONBLOCK;
	default:
		return O_PATH;
	}
}

/* A file that never had a name may be given one later (man 2 open, O_TMPFILE), unlike one whose name was removed. Without
 * the flag, or where the file system does not know it, there is nothing to do. */
static int make_nameless(struct making *m)
{
	for (size_t i = 0; i < m->ghost->n_files; i++) {
		struct file *f = m->ghost->files[i];
		uint32_t flags = f->entry->reg->flags;

		if (!S_ISREG(m->entry->mode) || !(flags & TMPFILE_BIT) || (flags & O_ACCMODE) == O_RDONLY)
			continue;
		f->fd = open(m->dir, (int)(flags & O_ACCMODE) | O_TMPFILE | O_CLOEXEC, 0600);
		if (f->fd < 0)
			return 0;
		m->base = reopen(f->fd, O_RDWR);
		if (m->base < 0)
			return error_raise_call(m->op->error, -m->base, "open", "a file without a name in %s", m->dir);
		return 0;
	}
	return 0;
}

static int make_inode(struct making *m)
{
	struct operation *op = m->op;
	char *name = arena_printf(&op->arena, "%s/.firn-ghost.%d.%u", m->dir, (int)getpid(), m->ghost->id);
	struct stat st;
	int r = make_nameless(m);

	if (r < 0 || m->base >= 0)
		return r;
	if (!name)
		return raise_no_memory(op);
	recorder_name_add(name);
	if (make_name(m, name) < 0) {
		r = error_raise_call(op->error, errno, "mknod", "%s, for a deleted file", name);
		recorder_name_remove(name);
		return r;
	}
	m->temporary = name;
	if (m->base < 0)
		m->base = open(name, base_flags(m->entry->mode) | O_NOFOLLOW | O_CLOEXEC);
	if (m->base < 0 || fstat(m->base, &st) < 0)
		return error_raise_call(op->error, errno, "open", "%s", name);
	/* The folder may be somebody's who puts another file there. */
	if ((st.st_mode & S_IFMT) != (m->entry->mode & S_IFMT) || (!S_ISDIR(st.st_mode) && st.st_nlink != 1))
		return error_raise(op->error, EEXIST, "%s: another process put a file there", name);
	return 0;
}

/* Gives the inode the name for as long as it takes to open it. */
static int open_under(struct making *m, struct file *f)
{
	const RegFileEntry *e = f->entry->reg;
	bool dir = S_ISDIR(m->entry->mode);
	const char *name = e->name;
	int flags = regular_open_flags(e->flags, f->mapped_only, m->entry->mode), r;

	if (f->fd >= 0)
		return 0; /* without a name from the beginning */
	if (S_ISLNK(m->entry->mode))
		flags |= O_NOFOLLOW;
	if (!m->temporary)
		r = -1;
	else if (dir)
		r = renameat2(AT_FDCWD, m->temporary, AT_FDCWD, name, RENAME_NOREPLACE);
	else
		r = linkat(AT_FDCWD, m->temporary, AT_FDCWD, name, 0);
	if (r < 0) {
		/* The name is taken, or a directory is opened once more. */
		f->fd = reopen(m->base, flags);
		return f->fd < 0 ? error_raise_call(m->op->error, -f->fd, "open", "%s (deleted)", name) : 0;
	}
	recorder_name_add(name);
	if (dir) {
		recorder_name_remove(m->temporary);
		m->temporary = NULL;
		m->kept = name;
	}
	f->fd = open(name, flags);
	r = f->fd < 0 ? -errno : 0;
	if (!dir)
		remove_name(m, name);
	if (r < 0)
		return error_raise_call(m->op->error, -r, "open", "%s (deleted)", name);
	return 0;
}

static int set_attributes(const struct making *m)
{
	const GhostFileEntry *e = m->entry;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
	const char *name = m->ghost->files[0]->describe;
	char path[32];

	if (fchownat(m->base, "", e->uid, e->gid, AT_EMPTY_PATH) < 0)
		return error_raise_call(m->op->error, errno, "fchownat", "%s (deleted)", name);
	if (S_ISLNK(e->mode))
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", m->base);
	if (chmod(path, e->mode & 07777) < 0)
		return error_raise_call(m->op->error, errno, "chmod", "%s (deleted)", name);
	if (e->atim && e->atim->tv_usec < 1000000)
		times[0] = (struct timespec){ (time_t)e->atim->tv_sec, (long)e->atim->tv_usec * 1000 };
	if (e->mtim && e->mtim->tv_usec < 1000000)
		times[1] = (struct timespec){ (time_t)e->mtim->tv_sec, (long)e->mtim->tv_usec * 1000 };
	if (utimensat(AT_FDCWD, path, times, 0) < 0)
		return error_raise_call(m->op->error, errno, "utimensat", "%s (deleted)", name);
	return 0;
}

static int create_and_open(struct making *m)
{
	struct ghost *g = m->ghost;
	int r;

	r = read_ghost(m);
	if (r == 0)
		r = make_dir(m);
	if (r == 0)
		r = make_inode(m);
	if (r == 0 && S_ISREG(m->entry->mode))
		r = fill(m);
	for (size_t i = 0; i < g->n_files && r == 0; i++) {
		r = open_under(m, g->files[i]);
		if (r == 0)
			r = regular_adjust(m->op, g->files[i]);
	}
	return r;
}

struct file *ghost_find(struct operation *op, uint32_t dev, uint64_t ino)
{
	const struct regular_state *s = *files_kind_state(op, &kind_regular);

	for (const struct ghost *g = s ? s->ghosts : NULL; g; g = g->next) {
		if (g->created && g->dev == dev && g->ino == ino && g->files[0]->fd >= 0)
			return g->files[0];
	}
	return NULL;
}

static int create(struct operation *op, struct ghost *g)
{
	const char *name = g->files[0]->entry->reg->name;
	struct making *m = arena_alloc(&op->arena, sizeof(*m));

	if (m)
		m->dir = arena_strdup(&op->arena, name);
	if (!m || !m->dir)
		return raise_no_memory(op);
	m->dir[path_dir_len(name)] = '\0';
	m->op = op;
	m->ghost = g;
	m->base = -1;
	g->making = m;
	recorder_step(0, NULL, "creat", "%s (deleted)", name);
	return create_and_open(m);
}

/* The names go, and with them the folders that were made for them. */
static int end_making(struct ghost *g, int r)
{
	struct making *m = g->making;

	if (!m)
		return r;
	if (m->temporary)
		remove_name(m, m->temporary);
	if (m->kept)
		remove_name(m, m->kept);
	remove_dirs(m);
	/* The mode last: it may take away the right to write, and so do the times. */
	if (r == 0)
		r = set_attributes(m);
	if (m->base >= 0)
		close(m->base);
	g->created = r == 0;
	g->making = NULL;
	return r;
}

static const char *ghost_name(const struct ghost *g)
{
	return g->files[0]->entry->reg->name;
}

static bool is_folder(const struct ghost *g)
{
	return S_ISDIR(g->files[0]->entry->reg->mode);
}

static int compare_ghosts(const void *pa, const void *pb)
{
	const struct ghost *a = *(struct ghost *const *)pa, *b = *(struct ghost *const *)pb;

	if (is_folder(a) != is_folder(b))
		return is_folder(a) ? -1 : 1;
	return strlen(ghost_name(a)) < strlen(ghost_name(b)) ? -1 : strlen(ghost_name(a)) > strlen(ghost_name(b));
}

/* Removed folders first, those above before those below, so that each is made inside of the very one that it was in. Their
 * names stay until the last of all is made. */
static int create_sorted(struct operation *op, struct ghost **g, size_t n)
{
	size_t made = 0;
	int r = 0;

	qsort(g, n, sizeof(struct ghost *), compare_ghosts);
	for (; made < n && r == 0; made++) {
		if (recorder_cancelled())
			r = error_raise(op->error, ECANCELED, "cancelled while deleted files were made");
		if (r == 0)
			r = create(op, g[made]);
		if (!is_folder(g[made]))
			r = end_making(g[made], r);
	}
	while (made-- > 0)
		r = end_making(g[made], r);
	return r;
}

int ghosts_create(struct operation *op)
{
	struct regular_state *s = regular_state(op);
	struct ghost **sorted;
	size_t n = 0;

	if (!s)
		return -ENOMEM;
	if (s->ghosts_made)
		return 0;
	s->ghosts_made = true;
	for (const struct ghost *g = s->ghosts; g; g = g->next)
		n++;
	sorted = arena_array(&op->arena, n ? n : 1, sizeof(*sorted));
	if (!sorted)
		return raise_no_memory(op);
	n = 0;
	for (struct ghost *g = s->ghosts; g; g = g->next)
		sorted[n++] = g;
	return create_sorted(op, sorted, n);
}
