/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <unistd.h>

#include "kernel/system.h"
#include "memory/plan.h"

/*
 * Which pages of an area are the task's own? ioctl(PAGEMAP_SCAN) on /proc/PID/pagemap answers since Linux 6.7 (commit
 * 52526ca7fdb9) in one walk over the page tables; before, the 64-bit entries of the file itself are read
 * (Documentation/admin-guide/mm/pagemap.rst).
 */

#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAP (1ull << 62)
#define ENTRY_FILE (1ull << 61)	 /* a file's page or shared anonymous */
#define ENTRY_GUARD (1ull << 58) /* Linux 6.15 */
#define ENTRY_PFN ((1ull << 55) - 1)

static int scan_ioctl(int fd, uint64_t start, uint64_t end, struct page_runs *ret, struct page_runs *guards)
{
	struct pagemap_region vec[512];
	struct pagemap_scan a = {
		.size = sizeof(a),
		.start = start,
		.end = end,
		.vec = (uintptr_t)vec,
		.vec_len = ARRAY_SIZE(vec),
		.category_inverted = PAGEMAP_IS_FILE | PAGEMAP_IS_PFNZERO,
		.category_mask = PAGEMAP_IS_FILE | PAGEMAP_IS_PFNZERO,
		.category_anyof_mask = PAGEMAP_IS_PRESENT | PAGEMAP_IS_SWAPPED,
		.return_mask = PAGEMAP_IS_GUARD,
	};

	while (a.start < end) {
		int n = sys_pagemap_scan(fd, &a);

		if (n == -EINVAL && a.return_mask != 0) {
			a.return_mask = 0; /* a kernel that does not know guard regions */
			continue;
		}
		if (n < 0)
			return n;
		for (int i = 0; i < n; i++) {
			struct page_runs *to = vec[i].categories & PAGEMAP_IS_GUARD ? guards : ret;

			if (page_runs_add(to, vec[i].start, vec[i].end, true) < 0)
				return -ENOMEM;
		}
		if (a.walk_end <= a.start)
			return -EIO;
		a.start = a.walk_end;
	}
	return 0;
}

static bool entry_wanted(uint64_t e, uint64_t zero_pfn)
{
	if (!(e & (ENTRY_PRESENT | ENTRY_SWAP)) || (e & ENTRY_FILE))
		return false;
	return !((e & ENTRY_PRESENT) && zero_pfn != 0 && (e & ENTRY_PFN) == zero_pfn);
}

int scan_guards(int fd, uint64_t start, uint64_t end, struct page_runs *guards)
{
	struct pagemap_region vec[64];
	struct pagemap_scan a = {
		.size = sizeof(a),
		.start = start,
		.end = end,
		.vec = (uintptr_t)vec,
		.vec_len = ARRAY_SIZE(vec),
		.category_mask = PAGEMAP_IS_GUARD,
		.return_mask = PAGEMAP_IS_GUARD,
	};

	while (a.start < end) {
		int n = sys_pagemap_scan(fd, &a);

		if (n < 0)
			return n == -EINVAL ? 0 : n; /* a kernel that does not know guard regions */
		for (int i = 0; i < n; i++)
			if (page_runs_add(guards, vec[i].start, vec[i].end, true) < 0)
				return -ENOMEM;
		if (a.walk_end <= a.start)
			return -EIO;
		a.start = a.walk_end;
	}
	return 0;
}

static int scan_read(int fd, uint64_t zero_pfn, uint64_t start, uint64_t end, struct page_runs *ret,
		     struct page_runs *guards)
{
	uint64_t entries[4096];

	while (start < end) {
		size_t want = (end - start) / PAGE_BYTES;
		ssize_t n;

		if (want > ARRAY_SIZE(entries))
			want = ARRAY_SIZE(entries);
		n = pread(fd, entries, want * sizeof(entries[0]), (off_t)(start / PAGE_BYTES * sizeof(entries[0])));
		if (n < 0)
			return -errno;
		if (n < (ssize_t)sizeof(entries[0]))
			return -ESRCH; /* the address space is gone */
		for (size_t i = 0; i < (size_t)n / sizeof(entries[0]); i++, start += PAGE_BYTES) {
			bool guard = entries[i] & ENTRY_GUARD;

			if ((guard || entry_wanted(entries[i], zero_pfn)) &&
			    page_runs_add(guard ? guards : ret, start, start + PAGE_BYTES, true) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

int scan_pages(int pagemap_fd, bool use_scan, uint64_t zero_pfn, uint64_t start, uint64_t end, struct page_runs *ret,
	       struct page_runs *guards)
{
	if (use_scan)
		return scan_ioctl(pagemap_fd, start, end, ret, guards);
	return scan_read(pagemap_fd, zero_pfn, start, end, ret, guards);
}
