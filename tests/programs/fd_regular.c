// SPDX-License-Identifier: LGPL-2.1-or-later
/* Regular files: position, flags, append, O_PATH, directories, descriptor flags, sharing by dup() and across fork(). */
#include "check.h"

#include <dirent.h>

static int rw, ro, wo, app, path_fd, dir, dup_fd, high, excl;

static int child(void *arg)
{
	(void)arg;
	check_wait_trigger();
	/* the parent has read 10 bytes by now, or will: only that the offset is shared matters */
	CHECK_EQ(fcntl(ro, F_GETFL) & O_ACCMODE, O_RDONLY, "access mode of the child's copy");
	MUST(lseek(rw, 3000, SEEK_SET));
	return 0;
}

int main(int argc, char **argv)
{
	char buf[16], want[4096];
	struct stat st;
	pid_t pid;

	check_begin(argc, argv);
	make_file("data", 4096, 1);
	rw = (int)MUST(open("data", O_RDWR | O_NONBLOCK));
	ro = (int)MUST(open("data", O_RDONLY | O_CLOEXEC));
	wo = (int)MUST(open("data2", O_WRONLY | O_CREAT, 0600));
	app = (int)MUST(open("log", O_WRONLY | O_CREAT | O_APPEND | O_SYNC, 0644));
	path_fd = (int)MUST(open("data", O_PATH));
	excl = (int)MUST(open("fresh", O_RDWR | O_CREAT | O_EXCL | O_TRUNC, 0640));
	MUST(mkdir("dir", 0755));
	make_file("dir/a", 1, 1);
	make_file("dir/b", 1, 1);
	dir = (int)MUST(open("dir", O_RDONLY | O_DIRECTORY));
	MUST(lseek(rw, 1000, SEEK_SET));
	MUST(lseek(ro, 42, SEEK_SET));
	MUST(write(wo, "hello", 5));
	MUST(write(app, "one\n", 4));
	dup_fd = (int)MUST(dup(rw));
	high = (int)MUST(fcntl(ro, F_DUPFD, 700));
	pid = check_fork(child, NULL);

	check_ready();
	check_child(pid);
	CHECK_EQ(lseek(rw, 0, SEEK_CUR), 3000, "position shared with the child");
	CHECK_EQ(lseek(dup_fd, 0, SEEK_CUR), 3000, "position of the duplicate");
	CHECK_EQ(lseek(ro, 0, SEEK_CUR), 42, "position of the read-only one");
	CHECK_EQ(lseek(high, 0, SEEK_CUR), 42, "position of the high one");
	CHECK_EQ(lseek(wo, 0, SEEK_CUR), 5, "position of the write-only one");
	CHECK_EQ(fcntl(rw, F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_APPEND), O_RDWR | O_NONBLOCK, "flags of rw");
	CHECK_EQ(fcntl(wo, F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_APPEND), O_WRONLY, "flags of wo");
	CHECK_EQ(fcntl(app, F_GETFL) & (O_ACCMODE | O_APPEND | O_SYNC), O_WRONLY | O_APPEND | O_SYNC, "flags of append");
	CHECK_EQ(fcntl(path_fd, F_GETFL) & O_PATH, O_PATH, "O_PATH");
	CHECK_EQ(read(path_fd, buf, 1), -1, "reading an O_PATH descriptor");
	CHECK_EQ(fcntl(ro, F_GETFD), FD_CLOEXEC, "close-on-exec of ro");
	CHECK_EQ(fcntl(high, F_GETFD), 0, "close-on-exec of its duplicate");
	CHECK_EQ(fcntl(rw, F_GETFD), 0, "close-on-exec of rw");
	pattern_fill(want, sizeof(want), 1);
	CHECK(read(ro, buf, 16) == 16 && !memcmp(buf, want + 42, 16), "content at the position");
	CHECK_EQ(lseek(high, 0, SEEK_CUR), 58, "position shared after a read");
	MUST(write(app, "two\n", 4));
	CHECK(!strcmp(slurp("log"), "one\ntwo\n"), "the log is: %s", slurp("log"));
	MUST(write(wo, " world", 6));
	CHECK(!strcmp(slurp("data2"), "hello world"), "data2 is: %s", slurp("data2"));
	CHECK(!fstat(excl, &st) && (st.st_mode & 0777) == 0640 && st.st_nlink == 1, "fresh: mode %o links %d", st.st_mode,
	      (int)st.st_nlink);
	CHECK(!fstatat(dir, "b", &st, 0), "the directory descriptor leads elsewhere");
	CHECK(!faccessat(path_fd, "", R_OK, AT_EMPTY_PATH), "O_PATH descriptor");
	{
		DIR *d = fdopendir(dir);
		int n = 0;

		while (d && readdir(d))
			n++;
		CHECK_EQ(n, 4, "directory entries");
	}
	return check_end();
}
