/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/*
 * One error: a sentence for a person, raised once, where it happened.
 *
 * Every fallible function of firn returns 0 or -errno. The functions that know the task and the object also raise
 * the sentence; the callers above them only hand the number on. The first sentence wins: what goes wrong while
 * things are undone must not hide the cause.
 *
 * A sentence names the task, the object, the system call and the reason, e.g.
 *     pid 126 (redis-server), fd 14 → /mnt/nfs/x: statx: Input/output error
 * and the hint says what a person can do about it. Neither ends in a newline; the sentence has no full stop.
 */
struct error {
	int number;         /* positive errno; 0 means that nothing was raised */
	char sentence[1536];
	char hint[512];
};

/* Raises @fmt with the reason @number (positive errno) kept as a number only. Returns -number. */
int error_raise(struct error *e, int number, const char *fmt, ...) __attribute__((format(printf, 3, 4), nonnull(1, 3)));

/* As error_raise(), and appends ": CALL: strerror(number)" to the sentence. */
int error_raise_call(struct error *e, int number, const char *call, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), nonnull(1, 3, 4)));

/* Gives the hint of an error that was just raised; kept only when no hint is there yet. */
void error_hint(struct error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3), nonnull(1, 2)));

static inline bool error_is_set(const struct error *e)
{
	return e->number != 0;
}
