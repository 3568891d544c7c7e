/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel/features.h"
#include "memory/plan.h"
#include "memory/vdso.h"

#define P PAGE_BYTES

static const struct memory_host host = { .shmem_major = 0, .shmem_minor = 1 };

static VmaEntry convert(const struct proc_map *m)
{
	VmaEntry v = VMA_ENTRY__INIT;
	enum area_sort sort;
	const char *why = NULL;

	assert_int_equal(area_classify(m, &host, &sort, &why), 0);
	area_to_entry(m, sort, &v);
	return v;
}

static const char *refused(const struct proc_map *m)
{
	enum area_sort sort;
	const char *why = NULL;

	assert_int_equal(area_classify(m, &host, &sort, &why), -EOPNOTSUPP);
	assert_non_null(why);
	return why;
}

static void test_anonymous(void **state)
{
	struct proc_map m = { .start = 0x10000, .end = 0x14000, .prot = PROT_READ | PROT_WRITE, .path = "" };
	VmaEntry v;

	(void)state;
	m.vm_flags = VMFLAG_RD | VMFLAG_WR | VMFLAG_MR | VMFLAG_MW | VMFLAG_ME | VMFLAG_AC;
	v = convert(&m);
	assert_int_equal(v.status, AREA_REGULAR | AREA_ANON_PRIVATE);
	assert_int_equal(v.flags, MAP_PRIVATE | MAP_ANONYMOUS);
	assert_int_equal(v.fd, -1);
	assert_false(v.has_madv);
	assert_false(v.has_fdflags);
	assert_true(area_has_private_pages(&v));

	m.path = "[heap]";
	assert_int_equal(convert(&m).status, AREA_REGULAR | AREA_HEAP | AREA_ANON_PRIVATE);
	m.path = "[stack]";
	m.vm_flags |= VMFLAG_GD;
	assert_int_equal(convert(&m).flags, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN);
	m.path = "[anon:arena]";
	m.vm_flags = VMFLAG_NR | VMFLAG_LO;
	assert_int_equal(convert(&m).flags, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_LOCKED);
}

static void test_advice(void **state)
{
	struct proc_map m = { .start = 0x10000, .end = 0x14000, .prot = PROT_READ, .path = "" };
	VmaEntry v;

	(void)state;
	m.vm_flags = VMFLAG_RR | VMFLAG_SR | VMFLAG_DC | VMFLAG_DD | VMFLAG_HG | VMFLAG_NH | VMFLAG_MG | VMFLAG_WF;
	v = convert(&m);
	assert_true(v.has_madv);
	assert_int_equal(v.madv, 0x2 | 0x4 | 0x400 | 0x10000 | 0x4000 | 0x8000 | 0x1000 | 0x40000);
	m.vm_flags = VMFLAG_LO | VMFLAG_LF;
	v = convert(&m);
	assert_int_equal(v.flags, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED);
	assert_true(v.firn_lock_on_fault);
}

static void test_kernel_areas(void **state)
{
	struct proc_map m = { .start = 0x10000, .end = 0x14000, .prot = PROT_READ, .path = "[vvar]" };

	(void)state;
	m.vm_flags = VMFLAG_IO | VMFLAG_PF | VMFLAG_DE | VMFLAG_DD;
	assert_int_equal(convert(&m).status, AREA_REGULAR | AREA_ANON_PRIVATE | AREA_VVAR);
	m.path = "[vvar_vclock]";
	assert_int_equal(convert(&m).status, AREA_REGULAR | AREA_ANON_PRIVATE | AREA_VVAR);
	m.path = "[vdso]";
	assert_int_equal(convert(&m).status, AREA_REGULAR | AREA_ANON_PRIVATE | AREA_VDSO);
	m.path = "[vsyscall]";
	assert_int_equal(convert(&m).status, AREA_ANON_PRIVATE | AREA_VSYSCALL);
}

