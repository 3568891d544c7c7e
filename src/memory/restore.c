/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/uio.h>
#include <syscall.h>
#include <unistd.h>

#include "memory/plan.h"
#include "watch/recorder.h"

/*
 * restore: puppets map and fill their address spaces.
 *
 * What has to be done for a task is one long script: map each area and give its advice, map the vdso, read each run of
 * pages from the pages file into place, set the final protections, lock. A cursor walks through the script and adds as
 * many calls to the puppet's batch as have room; then all puppets run their batches at once, and the results are
 * compared with what each call was made for. That goes on in rounds until no puppet has anything left.
 *
 * Files to be mapped come over the channel, at most FILES_MAX at a time; the script closes them when it needs others
 * and at the end.
 *
 * All of that shares the cursor, so it is one file, a little longer than others.
 */

#ifndef ARCH_MAP_VDSO_64
#define ARCH_MAP_VDSO_64 0x2003
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif

#define FILES_MAX 128		   /* well below the smallest usual RLIMIT_NOFILE */
#define EXPECT_MAX 512		   /* calls of a round */
#define IOVECS_MAX 256		   /* pieces of one preadv() */
#define ROUND_BYTES (256ull << 20) /* filled in one round, so that the stall detector sees progress */
#define LONG_RUN (256ull << 10)	   /* a run worth calls of its own … */
#define LONG_PIECE (1ull << 20)	   /* … of that many bytes: what a cache holds */

enum phase { PHASE_MAP, PHASE_FILL, PHASE_PROTECT, PHASE_LOCK, PHASE_CLOSE, PHASE_DONE };

/* What a call of the running batch must return. */
struct expect {
	const char *call;
	size_t area;
	int64_t result; /* INT64_MAX: any above 0; INT64_MIN: any at all */
	uint64_t bytes; /* filled by it */
};

struct fill {
	struct task *task;
	struct puppet *puppet;
	struct batch batch;
	enum phase phase;
	size_t area, run;	      /* the cursor */
	uint64_t run_done;	      /* bytes of the run that were read */
	struct file *sent[FILES_MAX]; /* what the puppet holds, and under which numbers */
	struct shared_object *sent_shared[FILES_MAX];
	bool sent_writable[FILES_MAX];
	int numbers[FILES_MAX];
	size_t n_sent;
	int pages_number; /* the pages file in the puppet, -1 = not sent */
	struct expect expect[EXPECT_MAX];
	size_t n_expect;
	uint64_t round_bytes;
	bool started;  /* its batch runs */
	unsigned idle; /* rounds in a row without a call */
};

static void fill_call(struct fill *f, const char *name, size_t area, int64_t result, uint64_t bytes)
{
	f->expect[f->n_expect++] = (struct expect){ .call = name, .area = area, .result = result, .bytes = bytes };
}

static bool fill_room(const struct fill *f, size_t calls, size_t bytes)
{
	return f->n_expect + calls <= EXPECT_MAX && batch_has_room(&f->batch, calls, bytes);
}

/* files ------------------------------------------------------------------------------------------------------- */

static bool area_wants_fd(const VmaEntry *v)
{
	return (v->status & (AREA_FILE_PRIVATE | AREA_FILE_SHARED | AREA_ANON_SHARED | AREA_SOCKET)) &&
	       !(v->status & (AREA_SYSVIPC | AREA_AIORING));
}

static bool area_writes_file(const VmaEntry *v)
{
	return (v->status & AREA_FILE_SHARED) && v->has_fdflags && (v->fdflags & O_ACCMODE) == O_RDWR;
}

/* The number of the area's file in the puppet, or -1. */
static int sent_number(const struct fill *f, size_t area)
{
	const struct area_link *l = &f->task->mm_plan->links[area];
	bool writable = area_writes_file(f->task->mm->vmas[area]);

	for (size_t i = 0; i < f->n_sent; i++)
		if (f->sent[i] == l->file && f->sent_shared[i] == l->shared && f->sent_writable[i] == writable)
			return f->numbers[i];
	return -1;
}

