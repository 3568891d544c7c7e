/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "puppet/area.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "puppet/stub.h"

int park_signal_choose(uint64_t caught, uint64_t ignored, uint64_t blocked, uint64_t pending)
{
	/* Ignored by default when nothing else was said: man 7 signal. */
	static const int by_default[] = { SIGURG, SIGWINCH, SIGCHLD };
	uint64_t taken = caught | blocked | pending;

	for (size_t i = 0; i < 3; i++)
		if (!(taken & (1ull << (by_default[i] - 1))))
			return by_default[i];
	for (int s = 1; s <= 31; s++)
		if (s != SIGCONT && (ignored & ~taken & (1ull << (s - 1))))
			return s;
	return 0;
}

static struct puppet_area *area_new(struct arena *a, uint64_t address)
{
	struct puppet_area *area = arena_alloc(a, sizeof(*area));

	if (area)
		*area = (struct puppet_area){
			.code = address,
			.scratch = address + STUB_PAGE,
			.scratch_size = AREA_SCRATCH,
		};
	return area;
}

int area_map(struct gate *g, struct puppet *p, struct arena *a, struct error *e)
{
	size_t len = (size_t)(stub_end - stub_begin);
	struct puppet_area *area;
	int64_t at, ret;
	int r;

	/* Executable from birth and never writable and executable at once, so that neither PR_SET_MDWE (man 2
	 * PR_SET_MDWE) nor SELinux's execmem stands in the way. */
	r = gate_call(g, p, __NR_mmap,
		      (uint64_t[6]){ 0, AREA_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0 }, &at,
		      e);
	if (r < 0)
		return r;
	if (at < 0 && at > -4096) {
		(void)error_raise_call(e, (int)-at, "mmap", "pid %d (%s): room for firn's stub in the task", p->pid, p->comm);
		error_hint(e, "The task may be at its address-space limit (ulimit -v) or cgroup limit.");
		return -e->number;
	}
	area = area_new(a, (uint64_t)at);
	if (!area)
		return error_raise(e, ENOMEM, "pid %d (%s): no memory for its area", p->pid, p->comm);
	p->area = area;
	/* Shared memory is no data of the task: RLIMIT_DATA, which may be used up, does not count it. */
	r = gate_call(g, p, __NR_mmap,
		      (uint64_t[6]){ area->scratch, AREA_SCRATCH, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, (uint64_t)-1, 0 },
		      &ret, e);
	if (r < 0)
		return r;
	if (ret < 0 && ret > -4096)
		return error_raise_call(e, (int)-ret, "mmap", "pid %d (%s): firn's scratch area in the task", p->pid, p->comm);
	if (pwrite(g->mem_fd, stub_begin, len, (off_t)area->code) != (ssize_t)len)
		return error_raise_call(e, errno, "pwrite", "pid %d (%s), /proc/%d/mem at firn's stub", p->pid, p->comm,
					p->pid);
	return 0;
}

int area_unmap(struct gate *g, struct puppet *p, struct error *e)
{
	int64_t ret;
	int r;

	if (!p->area)
		return 0;
	r = gate_call(g, p, __NR_munmap, (uint64_t[6]){ p->area->code, AREA_SIZE }, &ret, e);
	if (r < 0)
		return r;
	if (ret < 0)
		return error_raise_call(e, (int)-ret, "munmap", "pid %d (%s): firn's area in the task", p->pid, p->comm);
	p->area = NULL;
	return 0;
}

int area_make_island(uint64_t address, struct error *e)
{
	void *want = (void *)address;
	void *at = mmap(want, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (at != want)
		return error_raise_call(e, at == MAP_FAILED ? errno : EEXIST, "mmap", "the puppets' area at %p", want);
	memcpy(at, stub_begin, (size_t)(stub_end - stub_begin));
	if (mprotect(at, STUB_PAGE, PROT_READ | PROT_EXEC) < 0)
		return error_raise_call(e, errno, "mprotect", "the puppets' area at %p", want);
	return 0;
}
