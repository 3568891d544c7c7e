/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "memory/plan.h"
#include "watch/recorder.h"

/*
 * Moves pages from a frozen task into a pages file.
 *
 * The output is cut into chunks that fit into a processor's second-level cache: process_vm_readv() fills the buffer,
 * pwrite() empties it while it is still there. Measured on 1 GiB into tmpfs: 0.72 s this way, 0.55 s with two threads,
 * 1.5 s with chunks of 4 MiB, 1.3 to 2.4 s when the file is mapped and read into (its pages are faulted in one by one).
 * So chunks are handed out to two threads by a counter.
 *
 * The buffer is at hand, so zero pages are looked for: a look at the first word costs nothing that could be measured, and
 * 400 MiB of zero pages took 76 ms instead of 118 ms and 1 MiB of the disk. Where a kernel has no shared zero page, all
 * memory that was only read is such.
 */

#define CHUNK (512ull << 10)
#define CHUNK_RUNS (CHUNK / PAGE_BYTES) /* a chunk has at most that many pieces; below IOV_MAX */
#define HOLE_MIN (8 * PAGE_BYTES)
#define SECOND_THREAD_FROM (2ull << 20)

struct copy {
	pid_t pid;
	int mem_fd; /* /proc/PID/mem; -1 when the source is @file_fd */
	int file_fd;
	int out_fd;
	const struct page_runs *runs;
	_Atomic uint64_t next;	    /* position in the pages file that nobody has claimed yet */
	_Atomic int failed;	    /* the first errno */
	_Atomic uint64_t failed_at; /* address; UINT64_MAX when writing failed */
};

static void copy_fail(struct copy *c, int number, uint64_t at)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&c->failed, &none, number))
		atomic_store(&c->failed_at, at);
}

/* The pieces of memory that the chunk at @pos consists of. */
static size_t chunk_pieces(const struct page_runs *runs, uint64_t pos, uint64_t len, struct iovec *iov)
{
	size_t low = 0, high = runs->n, n = 0;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (runs->runs[mid].file_pos <= pos)
			low = mid;
		else
			high = mid;
	}
	for (size_t i = low; i < runs->n && len > 0; i++) {
		const struct page_run *r = &runs->runs[i];
		uint64_t start = r->start + (pos - r->file_pos);
		uint64_t piece = r->end - start;

		if (piece > len)
			piece = len;
		iov[n++] = (struct iovec){ .iov_base = (void *)(uintptr_t)start, .iov_len = piece };
		pos += piece;
		len -= piece;
	}
	return n;
}

