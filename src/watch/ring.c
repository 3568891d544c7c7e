/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A record is a header of eight bytes and its text, padded to eight. Space is reserved by moving ring_head; the
 * header then says how long the record is, and once more, with RECORD_DONE, that it is complete. The consumer zeroes
 * what it took, so an unwritten header reads 0. The magic holds zero bytes and text does not, so the headers can be
 * found again after a producer died between reserving and writing.
 *
 * Positions count bytes for ever (64 bits) and are taken modulo the ring's size.
 */
#include "watch/ring.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RECORD_MAGIC 0xf100f10000000000ull
#define RECORD_MAGIC_MASK 0xffffff0000000000ull
#define RECORD_DONE 0x0000000100000000ull
#define RECORD_LEN_MASK 0x00000000ffffffffull

#define PATIENCE_NS 1000000000ull
#define RING_MUCH (RECORDER_RING / 4)

static long futex(atomic_uint *word, int op, unsigned value, const struct timespec *timeout)
{
	/* Shared between processes: FUTEX_PRIVATE_FLAG must not be set. */
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

static _Atomic uint64_t *header_at(struct recorder *r, uint64_t pos)
{
	return (_Atomic uint64_t *)(void *)&r->ring[pos % RECORDER_RING];
}

static size_t record_size(size_t len)
{
	return 8 + ((len + 7) & ~(size_t)7);
}

static void copy_in(struct recorder *r, uint64_t pos, const char *src, size_t len)
{
	size_t at = pos % RECORDER_RING;
	size_t first = len < RECORDER_RING - at ? len : RECORDER_RING - at;

	memcpy(&r->ring[at], src, first);
	memcpy(&r->ring[0], src + first, len - first);
}

static void copy_out(const struct recorder *r, uint64_t pos, char *dst, size_t len)
{
	size_t at = pos % RECORDER_RING;
	size_t first = len < RECORDER_RING - at ? len : RECORDER_RING - at;

	memcpy(dst, &r->ring[at], first);
	memcpy(dst + first, &r->ring[0], len - first);
}

static void clear(struct recorder *r, uint64_t pos, size_t len)
{
	size_t at = pos % RECORDER_RING;
	size_t first = len < RECORDER_RING - at ? len : RECORDER_RING - at;

	memset(&r->ring[at], 0, first);
	memset(&r->ring[0], 0, len - first);
}

/* Waits until the consumer took something, at most for what is left of the patience. False when none is left. */
static bool wait_for_room(struct recorder *r, unsigned room)
{
	uint64_t waited = atomic_load(&r->ring_waited_ns), begin = monotonic_ns();
	struct timespec ts;

	if (waited >= PATIENCE_NS)
		return false;
	ts.tv_sec = 0;
	ts.tv_nsec = (long)(PATIENCE_NS - waited < 100000000ull ? PATIENCE_NS - waited : 100000000ull);
	atomic_fetch_add(&r->ring_waiters, 1);
	ring_wake(r);
	(void)futex(&r->ring_room, FUTEX_WAIT, room, &ts);
	atomic_fetch_sub(&r->ring_waiters, 1);
	atomic_fetch_add(&r->ring_waited_ns, monotonic_ns() - begin);
	return true;
}

static bool reserve(struct recorder *r, size_t need, uint64_t *ret_pos)
{
	uint64_t head = atomic_load(&r->ring_head);

	for (;;) {
		unsigned room = atomic_load(&r->ring_room);

		if (head + need - atomic_load(&r->ring_tail) > RECORDER_RING) {
			if (!wait_for_room(r, room))
				return false;
			head = atomic_load(&r->ring_head);
			continue;
		}
		if (atomic_compare_exchange_weak(&r->ring_head, &head, head + need)) {
			*ret_pos = head;
			return true;
		}
	}
}

void ring_put(struct recorder *r, const char *text, size_t len, bool urgent)
{
	unsigned sleep;
	uint64_t pos;

	if (len == 0)
		return;
	if (len > RING_RECORD_MAX)
		len = RING_RECORD_MAX;
	if (!reserve(r, record_size(len), &pos)) {
		atomic_fetch_add(&r->ring_dropped, 1);
		return;
	}
	atomic_store(header_at(r, pos), RECORD_MAGIC | len);
	copy_in(r, pos + 8, text, len);
	atomic_store(header_at(r, pos), RECORD_MAGIC | RECORD_DONE | len);
	atomic_fetch_add(&r->ring_pulse, 1);
	sleep = atomic_load(&r->ring_sleep);
	if (sleep == RING_ALERT || (sleep == RING_DOZE && (urgent || pos - atomic_load(&r->ring_tail) > RING_MUCH)))
		(void)futex(&r->ring_pulse, FUTEX_WAKE, INT_MAX, NULL);
}

bool ring_empty(struct recorder *r)
{
	return atomic_load(&r->ring_head) == atomic_load(&r->ring_tail);
}

static bool header_valid(uint64_t header)
{
	uint64_t len = header & RECORD_LEN_MASK;

	return (header & RECORD_MAGIC_MASK) == RECORD_MAGIC && len > 0 && len <= RING_RECORD_MAX;
}

static void advance(struct recorder *r, uint64_t from, uint64_t to)
{
	clear(r, from, to - from);
	atomic_store(&r->ring_tail, to);
	atomic_fetch_add(&r->ring_room, 1);
	if (atomic_load(&r->ring_waiters) > 0)
		(void)futex(&r->ring_room, FUTEX_WAKE, INT_MAX, NULL);
}

/* The record at the tail was never finished: goes on to the next finished one, or to the head. */
static void skip_unfinished(struct recorder *r)
{
	uint64_t tail = atomic_load(&r->ring_tail), head = atomic_load(&r->ring_head), pos = tail + 8;

	while (pos < head) {
		uint64_t header = atomic_load(header_at(r, pos));

		if (header_valid(header) && (header & RECORD_DONE))
			break;
		pos += 8;
	}
	atomic_fetch_add(&r->ring_dropped, 1);
	advance(r, tail, pos < head ? pos : head);
}

size_t ring_take(struct recorder *r, char *buf, size_t size, bool dead)
{
	size_t filled = 0;

	while (!ring_empty(r)) {
		uint64_t tail = atomic_load(&r->ring_tail), header = atomic_load(header_at(r, tail));
		size_t len = header & RECORD_LEN_MASK;

		if (!header_valid(header) || !(header & RECORD_DONE)) {
			if (!dead)
				break;
			skip_unfinished(r);
			continue;
		}
		if (filled + len > size)
			break;
		copy_out(r, tail + 8, buf + filled, len);
		filled += len;
		advance(r, tail, tail + record_size(len));
	}
	return filled;
}

void ring_wait(struct recorder *r, enum ring_sleep how, int timeout_ms)
{
	struct timespec ts = { timeout_ms / 1000, (timeout_ms % 1000) * 1000000L };
	unsigned pulse;

	atomic_store(&r->ring_sleep, how);
	pulse = atomic_load(&r->ring_pulse);
	if (!atomic_load(&r->log_stop) && (how == RING_DOZE || ring_empty(r)))
		(void)futex(&r->ring_pulse, FUTEX_WAIT, pulse, timeout_ms < 0 ? NULL : &ts);
	atomic_store(&r->ring_sleep, RING_AWAKE);
}

void ring_wake(struct recorder *r)
{
	atomic_fetch_add(&r->ring_pulse, 1);
	(void)futex(&r->ring_pulse, FUTEX_WAKE, INT_MAX, NULL);
}
