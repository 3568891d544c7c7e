// SPDX-License-Identifier: LGPL-2.1-or-later
/* Pipes: data in them, sizes, flags, packets, ends that are closed, both ends in different processes. */
#include "check.h"

static int full[2], shared[2], to_child[2], packets[2], eof[2], broken[2], empty[2], big[2];

static int child(void *arg)
{
	char buf[64];

	(void)arg;
	close(to_child[1]);
	check_wait_trigger();
	CHECK_EQ(read(shared[0], buf, 3), 3, "read in the child");
	CHECK(!memcmp(buf, "abc", 3), "the child read %.3s", buf);
	/* until the parent closes its end */
	while (read(to_child[0], buf, sizeof(buf)) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	static char buf[1 << 20], want[1 << 20];
	struct stat a, b;
	pid_t pid;

	check_begin(argc, argv);
	MUST(pipe2(full, O_NONBLOCK | O_CLOEXEC));
	MUST(pipe(shared));
	MUST(pipe(to_child));
	MUST(pipe2(packets, O_DIRECT));
	MUST(pipe(eof));
	MUST(pipe(broken));
	MUST(pipe(empty));
	MUST(pipe(big));
	pattern_fill(want, sizeof(want), 7);
	CHECK_EQ(write(full[1], want, sizeof(want)), 65536, "filling a pipe");
	MUST(write(shared[1], "abcdef", 6));
	MUST(write(packets[1], "one", 3));
	MUST(write(packets[1], "three", 5));
	MUST(write(eof[1], "last", 4));
	close(eof[1]);
	close(broken[0]);
	pid = check_fork(child, NULL);
	close(to_child[0]);
	if (fcntl(big[1], F_SETPIPE_SZ, 1 << 20) < 0)
		DIE("F_SETPIPE_SZ: %s", strerror(errno));
	CHECK_EQ(write(big[1], want, 700000), 700000, "filling a big pipe");
	MUST(dup2(shared[1], 200));
	signal(SIGPIPE, SIG_IGN);
	check_ready();
	CHECK_EQ(read(full[0], buf, sizeof(buf)), 65536, "read of the full pipe");
	CHECK_PATTERN(buf, 65536, 7, "content of the full pipe");
	CHECK(read(full[0], buf, 1) == -1 && errno == EAGAIN, "a drained pipe: %s", strerror(errno));
	CHECK_EQ(fcntl(full[0], F_GETFD), FD_CLOEXEC, "close-on-exec");
	CHECK_EQ(fcntl(empty[0], F_GETFL) & O_NONBLOCK, 0, "flags of a blocking pipe");
	CHECK(read(packets[0], buf, 100) == 3 && !memcmp(buf, "one", 3), "the first packet");
	CHECK(read(packets[0], buf, 100) == 5 && !memcmp(buf, "three", 5), "the second packet");
	CHECK(fcntl(packets[1], F_GETFL) & O_DIRECT, "packet mode");
	CHECK(read(eof[0], buf, 100) == 4 && read(eof[0], buf, 100) == 0, "end of file");
	CHECK(write(broken[1], "x", 1) == -1 && errno == EPIPE, "a broken pipe: %s", strerror(errno));
	CHECK_EQ(fcntl(big[0], F_GETPIPE_SZ), 1 << 20, "size of the big pipe");
	CHECK_EQ(read(big[0], buf, 700000), 700000, "read of the big pipe");
	CHECK_PATTERN(buf, 700000, 7, "content of the big pipe");
	MUST(fstat(shared[1], &a));
	MUST(fstat(200, &b));
	CHECK(a.st_ino == b.st_ino, "the duplicate is another pipe");
	MUST(fstat(shared[0], &b));
	CHECK(a.st_ino == b.st_ino, "the ends are different pipes");
	close(to_child[1]);
	check_child(pid);
	CHECK(read(shared[0], buf, 100) == 3 && !memcmp(buf, "def", 3), "what the child left");
	MUST(write(200, "more", 4));
	CHECK(read(shared[0], buf, 100) == 4, "writing through the duplicate");
	return check_end();
}
