// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_inotify FOLDER basic|symlink|elsewhere PATH|tmpfs|beside|queued: inotify instances. basic: watches on folders, files, a removed
 * file that is still open, a removed folder, with all flags and a gap in the numbers; a second, empty, blocking
 * instance, shared with a child. symlink: on a
 * symbolic link itself. tmpfs: the same on a file system in memory. beside: what firn does in the watched
 * folder (removed files that are open) is not told. queued: the watches go on, what waited is lost. */
#include "check.h"

#include <ftw.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

#define ALL IN_ALL_EVENTS

static int fd;
static char base[PATH_MAX];

static const char *in(const char *name)
{
	static char path[4][PATH_MAX + 64];
	static int turn;

	snprintf(path[++turn % 4], sizeof(path[0]), "%s/%s", base, name);
	return path[turn % 4];
}

static void touch(const char *name)
{
	close((int)MUST(open(in(name), O_WRONLY | O_CREAT | O_APPEND, 0644)));
}

struct event {
	int wd; /* -1: there is none */
	uint32_t mask;
};

static struct event next_event(char *name, size_t size)
{
	static char buf[65536];
	static ssize_t len, at;
	struct event none = { .wd = -1 };
	struct inotify_event e;

	if (at >= len) {
		at = 0;
		len = read(fd, buf, sizeof(buf));
		if (len < 0) {
			CHECK(errno == EAGAIN, "read: %s", strerror(errno));
			return none;
		}
	}
	memcpy(&e, buf + at, sizeof(e));
	if (name)
		snprintf(name, size, "%s", e.len ? buf + at + sizeof(e) : "");
	at += (ssize_t)(sizeof(e) + e.len);
	return (struct event){ e.wd, e.mask };
}

static void expect(int wd, uint32_t mask, const char *name)
{
	char got[256] = "";
	struct event e = next_event(got, sizeof(got));

	CHECK(e.wd == wd && e.mask == mask && !strcmp(got, name), "event %d %x \"%s\" instead of %d %x \"%s\"", e.wd,
	      e.mask, got, wd, mask, name);
}

static void expect_none(void)
{
	char got[256] = "";
	struct event e = next_event(got, sizeof(got));

	CHECK(e.wd == -1, "an event that nobody caused: wd %d, %x \"%s\"", e.wd, e.mask, got);
}

static void modify(int file)
{
	MUST(pwrite(file, "x", 1, 0));
}