static void test_files(void **state)
{
	struct proc_map m = { .start = 0x10000,
			      .end = 0x14000,
			      .prot = PROT_READ,
			      .path = "/lib/x",
			      .inode = 7,
			      .dev_major = 8,
			      .offset = 0x3000 };
	VmaEntry v;

	(void)state;
	v = convert(&m);
	assert_int_equal(v.status, AREA_REGULAR | AREA_FILE_PRIVATE);
	assert_int_equal(v.flags, MAP_PRIVATE);
	assert_int_equal(v.pgoff, 0x3000);
	assert_int_equal(v.fdflags, O_RDONLY);
	m.shared = true;
	v = convert(&m);
	assert_int_equal(v.flags, MAP_SHARED);
	assert_int_equal(v.fdflags, O_RDONLY);
	assert_false(area_has_private_pages(&v));
	m.vm_flags = VMFLAG_SH | VMFLAG_MW;
	assert_int_equal(convert(&m).fdflags, O_RDWR);
	/* A file that someone called so lies on another device than the kernel's own tmpfs. */
	m.path = "/dev/zero (deleted)";
	assert_int_equal(convert(&m).status, AREA_REGULAR | AREA_FILE_SHARED);
	m.dev_major = 0;
	m.dev_minor = 1;
	v = convert(&m);
	assert_int_equal(v.status, AREA_REGULAR | AREA_ANON_SHARED);
	assert_int_equal(v.flags, MAP_SHARED | MAP_ANONYMOUS);
	assert_int_equal(v.pgoff, 0x3000);
	m.path = "/memfd:x (deleted)";
	assert_int_equal(convert(&m).status, AREA_REGULAR | AREA_FILE_SHARED | AREA_MEMFD);
	m.shared = false;
	assert_int_equal(convert(&m).status, AREA_REGULAR | AREA_FILE_PRIVATE | AREA_MEMFD);
	m.path = "/anon_hugepage (deleted)";
	m.vm_flags = VMFLAG_HT;
	m.page_size = 2 << 20;
	assert_int_equal(convert(&m).flags, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21u << 26);
}

static void test_sysv(void **state)
{
	struct proc_map m = { .start = 0x10000,
			      .end = 0x14000,
			      .prot = PROT_READ | PROT_WRITE,
			      .shared = true,
			      .vm_flags = VMFLAG_SH | VMFLAG_MW,
			      .path = "/SYSV00000000 (deleted)",
			      .inode = 0, /* an id, and the first one is 0 */
			      .dev_minor = 1,
			      .offset = 0x2000 };
	VmaEntry v;

	(void)state;
	v = convert(&m);
	assert_int_equal(v.status, AREA_REGULAR | AREA_ANON_SHARED | AREA_SYSVIPC);
	assert_int_equal(v.flags, MAP_SHARED | MAP_ANONYMOUS);
	assert_int_equal(v.pgoff, 0x2000);
	assert_int_equal(v.fdflags, O_RDWR);
	assert_false(area_has_private_pages(&v));
	m.vm_flags = 0;
	assert_int_equal(convert(&m).fdflags, O_RDONLY);
	/* A file that someone called so. */
	m.dev_major = 8;
	m.inode = 7;
	assert_int_equal(convert(&m).status, AREA_REGULAR | AREA_FILE_SHARED);
}

static const char *check_segment(uint32_t id, uint64_t size, uint32_t mode, uint32_t huge, struct sysv_segment *ret)
{
	static IpcDescEntry d;
	static IpcShmEntry e;

	ipc_desc_entry__init(&d);
	ipc_shm_entry__init(&e);
	d.id = id;
	d.mode = mode;
	e.desc = &d;
	e.size = size;
	e.has_hugetlb_flag = true;
	e.hugetlb_flag = huge;
	memset(ret, 0, sizeof(*ret));
	ret->entry = &e;
	return sysv_check_entry(ret);
}

