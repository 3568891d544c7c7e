// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_fanotify FOLDER marks|removed|mount|queued|permission|filesystem: fanotify groups. marks: on a folder with its children, on files, with
 * ignored events. removed: on a removed file too. mount: on a mount. queued: what waits is lost. permission, filesystem: what an engine may
 * refuse. */
#include "check.h"

#include <sys/fanotify.h>
#include <sys/mount.h>

static int fd;

static void mark(unsigned flags, uint64_t mask, const char *path)
{
	MUST(fanotify_mark(fd, FAN_MARK_ADD | flags, mask, AT_FDCWD, path));
}

/* The mask of the next event on the file @name of the folder, 0: none. */
static uint64_t next_event(char *name, size_t size)
{
	static char buf[8192];
	static ssize_t len, at;
	struct fanotify_event_metadata e;
	char path[64], got[PATH_MAX] = "";

	if (at >= len) {
		at = 0;
		len = read(fd, buf, sizeof(buf));
		if (len < 0) {
			CHECK(errno == EAGAIN, "read: %s", strerror(errno));
			return 0;
		}
	}
	memcpy(&e, buf + at, sizeof(e));
	at += e.event_len;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", e.fd);
	MUST(readlink(path, got, sizeof(got) - 1));
	snprintf(name, size, "%s", strrchr(got, '/') + 1);
	CHECK_EQ(fcntl(e.fd, F_GETFL) & O_ACCMODE, O_RDONLY, "access of an event's descriptor");
	CHECK_EQ(fcntl(e.fd, F_GETFD), FD_CLOEXEC, "close on exec of an event's descriptor");
	close(e.fd);
	return e.mask;
}

static void expect(uint64_t mask, const char *name)
{
	char got[256] = "";
	uint64_t m = next_event(got, sizeof(got));

	CHECK(m == mask && !strcmp(got, name), "event %llx \"%s\" instead of %llx \"%s\"", (unsigned long long)m, got,
	      (unsigned long long)mask, name);
}

static void expect_none(void)
{
	char got[256] = "";
	uint64_t m = next_event(got, sizeof(got));

	CHECK(m == 0, "an event that nobody caused: %llx \"%s\"", (unsigned long long)m, got);
}

static void change(const char *path)
{
	int f = (int)MUST(open(path, O_WRONLY | O_APPEND));

	MUST(write(f, "x", 1));
	close(f);
}

/* A mount of its own, of the folder on itself. */
static void on_mount(void)
{
	MUST(mkdir("mnt", 0755));
	MUST(mount("mnt", "mnt", NULL, MS_BIND, NULL));
	make_file("mnt/file", 10, 1);
	make_file("mnt/ignored", 10, 1);
	mark(FAN_MARK_MOUNT, FAN_CLOSE_WRITE, "mnt");
	mark(FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_CLOSE_WRITE, "mnt/ignored");
	check_ready();
	expect_none();
	change("mnt/file");
	expect(FAN_CLOSE_WRITE, "file");
	change("mnt/ignored");
	expect_none();
	close(fd);
	MUST(umount("mnt"));
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "marks";
	int gone;

	check_begin(argc, argv);
	fd = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_UNLIMITED_MARKS, O_RDONLY | O_LARGEFILE | O_CLOEXEC);
	if (!strcmp(kind, "permission"))
		fd = fanotify_init(FAN_CLASS_CONTENT, O_RDONLY);
	if (fd < 0)
		check_skip("fanotify_init: %s", strerror(errno));
	MUST(mkdir("dir", 0755));
	make_file("dir/child", 10, 1);
	make_file("file", 10, 2);
	make_file("quiet", 10, 3);
	make_file("gone", 10, 4);
	if (!strcmp(kind, "mount")) {
		on_mount();
		return check_end();
	}
	if (!strcmp(kind, "permission") || !strcmp(kind, "filesystem")) {
		if (*kind == 'p')
			mark(0, FAN_OPEN_PERM, "file");
		else
			mark(FAN_MARK_FILESYSTEM, FAN_CLOSE_WRITE, "/dev/shm");
		check_ready();
		return check_end();
	}
	mark(0, FAN_CLOSE_WRITE | FAN_EVENT_ON_CHILD, "dir");
	mark(0, FAN_MODIFY, "file");
	mark(0, FAN_MODIFY | FAN_CLOSE_WRITE, "quiet");
	mark(FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_MODIFY, "quiet");
	gone = -1;
	if (!strcmp(kind, "removed")) {
		gone = (int)MUST(open("gone", O_RDWR));
		mark(0, FAN_MODIFY, "gone");
		MUST(unlink("gone"));
	}
	if (!strcmp(kind, "queued"))
		change("file");
	check_ready();
	CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK, "O_NONBLOCK");
	if (!strcmp(kind, "queued")) {
		if (access("restored", F_OK))
			expect(FAN_MODIFY, "file");
	}
	expect_none();
	change("dir/child");
	expect(FAN_CLOSE_WRITE, "child");
	change("file");
	expect(FAN_MODIFY, "file");
	change("quiet");
	change("quiet");
	expect(FAN_CLOSE_WRITE, "quiet");
	if (gone >= 0) {
		MUST(pwrite(gone, "x", 1, 0));
		expect(FAN_MODIFY, "gone (deleted)");
	}
	expect_none();
	MUST(fanotify_mark(fd, FAN_MARK_REMOVE, FAN_MODIFY, AT_FDCWD, "file"));
	change("file");
	expect_none();
	return check_end();
}
