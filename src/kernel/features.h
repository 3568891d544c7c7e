/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * What this kernel and these privileges offer: probed once at the start of an operation (well under 0.3 ms, nothing
 * that leaves a trace), constant from then on. The environment variable FIRN_WITHOUT, a list of names separated by
 * commas, turns features off, so that every fallback can be tested: FIRN_WITHOUT=pagemap_scan,close_range.
 */
struct features {
	unsigned release_major, release_minor; /* of uname(2): 6, 18 */
	size_t page_size;		       /* bytes */
	size_t xsave_size;		       /* bytes of the xsave area with all enabled components; 0 = no xsave */
	uint64_t xsave_mask;		       /* XCR0 */
	uint64_t cap_eff;		       /* effective capabilities of firn itself, a bit each */
	pid_t pid_max;			       /* /proc/sys/kernel/pid_max; 0 = unknown */
	uint64_t without;		       /* bit i: feature_rows[i] was turned off by FIRN_WITHOUT */

	/* A name of FIRN_WITHOUT each, see features.c for what each is for */
	bool clone3_set_tid;
	bool pidfd_open;
	bool pidfd_getfd;
	bool kcmp;
	bool process_vm;
	bool pagemap_scan;
	bool arch_map_vdso;
	bool set_mm_map;
	bool ptrace_rseq;
	bool ptrace_peeksiginfo;
	bool ptrace_suspend_seccomp;
	bool proc_children;
	bool close_range;
	bool timer_restore_ids;
};

/* A row per bool above. */
struct feature {
	const char *name;    /* "pagemap_scan" */
	size_t offset;	     /* of its bool in struct features */
	bool required;	     /* a dump or a restore of a plain tree cannot do without */
	const char *since;   /* "Linux 6.7" */
	const char *purpose; /* what firn uses it for */
	const char *missing; /* what happens without */
	const char *hint;    /* what helps */
	bool (*probe)(const struct features *f);
};
extern const struct feature feature_rows[];
extern const size_t n_feature_rows;

/* 0, or -EINVAL raised when FIRN_WITHOUT names something that is no feature; a missing feature is no error here. */
int features_probe(struct features *ret, struct error *e);
bool feature_present(const struct features *f, const struct feature *row);

/* Is the capability (CAP_* of linux/capability.h) effective? */
static inline bool features_capable(const struct features *f, int capability)
{
	return f->cap_eff >> capability & 1;
}
