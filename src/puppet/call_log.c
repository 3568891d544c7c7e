/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "puppet/call_log.h"

#include <stdio.h>
#include <string.h>

#include "kernel/syscalls.h"
#include "watch/recorder.h"

#define CALL_SIZE 256

uint64_t call_log_start(void)
{
	return log_verbosity >= LOG_TRACE ? monotonic_ns() : 0;
}

static double seconds_since(uint64_t start_ns)
{
	return (double)(monotonic_ns() - start_ns) / 1e9;
}

void call_log_single(const struct puppet *p, long nr, const uint64_t args[6], int64_t ret, uint64_t start_ns)
{
	char call[CALL_SIZE], result[48];

	if (!start_ns)
		return;
	(void)syscall_format(nr, args, call, sizeof(call));
	(void)syscall_format_result(ret, result, sizeof(result));
	log_trace(p->pid, "thread %d: %s %s <%.6f>", p->tid, call, result, seconds_since(start_ns));
}

/* The arguments as the call had them: some are results of earlier ones. */
static void resolve(const struct batch *b, const struct puppet_call *c, uint64_t args[6])
{
	memcpy(args, c->args, sizeof(c->args));
	for (int i = 0; i < 6; i++)
		if (c->flags & CALL_REF(i) && args[i] < b->n_calls)
			args[i] = (uint64_t)b->calls[args[i]].ret;
}

void call_log_batch(const struct batch *b, uint64_t start_ns)
{
	size_t made = b->failed < b->n_calls ? b->failed + 1 : b->n_calls;
	char call[CALL_SIZE], result[48], shared[32] = "";
	uint64_t args[6];
	double seconds;

	if (!start_ns)
		return;
	seconds = seconds_since(start_ns);
	if (made != 1)
		(void)snprintf(shared, sizeof(shared), " for %zu calls", made);
	for (size_t i = 0; i < made; i++) {
		resolve(b, &b->calls[i], args);
		(void)syscall_format(b->calls[i].nr, args, call, sizeof(call));
		(void)syscall_format_result(b->calls[i].ret, result, sizeof(result));
		log_trace(b->puppet->pid, "thread %d: %s %s <%.6f%s>", b->puppet->tid, call, result, seconds, shared);
	}
}

void call_log_unfinished(const struct batch *b, uint64_t start_ns)
{
	if (!start_ns || !b->n_calls)
		return;
	log_trace(b->puppet->pid, "thread %d: %s, a batch of %zu calls: not finished <%.6f>", b->puppet->tid,
		  syscall_name(b->calls[0].nr), b->n_calls, seconds_since(start_ns));
}