static int area_fd(struct operation *op, struct fill *f, size_t area, int *ret)
{
	const VmaEntry *v = f->task->mm->vmas[area];
	const struct area_link *l = &f->task->mm_plan->links[area];

	if (l->shared) {
		*ret = l->shared->fd;
		return 0;
	}
	return files_mapping_fd(op, l->file, area_writes_file(v) ? O_RDWR : O_RDONLY, ret);
}

/* Sends the files of the next areas that the puppet does not have yet. */
static int send_files(struct operation *op, struct channel *c, struct fill *f)
{
	int fds[FILES_MAX];
	size_t first = f->n_sent;

	for (size_t i = f->area; i < f->task->mm->n_vmas && i < f->area + EXPECT_MAX && f->n_sent < FILES_MAX; i++) {
		const VmaEntry *v = f->task->mm->vmas[i];
		int r;

		if (!area_wants_fd(v) || sent_number(f, i) >= 0)
			continue;
		r = area_fd(op, f, i, &fds[f->n_sent - first]);
		if (r < 0)
			return r;
		f->sent[f->n_sent] = f->task->mm_plan->links[i].file;
		f->sent_shared[f->n_sent] = f->task->mm_plan->links[i].shared;
		f->sent_writable[f->n_sent] = area_writes_file(v);
		f->numbers[f->n_sent] = INT32_MAX; /* found by sent_number() from now on */
		f->n_sent++;
	}
	if (f->n_sent == first)
		return 0;
	return channel_send(op, c, f->puppet, fds, f->n_sent - first, &f->numbers[first]);
}

static int send_pages(struct operation *op, struct channel *c, struct fill *f)
{
	if (f->pages_number >= 0 || f->task->mm_plan->runs.n == 0)
		return 0;
	return channel_send(op, c, f->puppet, &f->task->mm_plan->pages_fd, 1, &f->pages_number);
}

static void add_close_one(struct fill *f, int number)
{
	batch_call(&f->batch, CALL_MAY_FAIL, SYS_close, (uint64_t)number);
	fill_call(f, "close", 0, 0, 0);
}

/*
 * The puppet's table holds nothing but what was sent and the channel, which is above all. A table that tasks share
 * (CLONE_FILES) also has what was sent to the others, who may still need it. false when the batch has no room.
 */
static bool add_close(struct fill *f, const struct channel *c)
{
	if (!fill_room(f, f->task->mm_plan->shares_table ? f->n_sent + 1 : 1, 0))
		return false;
	if (!f->task->mm_plan->shares_table) {
		batch_call(&f->batch, CALL_MAY_FAIL, SYS_close_range, 0, (uint64_t)c->number - 1, 0);
		fill_call(f, "close_range", 0, 0, 0);
	}
	for (size_t i = 0; f->task->mm_plan->shares_table && i < f->n_sent; i++)
		add_close_one(f, f->numbers[i]);
	if (f->task->mm_plan->shares_table && f->pages_number >= 0)
		add_close_one(f, f->pages_number);
	f->n_sent = 0;
	f->pages_number = -1;
	return true;
}

/* the script -------------------------------------------------------------------------------------------------- */

static bool area_is_kernels(const VmaEntry *v)
{
	return v->status & (AREA_VSYSCALL | AREA_VDSO | AREA_VVAR);
}

/* Does a run of pages lie in the area? Runs and areas ascend, so the first run that ends behind its start tells. */
static bool area_is_filled(const struct task *t, const VmaEntry *v)
{
	const struct page_runs *r = &t->mm_plan->runs;
	size_t low = 0, high = r->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->runs[mid].end <= v->start)
			low = mid + 1;
		else
			high = mid;
	}
	return low < r->n && r->runs[low].start < v->end;
}

static bool area_needs_protect(const struct task *t, const VmaEntry *v)
{
	return !area_is_kernels(v) && !(v->prot & PROT_WRITE) && area_is_filled(t, v);
}

/* vvar and vdso come by one call, at the address of the first. */
static void add_vdso(struct fill *f)
{
	const struct mm_plan *p = f->task->mm_plan;
	const VmaEntry *vvar = f->task->mm->vmas[p->vvar_area];

	batch_call(&f->batch, CALL_MAY_FAIL, SYS_arch_prctl, ARCH_MAP_VDSO_64, vvar->start);
	fill_call(f, "arch_prctl(ARCH_MAP_VDSO_64)", f->area, INT64_MAX, 0);
}

