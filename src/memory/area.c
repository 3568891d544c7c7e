/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/plan.h"

/*
 * Areas: from /proc/PID/smaps to the image's entries and back. What is pure is here; it is fed hostile text (a task
 * chooses the paths of its files) and hostile images, so nothing is decided by a path alone where the device tells.
 */

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#define MAP_HUGE_BITS (0x3fu << MAP_HUGE_SHIFT)

/* VmFlags (man 5 proc) and the madvise() that gave them: VmaEntry.madv has bit N for advice N. */
static const struct {
	uint64_t flag;
	int advice;
} advices[] = {
	{ VMFLAG_RR, MADV_RANDOM },    { VMFLAG_SR, MADV_SEQUENTIAL }, { VMFLAG_DC, MADV_DONTFORK },
	{ VMFLAG_MG, MADV_MERGEABLE }, { VMFLAG_HG, MADV_HUGEPAGE },   { VMFLAG_NH, MADV_NOHUGEPAGE },
	{ VMFLAG_DD, MADV_DONTDUMP },  { VMFLAG_WF, MADV_WIPEONFORK },
};

static const struct {
	uint64_t flag;
	const char *why;
} refused_flags[] = {
	{ VMFLAG_UM | VMFLAG_UW | VMFLAG_UI, "a userfaultfd watches it" },
	{ VMFLAG_IO | VMFLAG_PF, "it maps the memory of a device" },
	{ VMFLAG_MM, "it maps pages of a device or a DAX file" },
	{ VMFLAG_SS, "it is a shadow stack" },
};

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Paths without a file behind them: [heap], [stack], [anon:NAME] of PR_SET_VMA_ANON_NAME. */
static int classify_unnamed(const struct proc_map *m, enum area_sort *ret, const char **ret_why)
{
	if (strcmp(m->path, "[vdso]") == 0)
		*ret = SORT_VDSO;
	else if (starts_with(m->path, "[vvar"))
		*ret = SORT_VVAR;
	else if (strcmp(m->path, "[vsyscall]") == 0)
		*ret = SORT_VSYSCALL;
	else if (m->path[0] == '\0' || strcmp(m->path, "[heap]") == 0 || strcmp(m->path, "[stack]") == 0 ||
		 starts_with(m->path, "[anon:"))
		*ret = SORT_ANON;
	else {
		*ret_why = strcmp(m->path, "[uprobes]") == 0 ? "a uprobe is set in the task"
							     : "it is a special area that firn does not know";
		return -EOPNOTSUPP;
	}
	if (m->shared) {
		*ret_why = "it is shared memory without an inode";
		return -EOPNOTSUPP;
	}
	return 0;
}

static int classify_file(const struct proc_map *m, const struct memory_host *h, enum area_sort *ret,
			 const char **ret_why)
{
	bool internal = m->dev_major == h->shmem_major && m->dev_minor == h->shmem_minor;

	if (m->vm_flags & VMFLAG_HT)
		internal = true; /* each huge page size has an internal mount of its own */
	if (internal && (strcmp(m->path, "/dev/zero (deleted)") == 0 || starts_with(m->path, "[anon_shmem:"))) {
		*ret = SORT_SHARED_ANON;
	} else if (internal && strcmp(m->path, "/anon_hugepage (deleted)") == 0) {
		*ret = m->shared ? SORT_SHARED_ANON : SORT_ANON;
	} else if (internal && starts_with(m->path, "/SYSV")) {
		*ret = SORT_SYSV;
	} else if (internal && starts_with(m->path, "/memfd:")) {
		*ret = SORT_MEMFD;
	} else if (starts_with(m->path, "/[aio]")) {
		if (!aio_is_ring(m) || m->offset != 0) {
			*ret_why = "it is a part or a copy of the ring of an AIO context (io_setup)";
			return -EOPNOTSUPP;
		}
		*ret = SORT_AIO;
	} else if (starts_with(m->path, "/secretmem")) {
		*ret_why = "it is secret memory (memfd_secret), which nothing but the task itself can read";
		return -EOPNOTSUPP;
	} else if (starts_with(m->path, "anon_inode:[io_uring]")) {
		*ret_why = "it is the ring of an io_uring";
		return -EOPNOTSUPP;
	} else if (starts_with(m->path, "anon_inode:[perf_event]")) {
		*ret_why = "it is the buffer of a perf event";
		return -EOPNOTSUPP;
	} else if (starts_with(m->path, "anon_inode:")) {
		*ret_why = "it maps an anonymous inode of a sort that firn does not know";
		return -EOPNOTSUPP;
	} else if (starts_with(m->path, "socket:")) {
		*ret = SORT_SOCKET; /* the ring of a packet socket */
	} else if (m->path[0] != '/') {
		*ret_why = "its file has no name that can be opened again";
		return -EOPNOTSUPP;
	} else {
		*ret = SORT_FILE;
	}
	return 0;
}