static void test_hostile_segments(void **state)
{
	struct sysv_segment s;
	VmaEntry v = VMA_ENTRY__INIT;

	(void)state;
	assert_non_null(check_segment(1u << 31, 1, 0600, 0, &s));
	assert_non_null(check_segment(1, 0, 0600, 0, &s));
	assert_non_null(check_segment(1, UINT64_MAX, 0600, 0, &s));
	assert_non_null(check_segment(1, INT64_MAX, 0600, 0, &s));
	assert_non_null(check_segment(1, 1, 04600, 0, &s));
	assert_non_null(check_segment(1, 1, 0600, 1, &s));
	assert_non_null(check_segment(1, 1, 0600, 04000 | 63u << 26, &s));
	assert_null(check_segment(1, INT64_MAX / 2, 0600, 04000 | 30u << 26, &s));
	assert_null(check_segment(1, 1, 0600, 04000 | 21u << 26, &s));
	assert_int_equal(s.span, 2 << 20);
	assert_null(check_segment(0, 2 * P + 1, 03777, 0, &s));
	assert_int_equal(s.span, 3 * P);
	v.start = 0x10000;
	v.end = v.start + 2 * P;
	v.pgoff = P;
	assert_null(sysv_check_area(&s, &v));
	v.pgoff = 2 * P;
	assert_non_null(sysv_check_area(&s, &v));
	v.pgoff = INT64_MAX - P + 1;
	assert_non_null(sysv_check_area(&s, &v));
	s.page_size = 2 << 20;
	v.pgoff = 0;
	assert_non_null(sysv_check_area(&s, &v));
}