/* Advice before the content: huge pages are then used at once. */
static void add_advice(struct fill *f, const VmaEntry *v)
{
	for (int advice = 0; v->has_madv && advice < 64; advice++) {
		if (!(v->madv >> advice & 1))
			continue;
		batch_call(&f->batch, CALL_MAY_FAIL, SYS_madvise, v->start, v->end - v->start, (uint64_t)advice);
		fill_call(f, "madvise", f->area, 0, 0);
	}
}

static void add_mapping(struct fill *f, const VmaEntry *v, int number)
{
	uint32_t keep = MAP_SHARED | MAP_PRIVATE | MAP_GROWSDOWN | MAP_NORESERVE | MAP_HUGETLB | 0x3fu << 26;
	uint64_t prot = v->prot, flags = (v->flags & keep) | MAP_FIXED_NOREPLACE, len = v->end - v->start;

	if (area_has_private_pages(v) && area_is_filled(f->task, v))
		prot |= PROT_WRITE;
	/* A copy, for the time being: see aio.c. */
	if (v->status & AREA_AIORING)
		flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE;
	if (v->firn_droppable)
		flags = MAP_DROPPABLE | MAP_FIXED_NOREPLACE; /* a sort of its own, in the place of MAP_PRIVATE */
	if (number < 0)
		flags |= MAP_ANONYMOUS;
	batch_call(&f->batch, CALL_MAY_FAIL, SYS_mmap, v->start, len, prot, flags, (uint64_t)(int64_t)number,
		   number < 0 ? 0 : v->pgoff);
	fill_call(f, "mmap", f->area, (int64_t)v->start, 0);
	add_advice(f, v);
}

/* The first piece of an attachment attaches, each is moved to its place when that is another, the last unmaps the rest. */
static void add_attached(struct fill *f, const VmaEntry *v)
{
	struct sysv_attach *a = f->task->mm_plan->links[f->area].attach;
	uint64_t flags = (a->writable ? 0 : SHM_RDONLY) | (a->exec ? SHM_EXEC : 0), len = v->end - v->start;
	uint32_t prot = PROT_READ | (a->writable ? PROT_WRITE : 0u) | (a->exec ? PROT_EXEC : 0u);

	if (a->mapped == 0) {
		batch_call(&f->batch, CALL_MAY_FAIL, SYS_shmat, a->segment->entry->desc->id, a->place, flags);
		fill_call(f, "shmat", f->area, (int64_t)a->place, 0);
	}
	if (a->place != a->base) {
		batch_call(&f->batch, CALL_MAY_FAIL, SYS_mremap, a->place + v->pgoff, len, len,
			   MREMAP_MAYMOVE | MREMAP_FIXED, v->start);
		fill_call(f, "mremap", f->area, (int64_t)v->start, 0);
	}
	if (v->prot != prot) {
		batch_call(&f->batch, CALL_MAY_FAIL, SYS_mprotect, v->start, len, v->prot);
		fill_call(f, "mprotect", f->area, 0, 0);
	}
	add_advice(f, v);
	if (++a->mapped == a->areas && a->place != a->base) {
		batch_call(&f->batch, CALL_MAY_FAIL, SYS_munmap, a->place, a->segment->span);
		fill_call(f, "munmap", f->area, 0, 0);
	}
}

/* false when the batch is full. */
static bool step_map(struct fill *f, const struct channel *c)
{
	const struct task *t = f->task;
	const VmaEntry *v;

	if (f->area == t->mm->n_vmas) {
		f->phase = PHASE_FILL;
		f->area = 0;
		return true;
	}
	v = t->mm->vmas[f->area];
	if (!fill_room(f, 5 + (size_t)__builtin_popcountll(v->madv), 0))
		return false;
	if (v->status & AREA_VDSO) {
		add_vdso(f);
	} else if (v->status & AREA_SYSVIPC) {
		add_attached(f, v);
	} else if (!area_is_kernels(v)) {
		int number = area_wants_fd(v) ? sent_number(f, f->area) : -1;

		if (area_wants_fd(v) && number < 0) {
			/* The next files have not been sent; make room for them when there is none. */
			if (f->n_sent == FILES_MAX)
				(void)add_close(f, c);
			return false;
		}
		add_mapping(f, v, number);
	}
	f->area++;
	return true;
}