/* One piece by pread(): of /proc/PID/mem, which reads what is protected against reading too (FOLL_FORCE), or a file. */
static int read_piece(int fd, uint8_t *buf, uint64_t at, uint64_t len, bool pad)
{
	while (len > 0) {
		ssize_t n = pread(fd, buf, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			if (!pad)
				return -ESRCH; /* /proc/PID/mem without an address space behind it */
			memset(buf, 0, len);   /* the last page of a file that ends within it */
			return 0;
		}
		buf += n;
		at += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int read_pieces(struct copy *c, uint8_t *buf, const struct iovec *iov, size_t n, uint64_t skip)
{
	int fd = c->mem_fd >= 0 ? c->mem_fd : c->file_fd;

	for (size_t i = 0; i < n; i++) {
		uint64_t at = (uintptr_t)iov[i].iov_base, len = iov[i].iov_len;
		int r;

		if (skip >= len) {
			skip -= len;
			buf += len;
			continue;
		}
		r = read_piece(fd, buf + skip, at + skip, len - skip, c->mem_fd < 0);
		if (r < 0) {
			copy_fail(c, -r, at + skip);
			return r;
		}
		buf += len;
		skip = 0;
	}
	return 0;
}

static int read_chunk(struct copy *c, uint8_t *buf, uint64_t pos, uint64_t len)
{
	struct iovec remote[CHUNK_RUNS], local = { .iov_base = buf, .iov_len = len };
	size_t n = chunk_pieces(c->runs, pos, len, remote);
	ssize_t got;

	if (c->mem_fd < 0)
		return read_pieces(c, buf, remote, n, 0);
	got = process_vm_readv(c->pid, &local, 1, remote, n, 0);
	if (got == (ssize_t)len)
		return 0;
	if (got < 0 && errno != EFAULT) {
		copy_fail(c, errno, (uintptr_t)remote[0].iov_base);
		return -errno;
	}
	/* It stops at what is protected against reading. */
	return read_pieces(c, buf, remote, n, got > 0 ? (uint64_t)got : 0);
}

/* The first word tells of nearly every page that it is not. */
static bool page_is_zero(const uint8_t *page)
{
	uint64_t first;

	memcpy(&first, page, sizeof(first));
	return first == 0 && memcmp(page, page + sizeof(first), PAGE_BYTES - sizeof(first)) == 0;
}

/* How much of the buffer's start is zero, or is not: whole pages. Few zero pages are not worth calls of their own. */
static uint64_t zero_length(const uint8_t *buf, uint64_t len)
{
	uint64_t n = 0;

	while (n < len && page_is_zero(buf + n))
		n += PAGE_BYTES;
	return n;
}

static uint64_t content_length(const uint8_t *buf, uint64_t len)
{
	uint64_t n = 0, zero;

	while (n < len) {
		zero = zero_length(buf + n, len - n);
		if (zero >= HOLE_MIN)
			break;
		n += zero > 0 ? zero : PAGE_BYTES;
	}
	return n;
}

static int write_piece(struct copy *c, const uint8_t *buf, uint64_t pos, uint64_t len)
{
	while (len > 0) {
		ssize_t n = pwrite(c->out_fd, buf, len, (off_t)pos);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int number = n < 0 ? errno : EIO;

			copy_fail(c, number, UINT64_MAX);
			return -number;
		}
		buf += n;
		pos += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int write_chunk(struct copy *c, const uint8_t *buf, uint64_t pos, uint64_t len)
{
	for (uint64_t at = 0, n; at < len; at += n) {
		n = content_length(buf + at, len - at);
		if (n > 0 && write_piece(c, buf + at, pos + at, n) < 0)
			return -1;
		if (n == 0)
			n = zero_length(buf + at, len - at);
	}
	return 0;
}

static void copy_loop(struct copy *c, uint8_t *buf)
{
	while (!atomic_load(&c->failed)) {
		uint64_t pos = atomic_fetch_add(&c->next, CHUNK), len = CHUNK;

		if (pos >= c->runs->bytes)
			break;
		if (len > c->runs->bytes - pos)
			len = c->runs->bytes - pos;
		if (recorder_cancelled()) {
			copy_fail(c, ECANCELED, UINT64_MAX);
			break;
		}
		if (read_chunk(c, buf, pos, len) < 0 || write_chunk(c, buf, pos, len) < 0)
			break;
		recorder_moved(len);
	}
}

static uint8_t *map_buffer(void)
{
	void *p = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Helps as well as it can: without memory the first thread does it alone. */
static void *second_thread(void *arg)
{
	uint8_t *buf = map_buffer();

	if (buf) {
		copy_loop(arg, buf);
		munmap(buf, CHUNK);
	}
	return NULL;
}

/* The first buffer is kept for the next address space: a tree has many small ones. */
static void copy_run(struct operation *op, struct copy *c)
{
	struct memory_plan *plan = op->memory;
	pthread_t second;
	bool two;

	if (!plan->copy_buffer)
		plan->copy_buffer = map_buffer();
	if (!plan->copy_buffer) {
		copy_fail(c, ENOMEM, UINT64_MAX);
		return;
	}
	two = c->runs->bytes >= SECOND_THREAD_FROM && pthread_create(&second, NULL, second_thread, c) == 0;
	copy_loop(c, plan->copy_buffer);
	if (two)
		pthread_join(second, NULL);
	if (ftruncate(c->out_fd, (off_t)c->runs->bytes) < 0)
		copy_fail(c, errno, UINT64_MAX);
}

void copy_release(struct memory_plan *plan)
{
	if (plan->copy_buffer)
		munmap(plan->copy_buffer, CHUNK);
	plan->copy_buffer = NULL;
}

int copy_pages(struct operation *op, struct task *t, const struct page_runs *runs, uint32_t pages_id, int out_fd)
{
	AUTOCLOSE int mem_fd = -1;
	struct copy c = { .pid = task_living(t), .file_fd = -1, .out_fd = out_fd, .runs = runs };

	if (runs->bytes == 0)
		return 0;
	recorder_step(t->pid, t->comm, "process_vm_readv", "%" PRIu64 " pages of its memory", runs->bytes / PAGE_BYTES);
	mem_fd = openat(t->proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	if (mem_fd < 0)
		return error_raise_call(op->error, errno, "open /proc/PID/mem", "pid %d (%s)", t->pid, t->comm);
	c.mem_fd = mem_fd;
	copy_run(op, &c);
	if (!c.failed)
		return 0;
	if (c.failed == ECANCELED)
		return error_raise(op->error, ECANCELED, "cancelled while the memory of pid %d (%s) was copied", t->pid,
				   t->comm);
	if (c.failed == ESRCH)
		return error_raise(op->error, ESRCH, "pid %d (%s) ended while its memory was copied", t->pid, t->comm);
	if (c.failed_at == UINT64_MAX)
		return image_pages_raise(&op->images, pages_id, "pwrite", runs->bytes, c.failed, op->error);
	(void)error_raise_call(op->error, c.failed, "process_vm_readv", "pid %d (%s), memory at %#" PRIx64, t->pid,
			       t->comm, c.failed_at);
	error_hint(op->error,
		   "the page is there but cannot be read: it may be poisoned (hardware error) or its file was "
		   "truncated");
	return -c.failed;
}

int copy_file_pages(struct operation *op, int fd, const struct page_runs *runs, uint32_t pages_id, int out_fd,
		    const char *what)
{
	struct copy c = { .mem_fd = -1, .file_fd = fd, .out_fd = out_fd, .runs = runs };

	if (runs->bytes == 0)
		return 0;
	recorder_step(0, NULL, "pread", "%s, %" PRIu64 " pages", what, runs->bytes / PAGE_BYTES);
	copy_run(op, &c);
	if (!c.failed)
		return 0;
	if (c.failed == ECANCELED)
		return error_raise(op->error, ECANCELED, "cancelled while %s was copied", what);
	if (c.failed_at == UINT64_MAX)
		return image_pages_raise(&op->images, pages_id, "pwrite", runs->bytes, c.failed, op->error);
	return error_raise_call(op->error, c.failed, "pread", "%s, offset %#" PRIx64, what, c.failed_at);
}
