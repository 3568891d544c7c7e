/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/kind.h"
#include "sk-opts.pb-c.h"

/* Socket filters (SO_ATTACH_FILTER) of all families. 0 or -errno, raised. Nothing here blocks. */

/* dump: refuses what has no classic form. Changes nothing. */
int socket_filter_check(struct operation *op, const struct fd_facts *f);
int socket_filter_dump(struct operation *op, const struct fd_facts *f, SkOptsEntry *m);
/* restore: attaches the filter, unless it is there already; not the lock. */
int socket_filter_apply(struct operation *op, int fd, const SkOptsEntry *m, const char *describe);
/* SO_LOCK_FILTER, the last thing that happens to a filter. */
int socket_filter_lock(struct operation *op, int fd, const SkOptsEntry *m, const char *describe);
