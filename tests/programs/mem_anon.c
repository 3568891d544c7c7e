// SPDX-License-Identifier: LGPL-2.1-or-later
/* Private anonymous memory: content, untouched holes that stay holes, zero pages, and growth afterwards. */
#include "check.h"

#include <sys/mman.h>

#define PAGE 4096ul
#define PAGES 256ul

/* Bit 63 of /proc/self/pagemap: present; 62: swapped. */
static bool populated(const char *p)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, &entry, 8, (off_t)((uintptr_t)p / PAGE * 8)) != 8)
		FAIL("pagemap: %s", strerror(errno));
	close(fd);
	return entry >> 62;
}

int main(int argc, char **argv)
{
	char *p, *untouched;

	check_begin(argc, argv);
	p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	untouched = mmap(NULL, 1ul << 34, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED || untouched == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
	MUST(madvise(p, PAGES * PAGE, MADV_NOHUGEPAGE));
	MUST(madvise(untouched, 1ul << 34, MADV_NOHUGEPAGE));
	/* every third page has content, every third stays a hole, every third was read only (the zero page) */
	for (size_t i = 0; i < PAGES; i++) {
		if (i % 3 == 0)
			pattern_fill(p + i * PAGE, PAGE, (uint32_t)i);
		else if (i % 3 == 2 && *(volatile char *)(p + i * PAGE))
			DIE("a fresh page is not zero");
	}
	pattern_fill(untouched + (1ul << 33), PAGE, 77);
	check_ready();
	for (size_t i = 0; i < PAGES; i++) {
		if (i % 3 == 1)
			CHECK(!populated(p + i * PAGE), "the hole at page %zu was filled", i);
	}
	for (size_t i = 0; i < PAGES; i++) {
		if (i % 3 == 0) {
			CHECK_PATTERN(p + i * PAGE, PAGE, (uint32_t)i, "page");
			continue;
		}
		for (size_t k = 0; k < PAGE; k++) {
			if (p[i * PAGE + k]) {
				FAIL("page %zu is not zero", i);
				break;
			}
		}
	}
	CHECK_PATTERN(untouched + (1ul << 33), PAGE, 77, "the page in the sparse area");
	CHECK(!populated(untouched), "the sparse area was filled");
	memset(p, 1, PAGES * PAGE);
	return check_end();
}
