// SPDX-License-Identifier: LGPL-2.1-or-later
/* Address space as run times reserve it: tens of gigabytes of which a few pages are used. */
#include "check.h"

#include <sys/mman.h>

int main(int argc, char **argv)
{
	size_t size = 64ul << 30;
	char *none, *rw;

	check_begin(argc, argv);
	none = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (none == MAP_FAILED || rw == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
	MUST(madvise(rw, size, MADV_NOHUGEPAGE));
	MUST(mprotect(none + (32ul << 30), 1 << 20, PROT_READ | PROT_WRITE));
	pattern_fill(none + (32ul << 30), 1 << 20, 1);
	for (size_t i = 0; i < 64; i++)
		pattern_fill(rw + (i << 30) + 8192 * i, 4096, (uint32_t)i);
	check_ready();
	CHECK_PATTERN(none + (32ul << 30), 1 << 20, 1, "committed part");
	for (size_t i = 0; i < 64; i++)
		CHECK_PATTERN(rw + (i << 30) + 8192 * i, 4096, (uint32_t)i, "page");
	CHECK(!mprotect(none, 4096, PROT_READ | PROT_WRITE) && (none[0] = 1), "committing more");
	return check_end();
}
