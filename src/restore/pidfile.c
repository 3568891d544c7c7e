/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "restore/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "watch/recorder.h"

int pidfile_open(struct pidfile *p, const struct options *o, struct error *e)
{
	const char *folder = o->work_path ? o->work_path : o->images_path;
	int len;

	*p = (struct pidfile){ .fd = -1 };
	if (!o->pidfile)
		return 0;
	if (o->pidfile[0] == '/' || !folder)
		folder = "";
	len = snprintf(p->path, sizeof(p->path), "%s%s%s", folder, folder[0] ? "/" : "", o->pidfile);
	if (len >= (int)sizeof(p->path))
		return error_raise(e, ENAMETOOLONG, "pid file %s: its path is too long", o->pidfile);
	recorder_step(0, NULL, "openat", "pid file %s", p->path);
	p->fd = open(p->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	p->made = p->fd >= 0;
	if (p->made)
		recorder_name_add(p->path);
	if (p->fd < 0 && errno == EEXIST)
		p->fd = open(p->path, O_WRONLY | O_CLOEXEC);
	return p->fd < 0 ? error_raise_call(e, errno, "openat", "pid file %s", p->path) : 0;
}

int pidfile_write(struct pidfile *p, pid_t root, struct error *e)
{
	char text[16];
	ssize_t len = snprintf(text, sizeof(text), "%d", root);

	if (p->fd < 0)
		return 0;
	recorder_step(root, NULL, "write", "pid file %s", p->path);
	p->written = true;
	if (ftruncate(p->fd, 0) < 0 && errno != EINVAL) /* EINVAL: a FIFO or a device */
		return error_raise_call(e, errno, "ftruncate", "pid file %s", p->path);
	errno = 0;
	if (write(p->fd, text, (size_t)len) != len)
		return error_raise_call(e, errno ? errno : EIO, "write", "pid file %s", p->path);
	return 0;
}

void pidfile_close(struct pidfile *p, bool failed)
{
	if (p->fd < 0)
		return;
	if (failed && p->made)
		(void)unlink(p->path);
	else if (failed && p->written)
		(void)!ftruncate(p->fd, 0);
	if (p->made)
		recorder_name_remove(p->path);
	close(p->fd);
}
