// SPDX-License-Identifier: LGPL-2.1-or-later
/* Transparent huge pages: content and the advice that asks for them. */
#include "check.h"

#include <sys/mman.h>

#define SIZE (16ul << 20)

int main(int argc, char **argv)
{
	char *p;

	check_begin(argc, argv);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
	if (madvise(p, SIZE, MADV_HUGEPAGE))
		check_skip("no transparent huge pages: %s", strerror(errno));
	for (size_t i = 0; i < SIZE; i += 1 << 20)
		pattern_fill(p + i, 4096, (uint32_t)i);
	check_ready();
	for (size_t i = 0; i < SIZE; i += 1 << 20) {
		CHECK_PATTERN(p + i, 4096, (uint32_t)i, "page");
		CHECK_EQ(p[i + 8192], 0, "byte between");
	}
	return check_end();
}
