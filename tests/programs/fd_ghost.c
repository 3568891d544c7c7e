// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_ghost FOLDER plain|links|remap|big|dir: removed files that are still open. plain: content, mode, size, holes, two descriptors
 * of one inode. links: a file with two removed names, opened by both. remap: the opened name is gone and another name
 * stays (needs --link-remap). big: content beyond the default ghost limit. */
#include "check.h"

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "plain";
	int a, b, c = -1, hole;
	char buf[5000];
	struct stat st, st2;

	check_begin(argc, argv);
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
