/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"
#include "tree/refusals.h"

/*
 * Looks over the running tree for whatever a dump refuses, so that it is refused before anything is frozen. What
 * changes meanwhile is caught by the same rules when the tree stands still. Worker thread.
 */
int precheck_tree(const struct operation *op);

/* What a look found. */
struct look {
	uint64_t page_bytes; /* that a dump would write */
	uint64_t look_ns;    /* what the look itself took */
	size_t tasks, threads, files;
};

/*
 * The look itself, with an operation of its own (options, features, error; refusals set). Refusals are noted and are no
 * failure; -errno raised: the tree changed under the look, or could not be read. @estimate: also what costs more to find
 * out and is needed for the numbers. Nothing is stopped or changed. precheck_end() closes what it holds; the refusals lie
 * in the arena.
 */
int precheck_look(struct operation *op, bool estimate, struct look *ret);
void precheck_end(struct operation *op);
