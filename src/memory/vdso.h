/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The vdso as an ELF file (man 7 vdso), and how the functions of one are led to those of another. All of it is pure;
 * buffers are hostile. Offsets count from the buffer's first byte, which is where the vdso is linked to: 0.
 */

#define VDSO_FUNCTIONS_MAX 64

#define VDSO_NAME_MAX 48

struct vdso_function {
	char name[VDSO_NAME_MAX];
	uint64_t offset; /* in the buffer */
	uint64_t room;	 /* bytes from there on that are this function's alone, at least 1 */
};

/* The functions that the vdso in @buf exports; some have several names. -EINVAL when it is no ELF file, a function lies
 * outside of it, a name is too long, or there are more than VDSO_FUNCTIONS_MAX. @buf is aligned to 8 bytes. */
int vdso_functions(const uint8_t *buf, size_t len, struct vdso_function *ret, size_t *ret_n);

/*
 * Leads each function of the vdso in @image, which lies at @image_at, to the one of the same name (with or without __vdso_)
 * in @ours, which lies at @ours_at. One that @ours lacks becomes the system call of that name. 0; -EINVAL: one of them is
 * no vdso; -ENOSYS: there is no such function here; -ENOSPC: it is too short to be led elsewhere. @ret_name is the function's
 * then.
 */
int vdso_lead(uint8_t *image, size_t len, uint64_t image_at, const uint8_t *ours, size_t ours_len, uint64_t ours_at,
	      char ret_name[VDSO_NAME_MAX]);

/* vdso_code_x86_64.c ------------------------------------------------------------------------------------------- */

#define VDSO_NEAR ((UINT64_C(2) << 30) - (UINT64_C(16) << 20)) /* bytes that the short jump reaches for sure */

/* Writes a jump from @from, which is where @at will lie, to @to. -ENOSPC when @room is too small for it. */
int vdso_write_jump(uint8_t *at, uint64_t room, uint64_t from, uint64_t to);
/* Writes a function that makes the system call @name. -ENOSYS: there is none; -ENOSPC. */
int vdso_write_call(uint8_t *at, uint64_t room, const char *name);
/* Does it work without the kernel's data, so that the old code may stay? */
bool vdso_stands_alone(const char *name);
/* Is the code at @offset about to make a system call, or just back from one? */
bool vdso_at_call(const uint8_t *buf, size_t len, uint64_t offset);
