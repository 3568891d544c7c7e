/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a new checkpoint takes the place of an older one. It is written into a subfolder, and the older one stays as it
 * is until the new one is complete there. Then, in this order: the folder's inventory.img goes, its other images go,
 * the new ones are moved up, inventory.img last. One of the two is complete at every moment, so no end of the engine
 * loses both: while the folder has no inventory.img and the subfolder has one, the reader takes the files of the
 * subfolder, and those of the folder for names that are no longer there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/internal.h"
#include "watch/recorder.h"

/* Statistics are of no checkpoint: those of an older dump stay until they are written again. */
static bool belongs_to_checkpoint(const char *name)
{
	enum image_type type;
	uint64_t id;

	if (image_name_parse(name, &type, &id))
		return type != IMAGE_STATS;
	return strcmp(name, MANIFEST_NAME) == 0 || strcmp(name, INVENTORY_PART) == 0;
}

typedef int (*visitor_fn)(struct image_dir *d, int fd, const char *name, struct error *e);

/* Calls @visit for every file of a checkpoint in @fd but inventory.img. Again until nothing is found when @visit takes
 * them away: a directory that changes while it is read may hide some. */
static int visit_files(struct image_dir *d, int fd, visitor_fn visit, bool again, struct error *e)
{
	AUTOCLOSE int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTOCLOSEDIR DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	const struct dirent *entry;
	bool found;
	int r = 0;

	if (!dir)
		return image_raise_folder(d->path, "open", errno, e);
	(void)TAKE_FD(own);
	do {
		found = false;
		rewinddir(dir);
		for (errno = 0; r == 0 && (entry = readdir(dir)) != NULL; errno = 0) {
			if (!belongs_to_checkpoint(entry->d_name) || strcmp(entry->d_name, INVENTORY_NAME) == 0)
				continue;
			found = true;
			r = visit(d, fd, entry->d_name, e);
		}
		if (r == 0 && errno)
			return image_raise_folder(d->path, "readdir", errno, e);
	} while (r == 0 && again && found);
	return r;
}

static int remove_file(struct image_dir *d, int fd, const char *name, struct error *e)
{
	recorder_step(0, NULL, "unlinkat", "%s/%s", d->path, name);
	if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	image_raise_file(d, name, "unlink", 0, errno, e);
	error_hint(e, "A file of an older checkpoint cannot be removed. Choose an empty folder.");
	return -e->number;
}

static int move_up(struct image_dir *d, int fd, const char *name, struct error *e)
{
	recorder_step(0, NULL, "renameat", "%s/%s", d->path, name);
	/* ENOENT: a directory that changes while it is read may also name one twice. */
	if (renameat(fd, name, d->manifest->folder, name) < 0 && errno != ENOENT)
		return image_raise_file(d, name, "rename", 0, errno, e);
	return 0;
}

/* What could not be replaced is found before anything is written. */
static int refuse_directory(struct image_dir *d, int fd, const char *name, struct error *e)
{
	struct stat st;

	recorder_step(0, NULL, "newfstatat", "%s/%s", d->path, name);
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	image_raise_file(d, name, "unlink", 0, EISDIR, e);
	error_hint(e, "A directory has the name of an image. Choose an empty folder.");
	return -EISDIR;
}

