/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory/plan.h"

/* Runs of pages, and the pagemap entries of an image that they become or come from. Pure. */

int page_runs_add(struct page_runs *r, uint64_t start, uint64_t end, bool join)
{
	struct page_run *last = r->n ? &r->runs[r->n - 1] : NULL;

	if (join && last && last->end == start) {
		last->end = end;
		r->bytes += end - start;
		return 0;
	}
	if (r->n == r->room) {
		size_t room = r->room ? r->room * 2 : 64;
		struct page_run *p = reallocarray(r->runs, room, sizeof(*p));

		if (!p)
			return -ENOMEM;
		r->runs = p;
		r->room = room;
	}
	r->runs[r->n++] = (struct page_run){ .start = start, .end = end, .file_pos = r->bytes };
	r->bytes += end - start;
	return 0;
}

void page_runs_release(struct page_runs *r)
{
	free(r->runs);
	memset(r, 0, sizeof(*r));
}

static const char *check_entry(const PagemapEntry *e, uint64_t last)
{
	uint32_t flags = PAGES_PRESENT;

	if (e->has_flags)
		flags = e->flags;
	else if (e->has_in_parent && e->in_parent)
		flags = PAGES_PARENT;
	if (flags & PAGES_PARENT)
		return "its pages are in a parent checkpoint (an incremental dump), which firn cannot read yet";
	if (flags & ~(uint32_t)(PAGES_PARENT | PAGES_LAZY | PAGES_PRESENT))
		return "its flags have bits that firn does not know";
	if (!(flags & PAGES_PRESENT))
		return "its pages are not in the images (a lazy dump)";
	if (e->vaddr % PAGE_BYTES)
		return "its address is not that of a page";
	if (e->vaddr < last)
		return "it lies over the one before it";
	if (e->nr_pages == 0 || e->nr_pages > (UINT64_MAX - e->vaddr) / PAGE_BYTES)
		return "its number of pages is not possible";
	return NULL;
}

int runs_check(PagemapEntry *const *e, size_t n, uint64_t pages_size, struct page_runs *ret, size_t *ret_bad,
	       const char **ret_why)
{
	struct page_runs runs = { 0 };
	uint64_t last = 0;
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		const char *why = check_entry(e[i], last);
		uint64_t bytes = e[i]->nr_pages * PAGE_BYTES;

		if (!why && bytes > pages_size - runs.bytes)
			why = "its pages lie behind the end of the pages file";
		if (why) {
			*ret_bad = i;
			*ret_why = why;
			r = -EINVAL;
			break;
		}
		r = page_runs_add(&runs, e[i]->vaddr, e[i]->vaddr + bytes, true);
		if (r < 0) {
			*ret_bad = i;
			*ret_why = "there is no memory left to read it";
			break;
		}
		last = e[i]->vaddr + bytes;
	}
	if (r < 0)
		page_runs_release(&runs);
	else
		*ret = runs;
	return r;
}

int runs_fit_areas(struct page_runs *r, VmaEntry *const *v, size_t n, uint64_t *ret_bad, const char **ret_why)
{
	struct page_runs cut = { 0 };
	size_t a = 0;

	for (size_t i = 0; i < r->n; i++) {
		uint64_t at = r->runs[i].start;

		while (at < r->runs[i].end) {
			uint64_t end = r->runs[i].end;
			const char *why = NULL;

			while (a < n && v[a]->end <= at)
				a++;
			if (a == n || v[a]->start > at)
				why = "it belongs to no area";
			else if (!area_has_private_pages(v[a]))
				why = "its area is shared or the kernel's, and has no pages of its own";
			else if (v[a]->end < end)
				end = v[a]->end;
			if (!why && page_runs_add(&cut, at, end, false) < 0)
				why = "there is no memory left to read it";
			if (why) {
				*ret_bad = at;
				*ret_why = why;
				page_runs_release(&cut);
				return -EINVAL;
			}
			at = end;
		}
	}
	page_runs_release(r);
	*r = cut;
	return 0;
}