int area_classify(const struct proc_map *m, const struct memory_host *h, enum area_sort *ret, const char **ret_why)
{
	enum area_sort sort;
	int r;

	if (m->inode == 0 && (m->path[0] == '\0' || m->path[0] == '['))
		r = classify_unnamed(m, &sort, ret_why);
	else
		r = classify_file(m, h, &sort, ret_why);
	if (r < 0)
		return r;
	/* vvar is VM_IO and VM_PFNMAP itself, vdso was VM_MIXEDMAP on older kernels. */
	if (sort == SORT_VDSO || sort == SORT_VVAR || sort == SORT_VSYSCALL) {
		*ret = sort;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(refused_flags); i++) {
		/* A ring's pages are put in one by one as well. */
		uint64_t flag = refused_flags[i].flag & ~(sort == SORT_SOCKET ? VMFLAG_MM : 0);

		if (m->vm_flags & flag) {
			*ret_why = refused_flags[i].why;
			return -EOPNOTSUPP;
		}
	}
	if (m->pkey != 0) {
		*ret_why = "it has a memory protection key (pkey_mprotect)";
		return -EOPNOTSUPP;
	}
	*ret = sort;
	return 0;
}

static uint32_t hugetlb_flags(const struct proc_map *m)
{
	unsigned shift;

	if (!(m->vm_flags & VMFLAG_HT) || m->page_size == 0)
		return 0;
	shift = (unsigned)__builtin_ctzll(m->page_size);
	return MAP_HUGETLB | (shift << MAP_HUGE_SHIFT);
}

static void entry_status(const struct proc_map *m, enum area_sort sort, VmaEntry *v)
{
	switch (sort) {
	case SORT_VSYSCALL:
		v->status = AREA_VSYSCALL | AREA_ANON_PRIVATE;
		break;
	case SORT_VDSO:
		v->status = AREA_REGULAR | AREA_VDSO | AREA_ANON_PRIVATE;
		break;
	case SORT_VVAR:
		v->status = AREA_REGULAR | AREA_VVAR | AREA_ANON_PRIVATE;
		break;
	case SORT_ANON:
		v->status = AREA_REGULAR | AREA_ANON_PRIVATE;
		if (strcmp(m->path, "[heap]") == 0)
			v->status |= AREA_HEAP;
		break;
	case SORT_SHARED_ANON:
		v->status = AREA_REGULAR | AREA_ANON_SHARED;
		break;
	case SORT_SYSV:
		v->status = AREA_REGULAR | AREA_ANON_SHARED | AREA_SYSVIPC;
		break;
	case SORT_AIO:
		v->status = AREA_REGULAR | AREA_AIORING;
		break;
	case SORT_FILE:
	case SORT_MEMFD:
		v->status = AREA_REGULAR | (m->shared ? AREA_FILE_SHARED : AREA_FILE_PRIVATE);
		if (sort == SORT_MEMFD)
			v->status |= AREA_MEMFD;
		break;
	case SORT_SOCKET:
		v->status = AREA_REGULAR | AREA_SOCKET;
		break;
	}
}

