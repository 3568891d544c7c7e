// SPDX-License-Identifier: LGPL-2.1-or-later
/* eventfd: value, semaphore mode, flags, sharing with a child. */
#include "check.h"

#include <sys/eventfd.h>

static int plain;

static int child(void *arg)
{
	(void)arg;
	check_wait_trigger();
	CHECK_EQ(eventfd_write(plain, 5), 0, "write in the child");
	return 0;
}

int main(int argc, char **argv)
{
	eventfd_t v = 0;
	int sem, max;
	pid_t pid;

	check_begin(argc, argv);
	plain = (int)MUST(eventfd(17, EFD_NONBLOCK));
	sem = (int)MUST(eventfd(3, EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK));
	max = (int)MUST(eventfd(0, 0));
	MUST(eventfd_write(max, 0xfffffffffffffffdull));
	pid = check_fork(child, NULL);
	check_ready();
	check_child(pid);
	CHECK(!eventfd_read(plain, &v) && v == 22, "value %lu", v);
	CHECK(eventfd_read(plain, &v) && errno == EAGAIN, "non-blocking: %s", strerror(errno));
	for (int i = 0; i < 3; i++)
		CHECK(!eventfd_read(sem, &v) && v == 1, "semaphore gave %lu", v);
	CHECK(eventfd_read(sem, &v), "the semaphore has more");
	CHECK_EQ(fcntl(sem, F_GETFD), FD_CLOEXEC, "close-on-exec");
	CHECK(!eventfd_read(max, &v) && v == 0xfffffffffffffffdull, "large value %lx", v);
	CHECK_EQ(fcntl(max, F_GETFL) & O_NONBLOCK, 0, "a blocking one");
	return check_end();
}
