/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "core-x86.pb-c.h"

/*
 * The extended state of a thread: the kernel's NT_X86_XSTATE (man 2 ptrace; layout of XSAVE in its standard form,
 * offsets from CPUID leaf 0xD) to and from the image's fields.
 */

/* Parses @len bytes of NT_X86_XSTATE into a message in the arena. A state component that the image format has no
 * field for (AMX tiles) and that is in use is refused with -EOPNOTSUPP, raised. */
int xstate_parse(const uint8_t *buf, size_t len, struct arena *a, UserX86FpregsEntry **ret, struct error *e);

/* Builds the buffer for PTRACE_SETREGSET NT_X86_XSTATE; @len is the size this processor uses (xstate_size()). Refuses
 * with -EOPNOTSUPP, raised, a state with components that this processor lacks; -EINVAL for damaged fields. */
int xstate_build(const UserX86FpregsEntry *m, uint8_t *buf, size_t len, struct error *e);

/* Bytes of NT_X86_XSTATE on this processor and kernel. */
size_t xstate_size(void);

/*
 * The same with a given layout, for the unit tests: offsets and sizes in bytes by component number, mask of the
 * components that the buffer has room for, size of the whole buffer.
 */
#define XSTATE_COMPONENTS 32
struct xstate_layout {
	uint64_t mask;
	uint32_t size;
	uint32_t offset[XSTATE_COMPONENTS], length[XSTATE_COMPONENTS];
};

int xstate_parse_layout(const struct xstate_layout *l, const uint8_t *buf, size_t len, struct arena *a,
			UserX86FpregsEntry **ret, struct error *e);
int xstate_build_layout(const struct xstate_layout *l, const UserX86FpregsEntry *m, uint8_t *buf, size_t len,
			struct error *e);
