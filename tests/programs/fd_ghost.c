// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_ghost FOLDER plain|links|remap|big|folders|remade|kinds|sockets|devices|nameless|moved: removed files that are still open. plain: content, mode, size, holes, two descriptors
 * of one inode. links: a file with two removed names, opened by both. remap: the opened name is gone and another name
 * stays (needs --link-remap). big: content beyond the default ghost limit. folders: removed
 * folders in removed folders, as working folder too, and a removed file in one. remade: something new has the name.
 * kinds: FIFOs and symbolic links. sockets: a socket's file. devices: device nodes. nameless: O_TMPFILE. moved: a file with another name
 * whose folder was removed (needs --link-remap). */
#include "check.h"

static void check_link(int fd, const char *name)
{
	char path[64], got[PATH_MAX] = "", want[PATH_MAX + 64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	snprintf(want, sizeof(want), "%s/%s (deleted)", check_dir, name);
	CHECK(readlink(path, got, sizeof(got) - 1) > 0 && !strcmp(got, want), "%s instead of %s", got, want);
}

static ino_t inode(int fd, const char *name)
{
	struct stat st = { 0 };

	CHECK_EQ(fstatat(fd, name, &st, *name ? 0 : AT_EMPTY_PATH), 0, "fstatat");
	return st.st_ino;
}

static int folders(void)
{
	int a, b, f, sibling;
	struct stat st;
	char buf[PATH_MAX];

	MUST(mkdir("a", 0751));
	MUST(mkdir("a/b", 0700));
	MUST(mkdir("a/b/c", 0700));
	MUST(mkdir("a/sibling", 0700));
	make_file("a/b/f", 3000, 9);
	f = (int)MUST(open("a/b/f", O_RDWR));
	a = (int)MUST(open("a", O_RDONLY | O_DIRECTORY));
	b = (int)MUST(open("a/b", O_PATH | O_DIRECTORY));
	sibling = (int)MUST(open("a/sibling", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	MUST(chdir("a/b/c"));
	MUST(unlinkat(b, "f", 0));
	MUST(unlinkat(b, "c", AT_REMOVEDIR));
	MUST(unlinkat(a, "b", AT_REMOVEDIR));
	MUST(unlinkat(a, "sibling", AT_REMOVEDIR));
	snprintf(buf, sizeof(buf), "%s/a", check_dir);
	MUST(rmdir(buf));
	check_ready();
	check_link(a, "a");
	check_link(b, "a/b");
	check_link(f, "a/b/f");
	check_link(sibling, "a/sibling");
	MUST(fstat(a, &st));
	CHECK(S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0751 && st.st_nlink == 0, "mode %o, %ld links", st.st_mode,
	      (long)st.st_nlink);
	CHECK_EQ(st.st_uid, geteuid(), "owner");
	CHECK(inode(AT_FDCWD, "..") == inode(b, ""), "the working folder is in another");
	CHECK(inode(b, "..") == inode(a, ""), "the folder is in another");
	CHECK(inode(sibling, "..") == inode(a, ""), "the folder beside is in another");
	CHECK(openat(a, "new", O_CREAT | O_WRONLY, 0600) == -1 && errno == ENOENT, "something can be made in it");
	CHECK(getcwd(buf, sizeof(buf)) == NULL && errno == ENOENT, "the working folder is there");
	CHECK(pread(f, buf, 3000, 0) == 3000, "read");
	CHECK_PATTERN(buf, 3000, 9, "content");
	MUST(fstat(f, &st));
	CHECK_EQ(st.st_nlink, 0, "links of the file");
	snprintf(buf, sizeof(buf), "%s/a", check_dir);
	CHECK(access(buf, F_OK) == -1, "the removed folder is back");
	MUST(chdir(check_dir));
	return check_end();
}

static int remade(void)
{
	int old, dir, in_dir, under;
	struct stat st;
	char buf[16] = "";

	make_file("name", 100, 1);
	MUST(mkdir("dir", 0700));
	MUST(mkdir("under", 0700));
	make_file("dir/f", 100, 2);
	make_file("under/f", 100, 3);
	old = (int)MUST(open("name", O_RDWR));
	dir = (int)MUST(open("dir", O_RDONLY | O_DIRECTORY));
	in_dir = (int)MUST(open("dir/f", O_RDWR));
	under = (int)MUST(open("under/f", O_RDONLY));
	MUST(unlink("name"));
	MUST(unlink("dir/f"));
	MUST(unlink("under/f"));
	MUST(rmdir("dir"));
	MUST(rmdir("under"));
	make_file("name", 50, 5);
	MUST(mkdir("dir", 0755));
	make_file("dir/f", 60, 6);
	make_file("under", 70, 7); /* no folder any more */
	check_ready();
	CHECK_EQ(pread(old, buf, 1, 99), 1, "the old file's end");
	CHECK(!fstat(old, &st) && st.st_nlink == 0 && st.st_size == 100, "the old file");
	CHECK(!fstat(in_dir, &st) && st.st_nlink == 0 && st.st_size == 100, "the old file in the old folder");
	CHECK(!fstat(under, &st) && st.st_nlink == 0 && st.st_size == 100, "the old file below what is a file now");
	CHECK(!fstat(dir, &st) && st.st_nlink == 0 && (st.st_mode & 07777) == 0700, "the old folder");
	CHECK(!stat("name", &st) && st.st_nlink == 1 && st.st_size == 50, "the new file");
	CHECK(!stat("dir", &st) && (st.st_mode & 07777) == 0755, "the new folder");
	CHECK(!stat("dir/f", &st) && st.st_nlink == 1 && st.st_size == 60, "the new file in the new folder");
	CHECK(!stat("under", &st) && st.st_nlink == 1 && st.st_size == 70, "the file in the place of the folder");
	CHECK(system("ls -A . dir | grep -q firn") != 0, "a temporary name was left");
	return check_end();
}

static int kinds(bool devices)
{
	int fifo, link, device, opened, n;
	char buf[64] = "";
	struct stat st;

	MUST(mkfifo("fifo", 0640));
	MUST(symlink("a/target", "link"));
	fifo = (int)MUST(open("fifo", O_RDWR));
	link = (int)MUST(open("link", O_PATH | O_NOFOLLOW));
	device = opened = -1;
	if (devices) {
		MUST(mknod("device", S_IFBLK | 0600, 0x0701));
		MUST(mknod("null", S_IFCHR | 0600, 0x0103));
		device = (int)MUST(open("device", O_PATH));
		opened = open("null", O_RDWR);
		if (opened < 0)
			check_skip("no devices on this file system: %s", strerror(errno));
		MUST(unlink("device"));
		MUST(unlink("null"));
	}
	MUST(write(fifo, "queued", 6));
	MUST(unlink("fifo"));
	MUST(unlink("link"));
	check_ready();
	CHECK(!fstat(fifo, &st) && S_ISFIFO(st.st_mode) && (st.st_mode & 07777) == 0640, "the FIFO");
	CHECK(read(fifo, buf, sizeof(buf)) == 6 && !strcmp(buf, "queued"), "the FIFO's content: %s", buf);
	check_link(fifo, "fifo");
	CHECK(!fstat(link, &st) && S_ISLNK(st.st_mode) && st.st_nlink == 0, "the symbolic link");
	n = (int)readlinkat(link, "", buf, sizeof(buf) - 1);
	CHECK(n == 8 && !strncmp(buf, "a/target", 8), "its target: %.*s", n, buf);
	check_link(link, "link");
	CHECK_EQ(fcntl(link, F_GETFL) & (O_PATH | O_NOFOLLOW), O_PATH | O_NOFOLLOW, "flags");
	if (devices) {
		CHECK(!fstat(device, &st) && S_ISBLK(st.st_mode) && st.st_rdev == 0x0701, "the block device");
		CHECK(!fstat(opened, &st) && S_ISCHR(st.st_mode) && st.st_rdev == 0x0103, "/dev/null");
		CHECK(write(opened, "x", 1) == 1 && read(opened, buf, 1) == 0, "use of /dev/null");
	}
	return check_end();
}

static int sockets(void)
{
	struct stat st;
	int fd;

	MUST(mknod("sock", S_IFSOCK | 0640, 0));
	fd = (int)MUST(open("sock", O_PATH));
	MUST(unlink("sock"));
	check_ready();
	CHECK(!fstat(fd, &st) && S_ISSOCK(st.st_mode) && st.st_nlink == 0, "the socket");
	CHECK_EQ(st.st_uid, geteuid(), "its owner");
	CHECK_EQ(st.st_mode & 07777, 0640, "its mode");
	check_link(fd, "sock");
	return check_end();
}

static int nameless(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_APPEND, 0604), second, third;
	char path[64], buf[8] = "";
	struct stat st;

	if (fd < 0)
		check_skip("O_TMPFILE: %s", strerror(errno));
	MUST(write(fd, "nameless", 8));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	second = (int)MUST(open(path, O_RDONLY));
	MUST(lseek(second, 4, SEEK_SET));
	third = (int)MUST(open(".", O_TMPFILE | O_WRONLY, 0600));
	check_ready();
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 8, "position");
	CHECK(read(second, buf, 8) == 4 && !strncmp(buf, "less", 4), "the second descriptor: %.8s", buf);
	MUST(write(fd, "!", 1));
	CHECK(!fstat(second, &st) && st.st_size == 9 && st.st_nlink == 0, "size %ld", (long)st.st_size);
	CHECK_EQ(st.st_mode & 07777, 0604, "mode");
	CHECK_EQ(fcntl(fd, F_GETFL) & (O_TMPFILE | O_APPEND | O_ACCMODE), O_TMPFILE | O_APPEND | O_RDWR, "flags");
	CHECK_EQ(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0, "linkat");
	CHECK(!stat("named", &st) && st.st_nlink == 1 && st.st_size == 9, "the named file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", third);
	CHECK_EQ(linkat(AT_FDCWD, path, AT_FDCWD, "named too", AT_SYMLINK_FOLLOW), 0, "linkat of the empty one");
	return check_end();
}

static int moved(void)
{
	struct stat st, st2;
	int fd;

	MUST(mkdir("was", 0700));
	MUST(mkdir("was/here", 0700));
	make_file("was/here/file", 77, 1);
	fd = (int)MUST(open("was/here/file", O_RDWR));
	MUST(link("was/here/file", "is here"));
	MUST(unlink("was/here/file"));
	MUST(rmdir("was/here"));
	MUST(rmdir("was"));
	check_ready();
	MUST(fstat(fd, &st));
	MUST(stat("is here", &st2));
	CHECK(st.st_ino == st2.st_ino, "the remaining name is another file");
	CHECK(access("restored", F_OK) || system("ls -A | grep -q '^link_remap'") != 0, "a temporary name was left");
	return check_end();
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "plain";
	int a, b, c = -1, hole;
	char buf[5000];
	struct stat st, st2;

	check_begin(argc, argv);
	if (!strcmp(kind, "folders"))
		return folders();
	if (!strcmp(kind, "remade"))
		return remade();
	if (!strcmp(kind, "kinds") || !strcmp(kind, "devices"))
		return kinds(*kind == 'd');
	if (!strcmp(kind, "sockets"))
		return sockets();
	if (!strcmp(kind, "nameless"))
		return nameless();
	if (!strcmp(kind, "moved"))
		return moved();
	if (!strcmp(kind, "big")) {
		make_file("ghost", 3 << 20, 8);
		a = (int)MUST(open("ghost", O_RDWR));
		MUST(unlink("ghost"));
		check_ready();
		CHECK(!fstat(a, &st) && st.st_size == 3 << 20 && st.st_nlink == 0, "size %ld", (long)st.st_size);
		return check_end();
	}
	umask(0);
	make_file("ghost", 5000, 4);
	MUST(chmod("ghost", 0625));
	a = (int)MUST(open("ghost", O_RDWR));
	if (!strcmp(kind, "plain")) {
		b = (int)MUST(open("ghost", O_RDONLY | O_APPEND));
		MUST(unlink("ghost"));
		hole = (int)MUST(open("sparse", O_RDWR | O_CREAT | O_EXCL, 0600));
		MUST(pwrite(hole, "end", 3, 900000));
		MUST(unlink("sparse"));
	} else {
		MUST(link("ghost", "other name"));
		b = (int)MUST(open("other name", O_RDWR));
		MUST(unlink("ghost"));
		if (!strcmp(kind, "links"))
			MUST(unlink("other name"));
		hole = -1;
	}
	MUST(lseek(a, 100, SEEK_SET));
	MUST(lseek(b, 200, SEEK_SET));
	check_ready();
	CHECK_EQ(lseek(a, 0, SEEK_CUR), 100, "position");
	CHECK_EQ(lseek(b, 0, SEEK_CUR), 200, "position of the second");
	MUST(fstat(a, &st));
	MUST(fstat(b, &st2));
	CHECK(st.st_ino == st2.st_ino && st.st_dev == st2.st_dev, "the descriptors are no longer one file");
	/* left running, the file keeps the name that the images refer to */
	CHECK_EQ(st.st_nlink, strcmp(kind, "remap") ? 0 : access("restored", F_OK) ? 2 : 1, "links");
	CHECK_EQ(st.st_mode & 07777, 0625, "mode");
	CHECK_EQ(st.st_size, 5000, "size");
	CHECK_EQ(st.st_uid, geteuid(), "owner");
	CHECK(pread(a, buf, 5000, 0) == 5000, "read");
	CHECK_PATTERN(buf, 5000, 4, "content");
	MUST(pwrite(a, "Z", 1, 0));
	CHECK(pread(b, buf, 1, 0) == 1 && buf[0] == 'Z', "a write through one is not seen through the other");
	CHECK(access("ghost", F_OK) == -1, "the removed name is back");
	if (hole >= 0) {
		CHECK(!fstat(hole, &st) && st.st_size == 900003, "size of the sparse one: %ld", (long)st.st_size);
		CHECK(pread(hole, buf, 3, 900000) == 3 && !memcmp(buf, "end", 3), "end of the sparse one");
		CHECK(pread(hole, buf, 1, 5) == 1 && buf[0] == 0, "hole of the sparse one");
	}
	if (!strcmp(kind, "remap")) {
		c = (int)MUST(open("other name", O_RDONLY));
		MUST(fstat(c, &st2));
		MUST(fstat(a, &st));
		CHECK(st.st_ino == st2.st_ino, "the remaining name is another file");
		/* nothing of the engine's stays in the folder once it is restored */
		CHECK(access("restored", F_OK) || system("ls -A | grep -q '^link_remap'") != 0, "a temporary name was left");
	}
	return check_end();
}
