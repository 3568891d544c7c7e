// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_chardev FOLDER [block|block_write]: character devices that hold no state: null, zero, full, random, urandom. A block device
 * that is read, and one that is open for writing. */
#include "check.h"

#include <sys/sysmacros.h>

static int block(bool write)
{
	int fd = open("/dev/loop0", write ? O_RDWR : O_RDONLY | O_NONBLOCK);
	struct stat st;
	char byte;

	if (fd < 0)
		check_skip("/dev/loop0: %s", strerror(errno));
	check_ready();
	CHECK(!fstat(fd, &st) && S_ISBLK(st.st_mode) && st.st_rdev == makedev(7, 0), "mode %o", st.st_mode);
	CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), write ? O_RDWR : O_RDONLY | O_NONBLOCK, "flags");
	CHECK(read(fd, &byte, 1) >= 0, "read: %s", strerror(errno));
	return check_end();
}

int main(int argc, char **argv)
{
	static const char *const paths[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom" };
	static const unsigned minors[] = { 3, 5, 7, 8, 9 };
	char buf[64];
	int fds[5];

	check_begin(argc, argv);
	if (argc > 2)
		return block(!strcmp(argv[2], "block_write"));
	for (int i = 0; i < 5; i++)
		fds[i] = (int)MUST(open(paths[i], i == 2 ? O_RDWR | O_APPEND : i == 3 ? O_RDONLY | O_NONBLOCK : O_RDWR));
	check_ready();
	for (int i = 0; i < 5; i++) {
		struct stat st;

		MUST(fstat(fds[i], &st));
		CHECK(S_ISCHR(st.st_mode) && major(st.st_rdev) == 1 && minor(st.st_rdev) == minors[i], "%s is %u:%u", paths[i],
		      major(st.st_rdev), minor(st.st_rdev));
	}
	CHECK_EQ(read(fds[0], buf, 10), 0, "/dev/null");
	CHECK(read(fds[1], buf, 10) == 10 && buf[9] == 0, "/dev/zero");
	CHECK(write(fds[2], buf, 1) == -1 && errno == ENOSPC, "/dev/full");
	CHECK_EQ(fcntl(fds[2], F_GETFL) & (O_ACCMODE | O_APPEND), O_RDWR | O_APPEND, "flags");
	CHECK_EQ(fcntl(fds[3], F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY | O_NONBLOCK, "flags");
	CHECK_EQ(read(fds[4], buf, 10), 10, "/dev/urandom");
	return check_end();
}