static bool exists(int fd, const char *name)
{
	struct stat st;

	return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int sync_fd(const struct image_dir *d, int fd, struct error *e)
{
	recorder_step(0, NULL, "fsync", "images folder %s", d->path);
	/* EINVAL: a file system that knows no fsync of directories (9p, some FUSE servers). */
	if (fsync(fd) < 0 && errno != EINVAL)
		return image_raise_folder(d->path, "fsync", errno, e);
	return 0;
}

static int move_all(struct image_dir *d, int sub, struct error *e)
{
	int folder = d->manifest->folder;
	int r = visit_files(d, sub, move_up, true, e);

	/* The rest must be there when the inventory is. */
	if (r == 0)
		r = sync_fd(d, folder, e);
	if (r == 0)
		r = move_up(d, sub, INVENTORY_NAME, e);
	if (r == 0)
		r = sync_fd(d, folder, e);
	if (r == 0)
		(void)unlinkat(folder, SUBFOLDER_NAME, AT_REMOVEDIR);
	return r;
}

/* The front removes it when the engine is killed; not while it may be the only checkpoint. */
static void remember_subfolder(const struct image_dir *d)
{
	char path[RECORDER_NAME_SIZE];

	if ((size_t)snprintf(path, sizeof(path), "%s/" SUBFOLDER_NAME, d->path) < sizeof(path))
		recorder_name_add(path);
}

static void forget_subfolder(const struct image_dir *d)
{
	char path[RECORDER_NAME_SIZE];

	if ((size_t)snprintf(path, sizeof(path), "%s/" SUBFOLDER_NAME, d->path) < sizeof(path))
		recorder_name_remove(path);
}

int image_replace(struct image_dir *d, struct error *e)
{
	int folder = d->manifest->folder;
	bool older = exists(folder, INVENTORY_NAME);
	int r = 0;

	/* The new one must be found after a crash before the older one goes, and that goes before its files. */
	if (older)
		r = sync_fd(d, d->fd, e);
	if (r == 0 && older)
		r = sync_fd(d, folder, e);
	if (r == 0)
		r = remove_file(d, folder, INVENTORY_NAME, e);
	if (r < 0)
		return r;
	d->manifest->replaced = true;
	forget_subfolder(d);
	if (older)
		r = sync_fd(d, folder, e);
	if (r == 0)
		r = visit_files(d, folder, remove_file, true, e);
	return r == 0 ? move_all(d, d->fd, e) : r;
}

static int open_subfolder(int folder)
{
	return openat(folder, SUBFOLDER_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int remove_subfolder(struct image_dir *d, int sub, struct error *e)
{
	int r = remove_file(d, sub, INVENTORY_NAME, e);

	if (r == 0)
		r = visit_files(d, sub, remove_file, true, e);
	if (r == 0)
		for (unsigned which = IMAGE_STATS_DUMP; which <= IMAGE_STATS_RESTORE; which++) {
			char name[IMAGE_NAME_SIZE];

			(void)image_name(IMAGE_STATS, which, name, sizeof(name));
			(void)unlinkat(sub, name, 0);
		}
	if (r == 0 && unlinkat(d->manifest->folder, SUBFOLDER_NAME, AT_REMOVEDIR) < 0 && errno != ENOENT) {
		r = image_raise_file(d, SUBFOLDER_NAME, "rmdir", 0, errno, e);
		error_hint(e, "The folder of an aborted dump holds something else: remove it, or choose another "
			      "folder with --images-dir.");
	}
	return r;
}

/* An aborted dump left its subfolder: what is complete there, and is the only checkpoint, is moved up; anything else
 * goes. The name may also be a symbolic link or a file of somebody else's: it is removed, not followed. */
static int clear_subfolder(struct image_dir *d, struct error *e)
{
	AUTOCLOSE int sub = -1;

	recorder_step(0, NULL, "openat", "%s/" SUBFOLDER_NAME, d->path);
	sub = open_subfolder(d->manifest->folder);
	if (sub < 0 && errno == ENOENT)
		return 0;
	if (sub < 0 && (errno == ENOTDIR || errno == ELOOP))
		return remove_file(d, d->manifest->folder, SUBFOLDER_NAME, e);
	if (sub < 0)
		return image_raise_file(d, SUBFOLDER_NAME, "open", 0, errno, e);
	if (exists(sub, INVENTORY_NAME) && !exists(d->manifest->folder, INVENTORY_NAME)) {
		int r = move_all(d, sub, e);

		if (r < 0 || !exists(d->manifest->folder, SUBFOLDER_NAME))
			return r;
	}
	return remove_subfolder(d, sub, e);
}

int image_begin_replacing(struct image_dir *d, struct error *e)
{
	int sub, r;

	d->manifest->folder = d->fd;
	r = clear_subfolder(d, e);
	if (r == 0)
		r = visit_files(d, d->fd, refuse_directory, false, e);
	if (r == 0)
		r = refuse_directory(d, d->fd, INVENTORY_NAME, e);
	if (r < 0)
		return r;
	recorder_step(0, NULL, "mkdirat", "%s/" SUBFOLDER_NAME, d->path);
	/* A checkpoint holds the memory of its tasks: nobody else's to read. */
	if (mkdirat(d->fd, SUBFOLDER_NAME, 0700) < 0)
		return image_raise_folder(d->path, "mkdir", errno, e);
	sub = open_subfolder(d->fd);
	if (sub < 0) {
		r = image_raise_folder(d->path, "open", errno, e);
		(void)unlinkat(d->fd, SUBFOLDER_NAME, AT_REMOVEDIR);
		return r;
	}
	d->fd = sub;
	d->manifest->nested = true;
	remember_subfolder(d);
	return 0;
}

void image_stop_replacing(struct image_dir *d)
{
	struct error ignored = { 0 };

	if (!d->manifest->nested || d->manifest->replaced)
		return;
	/* What could not be removed the front tries again. */
	if (remove_subfolder(d, d->fd, &ignored) == 0)
		forget_subfolder(d);
}

bool image_enter_subfolder(struct image_dir *d)
{
	int sub;

	recorder_step(0, NULL, "openat", "%s/" SUBFOLDER_NAME, d->path);
	sub = open_subfolder(d->fd);
	if (sub < 0)
		return false;
	d->manifest->folder = d->fd;
	d->manifest->nested = true;
	d->fd = sub;
	return true;
}
