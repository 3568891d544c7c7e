/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The folder as a whole. What makes a checkpoint complete is the name inventory.img: it is put there by rename, after
 * everything else has reached the disk. How an older checkpoint goes stands in replace.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/internal.h"
#include "watch/recorder.h"

#define VERIFY_CHUNK (256UL * 1024)

int image_raise_file(const struct image_dir *d, const char *name, const char *call, uint64_t bytes, int number,
		     struct error *e)
{
	if (bytes)
		error_raise(e, number, "%s/%s: %s of %llu bytes: %s", d->path, name, call, (unsigned long long)bytes,
			    strerror(number));
	else
		error_raise(e, number, "%s/%s: %s: %s", d->path, name, call, strerror(number));
	if (number == ENOSPC || number == EDQUOT)
		error_hint(e,
			   "The file system of the images folder is full after %llu bytes of images. Make room there, "
			   "or choose another folder with --images-dir.",
			   (unsigned long long)image_dir_bytes(d));
	else if (number == EFBIG)
		error_hint(
			e,
			"Raise the limit on file sizes (ulimit -f), or choose a file system that takes larger files.");
	else if (number == EEXIST)
		error_hint(
			e,
			"Something else writes into this folder, or the name is a directory. Choose an empty folder.");
	return -number;
}

int image_raise_folder(const char *path, const char *call, int number, struct error *e)
{
	error_raise_call(e, number, call, "images folder %s", path);
	if (number == ENOENT)
		error_hint(e, "The folder must exist: correct its name or, for a dump, create it (mkdir -p).");
	else if (number == ENOTDIR)
		error_hint(e, "--images-dir must name a directory.");
	else if (number == EROFS)
		error_hint(e, "The file system is mounted read-only. Choose another folder with --images-dir.");
	else if (number == EACCES || number == EPERM)
		error_hint(e, "Choose a folder that this user may use, or run as root.");
	return -number;
}

int image_write_all(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int fill_file(const struct image_dir *d, const char *name, int fd, const void *data, size_t len, bool sync,
		     struct error *e)
{
	int r = image_write_all(fd, data, len);

	if (r < 0)
		return image_raise_file(d, name, "write", len, -r, e);
	if (sync && fsync(fd) < 0)
		return image_raise_file(d, name, "fsync", len, errno, e);
	return 0;
}

int image_put_file(const struct image_dir *d, const char *name, const void *data, size_t len, bool sync,
		   struct error *e)
{
	AUTOCLOSE int fd = -1;
	int r;

	recorder_step(0, NULL, "openat", "%s/%s", d->path, name);
	/* A checkpoint holds the memory of its tasks: nobody else's to read. */
	fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return image_raise_file(d, name, "open", 0, errno, e);
	r = fill_file(d, name, fd, data, len, sync, e);
	/* NFS and quotas may tell only now that there is no room. */
	if (close(TAKE_FD(fd)) < 0 && errno != EINTR && r == 0)
		r = image_raise_file(d, name, "close", len, errno, e);
	if (r < 0)
		(void)unlinkat(d->fd, name, 0);
	return r;
}

static int open_folder(struct image_dir *d, const char *path, struct error *e)
{
	*d = (struct image_dir){ .fd = -1, .path = path };
	recorder_step(0, NULL, "open", "images folder %s", path);
	d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0)
		return image_raise_folder(path, "open", errno, e);
	d->manifest = manifest_new();
	return d->manifest ? 0 : image_raise_folder(path, "malloc", ENOMEM, e);
}

