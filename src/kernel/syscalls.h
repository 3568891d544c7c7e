/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Names and arguments of system calls, for reports, traces and messages. Pure; numbers up to Linux 6.18. */

/* "syscall_N" when unknown; then it lies in a buffer of the calling thread. */
const char *syscall_name(long nr);

/* What an argument is. */
enum syscall_argument {
	SYSCALL_ARG_FD = 'f',      /* a descriptor */
	SYSCALL_ARG_DIR = 'd',     /* a folder's descriptor, or AT_FDCWD */
	SYSCALL_ARG_PATH = 'p',    /* the address of a string: a path or a name */
	SYSCALL_ARG_ADDRESS = 'a', /* any other address */
	SYSCALL_ARG_PID = 't',
	SYSCALL_ARG_INT = 'i',     /* an int or a long with a sign */
	SYSCALL_ARG_COUNT = 'n',   /* bytes, elements, without a sign */
	SYSCALL_ARG_BITS = 'x',    /* flags and the like */
	SYSCALL_ARG_MODE = 'o',
};

/* One letter of the enum for each argument; six times SYSCALL_ARG_BITS when they are not known. */
const char *syscall_arguments(long nr);

/* One argument as its sort wants to be read: "5", "AT_FDCWD", "0x7f12…", "-1", "0644". Returns the length. */
size_t syscall_format_argument(enum syscall_argument sort, uint64_t value, char *buf, size_t size);

/* "newfstatat(AT_FDCWD, 0x7f…, 0x7f…, 0x100)". Cut to @size; returns the length. */
size_t syscall_format(long nr, const uint64_t args[6], char *buf, size_t size);
/* What it returned: "= 0", "= 0x7f0000001000", "= -2 ENOENT". Returns the length. */
size_t syscall_format_result(int64_t ret, char *buf, size_t size);
