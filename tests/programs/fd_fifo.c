// SPDX-License-Identifier: LGPL-2.1-or-later
/* Named pipes: data, ends in two processes, one opened read-write, one whose name was removed. */
#include "check.h"

static int child(void *arg)
{
	int fd = (int)MUST(open("fifo", O_WRONLY));

	(void)arg;
	MUST(write(fd, "from the child", 14));
	check_wait_trigger();
	MUST(write(fd, "again", 5));
	return 0;
}

int main(int argc, char **argv)
{
	int rd, rw, gone;
	char buf[64];
	pid_t pid;

	check_begin(argc, argv);
	MUST(mkfifo("fifo", 0600));
	MUST(mkfifo("both", 0600));
	MUST(mkfifo("gone", 0600));
	pid = check_fork(child, NULL);
	rd = (int)MUST(open("fifo", O_RDONLY));
	rw = (int)MUST(open("both", O_RDWR | O_NONBLOCK));
	gone = (int)MUST(open("gone", O_RDWR));
	if (argc > 2)
		MUST(unlink("gone"));
	MUST(write(rw, "queued", 6));
	MUST(write(gone, "ghost", 5));
	WAIT_FOR(read(rd, buf, 5) == 5);
	check_ready();
	check_child(pid);
	CHECK(read(rd, buf, 9) == 9 && !memcmp(buf, "the child", 9), "data in the fifo");
	CHECK(read(rd, buf, 64) == 5 && !memcmp(buf, "again", 5), "what the child wrote afterwards");
	CHECK_EQ(read(rd, buf, 64), 0, "end of file");
	CHECK(read(rw, buf, 64) == 6 && !memcmp(buf, "queued", 6), "data in the read-write fifo");
	CHECK(read(rw, buf, 64) == -1 && errno == EAGAIN, "a drained fifo");
	CHECK(read(gone, buf, 64) == 5 && !memcmp(buf, "ghost", 5), "data in the third fifo");
	return check_end();
}