int image_dir_create(struct image_dir *d, const char *path, struct error *e)
{
	int r = open_folder(d, path, e);

	if (r < 0)
		goto fail;
	d->manifest->writing = true;
	if (faccessat(d->fd, ".", W_OK | X_OK, AT_EACCESS) < 0) {
		r = image_raise_folder(path, "write", errno, e);
		goto fail;
	}
	/* Some network file systems lock no directories: then nothing is known, which is no error. */
	if (flock(d->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
		r = error_raise(e, EBUSY, "images folder %s: another dump writes into it at this moment", path);
		error_hint(e, "Wait for the other dump, or choose another folder with --images-dir.");
		goto fail;
	}
	r = image_begin_replacing(d, e);
	if (r < 0)
		goto fail;
	return 0;
fail:
	image_dir_close(d);
	return r;
}

static int raise_damaged(const struct image_dir *d, const char *name, struct error *e, const char *what)
{
	error_raise(e, EBADMSG, "%s/%s: %s", d->path, name, what);
	error_hint(e, "The checkpoint is damaged: copy it again from where it was made, or dump again.");
	return -EBADMSG;
}

int image_open_file(const struct image_dir *d, const char *name, bool optional, int *ret_fd, uint64_t *ret_size,
		    struct error *e)
{
	AUTOCLOSE int fd = -1;
	struct stat st;

	recorder_step(0, NULL, "openat", "%s/%s", d->path, name);
	/* O_NONBLOCK: a FIFO under an image's name must not hold us. */
	fd = openat(d->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	/* moved up already */
	if (fd < 0 && errno == ENOENT && d->manifest->nested)
		fd = openat(d->manifest->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		int number = errno;

		if (number == ENOENT && optional)
			return -ENOENT;
		if (number == ENOENT)
			return raise_damaged(d, name, e, "the file is missing; the checkpoint is incomplete");
		if (number == ELOOP)
			return raise_damaged(d, name, e, "a symbolic link where a file should be");
		return image_raise_file(d, name, "open", 0, number, e);
	}
	if (fstat(fd, &st) < 0)
		return image_raise_file(d, name, "fstat", 0, errno, e);
	if (!S_ISREG(st.st_mode))
		return raise_damaged(d, name, e, "not a regular file");
	*ret_size = (uint64_t)st.st_size;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int image_expect(const struct image_dir *d, const char *name, const struct image_file **ret, struct error *e)
{
	const struct image_file *f;

	*ret = NULL;
	if (d->manifest->foreign)
		return 0;
	f = manifest_find(d->manifest, name);
	if (!f)
		return raise_damaged(d, name, e,
				     "the file is not part of the checkpoint: " MANIFEST_NAME " does not list it");
	*ret = f;
	return 0;
}

static int verify_sum(const struct image_dir *d, const struct image_file *f, int fd, struct error *e)
{
	AUTOFREE uint8_t *chunk = malloc(VERIFY_CHUNK);
	uint64_t left = f->size;
	uint32_t crc = 0;

	if (!chunk)
		return image_raise_file(d, f->name, "malloc", VERIFY_CHUNK, ENOMEM, e);
	while (left) {
		ssize_t n = read(fd, chunk, left < VERIFY_CHUNK ? left : VERIFY_CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return image_raise_file(d, f->name, "read", left, errno, e);
		if (n == 0)
			return raise_damaged(d, f->name, e, "the file ends before its size");
		crc = crc32c(crc, chunk, (size_t)n);
		recorder_moved(0);
		left -= (uint64_t)n;
	}
	return crc == f->crc ? 0 : raise_damaged(d, f->name, e, "the content does not match its checksum");
}

static int verify_file(const struct image_dir *d, const struct image_file *f, struct error *e)
{
	AUTOCLOSE int fd = -1;
	uint64_t size;
	int r = image_open_file(d, f->name, false, &fd, &size, e);

	if (r < 0)
		return r;
	if (size != f->size) {
		error_raise(e, EBADMSG, "%s/%s: %llu bytes where " MANIFEST_NAME " has %llu", d->path, f->name,
			    (unsigned long long)size, (unsigned long long)f->size);
		error_hint(e, "The checkpoint is damaged: copy it again from where it was made, or dump again.");
		return -EBADMSG;
	}
	return f->summed ? verify_sum(d, f, fd, e) : 0;
}

static int read_manifest(struct image_dir *d, int fd, uint64_t size, struct error *e)
{
	AUTOFREE char *text = malloc(size + 1);
	const char *why = NULL;
	size_t len = 0;
	int r;

	if (!text)
		return image_raise_file(d, MANIFEST_NAME, "malloc", size, ENOMEM, e);
	while (len < size) {
		ssize_t n = read(fd, text + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return image_raise_file(d, MANIFEST_NAME, "read", size, errno, e);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	r = manifest_parse(d->manifest, text, len, &why);
	if (r < 0) {
		error_raise(e, -r, "%s/" MANIFEST_NAME ": %s", d->path, why);
		error_hint(e, "The checkpoint is damaged: copy it again from where it was made, or dump again.");
		return r;
	}
	return 0;
}

static int verify_folder(struct image_dir *d, struct error *e)
{
	AUTOCLOSE int fd = -1;
	uint64_t size;
	int r = image_open_file(d, MANIFEST_NAME, true, &fd, &size, e);

	if (r == -ENOENT) {
		/* CRIU's have none, but are never found in a subfolder. */
		if (d->manifest->nested)
			return raise_damaged(d, MANIFEST_NAME, e, "the file is missing; the checkpoint is incomplete");
		d->manifest->foreign = true;
		return 0;
	}
	if (r < 0)
		return r;
	if (size > MANIFEST_MAX_SIZE)
		return raise_damaged(d, MANIFEST_NAME, e, "larger than any manifest");
	r = read_manifest(d, fd, size, e);
	for (size_t i = 0; r == 0 && i < d->manifest->n; i++)
		r = verify_file(d, &d->manifest->files[i], e);
	return r;
}

int image_dir_open(struct image_dir *d, const char *path, struct error *e)
{
	AUTOCLOSE int fd = -1;
	uint64_t size;
	int r = open_folder(d, path, e);

	if (r == 0) {
		r = image_open_file(d, INVENTORY_NAME, true, &fd, &size, e);
		/* A dump that was ended while it replaced an older checkpoint. */
		if (r == -ENOENT && image_enter_subfolder(d))
			r = image_open_file(d, INVENTORY_NAME, true, &fd, &size, e);
		if (r == -ENOENT) {
			r = error_raise(e, EBADMSG,
					"images folder %s: no " INVENTORY_NAME ": not a complete checkpoint", path);
			error_hint(e, "The dump did not finish, or --images-dir names another folder.");
		}
	}
	if (r == 0)
		r = verify_folder(d, e);
	if (r < 0)
		image_dir_close(d);
	return r;
}

static int write_manifest(struct image_dir *d, struct error *e)
{
	AUTOFREE char *text = NULL;
	size_t len;
	int r = manifest_format(d->manifest, &text, &len);

	if (r < 0)
		return image_raise_file(d, MANIFEST_NAME, "malloc", 0, -r, e);
	return image_put_file(d, MANIFEST_NAME, text, len, true, e);
}

static int put_inventory(struct image_dir *d, const void *data, size_t len, struct error *e)
{
	int r = image_put_file(d, INVENTORY_PART, data, len, true, e);

	if (r < 0)
		return r;
	if (renameat(d->fd, INVENTORY_PART, d->fd, INVENTORY_NAME) < 0)
		return image_raise_file(d, INVENTORY_NAME, "rename", 0, errno, e);
	return 0;
}

int image_dir_commit(struct image_dir *d, const ProtobufCMessage *inventory, struct error *e)
{
	struct image_writer w = { 0 };
	struct image_file *f;
	int r;

	for (size_t i = 0; i < d->manifest->n; i++)
		if (d->manifest->files[i].unfinished)
			return error_raise(e, EINVAL, "%s/%s: begun but never finished", d->path,
					   d->manifest->files[i].name);
	r = image_writer_open(&w, d, IMAGE_INVENTORY, 0, e);
	if (r == 0)
		r = image_write(&w, inventory, e);
	if (r == 0)
		r = image_sync_files(d, e);
	if (r == 0) {
		r = manifest_add(d->manifest, INVENTORY_NAME, false, &f);
		if (r < 0)
			image_raise_file(d, INVENTORY_NAME, "malloc", 0, -r, e);
	}
	if (r == 0) {
		f->size = w.len;
		f->crc = crc32c(0, w.buf, w.len);
		f->summed = true;
		d->manifest->bytes += w.len;
		r = write_manifest(d, e);
	}
	if (r == 0)
		r = put_inventory(d, w.buf, w.len, e);
	if (r == 0)
		r = image_replace(d, e);
	image_writer_discard(&w);
	return r;
}

void image_dir_abandon(struct image_dir *d)
{
	if (!d->manifest || !d->manifest->writing || d->manifest->replaced)
		return;
	image_stop_replacing(d);
	for (size_t i = 0; i < d->manifest->n; i++)
		free(d->manifest->files[i].name);
	d->manifest->n = 0;
	d->manifest->bytes = 0;
}

void image_dir_close(struct image_dir *d)
{
	/* A zeroed struct has no path, and its fd 0 is not ours. */
	if (d->path && d->fd >= 0)
		close(d->fd);
	if (d->manifest && d->manifest->nested)
		close(d->manifest->folder);
	d->manifest = manifest_free(d->manifest);
	d->fd = -1;
}

bool image_dir_replaced(const struct image_dir *d)
{
	return d->manifest && d->manifest->replaced;
}

int image_dir_folder(const struct image_dir *d)
{
	return d->manifest->nested ? d->manifest->folder : -1;
}

bool image_dir_moved(const struct image_dir *d, const char *name)
{
	struct stat st;

	return (strcmp(name, MANIFEST_NAME) == 0 || manifest_find(d->manifest, name)) &&
	       fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0;
}

uint64_t image_dir_bytes(const struct image_dir *d)
{
	return d->manifest ? d->manifest->bytes : 0;
}