static void test_refusals(void **state)
{
	static const struct {
		const char *path;
		uint64_t inode, flags;
		const char *word;
	} rows[] = {
		{ "", 0, VMFLAG_UM, "userfaultfd" },
		{ "", 0, VMFLAG_UW, "userfaultfd" },
		{ "", 0, VMFLAG_SS, "shadow" },
		{ "/dev/mem", 3, VMFLAG_PF | VMFLAG_IO, "device" },
		{ "/mnt/dax/x", 3, VMFLAG_MM, "DAX" },
		{ "/[aio] (deleted)", 3, 0, "AIO" },
		{ "anon_inode:[io_uring]", 3, 0, "io_uring" },
		{ "anon_inode:[perf_event]", 3, 0, "perf" },
		{ "anon_inode:kvm-vcpu:0", 3, 0, "anonymous inode" },
		{ "socket:[99]", 3, VMFLAG_UM, "userfaultfd" },
		{ "/secretmem (deleted)", 3, 0, "secret" },
		{ "[uprobes]", 0, 0, "uprobe" },
		{ "[new thing]", 0, 0, "special" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct proc_map m = { .start = 0x10000,
				      .end = 0x14000,
				      .path = rows[i].path,
				      .inode = rows[i].inode,
				      .vm_flags = rows[i].flags,
				      .dev_major = 8 };

		assert_non_null(strstr(refused(&m), rows[i].word));
	}
	assert_non_null(strstr(refused(&(struct proc_map){ .path = "", .pkey = 3 }), "protection key"));
}

/* images ------------------------------------------------------------------------------------------------------- */

static VmaEntry anon(uint64_t start, uint64_t end)
{
	VmaEntry v = VMA_ENTRY__INIT;

	v.start = start;
	v.end = end;
	v.prot = PROT_READ | PROT_WRITE;
	v.flags = MAP_PRIVATE | MAP_ANONYMOUS;
	v.status = AREA_REGULAR | AREA_ANON_PRIVATE;
	v.fd = -1;
	return v;
}

#define LIMIT ((1ull << 47) - P)

static int check_two(VmaEntry a, VmaEntry b)
{
	VmaEntry *list[] = { &a, &b };
	const char *why = NULL;
	size_t bad;
	int r = areas_check(list, 2, LIMIT, &bad, &why);

	assert_true((r == 0) == (why == NULL));
	return r;
}

static void test_hostile_areas(void **state)
{
	VmaEntry good = anon(0x10000, 0x12000), v;

	(void)state;
	assert_int_equal(check_two(good, anon(0x12000, 0x13000)), 0);
	assert_int_equal(check_two(good, anon(0x11000, 0x13000)), -EINVAL);
	assert_int_equal(check_two(anon(0x20000, 0x21000), good), -EINVAL);
	assert_int_equal(check_two(good, good), -EINVAL);
	assert_int_equal(check_two(good, anon(0x12001, 0x13000)), -EINVAL);
	assert_int_equal(check_two(good, anon(0x13000, 0x13000)), -EINVAL);
	assert_int_equal(check_two(good, anon(0x14000, 0x13000)), -EINVAL);
	assert_int_equal(check_two(anon(0, P), good), -EINVAL);
	assert_int_equal(check_two(good, anon(0x7ffffffff000, 0x800000000000)), -EINVAL);
	assert_int_equal(check_two(good, anon(0x13000, UINT64_MAX - P + 1)), -EINVAL);
	for (uint32_t bit = 0; bit < 32; bit++) {
		v = anon(0x12000, 0x13000);
		v.status |= 1u << bit;
		if ((1u << bit) & (AREA_FILE_PRIVATE | AREA_FILE_SHARED | AREA_ANON_SHARED | AREA_SYSVIPC |
				   AREA_SOCKET | 1u << 4 | ~0u << 15))
			assert_int_equal(check_two(good, v), -EINVAL);
		else
			assert_int_equal(check_two(good, v), 0);
	}
	v = anon(0x12000, 0x13000);
	v.flags |= 0x10; /* MAP_FIXED */
	assert_int_equal(check_two(good, v), -EINVAL);
	v = anon(0x12000, 0x13000);
	v.flags = MAP_SHARED | MAP_ANONYMOUS;
	assert_int_equal(check_two(good, v), -EINVAL);
	v = anon(0x12000, 0x13000);
	v.prot = 0x100;
	assert_int_equal(check_two(good, v), -EINVAL);
	v = anon(0x12000, 0x13000);
	v.has_madv = true;
	v.madv = 1ull << MADV_DONTNEED;
	assert_int_equal(check_two(good, v), -EINVAL);
	v = anon(0x12000, 0x13000);
	v.status = AREA_REGULAR | AREA_FILE_SHARED;
	v.flags = MAP_SHARED;
	assert_int_equal(check_two(good, v), -EINVAL); /* no file */
	v.shmid = 3;
	assert_int_equal(check_two(good, v), 0);
	v.status = AREA_REGULAR | AREA_FILE_SHARED | AREA_SYSVIPC;
	assert_int_equal(check_two(good, v), -EINVAL);
	v.status = AREA_REGULAR | AREA_ANON_SHARED | AREA_SYSVIPC;
	v.shmid = 0; /* is an id of a segment */
	assert_int_equal(check_two(good, v), 0);
	v.shmid = 1u << 31;
	assert_int_equal(check_two(good, v), -EINVAL);
	v.shmid = 3;
	v.status |= AREA_MEMFD;
	assert_int_equal(check_two(good, v), -EINVAL);
	v.status = AREA_REGULAR | AREA_FILE_SHARED;
	v.pgoff = INT64_MAX;
	assert_int_equal(check_two(good, v), -EINVAL);
	v.pgoff = 1;
	assert_int_equal(check_two(good, v), -EINVAL);
}

static PagemapEntry pages(uint64_t vaddr, uint32_t n)
{
	PagemapEntry e = PAGEMAP_ENTRY__INIT;

	e.vaddr = vaddr;
	e.nr_pages = n;
	e.has_flags = true;
	e.flags = PAGES_PRESENT;
	return e;
}

static int check_pages(PagemapEntry a, PagemapEntry b, uint64_t size, struct page_runs *ret)
{
	PagemapEntry *list[] = { &a, &b };
	const char *why = NULL;
	size_t bad;
	int r = runs_check(list, 2, size, ret, &bad, &why);

	assert_true((r == 0) == (why == NULL));
	return r;
}

static void test_hostile_pagemap(void **state)
{
	struct page_runs runs = { 0 };
	PagemapEntry e;

	(void)state;
	assert_int_equal(check_pages(pages(0x10000, 2), pages(0x20000, 1), 3 * P, &runs), 0);
	assert_int_equal(runs.n, 2);
	assert_int_equal(runs.runs[1].file_pos, 2 * P);
	assert_int_equal(runs.bytes, 3 * P);
	page_runs_release(&runs);
	assert_int_equal(check_pages(pages(0x10000, 2), pages(0x12000, 1), 3 * P, &runs), 0);
	assert_int_equal(runs.n, 1);
	page_runs_release(&runs);

	assert_int_equal(check_pages(pages(0x10000, 2), pages(0x20000, 2), 3 * P, &runs), -EINVAL);
	assert_int_equal(check_pages(pages(0x10000, 2), pages(0x20000, 1), 3 * P - 1, &runs), -EINVAL);
	assert_int_equal(check_pages(pages(0x10000, 2), pages(0x11000, 1), 3 * P, &runs), -EINVAL);
	assert_int_equal(check_pages(pages(0x10000, 2), pages(0x10000, 1), 3 * P, &runs), -EINVAL);
	assert_int_equal(check_pages(pages(0x10000, 2), pages(0x20001, 1), 3 * P, &runs), -EINVAL);
	assert_int_equal(check_pages(pages(0x10000, 0), pages(0x20000, 1), 3 * P, &runs), -EINVAL);
	assert_int_equal(check_pages(pages(0x10000, 1u << 31), pages(0x20000, 1u << 31), 3 * P, &runs), -EINVAL);
	assert_int_equal(check_pages(pages(0x10000, 1), pages(UINT64_MAX - P + 1, 2), UINT64_MAX, &runs), -EINVAL);
	e = pages(0x20000, 1);
	e.flags = PAGES_PARENT;
	assert_int_equal(check_pages(pages(0x10000, 2), e, 3 * P, &runs), -EINVAL);
	e.flags = PAGES_LAZY;
	assert_int_equal(check_pages(pages(0x10000, 2), e, 3 * P, &runs), -EINVAL);
	e.flags = PAGES_LAZY | PAGES_PRESENT;
	assert_int_equal(check_pages(pages(0x10000, 2), e, 3 * P, &runs), 0);
	page_runs_release(&runs);
	e.flags = 1 << 7 | PAGES_PRESENT;
	assert_int_equal(check_pages(pages(0x10000, 2), e, 3 * P, &runs), -EINVAL);
	/* images of before the flags existed */
	e.has_flags = false;
	assert_int_equal(check_pages(pages(0x10000, 2), e, 3 * P, &runs), 0);
	page_runs_release(&runs);
	e.has_in_parent = e.in_parent = true;
	assert_int_equal(check_pages(pages(0x10000, 2), e, 3 * P, &runs), -EINVAL);
}

static int fit(uint64_t start, uint64_t end, struct page_runs *runs)
{
	VmaEntry a = anon(0x10000, 0x12000), b = anon(0x12000, 0x13000), c = anon(0x20000, 0x21000);
	VmaEntry *list[] = { &a, &b, &c };
	const char *why = NULL;
	uint64_t bad;
	int r;

	c.status = AREA_REGULAR | AREA_FILE_SHARED;
	assert_int_equal(page_runs_add(runs, start, end, true), 0);
	r = runs_fit_areas(runs, list, 3, &bad, &why);
	assert_true((r == 0) == (why == NULL));
	return r;
}

static void test_pages_in_areas(void **state)
{
	struct page_runs runs = { 0 };

	(void)state;
	assert_int_equal(fit(0x11000, 0x13000, &runs), 0);
	assert_int_equal(runs.n, 2); /* cut at the border */
	assert_int_equal(runs.runs[0].end, 0x12000);
	assert_int_equal(runs.runs[1].file_pos, P);
	page_runs_release(&runs);
	assert_int_equal(fit(0x12000, 0x14000, &runs), -EINVAL);
	page_runs_release(&runs);
	assert_int_equal(fit(0xf000, 0x11000, &runs), -EINVAL);
	page_runs_release(&runs);
	assert_int_equal(fit(0x20000, 0x21000, &runs), -EINVAL); /* would write into the file */
	page_runs_release(&runs);
	assert_int_equal(fit(0x30000, 0x31000, &runs), -EINVAL);
	page_runs_release(&runs);
}

static void test_holes(void **state)
{
	struct span none[1], s[] = { { 0x400000, 0x500000 }, { 0x100000, 0x200000 }, { 0x180000, 0x300000 } };

	(void)state;
	assert_int_equal(span_hole(none, 0, 0x1000, 0x1000, 0x10000, 0x20000), 0x10000);
	assert_int_equal(span_hole(none, 0, 0x20000, 0, 0x10000, 0x20000), 0);
	assert_int_equal(span_hole(s, 3, 0x10000, 0x1000, 0x10000, 0x1000000), 0x10000);
	assert_int_equal(span_hole(s, 3, 0xf0000, 0x1000, 0x10000, 0x1000000), 0x301000);
	assert_int_equal(span_hole(s, 3, 0x100000, 0x1000, 0x10000, 0x1000000), 0x501000);
	assert_int_equal(span_hole(s, 3, 0x100000, 0x1000, 0x150000, 0x501000), 0);
	assert_int_equal(span_hole(s, 3, 0x100000, UINT64_MAX, 0x10000, 0x1000000), 0);
}

/* the living kernel -------------------------------------------------------------------------------------------- */

/* Does a read fault map the shared zero page, which counts as nobody's memory, or an ordinary page? */
static bool read_fault_is_shared(void)
{
	volatile uint8_t *p = mmap(NULL, 4 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int dirfd = procfs_open(getpid());
	struct arena a = { 0 };
	struct proc_map *maps;
	uint64_t rss = UINT64_MAX;
	size_t n;

	assert_true(p != MAP_FAILED && dirfd >= 0);
	assert_int_equal(mprotect((void *)(uintptr_t)(p + P), 2 * P, PROT_READ), 0);
	(void)p[P];
	(void)p[2 * P];
	assert_int_equal(read_proc_maps(dirfd, true, &a, &maps, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (maps[i].start == (uintptr_t)(p + P) && maps[i].end == (uintptr_t)(p + 3 * P))
			rss = maps[i].rss;
	assert_true(rss == 0 || rss == 2 * P);
	arena_release(&a);
	close(dirfd);
	munmap((void *)(uintptr_t)p, 4 * P);
	return rss == 0;
}

/* Of 16 pages four are written and one is read: that one counts when the kernel gave it a page of its own. */
static void scan_self(bool use_scan)
{
	volatile uint8_t *p = mmap(NULL, 16 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t base = (uintptr_t)p;
	struct memory_host h = { 0 };
	struct page_runs runs = { 0 }, guards = { 0 };
	bool shared = read_fault_is_shared();
	int fd = open("/proc/self/pagemap", O_RDONLY);
	size_t own = shared ? 0 : 1;

	assert_true(p != MAP_FAILED && fd >= 0);
	assert_int_equal(memory_host_learn(&h), 0);
	if (!shared)
		assert_int_equal(h.zero_pfn, 0); /* no page may be taken for it */
	else if (geteuid() == 0)
		assert_int_not_equal(h.zero_pfn, 0);
	if (!use_scan && shared && h.zero_pfn == 0)
		skip(); /* frame numbers need CAP_SYS_ADMIN */
	assert_int_equal(madvise((void *)(uintptr_t)p, 16 * P, MADV_NOHUGEPAGE), 0);
	p[0] = p[P] = p[5 * P] = p[15 * P] = 1;
	(void)p[7 * P];
	assert_int_equal(scan_pages(fd, use_scan, h.zero_pfn, base, base + 16 * P, &runs, &guards), 0);
	assert_int_equal(guards.n, 0);
	assert_int_equal(runs.n, 3 + own);
	assert_int_equal(runs.bytes, (4 + own) * P);
	assert_int_equal(runs.runs[0].start, base);
	assert_int_equal(runs.runs[0].end, base + 2 * P);
	assert_int_equal(runs.runs[1].start, base + 5 * P);
	assert_int_equal(runs.runs[2].start, base + (shared ? 15 : 7) * P);
	assert_int_equal(runs.runs[2 + own].start, base + 15 * P);
	assert_int_equal(runs.runs[2 + own].file_pos, (3 + own) * P);
	page_runs_release(&runs);
	close(fd);
	munmap((void *)(uintptr_t)p, 16 * P);
}

static void test_scan_ioctl(void **state)
{
	struct features f;
	struct error e = { 0 };

	(void)state;
	assert_int_equal(features_probe(&f, &e), 0);
	if (!f.pagemap_scan)
		skip();
	scan_self(true);
}

static void test_scan_pagemap(void **state)
{
	(void)state;
	scan_self(false);
}

static void test_copy(void **state)
{
	size_t n = 700; /* more than a chunk, in pieces, with a part that is protected against reading */
	uint8_t *p = mmap(NULL, 2 * n * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), page[4096];
	struct page_runs runs = { 0 };
	struct error e = { 0 };
	struct memory_plan plan = { 0 };
	struct operation op = { .error = &e, .memory = &plan };
	struct task t = { .pid = getpid(), .comm = "test" };
	int out = memfd_create("pages", 0);

	(void)state;
	assert_true(p != MAP_FAILED && out >= 0);
	t.proc_fd = procfs_open(getpid());
	for (size_t i = 0; i < n; i++) {
		memset(p + 2 * i * P, (int)i, P);
		assert_int_equal(page_runs_add(&runs, (uintptr_t)p + 2 * i * P, (uintptr_t)p + (2 * i + 1) * P, true),
				 0);
	}
	assert_int_equal(mprotect(p + 100 * P, 60 * P, PROT_NONE), 0);
	assert_int_equal(copy_pages(&op, &t, &runs, 1, out), 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(pread(out, page, P, (off_t)(i * P)), P);
		for (size_t k = 0; k < P; k++)
			assert_int_equal(page[k], (uint8_t)i);
	}
	page_runs_release(&runs);
	copy_release(&plan);
	close(out);
	close(t.proc_fd);
	munmap(p, 2 * n * P);
}

/* Zero pages are there in the pages file, at its end too, but need no room in it. */
static void test_copy_zero(void **state)
{
	size_t n = 400; /* more than one chunk */
	uint8_t *p = mmap(NULL, n * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *copy = test_malloc(n * P);
	struct page_runs runs = { 0 };
	struct error e = { 0 };
	struct memory_plan plan = { 0 };
	struct operation op = { .error = &e, .memory = &plan };
	struct task t = { .pid = getpid(), .comm = "test" };
	int out = memfd_create("pages", 0);
	struct stat st;

	(void)state;
	assert_true(p != MAP_FAILED && out >= 0);
	t.proc_fd = procfs_open(getpid());
	p[0] = p[3 * P + 4095] = p[20 * P + 1] = p[200 * P + 2048] = 1;
	assert_int_equal(page_runs_add(&runs, (uintptr_t)p, (uintptr_t)p + n * P, true), 0);
	assert_int_equal(copy_pages(&op, &t, &runs, 1, out), 0);
	assert_int_equal(fstat(out, &st), 0);
	assert_int_equal(st.st_size, n * P);
	assert_in_range(st.st_blocks * 512, 4 * P, 10 * P);
	assert_int_equal(pread(out, copy, n * P, 0), n * P);
	assert_memory_equal(copy, p, n * P);
	page_runs_release(&runs);
	copy_release(&plan);
	close(out);
	close(t.proc_fd);
	test_free(copy);
	munmap(p, n * P);
}

static uint8_t *host_vdso(size_t *ret_len)
{
	struct memory_host h = { 0 };
	uint8_t *copy;

	assert_int_equal(memory_host_learn(&h), 0);
	if (!h.vdso_start)
		skip();
	*ret_len = h.vdso_end - h.vdso_start;
	copy = test_malloc(*ret_len);
	memcpy(copy, (const void *)(uintptr_t)h.vdso_start, *ret_len);
	return copy;
}

static void test_vdso(void **state)
{
	const uint64_t old_at = 0x7f0000000000, new_at = 0x7f0000100000;
	struct vdso_function f[VDSO_FUNCTIONS_MAX];
	char name[VDSO_NAME_MAX];
	size_t len, n;
	uint8_t *ours = host_vdso(&len), *copy = test_malloc(len);

	(void)state;
	memcpy(copy, ours, len);
	assert_int_equal(vdso_functions(ours, len, f, &n), 0);
	assert_true(n >= 4);
	assert_int_equal(vdso_lead(copy, len, old_at, ours, len, new_at, name), 0);
	for (size_t i = 0; i < n; i++) {
		int32_t rel;

		if (copy[f[i].offset] != 0xe9 && vdso_stands_alone(f[i].name + strlen("__vdso_")))
			continue;
		assert_int_equal(copy[f[i].offset], 0xe9);
		memcpy(&rel, copy + f[i].offset + 1, sizeof(rel));
		assert_int_equal(rel, (int32_t)(new_at - old_at - 5));
	}
	/* Damaged in every byte, one after the other: no crash. */
	for (size_t i = 0; i < len; i++) {
		memcpy(copy, ours, len);
		copy[i] ^= 0xff;
		(void)vdso_lead(copy, len, old_at, ours, len, new_at, name);
	}
	memset(copy, 0, 64);
	assert_int_equal(vdso_lead(copy, len, old_at, ours, len, new_at, name), -EINVAL);
	test_free(copy);
	test_free(ours);
}

/* Code that was written is called: a long jump, and functions that this kernel would lack. */
static void test_vdso_code(void **state)
{
	uint8_t *code = mmap(NULL, 2 * P, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long (*function)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
	uint64_t far = 0x100000000000, filled = 0;
	struct timespec ts = { 0 };
	uint8_t *there;

	(void)state;
	if (code == MAP_FAILED)
		skip();
	memcpy(&function, &code, sizeof(function));
	assert_int_equal(vdso_write_call(code, 7, "clock_gettime"), -ENOSPC);
	assert_int_equal(vdso_write_call(code, 64, "unheard_of"), -ENOSYS);
	assert_int_equal(vdso_write_call(code, 8, "clock_gettime"), 0);
	assert_int_equal(function(CLOCK_MONOTONIC, (uintptr_t)&ts, 0, 0, 0), 0);
	assert_true(ts.tv_sec > 0 || ts.tv_nsec > 0);
	assert_int_equal(vdso_write_call(code, 64, "getrandom"), 0);
	assert_int_equal(function((uintptr_t)&filled, sizeof(filled), 0, 0, 0), sizeof(filled));
	assert_int_equal(function(0, 0, 0, (uintptr_t)&filled, UINT64_MAX), -ENOSYS);

	there = mmap((void *)(uintptr_t)far, P, PROT_READ | PROT_WRITE | PROT_EXEC,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if ((uintptr_t)there != far)
		skip();
	memcpy(there, "\xb8\x2a\x00\x00\x00\xc3", 6); /* mov $42, %eax; ret */
	assert_int_equal(vdso_write_jump(code, 13, (uintptr_t)code, far), -ENOSPC);
	assert_int_equal(vdso_write_jump(code, 14, (uintptr_t)code, far), 0);
	assert_int_equal(function(0, 0, 0, 0, 0), 42);
	assert_int_equal(vdso_write_jump(code, 4, (uintptr_t)code, (uintptr_t)code + P), -ENOSPC);
	assert_int_equal(vdso_write_jump(code, 5, (uintptr_t)code, (uintptr_t)code + P), 0);
	memcpy(code + P, "\xb8\x2b\x00\x00\x00\xc3", 6); /* mov $43, %eax; ret */
	assert_int_equal(function(0, 0, 0, 0, 0), 43);
	munmap(there, P);
	munmap(code, 2 * P);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_anonymous),
		cmocka_unit_test(test_advice),
		cmocka_unit_test(test_kernel_areas),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_sysv),
		cmocka_unit_test(test_hostile_segments),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_hostile_areas),
		cmocka_unit_test(test_hostile_pagemap),
		cmocka_unit_test(test_pages_in_areas),
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_scan_ioctl),
		cmocka_unit_test(test_scan_pagemap),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_copy_zero),
		cmocka_unit_test(test_vdso),
		cmocka_unit_test(test_vdso_code),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
