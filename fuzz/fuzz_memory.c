/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Areas and pages of a checkpoint: an MmEntry, then PagemapEntries, each behind its length as in an image. */
#include "fuzz.h"

#include "memory/plan.h"

#define PAGES_SIZE (1u << 30)

static size_t next_message(const uint8_t **data, size_t *size, const ProtobufCMessageDescriptor *desc, struct arena *a,
			   ProtobufCMessage **ret)
{
	uint32_t len;

	if (*size < sizeof(len))
		return 0;
	memcpy(&len, *data, sizeof(len));
	*data += sizeof(len);
	*size -= sizeof(len);
	if (len > *size || image_unpack(desc, *data, len, a, ret) < 0)
		return 0;
	*data += len;
	*size -= len;
	return 1;
}

static void check_fit(const struct page_runs *runs, const MmEntry *mm)
{
	uint64_t pos = 0;

	for (size_t i = 0; i < runs->n; i++) {
		const struct page_run *r = &runs->runs[i];
		size_t holders = 0;

		for (size_t k = 0; k < mm->n_vmas; k++)
			if (mm->vmas[k]->start <= r->start && r->end <= mm->vmas[k]->end)
				holders += area_has_private_pages(mm->vmas[k]);
		PROMISED(r->start < r->end && r->file_pos == pos && holders == 1);
		pos += r->end - r->start;
	}
	PROMISED(pos == runs->bytes && pos <= PAGES_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PagemapEntry *entries[256];
	struct page_runs runs = { 0 };
	struct arena arena = { 0 };
	ProtobufCMessage *m;
	const MmEntry *mm;
	const char *why;
	uint64_t address;
	size_t n = 0, bad;

	if (!next_message(&data, &size, &mm_entry__descriptor, &arena, &m))
		goto out;
	mm = (const MmEntry *)m;
	if (areas_check(mm->vmas, mm->n_vmas, 1ull << 47, &bad, &why) < 0) {
		PROMISED(bad < mm->n_vmas && why);
		goto out;
	}
	while (n < ARRAY_SIZE(entries) && next_message(&data, &size, &pagemap_entry__descriptor, &arena, &m))
		entries[n++] = (PagemapEntry *)m;
	if (runs_check(entries, n, PAGES_SIZE, &runs, &bad, &why) < 0) {
		PROMISED(bad < n && why);
		goto out;
	}
	if (runs_fit_areas(&runs, mm->vmas, mm->n_vmas, &address, &why) == 0)
		check_fit(&runs, mm);
	page_runs_release(&runs);
out:
	arena_release(&arena);
	return 0;
}
