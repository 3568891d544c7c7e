/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/options.h"
#include "image/image.h"
#include "tree/task.h"

/*
 * Which CLOCK_MONOTONIC and CLOCK_BOOTTIME the tree has (namespaces/time.h). All zeros: those that firn itself has.
 */
struct tree_clocks {
	char *link;                     /* dump: "time:[4026531834]", the tree's namespace; NULL on a kernel without */
	bool own;                       /* dump: it is not that of firn */
	bool wanted;                    /* restore: the tree is to have one of its own, … */
	bool needed;                    /* … or the restore fails, … */
	bool made;                      /* … and has it: … */
	int fd;                         /* … this one */
	bool go_on;                     /* restore: points in time mean what they meant at the dump */
	int64_t monotonic, boottime;    /* restore: what they showed at the dump, ns */
	int64_t monotonic_ahead, boottime_ahead;        /* ns from firn's to the tree's */
};

/*
 * One dump or one restore: what every kind, aspect and stage is handed. Owned by the orchestrator (dump/dump.c or
 * restore/restore.c); never global. Not thread-safe: either the tracer thread or the worker works on it, not both.
 */
struct operation {
	struct error *error;            /* = recorder's; the sentence the user gets */
	struct refusals *refusals;      /* tree/refusals.h; NULL: the first refusal ends it */
	const struct options *options;
	const struct features *features;    /* kernel/features.h */
	struct arena arena;
	struct image_dir images;
	struct tree tree;
	struct file_table *files;       /* kinds/kind.h: every open file of the tree, once */
	struct memory_plan *memory;     /* memory/memory.h: shared memory objects, pages ids */
	const char *run_id;             /* InventoryEntry.dump_criu_run_id; NULL = none: names the lock on TCP connections */
	enum network_lock lock_left;    /* restore: how the dump has locked the network */
	bool tcp_close;                 /* restore: connections come back closed */
	struct seccomp_table *seccomp;  /* aspects/seccomp.c: the filters of the tree */
	uint32_t next_pages_id;         /* pages-N.img; starts at 1 */
	struct tree_clocks clocks;
	uint64_t island;                /* restore: address of the puppets' area, free in every task */
};