static void basic(void)
{
	int dir, file, gap, once, gone, gone_dir, second, held, held_dir, sub, r;
	char lines[64] = "";

	MUST(mkdir(in("dir"), 0755));
	MUST(mkdir(in("dir/sub"), 0755));
	MUST(mkdir(in("gone dir"), 0755));
	touch("a file");
	touch("once");
	touch("gone");
	held = (int)MUST(open(in("gone"), O_RDWR));
	held_dir = (int)MUST(open(in("gone dir"), O_RDONLY | O_DIRECTORY));
	dir = (int)MUST(inotify_add_watch(fd, in("dir"), ALL | IN_EXCL_UNLINK));
	gap = (int)MUST(inotify_add_watch(fd, in("once"), ALL));
	MUST(inotify_rm_watch(fd, gap));
	expect(gap, IN_IGNORED, "");
	file = (int)MUST(inotify_add_watch(fd, in("a file"), IN_MODIFY));
	once = (int)MUST(inotify_add_watch(fd, in("once"), IN_ATTRIB | IN_ONESHOT));
	gone = (int)MUST(inotify_add_watch(fd, in("gone"), IN_MODIFY | IN_ATTRIB));
	gone_dir = (int)MUST(inotify_add_watch(fd, in("gone dir"), IN_ATTRIB));
	sub = (int)MUST(inotify_add_watch(fd, in("dir/sub"), IN_CREATE | IN_ONLYDIR));
	MUST(unlink(in("gone")));
	MUST(rmdir(in("gone dir")));
	expect(gone, IN_ATTRIB, "");
	/* what rmdir tells: the folder lives on while it is open */
	while (next_event(lines, sizeof(lines)).wd != -1)
		;
	second = (int)MUST(inotify_init1(IN_CLOEXEC));
	check_ready();

	CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK, "O_NONBLOCK");
	CHECK_EQ(fcntl(fd, F_GETFD), 0, "close on exec");
	CHECK_EQ(fcntl(second, F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK of the second");
	CHECK_EQ(fcntl(second, F_GETFD), FD_CLOEXEC, "close on exec of the second");
	expect_none();
	touch("dir/new");
	expect(dir, IN_CREATE, "new");
	expect(dir, IN_OPEN, "new");
	expect(dir, IN_CLOSE_WRITE, "new");
	touch("dir/sub/new");
	expect(sub, IN_CREATE, "new");
	r = (int)MUST(open(in("a file"), O_WRONLY));
	modify(r);
	close(r);
	expect(file, IN_MODIFY, "");
	/* IN_EXCL_UNLINK */
	r = (int)MUST(open(in("dir/new"), O_WRONLY));
	MUST(unlink(in("dir/new")));
	expect(dir, IN_OPEN, "new");
	expect(dir, IN_DELETE, "new");
	modify(r);
	close(r);
	expect_none();
	MUST(chmod(in("once"), 0600));
	expect(once, IN_ATTRIB, "");
	expect(once, IN_IGNORED, "");
	MUST(chmod(in("once"), 0640));
	expect_none();
	modify(held);
	expect(gone, IN_MODIFY, "");
	MUST(fchmod(held_dir, 0700));
	expect(gone_dir, IN_ATTRIB | IN_ISDIR, "");
	close(held);
	while ((r = next_event(NULL, 0).wd) != -1)
		CHECK_EQ(r, gone, "an event of another watch");
	CHECK(inotify_rm_watch(fd, gap) == -1 && errno == EINVAL, "the number that was free is taken");
	r = (int)MUST(inotify_add_watch(fd, in("once"), ALL));
	CHECK(r > sub, "a new watch has the number %d", r);
	MUST(inotify_rm_watch(fd, r));
	MUST(inotify_rm_watch(fd, dir));
	r = (int)MUST(inotify_add_watch(second, base, ALL));
	MUST(inotify_rm_watch(second, r));
}

/* Removed files and folders of the watched folder that are open, read-only and mapped: nothing of what it takes to bring
 * them back is told. */
static void beside(void)
{
	int dir, a, b, c, self;

	MUST(mkdir(in("dir"), 0755));
	MUST(mkdir(in("dir/x"), 0755));
	touch("dir/a");
	touch("dir/b");
	touch("dir/c");
	MUST(symlink("nowhere", in("dir/l")));
	a = (int)MUST(open(in("dir/a"), O_RDWR));
	b = (int)MUST(open(in("dir/b"), O_RDONLY));
	c = (int)MUST(open(in("dir/x"), O_RDONLY | O_DIRECTORY));
	self = (int)MUST(open(in("dir/c"), O_RDONLY));
	MUST(unlink(in("dir/a")));
	MUST(rmdir(in("dir/x")));
	dir = (int)MUST(inotify_add_watch(fd, in("dir"), ALL));
	MUST(inotify_add_watch(fd, in("dir/b"), ALL));
	check_ready();
	if (access("restored", F_OK) == 0)
		expect_none();
	while (next_event(NULL, 0).wd != -1)
		;
	touch("dir/d");
	expect(dir, IN_CREATE, "d");
	expect(dir, IN_OPEN, "d");
	expect(dir, IN_CLOSE_WRITE, "d");
	close(a);
	close(b);
	close(c);
	close(self);
}

static void on_link(void)
{
	int wd;

	touch("a file");
	MUST(symlink("a file", in("link")));
	wd = (int)MUST(inotify_add_watch(fd, in("link"), IN_DELETE_SELF | IN_DONT_FOLLOW));
	check_ready();
	MUST(unlink(in("a file")));
	MUST(unlink(in("link")));
	expect(wd, IN_DELETE_SELF, "");
	expect(wd, IN_IGNORED, "");
	expect_none();
}

static void queued(void)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n = 0, wd;

	MUST(mkdir(in("dir"), 0755));
	wd = (int)MUST(inotify_add_watch(fd, in("dir"), IN_CREATE));
	touch("dir/before");
	check_ready();
	MUST(ioctl(fd, FIONREAD, &n));
	CHECK_EQ(n > 0, access("restored", F_OK) != 0, "events that wait");
	while (next_event(NULL, 0).wd != -1)
		;
	CHECK_EQ(poll(&p, 1, 0), 0, "readable");
	touch("dir/after");
	CHECK_EQ(poll(&p, 1, 0), 1, "not readable");
	expect(wd, IN_CREATE, "after");
	expect_none();
}

static void elsewhere(const char *path)
{
	int wd = (int)MUST(inotify_add_watch(fd, path, IN_MODIFY)), f;

	check_ready();
	expect_none();
	f = (int)MUST(open(path, O_WRONLY));
	modify(f);
	close(f);
	expect(wd, IN_MODIFY, "");
	expect_none();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "basic";

	check_begin(argc, argv);
	snprintf(base, sizeof(base), "%s", check_dir);
	if (!strcmp(kind, "tmpfs")) {
		strcpy(base, "/dev/shm/firn-tests-XXXXXX");
		if (!mkdtemp(base))
			check_skip("%s: %s", base, strerror(errno));
	}
	fd = (int)MUST(inotify_init1(IN_NONBLOCK));
	if (!strcmp(kind, "beside"))
		beside();
	else if (!strcmp(kind, "elsewhere"))
		elsewhere(argv[3]);
	else if (!strcmp(kind, "symlink"))
		on_link();
	else if (!strcmp(kind, "queued"))
		queued();
	else
		basic();
	if (!strcmp(kind, "tmpfs"))
		CHECK_EQ(nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0, "removal");
	return check_end();
}
