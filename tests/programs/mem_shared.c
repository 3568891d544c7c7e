// SPDX-License-Identifier: LGPL-2.1-or-later
/* Shared anonymous memory: content, holes, one object behind two mappings and two processes, also after a partial unmap. */
#include "check.h"

#include <sys/mman.h>

#define PAGE 4096ul
#define SIZE (64 * PAGE)

static char *area, *alias, *second;

static int child(void *arg)
{
	(void)arg;
	/* keeps the middle only */
	MUST(munmap(area, 16 * PAGE));
	area[20 * PAGE] = 9;
	check_wait_trigger();
	CHECK_PATTERN(area + 32 * PAGE, 4 * PAGE, 3, "the child's view");
	area[40 * PAGE] = 123;
	second[5] = 77;
	return 0;
}

int main(int argc, char **argv)
{
	pid_t pid;

	check_begin(argc, argv);
	area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	second = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	alias = mremap(area + 8 * PAGE, 0, 4 * PAGE, MREMAP_MAYMOVE); /* a second mapping of the same pages */
	if (area == MAP_FAILED || second == MAP_FAILED || alias == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
	pattern_fill(area, 4 * PAGE, 1);
	pattern_fill(area + 8 * PAGE, 4 * PAGE, 2);
	pattern_fill(area + 32 * PAGE, 4 * PAGE, 3);
	pid = check_fork(child, NULL);
	WAIT_FOR(*(volatile char *)(area + 20 * PAGE) == 9);
	check_ready();
	check_child(pid);
	CHECK_PATTERN(area, 4 * PAGE, 1, "start");
	CHECK_PATTERN(area + 8 * PAGE, 4 * PAGE, 2, "middle");
	CHECK_PATTERN(alias, 4 * PAGE, 2, "second mapping");
	CHECK_PATTERN(area + 32 * PAGE, 4 * PAGE, 3, "end");
	CHECK_EQ(area[40 * PAGE], 123, "what the child wrote");
	CHECK_EQ(second[5], 77, "what the child wrote to the second");
	CHECK_EQ(area[50 * PAGE], 0, "an untouched page");
	alias[0] ^= 0x55;
	CHECK(alias[0] == area[8 * PAGE], "the two mappings are no longer one");
	return check_end();
}
