/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kernel/features.h"

/* `firn check`: one row per thing that this kernel, these privileges or this machine may lack. */

enum check_state { CHECK_NO, CHECK_PARTLY, CHECK_YES };

struct check {
	const char *name;
	bool required;              /* a dump and a restore of a plain tree cannot do without */
	int capability;             /* privileges: CAP_*; the rest has a probe */
	const char *purpose;        /* what it is for */
	const char *missing;        /* what happens without */
	const char *hint;           /* what helps; NULL when nothing does */
	/* May write up to @size bytes of a remark into @detail, which is empty before. Leaves nothing behind. */
	enum check_state (*probe)(const struct features *f, char *detail, size_t size);
};

struct check_group {
	const char *name;           /* "privileges" */
	const struct check *rows;
	size_t n_rows;
};

extern const struct check_group check_privileges;   /* check_privileges.c */
extern const struct check_group check_tasks;        /* check_tasks.c: what must work on tasks, tried on a child */
extern const struct check_group check_objects;      /* check_objects.c: what single kinds of objects need */

/* Is @name one of CRIU's names for a feature? *ret is the row that it depends on, NULL when firn does not carry it. */
bool check_other_name(const char *name, const char **ret);
