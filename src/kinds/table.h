/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/common.h"

/* Between table.c, collect.c and images.c: the table of open files behind the functions of kind.h. */

/* Makes op->files, empty, when there is none yet. */
int table_create(struct operation *op);
/* Is a file of that kind in the table? */
bool kind_is_used(const struct operation *op, const struct kind *k);
/* The first kind of the registry that takes these facts; never NULL (kind_refused takes all). */
const struct kind *kind_recognise(const struct fd_facts *f);
/* The kind that decodes the entry, or NULL. */
const struct kind *kind_of_entry(const FileEntry *entry);
/* Is @t a task with descriptors, memory and fs (no zombie)? */
bool task_has_files(const struct task *t);
/* "create", "dump" … of one file, told to the recorder. */
void file_step(const struct file *f, const char *verb);
/* Raises the soft limit of open files to the hard one; returns the limit. */
uint64_t raise_nofile(void);