void area_to_entry(const struct proc_map *m, enum area_sort sort, VmaEntry *v)
{
	bool file = sort == SORT_FILE || sort == SORT_MEMFD;

	v->start = m->start;
	v->end = m->end;
	v->prot = m->prot;
	v->fd = -1;
	entry_status(m, sort, v);
	v->flags = m->shared ? MAP_SHARED : MAP_PRIVATE;
	if (!file && sort != SORT_SOCKET)
		v->flags |= MAP_ANONYMOUS;
	if (file || sort == SORT_SOCKET || sort == SORT_SHARED_ANON || sort == SORT_SYSV)
		v->pgoff = m->offset;
	if (file || sort == SORT_SYSV) { /* a segment attached with SHM_RDONLY can never be written there */
		v->has_fdflags = true;
		v->fdflags = m->shared && (m->vm_flags & VMFLAG_MW) ? 2 /* O_RDWR */ : 0;
	}
	if (m->vm_flags & VMFLAG_GD)
		v->flags |= MAP_GROWSDOWN;
	if (m->vm_flags & (VMFLAG_LO | VMFLAG_LF))
		v->flags |= MAP_LOCKED;
	if (m->vm_flags & VMFLAG_LF) {
		v->has_firn_lock_on_fault = true;
		v->firn_lock_on_fault = true;
	}
	if (m->vm_flags & VMFLAG_SL)
		v->has_firn_sealed = v->firn_sealed = true;
	if (m->vm_flags & VMFLAG_DP)
		v->has_firn_droppable = v->firn_droppable = true;
	if (m->vm_flags & VMFLAG_NR)
		v->flags |= MAP_NORESERVE;
	v->flags |= hugetlb_flags(m);
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++) {
		if (m->vm_flags & advices[i].flag) {
			v->has_madv = true;
			v->madv |= 1ull << advices[i].advice;
		}
	}
}

bool area_has_private_pages(const VmaEntry *v)
{
	if (v->status & (AREA_VSYSCALL | AREA_VVAR))
		return false;
	return v->status & (AREA_ANON_PRIVATE | AREA_FILE_PRIVATE | AREA_AIORING);
}

/* restore ------------------------------------------------------------------------------------------------------ */

#define KNOWN_STATUS                                                                                                \
	(AREA_REGULAR | AREA_STACK | AREA_VSYSCALL | AREA_VDSO | AREA_HEAP | AREA_FILE_PRIVATE | AREA_FILE_SHARED | \
	 AREA_ANON_SHARED | AREA_ANON_PRIVATE | AREA_VVAR | AREA_MEMFD | AREA_SYSVIPC | AREA_SOCKET)
#define KNOWN_FLAGS                                                                                            \
	(MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_HUGETLB | \
	 MAP_HUGE_BITS)
#define KNOWN_ADVICE                                                                                      \
	(1ull << MADV_RANDOM | 1ull << MADV_SEQUENTIAL | 1ull << MADV_DONTFORK | 1ull << MADV_MERGEABLE | \
	 1ull << MADV_HUGEPAGE | 1ull << MADV_NOHUGEPAGE | 1ull << MADV_DONTDUMP | 1ull << MADV_WIPEONFORK)

