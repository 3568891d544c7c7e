// SPDX-License-Identifier: LGPL-2.1-or-later
/* mem_many FOLDER [AREAS]: thousands of small areas of alternating protection, each with content of its own. */
#include "check.h"

#include <sys/mman.h>

#define PAGE 4096ul

int main(int argc, char **argv)
{
	size_t n = argc > 2 ? (size_t)atol(argv[2]) : 3000;
	char *base;

	check_begin(argc, argv);
	base = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
	for (size_t i = 0; i < n; i++) {
		pattern_fill(base + i * PAGE, 512, (uint32_t)i);
		if (i % 2)
			MUST(mprotect(base + i * PAGE, PAGE, PROT_READ));
	}
	check_ready();
	for (size_t i = 0; i < n; i++)
		CHECK_PATTERN(base + i * PAGE, 512, (uint32_t)i, "page");
	return check_end();
}
