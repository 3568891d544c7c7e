/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/kind.h"

/*
 * dump: what a socket has that firn makes itself. Defaults depend on sysctls, so what differs from those of the same moment is
 * what the program chose. One is made of each sort for the whole tree, and each of its options is read once: trees have
 * thousands of sockets. It lives as long as op->files.
 */
struct usual_socket {
	struct usual_socket *next;
	int domain, type, protocol;
	int fd;			      /* owned by the table */
	struct usual_option *options; /* those that were read */
	size_t n, room, last;
};

/* NULL: none can be made, *ret_errno says why; nothing is raised. */
struct usual_socket *usual_socket(struct operation *op, int domain, int type, int protocol, int *ret_errno);
/* As socket_get_int() of it. */
int usual_get_int(struct operation *op, struct usual_socket *u, int level, int option, int *ret);
/* Closes them all. */
void usual_sockets_release(struct operation *op);
