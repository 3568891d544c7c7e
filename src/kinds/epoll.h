/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/placement.h"

/*
 * restore: adds to the epolls what must be added by the task itself (signalfds, see epoll_restore.c). After descriptors
 * were placed and after files_finish(). Tracer thread.
 */
int epolls_attach(struct operation *op, struct channel *c);

/* ---- between epoll.c and epoll_restore.c ---- */

/* The bits of events that only say how to tell; without any other the target is not told of: EPOLLONESHOT has fired. */
#define EPOLL_PRIVATE_BITS (EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE | EPOLLWAKEUP)

/*
 * In the flags of the image: when it was dumped, nothing was ready to be told. So what is edge-triggered and ready had
 * been told already. The image format has no field for that; an epoll is always O_RDWR, where the lowest bit is 0,
 * and CRIU, which sets the flags by F_SETFL, does not look at it.
 */
#define EPOLL_FLAG_QUIET 1u

/* Fills every epoll of the tree, at the first call. */
int epolls_fill(struct operation *op);
