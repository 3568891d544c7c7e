// SPDX-License-Identifier: LGPL-2.1-or-later
/* memfd: content, holes, position, size, name, seals, sharing between descriptors, mappings and processes. */
#include "check.h"

#include <sys/mman.h>

#define PAGE 4096ul

static int fd, sealed;
static char *shared;

static int child(void *arg)
{
	(void)arg;
	check_wait_trigger();
	WAIT_FOR(*(volatile char *)(shared + 5) == 'x');
	shared[6] = 'y';
	return 0;
}

int main(int argc, char **argv)
{
	char buf[PAGE], *priv, *ro, link[128];
	int again, seals, copy;
	struct stat st;
	ssize_t n;
	pid_t pid;

	check_begin(argc, argv);
	fd = (int)MUST(memfd_create("a name", MFD_ALLOW_SEALING));
	MUST(ftruncate(fd, 64 * PAGE));
	shared = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	priv = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 16 * PAGE);
	pattern_fill(shared, 4 * PAGE, 1);
	pattern_fill(buf, PAGE, 2);
	MUST(pwrite(fd, buf, PAGE, 17 * PAGE));
	pattern_fill(priv + 2 * PAGE, PAGE, 3);
	MUST(lseek(fd, 1234, SEEK_SET));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	again = (int)MUST(open(link, O_RDONLY | O_CLOEXEC));
	sealed = (int)MUST(memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC));
	MUST(write(sealed, "contents", 8));
	MUST(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	ro = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, sealed, 0);
	pid = check_fork(child, NULL);
	check_ready();
	shared[5] = 'x';
	check_child(pid);
	CHECK_EQ(shared[6], 'y', "what the child wrote");
	pattern_fill(buf, PAGE, 1);
	CHECK(!memcmp(shared + 7, buf + 7, PAGE - 7), "shared content");
	CHECK_PATTERN(priv + PAGE, PAGE, 2, "content behind the private mapping");
	CHECK_PATTERN(priv + 2 * PAGE, PAGE, 3, "private copy");
	CHECK(pread(fd, buf, PAGE, 18 * PAGE) == PAGE && buf[0] == 0 && buf[77] == 0, "a private copy reached the memfd");
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 1234, "position");
	CHECK_EQ(lseek(again, 0, SEEK_CUR), 0, "position of the second");
	CHECK_EQ(fcntl(again, F_GETFL) & O_ACCMODE, O_RDONLY, "access mode of the second");
	CHECK(!fstat(fd, &st) && st.st_size == (off_t)(64 * PAGE), "size %ld", (long)st.st_size);
	MUST(pwrite(fd, "Q", 1, 40));
	CHECK(pread(again, buf, 1, 40) == 1 && buf[0] == 'Q' && shared[40] == 'Q', "the descriptors are no longer one file");
	n = readlink(link, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = 0;
	CHECK(!strncmp(buf, "/memfd:a name", 13), "its name is %s", buf);
	seals = fcntl(sealed, F_GET_SEALS);
	CHECK_EQ(seals, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, "seals");
	CHECK_EQ(fcntl(fd, F_GET_SEALS), 0, "seals of the unsealed");
	CHECK_EQ(fcntl(sealed, F_GETFD), FD_CLOEXEC, "close-on-exec");
	CHECK(!memcmp(ro, "contents", 8), "sealed content");
	copy = write(sealed, "x", 1) == -1 && errno == EPERM;
	CHECK(copy, "a sealed memfd can be written");
	return check_end();
}