static const char *check_status(const VmaEntry *v)
{
	uint32_t backing = v->status & (AREA_FILE_PRIVATE | AREA_FILE_SHARED | AREA_ANON_SHARED | AREA_ANON_PRIVATE |
						     AREA_SOCKET);

	if (v->status & AREA_AIORING)
		return v->status & ~(uint32_t)(AREA_REGULAR | AREA_AIORING | AREA_ANON_PRIVATE)
			       ? "its status names something else besides the ring of an AIO context"
			       : NULL;
	if (v->status & ~(uint32_t)KNOWN_STATUS)
		return "its status has bits that firn does not know";
	if (!(v->status & (AREA_REGULAR | AREA_VSYSCALL)))
		return "its status is no area's";
	if (__builtin_popcount(backing) != 1)
		return "its status says not clearly what is behind it";
	if ((v->status & (AREA_VDSO | AREA_VVAR | AREA_VSYSCALL)) && !(v->status & AREA_ANON_PRIVATE))
		return "its status names a file behind an area of the kernel";
	if ((v->status & AREA_SYSVIPC) && (v->status & ~(uint32_t)(AREA_REGULAR | AREA_ANON_SHARED | AREA_SYSVIPC)))
		return "its status names something else besides a System V segment";
	return NULL;
}

static const char *check_flags(const VmaEntry *v)
{
	bool shared = v->status & (AREA_FILE_SHARED | AREA_ANON_SHARED | AREA_SOCKET);

	if (v->flags & ~(uint32_t)KNOWN_FLAGS)
		return "its flags have bits that firn does not know";
	if (v->status & AREA_AIORING)
		return v->has_madv ? "a ring of AIO has no advice" : NULL;
	if ((v->flags & (MAP_SHARED | MAP_PRIVATE)) != (shared ? MAP_SHARED : MAP_PRIVATE))
		return "its flags do not fit its status";
	if (v->prot & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
		return "its protection has bits that firn does not know";
	if (v->has_madv && (v->madv & ~KNOWN_ADVICE))
		return "it has advice (madvise) that firn does not know";
	if (v->pgoff % PAGE_BYTES || v->pgoff > INT64_MAX - (v->end - v->start))
		return "its offset in the file is not possible";
	if (v->firn_droppable && !(v->status & AREA_ANON_PRIVATE))
		return "droppable memory is anonymous";
	if (v->status & AREA_SYSVIPC)
		return v->shmid > INT32_MAX ? "its System V segment has no valid id" : NULL;
	if ((v->status & (AREA_FILE_PRIVATE | AREA_FILE_SHARED | AREA_ANON_SHARED | AREA_SOCKET)) &&
	    (v->shmid == 0 || v->shmid > UINT32_MAX))
		return "its file has no valid number";
	return NULL;
}

int areas_check(VmaEntry *const *v, size_t n, uint64_t limit, size_t *ret_bad, const char **ret_why)
{
	uint64_t last = 0;

	for (size_t i = 0; i < n; i++) {
		const char *why = NULL;

		*ret_bad = i;
		if (v[i]->start % PAGE_BYTES || v[i]->end % PAGE_BYTES || v[i]->start >= v[i]->end)
			why = "its borders are not those of pages";
		else if (v[i]->start < last)
			why = "it lies over the one before it";
		else
			why = check_status(v[i]);
		/* The vsyscall page lies in the kernel's half and is nothing that could be mapped. */
		if (!why && !(v[i]->status & AREA_VSYSCALL) && (v[i]->end > limit || v[i]->start < PAGE_BYTES))
			why = "it lies outside of the addresses that a task can have here";
		if (!why)
			why = check_flags(v[i]);
		if (why) {
			*ret_why = why;
			return -EINVAL;
		}
		last = v[i]->end;
	}
	return 0;
}

static int compare_spans(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

uint64_t span_hole(struct span *spans, size_t n, uint64_t size, uint64_t margin, uint64_t low, uint64_t high)
{
	uint64_t at = low;

	if (n > 0)
		qsort(spans, n, sizeof(*spans), compare_spans);
	for (size_t i = 0; i < n && at < high; i++) {
		if (spans[i].end <= at && at - spans[i].end >= margin)
			continue;
		if (spans[i].start >= at && spans[i].start - at >= size && spans[i].start - at - size >= margin)
			break;
		if (spans[i].end > UINT64_MAX - margin)
			return 0;
		if (spans[i].end + margin > at)
			at = spans[i].end + margin;
	}
	return at < high && high - at >= size ? at : 0;
}
