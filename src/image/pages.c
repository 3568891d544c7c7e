/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pages-ID.img: the memory itself, raw, in the order of its pagemap. Written and read by whoever has the descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/internal.h"
#include "watch/recorder.h"

int image_pages_raise(const struct image_dir *d, uint32_t id, const char *call, uint64_t bytes, int number,
		      struct error *e)
{
	char name[IMAGE_NAME_SIZE];

	(void)image_name(IMAGE_PAGES, id, name, sizeof(name));
	return image_raise_file(d, name, call, bytes, number, e);
}

int image_pages_create(struct image_dir *d, uint32_t id, int *ret_fd, struct error *e)
{
	char name[IMAGE_NAME_SIZE];
	struct image_file *f;
	AUTOCLOSE int fd = -1;

	(void)image_name(IMAGE_PAGES, id, name, sizeof(name));
	recorder_step(0, NULL, "openat", "%s/%s", d->path, name);
	/* Readable too: the puppets of a restore read it, and a splice needs no more. */
	fd = openat(d->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return image_raise_file(d, name, "open", 0, errno, e);
	if (manifest_add(d->manifest, name, true, &f) < 0) {
		(void)unlinkat(d->fd, name, 0);
		return image_raise_file(d, name, "malloc", 0, ENOMEM, e);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int image_pages_finish(struct image_dir *d, uint32_t id, int fd, uint64_t size, struct error *e)
{
	AUTOCLOSE int own = fd;
	char name[IMAGE_NAME_SIZE];
	struct image_file *f;
	struct stat st;

	(void)image_name(IMAGE_PAGES, id, name, sizeof(name));
	f = manifest_find(d->manifest, name);
	if (!f || !f->unfinished)
		return error_raise(e, EINVAL, "%s/%s: finished but never begun", d->path, name);
	if (fstat(own, &st) < 0)
		return image_raise_file(d, name, "fstat", 0, errno, e);
	if ((uint64_t)st.st_size != size)
		return error_raise(e, EIO, "%s/%s: %llu bytes of pages were written, the file has %llu", d->path, name,
				   (unsigned long long)size, (unsigned long long)st.st_size);
	if (close(TAKE_FD(own)) < 0 && errno != EINTR)
		return image_raise_file(d, name, "close", size, errno, e);
	f->size = size;
	f->unfinished = false;
	d->manifest->bytes += size;
	return 0;
}

int image_pages_open(struct image_dir *d, uint32_t id, int *ret_fd, uint64_t *ret_size, struct error *e)
{
	const struct image_file *expected;
	char name[IMAGE_NAME_SIZE];
	AUTOCLOSE int fd = -1;
	uint64_t size;
	int r;

	(void)image_name(IMAGE_PAGES, id, name, sizeof(name));
	r = image_open_file(d, name, false, &fd, &size, e);
	if (r == 0)
		r = image_expect(d, name, &expected, e);
	if (r < 0)
		return r;
	if (expected && size != expected->size)
		return error_raise(e, EBADMSG, "%s/%s: the size changed since the checkpoint was opened", d->path,
				   name);
	*ret_fd = TAKE_FD(fd);
	*ret_size = size;
	return 0;
}
