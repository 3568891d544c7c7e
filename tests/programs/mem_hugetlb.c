// SPDX-License-Identifier: LGPL-2.1-or-later
/* Huge pages: private and shared anonymous areas and a memfd. Skipped where no huge page is to be had. */
#include "check.h"

#include <sys/mman.h>

#define HUGE (2ul << 20)

int main(int argc, char **argv)
{
	char *priv, *shared, *mapped;
	int fd;

	check_begin(argc, argv);
	priv = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	shared = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	fd = memfd_create("huge", MFD_HUGETLB);
	if (priv == MAP_FAILED || shared == MAP_FAILED || fd < 0 || ftruncate(fd, HUGE))
		check_skip("no huge pages: %s", strerror(errno));
	mapped = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		check_skip("no huge pages: %s", strerror(errno));
	pattern_fill(priv, HUGE, 1);
	pattern_fill(shared, HUGE, 2);
	pattern_fill(mapped, HUGE, 3);
	check_ready();
	CHECK_PATTERN(priv, HUGE, 1, "private");
	CHECK_PATTERN(shared, HUGE, 2, "shared");
	CHECK_PATTERN(mapped, HUGE, 3, "memfd");
	CHECK_EQ(priv[HUGE + 5], 0, "untouched");
	return check_end();
}