static size_t area_of(const struct task *t, uint64_t address)
{
	size_t low = 0, high = t->mm->n_vmas;

	while (low + 1 < high) {
		size_t mid = low + (high - low) / 2;

		if (t->mm->vmas[mid]->start <= address)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* Takes up to @max bytes of the run at the cursor. */
static struct iovec take_piece(struct fill *f, uint64_t max)
{
	const struct page_run *r = &f->task->mm_plan->runs.runs[f->run];
	uint64_t start = r->start + f->run_done, len = r->end - start;

	if (len > max)
		len = max;
	f->round_bytes += len;
	f->run_done += len;
	if (start + len == r->end) {
		f->run++;
		f->run_done = 0;
	}
	return (struct iovec){ .iov_base = (void *)(uintptr_t)start, .iov_len = len };
}

/* What is left of the run at the cursor, and where it lies in the pages file. */
static uint64_t run_left(const struct fill *f, uint64_t *ret_pos)
{
	const struct page_run *r = &f->task->mm_plan->runs.runs[f->run];

	*ret_pos = r->file_pos + f->run_done;
	return r->end - r->start - f->run_done;
}

static void add_preadv(struct fill *f, const struct iovec *iov, size_t n, uint64_t pos, uint64_t bytes)
{
	uint64_t data = batch_data(&f->batch, iov, n * sizeof(iov[0]));

	batch_call(&f->batch, CALL_MAY_FAIL, SYS_preadv, (uint64_t)f->pages_number, data, n, pos, 0);
	fill_call(f, "preadv", area_of(f->task, (uintptr_t)iov[0].iov_base), (int64_t)bytes, bytes);
}

/*
 * A piece of a long run. The pages are made first, all at once: one by one, in faults that preadv() runs into, costs a
 * quarter more. MADV_POPULATE_WRITE is Linux 5.14; where it is missing preadv() does all of it.
 */
static void fill_long(struct fill *f, uint64_t pos)
{
	struct iovec iov = take_piece(f, LONG_PIECE);

	batch_call(&f->batch, CALL_MAY_FAIL, SYS_madvise, (uintptr_t)iov.iov_base, iov.iov_len, MADV_POPULATE_WRITE);
	fill_call(f, "madvise", 0, INT64_MIN, 0);
	add_preadv(f, &iov, 1, pos, iov.iov_len);
}

/* Short runs that follow each other in the pages file: one preadv(). */
static void fill_short(struct fill *f, uint64_t pos)
{
	const struct page_runs *runs = &f->task->mm_plan->runs;
	struct iovec iov[IOVECS_MAX];
	uint64_t bytes = 0, at;
	size_t n = 0;

	while (f->run < runs->n && n < IOVECS_MAX) {
		uint64_t left = run_left(f, &at);

		/* The vdso's pages were left out of the runs. */
		if (at != pos + bytes || left >= LONG_RUN)
			break;
		iov[n++] = take_piece(f, left);
		bytes += left;
	}
	add_preadv(f, iov, n, pos, bytes);
}

static bool step_fill(struct fill *f)
{
	uint64_t pos;

	if (f->run == f->task->mm_plan->runs.n) {
		f->phase = PHASE_PROTECT;
		return true;
	}
	if (f->pages_number < 0 || f->round_bytes >= ROUND_BYTES ||
	    !fill_room(f, 2, IOVECS_MAX * sizeof(struct iovec) + 16))
		return false;
	if (run_left(f, &pos) >= LONG_RUN)
		fill_long(f, pos);
	else
		fill_short(f, pos);
	return true;
}

static bool step_protect(struct fill *f)
{
	const struct task *t = f->task;

	while (f->area < t->mm->n_vmas) {
		const VmaEntry *v = t->mm->vmas[f->area];

		if (area_needs_protect(t, v)) {
			if (!fill_room(f, 1, 0))
				return false;
			batch_call(&f->batch, CALL_MAY_FAIL, SYS_mprotect, v->start, v->end - v->start, v->prot);
			fill_call(f, "mprotect", f->area, 0, 0);
		}
		f->area++;
	}
	f->phase = PHASE_LOCK;
	f->area = 0;
	return true;
}

/* mlock() of what is protected against reading fails with ENOMEM although it locks: nothing can be faulted in. */
static bool step_lock(struct fill *f)
{
	const struct task *t = f->task;

	while (f->area < t->mm->n_vmas) {
		const VmaEntry *v = t->mm->vmas[f->area];

		if (!area_is_kernels(v) && (v->flags & MAP_LOCKED) && !area_has_guards(t->mm, v)) {
			bool on_fault = v->firn_lock_on_fault || !(v->prot & PROT_READ);

			if (!fill_room(f, 1, 0))
				return false;
			batch_call(&f->batch, CALL_MAY_FAIL, SYS_mlock2, v->start, v->end - v->start,
				   on_fault ? MLOCK_ONFAULT : 0);
			fill_call(f, "mlock2", f->area, 0, 0);
		}
		f->area++;
	}
	f->phase = PHASE_CLOSE;
	return true;
}

/* Adds what has room; *ret_work: is there anything to run? */
static int fill_build(struct operation *op, struct channel *c, struct fill *f, bool *ret_work)
{
	bool more = true;
	int r = 0;

	if (f->phase == PHASE_MAP)
		r = send_files(op, c, f);
	else if (f->phase == PHASE_FILL)
		r = send_pages(op, c, f);
	if (r < 0)
		return r;
	batch_reset(&f->batch);
	f->n_expect = 0;
	f->round_bytes = 0;
	while (more) {
		switch (f->phase) {
		case PHASE_MAP:
			more = step_map(f, c);
			break;
		case PHASE_FILL:
			more = step_fill(f);
			break;
		case PHASE_PROTECT:
			more = step_protect(f);
			break;
		case PHASE_LOCK:
			more = step_lock(f);
			break;
		case PHASE_CLOSE:
			more = add_close(f, c);
			if (more)
				f->phase = PHASE_DONE;
			break;
		case PHASE_DONE:
			more = false;
			break;
		}
	}
	*ret_work = f->n_expect > 0;
	/* A round may only have sent files; two such rounds mean that a batch has no room for what must come next. */
	f->idle = *ret_work || f->phase == PHASE_DONE ? 0 : f->idle + 1;
	if (f->idle > 2)
		return error_raise(op->error, E2BIG,
				   "pid %d (%s): the puppet's area is too small to restore its memory", f->task->pid,
				   f->task->comm);
	return 0;
}

/* results ----------------------------------------------------------------------------------------------------- */

static int raise_call(struct operation *op, const struct fill *f, const struct expect *e, int64_t result)
{
	const struct task *t = f->task;
	const VmaEntry *v = t->mm->vmas[e->area];
	const char *name = area_name(op, v, &t->mm_plan->links[e->area]);
	int number = result < 0 ? (int)-result : EIO;

	if (strcmp(e->call, "preadv") == 0 && result >= 0)
		return error_raise(op->error, EBADMSG,
				   "pid %d (%s), %s: its pages file gave %" PRId64 " of %" PRId64
				   " bytes: it is truncated",
				   t->pid, t->comm, name, result, e->result);
	if (result >= 0)
		return error_raise(op->error, EIO, "pid %d (%s), %s: %s returned %#" PRIx64 " in place of %#" PRIx64,
				   t->pid, t->comm, name, e->call, (uint64_t)result, (uint64_t)e->result);
	(void)error_raise_call(op->error, number, e->call, "pid %d (%s), %s", t->pid, t->comm, name);
	if (strcmp(e->call, "mmap") == 0 && (v->flags & MAP_HUGETLB))
		error_hint(op->error, "it needs huge pages: see /proc/sys/vm/nr_hugepages");
	else if (strcmp(e->call, "mlock2") == 0)
		error_hint(op->error, "locking memory needs CAP_IPC_LOCK or a higher limit (ulimit -l)");
	else if (number == ENOMEM)
		error_hint(op->error,
			   "memory or the number of areas (vm.max_map_count) is used up, or overcommit is refused");
	return -number;
}

/* Advice is a hint: a kernel built without KSM or huge pages refuses it with EINVAL, and the task works as well. */
static bool result_matters(const struct expect *e, int64_t result)
{
	if (result == -EINVAL && strcmp(e->call, "madvise") == 0)
		return false;
	return true;
}

static int check_results(struct operation *op, const struct fill *f)
{
	for (size_t i = 0; i < f->n_expect; i++) {
		const struct expect *e = &f->expect[i];
		int64_t result = batch_result(&f->batch, i);
		bool good = e->result == INT64_MAX ? result > 0 : e->result == INT64_MIN || result == e->result;

		if (!good && result_matters(e, result))
			return raise_call(op, f, e, result);
		if (!good)
			log_warn(f->task->pid, "%s: %s is not known to this kernel",
				 area_name(op, f->task->mm->vmas[e->area], NULL), e->call);
		if (e->bytes)
			recorder_moved(e->bytes);
	}
	return 0;
}

/* Some puppets may still run when one has failed: they are waited for, so that they can be ended. */
static int fill_round(struct operation *op, struct channel *c, struct fill *fills, size_t n, bool *ret_more)
{
	int r = 0;

	*ret_more = false;
	for (size_t i = 0; i < n && r >= 0; i++) {
		bool work = false;

		if (fills[i].phase == PHASE_DONE)
			continue;
		r = fill_build(op, c, &fills[i], &work);
		if (r < 0 || !work)
			continue;
		recorder_step(fills[i].task->pid, fills[i].task->comm, "mmap, preadv", "its areas and pages");
		r = puppet_start(&fills[i].batch, op->error);
		fills[i].started = r >= 0;
	}
	for (size_t i = 0; i < n; i++) {
		int done;

		if (fills[i].phase != PHASE_DONE)
			*ret_more = true;
		if (!fills[i].started)
			continue;
		fills[i].started = false;
		done = puppet_finish(&fills[i].batch, op->error);
		if (done >= 0)
			done = check_results(op, &fills[i]);
		if (r >= 0 && done < 0)
			r = done;
	}
	if (r >= 0 && recorder_cancelled())
		return error_raise(op->error, ECANCELED, "cancelled while memory was restored");
	return r;
}

static void find_shared_tables(const struct tree *tree)
{
	for (size_t i = 0; i < tree->n_tasks; i++) {
		const struct task *t = tree->tasks[i], *owner = t->files_owner;

		if (!owner || owner == t)
			continue;
		if (t->mm_plan)
			t->mm_plan->shares_table = true;
		if (owner->mm_plan)
			owner->mm_plan->shares_table = true;
	}
}

int memory_restore(struct operation *op, struct channel *c)
{
	AUTOFREE struct fill *fills = calloc(op->tree.n_tasks + 1, sizeof(*fills));
	bool more = true;
	size_t n = 0;
	int r = 0;

	find_shared_tables(&op->tree);
	if (!fills)
		return error_raise(op->error, ENOMEM, "no memory left to restore the memory of %zu tasks",
				   op->tree.n_tasks);
	for (size_t i = 0; i < op->tree.n_tasks && r >= 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (!t->mm_plan)
			continue;
		fills[n].task = t;
		fills[n].puppet = &t->threads[0].puppet;
		fills[n].pages_number = -1;
		r = sysv_place(op, t);
		if (r >= 0)
			r = batch_begin(&fills[n].batch, fills[n].puppet, op->error);
		n++;
	}
	while (r >= 0 && more)
		r = fill_round(op, c, fills, n, &more);
	for (size_t i = 0; i < n; i++) {
		if (r >= 0)
			r = vdso_settle(op, fills[i].task);
		if (r >= 0)
			r = memory_late(op, fills[i].task);
		batch_end(&fills[i].batch);
		if (r >= 0)
			r = aio_restore(op, fills[i].task);
	}
	sysv_detach(op->memory);
	return r < 0 ? r : 0;
}
