/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * What every test program shares: see README.md for the protocol. A program sets up its state, calls check_ready(),
 * which returns after the trigger (after the restore), verifies its state with CHECK() and ends with check_end().
 */

extern char check_dir[PATH_MAX];	/* the working folder, absolute; a program that chroots adjusts it */

/* Takes argv[1] as the working folder and enters it. argv[2]… are the program's own. */
void check_begin(int argc, char **argv);

/* Says that the state is set up, and waits for the trigger by polling for a file: no descriptor is held and the wait
 * is a nanosleep, so a dump always meets an interrupted system call. */
void check_ready(void);
/* The two halves, for programs that wait in another way. */
void check_announce(void);
void check_wait_trigger(void);
bool check_triggered(void);

/* Marks a failure; the program goes on, so that one run tells all that is wrong. */
void check_fail(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define FAIL(...) check_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(cond, ...)                                \
	do {                                            \
		if (!(cond))                            \
			check_fail(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
#define CHECK_EQ(got, want, what)                                                                      \
	do {                                                                                           \
		long long got_ = (long long)(got), want_ = (long long)(want);                          \
		if (got_ != want_)                                                                     \
			check_fail(__FILE__, __LINE__, "%s: %lld instead of %lld", what, got_, want_); \
	} while (0)

/* For the set-up: what cannot be set up ends the program with a sentence. */
void check_die(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4), noreturn));
#define DIE(...) check_die(__FILE__, __LINE__, __VA_ARGS__)
#define MUST(call)                                                             \
	({                                                                     \
		long must_ = (long)(call);                                     \
		if (must_ == -1)                                               \
			check_die(__FILE__, __LINE__, "%s: %s", #call, strerror(errno)); \
		must_;                                                         \
	})
/* This machine cannot do it: the test is skipped with the sentence. */
void check_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Writes PASS or the failures to the result file and returns the exit code. */
int check_end(void);

/* fork() whose child runs @body and exits with its result; failures of the child are kept for the parent's result. */
pid_t check_fork(int (*body)(void *), void *arg);
/* Waits for a child of check_fork() and checks that it exited with 0. */
void check_child(pid_t pid);

/* A page-sized pattern that tells each page from each other: seed and index give the bytes. */
void pattern_fill(void *p, size_t len, uint32_t seed);
bool pattern_check(const void *p, size_t len, uint32_t seed, size_t *ret_bad);
#define CHECK_PATTERN(p, len, seed, what)                                                             \
	do {                                                                                          \
		size_t bad_;                                                                          \
		if (!pattern_check((p), (len), (seed), &bad_))                                        \
			check_fail(__FILE__, __LINE__, "%s: content differs at offset %zu", what, bad_); \
	} while (0)

/* A whole file as a malloc'd string ("" when it cannot be read). */
char *slurp(const char *path);
/* The line of /proc/self/status (or of any such text) that begins with @key, without it, malloc'd. */
char *proc_line(const char *path, const char *key);
/* Makes a file with @len bytes of @seed's pattern. */
void make_file(const char *path, size_t len, uint32_t seed);
void sleep_ms(unsigned ms);
/* Waits until a condition holds, up to five seconds; for set-up that depends on another task. */
#define WAIT_FOR(cond)                                           \
	do {                                                     \
		int tries_ = 0;                                  \
		while (!(cond)) {                                \
			if (++tries_ > 5000)                     \
				DIE("never true: %s", #cond);    \
			sleep_ms(1);                             \
		}                                                \
	} while (0)
