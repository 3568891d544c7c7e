/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/*
 * The file that FIRN_FAULTS names: shared by every process that has libfirn-faults.so preloaded, and read by
 * tests/integration/faults.py, which knows this layout.
 *
 * A site is a call and the way to it: the return addresses inside the program, innermost first, so that the same open()
 * in a helper counts apart for each of its callers.
 */

#define FAULTS_SITES 16384 /* a power of two */
#define FAULTS_FRAMES 10

struct fault_site {
	_Atomic uint64_t id;		/* 0: free */
	_Atomic uint32_t count;		/* calls made from here */
	uint32_t call;			/* index of the name, see NAMES in faults.py */
	uint64_t frames[FAULTS_FRAMES]; /* offsets in the program; 0 ends them */
};

struct faults {
	uint64_t wanted;      /* the site whose call shall fail; 0: none, every site is noted */
	uint32_t wanted_nth;  /* which of its calls, from 1 */
	_Atomic uint32_t hit; /* it has failed */
	_Atomic uint32_t full;
	uint32_t unused;
	_Atomic uint64_t calls;
	struct fault_site sites[FAULTS_SITES];
};
