/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What only the architecture knows; features_ARCH.c. */

/* Size in bytes and components (XCR0) of the state that a thread may have; zeros when the processor has no xsave. */
void features_arch_xsave(size_t *ret_size, uint64_t *ret_mask);
/* Can a vdso be mapped at an address of our choice? */
bool features_arch_map_vdso(void);
