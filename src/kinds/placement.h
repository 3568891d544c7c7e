/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/kind.h"

/*
 * How descriptors of the engine reach a puppet (restore). Every puppet inherits one end of a SOCK_SEQPACKET pair at
 * the number `channel`; the engine sends descriptors with SCM_RIGHTS (253 a message) on the other end and makes the
 * puppet receive them. Tracer thread; the sends cannot block (the queue is empty between messages).
 */
struct channel {
	int engine;                     /* the engine's end */
	int number;                     /* the puppets' end: above every descriptor that an image asks for */
};

int channel_open(struct operation *op, struct channel *c);

/* Gives the puppet copies of @fds; ret_numbers[i] is the number each landed at (the lowest free ones). */
int channel_send(struct operation *op, struct channel *c, struct puppet *p, const int *fds, size_t n, int *ret_numbers);

/* Places every descriptor of @t at its number with its close-on-exec flag, and sets O_ASYNC where it is wanted. The puppet's table must be empty except for
 * the channel. Leaves the channel open. */
int descriptors_place(struct operation *op, struct channel *c, struct task *t);
/* cwd, root and umask by fchdir/chroot in the puppet. */
int fs_place(struct operation *op, struct channel *c, struct task *t);
