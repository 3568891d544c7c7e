// SPDX-License-Identifier: LGPL-2.1-or-later
/* File locks: flock, POSIX, open file description locks, leases; with a child that holds some of its own. */
#include "check.h"

#include <sys/file.h>

static int set(int fd, int command, short type, off_t start, off_t len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	return fcntl(fd, command, &l);
}

/* What another open file would meet: F_UNLCK, or the lock that is in the way. The probe stays open: closing any descriptor
 * of a file gives up the process's POSIX locks. */
static int probe;

static struct flock in_the_way(short type, off_t start, off_t len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	MUST(fcntl(probe, F_OFD_GETLK, &l));
	return l;
}

static int hold[2];

static int posix_child(void *arg)
{
	int fd = (int)MUST(open("posix", O_RDWR));
	char c;

	close(hold[1]);

	(void)arg;
	MUST(set(fd, F_SETLK, F_RDLCK, 1000, 10));
	/* until the parent closes its end */
	(void)!read(hold[0], &c, 1);
	return 0;
}

static int posix(void)
{
	int fd = (int)MUST(open("posix", O_RDWR | O_CREAT, 0600)), ro = (int)MUST(open("posix", O_RDONLY));
	struct flock l;
	pid_t pid;

	probe = (int)MUST(open("posix", O_RDWR));
	MUST(set(fd, F_SETLK, F_WRLCK, 0, 100));
	MUST(set(fd, F_SETLK, F_RDLCK, 200, 0));
	MUST(pipe(hold));
	pid = check_fork(posix_child, NULL);
	/* 200 to the end is shared by both */
	WAIT_FOR(set(ro, F_SETLK, F_UNLCK, 1000, 10) == 0 && in_the_way(F_WRLCK, 1000, 10).l_pid == pid);
	check_ready();
	l = in_the_way(F_RDLCK, 0, 0);
	CHECK(l.l_type == F_WRLCK && l.l_start == 0 && l.l_len == 100 && l.l_pid == getpid(), "the write lock: %d %ld+%ld of %d",
	      l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid);
	l = in_the_way(F_WRLCK, 150, 100);
	CHECK(l.l_type == F_RDLCK && l.l_start == 200 && l.l_len == 800, "the read lock: %d %ld+%ld", l.l_type, (long)l.l_start,
	      (long)l.l_len);
	l = in_the_way(F_WRLCK, 1000, 1);
	CHECK(l.l_type == F_RDLCK && l.l_pid == pid, "the child's lock is %d's", l.l_pid);
	l = in_the_way(F_WRLCK, 1010, 1);
	CHECK(l.l_type == F_RDLCK && l.l_len == 0 && l.l_pid == getpid(), "the rest, to the end");
	close(hold[1]);
	check_child(pid);
	l = in_the_way(F_WRLCK, 1000, 10);
	CHECK_EQ(l.l_type, F_UNLCK, "the child's lock after its end");
	MUST(set(fd, F_SETLK, F_UNLCK, 0, 0));
	CHECK_EQ(in_the_way(F_WRLCK, 0, 0).l_type, F_UNLCK, "after the unlocking");
	return check_end();
}

static int flocks(void)
{
	int exclusive = (int)MUST(open("exclusive", O_RDWR | O_CREAT, 0600)), dup_fd = (int)MUST(dup(exclusive));
	int one = (int)MUST(open("shared", O_RDONLY | O_CREAT, 0600)), two = (int)MUST(open("shared", O_RDONLY)), other;

	MUST(flock(exclusive, LOCK_EX));
	MUST(flock(one, LOCK_SH));
	MUST(flock(two, LOCK_SH));
	check_ready();
	other = (int)MUST(open("exclusive", O_RDONLY));
	CHECK(flock(other, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the exclusive lock");
	MUST(flock(dup_fd, LOCK_UN));
	MUST(flock(other, LOCK_SH | LOCK_NB));
	other = (int)MUST(open("shared", O_RDONLY));
	CHECK(flock(other, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the shared lock");
	MUST(flock(one, LOCK_UN));
	CHECK(flock(other, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the second shared lock");
	MUST(flock(two, LOCK_UN));
	MUST(flock(other, LOCK_EX | LOCK_NB));
	return check_end();
}

static int ofd(void)
{
	int fd = (int)MUST(open("ofd", O_RDWR | O_CREAT, 0600)), dup_fd;
	struct flock l;

	probe = (int)MUST(open("ofd", O_RDWR));
	MUST(set(fd, F_OFD_SETLK, F_WRLCK, 10, 20));
	dup_fd = (int)MUST(dup(fd));
	check_ready();
	l = in_the_way(F_RDLCK, 0, 0);
	CHECK(l.l_type == F_WRLCK && l.l_start == 10 && l.l_len == 20 && l.l_pid == -1, "the lock: %d %ld+%ld of %d", l.l_type,
	      (long)l.l_start, (long)l.l_len, l.l_pid);
	close(fd);
	CHECK_EQ(in_the_way(F_RDLCK, 10, 1).l_type, F_WRLCK, "after the first close");
	close(dup_fd);
	CHECK_EQ(in_the_way(F_WRLCK, 0, 0).l_type, F_UNLCK, "after the last close");
	return check_end();
}

static int lease(void)
{
	int fd = (int)MUST(open("lease", O_RDONLY | O_CREAT, 0600)), wr;

	signal(SIGIO, SIG_IGN);
	MUST(fcntl(fd, F_SETLEASE, F_RDLCK));
	check_ready();
	CHECK_EQ(fcntl(fd, F_GETLEASE), F_RDLCK, "the lease");
	wr = open("lease", O_WRONLY | O_NONBLOCK);
	CHECK(wr == -1 && errno == EWOULDBLOCK, "an open that breaks the lease: %d, %s", wr, strerror(errno));
	CHECK_EQ(fcntl(fd, F_GETLEASE), F_UNLCK, "the lease that is being broken");
	MUST(fcntl(fd, F_SETLEASE, F_UNLCK));
	return check_end();
}

int main(int argc, char **argv)
{
	const char *what;

	check_begin(argc, argv);
	what = argv[2];
	if (!strcmp(what, "posix"))
		return posix();
	if (!strcmp(what, "flock"))
		return flocks();
	return strcmp(what, "ofd") ? lease() : ofd();
}
