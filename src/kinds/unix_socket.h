/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/socket.h>

#include "kinds/socket.h"
#include "sk-unix.pb-c.h"

/* Between unix_socket.c (dump), the steps of a restore (unix_plan.h), and names: unix_name.c (dump), unix_bind.c. */

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

#define UNIX_NAME_MAX 108u /* bytes of sun_path */

#define UNIX_EXTERNAL 1u /* UnixSkEntry.uflags: the socket of a process outside the tree, here only for its name */

/* dump: fills name, name_dir, deleted and file_perms from the local copy and the kernel's name. */
int unix_name_dump(struct operation *op, const struct file *f, const uint8_t *name, size_t len, UnixSkEntry *m);
/* The same for what it refuses alone. */
int unix_name_check(struct operation *op, const struct file *f, const uint8_t *name, size_t len);
/* dump: SO_PEERCRED and SO_PEERGROUPS of @fd. 0 or -errno, raised. */
int unix_dump_peer_ids(struct operation *op, int fd, const char *describe, UnixSkEntry *m);
/* A name for messages, in the arena: "/run/x", "@abstract" (as ss(8) has it), "unnamed". */
const char *unix_name_text(struct operation *op, const uint8_t *name, size_t len);
/* "socket:[INODE]", the key of --inherit-fd, in @buf of 32 bytes. */
const char *unix_inherit_key(uint32_t ino, char *buf);
static inline bool unix_name_is_path(const ProtobufCBinaryData *name)
{
	return name->len > 0 && name->data[0] != '\0';
}

/* A socket file that the restore made, and only that one, is taken away again. */
struct unix_made {
	const char *path; /* NULL: none */
	dev_t dev;
	ino_t ino;
};

/* Whom SO_PEERCRED and SO_PEERGROUPS name. pid 0: it does not matter; -1: a process of its own all the same. */
struct unix_creds {
	bool known;
	pid_t pid;
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t n_groups;
};

/* The socket that has the name of @m. fd: itself, where the engine has it (needed once the name was deleted), or -1. */
struct unix_target {
	const UnixSkEntry *m;
	int fd;
};

/* restore: binds @fd to the entry's name. A stale socket file of that name is removed first; one that a living socket
 * is bound to is an error. ret: the file that was made, which unix_name_remove() takes away. */
int unix_name_bind(struct operation *op, int fd, const UnixSkEntry *m, const char *describe, struct unix_made *ret);
/* connect() (as whom; ret_pid as above) or sendmsg() to a socket by its name. 0 or -errno, not raised. */
int unix_name_connect(int fd, const struct unix_target *to, const struct unix_creds *as, pid_t *ret_pid);
int unix_name_send(int fd, const struct unix_target *to, const struct msghdr *message);
/* Best effort. */
void unix_name_remove(struct unix_made *made);

/* A socket, and the task that asked for it as far as the image tells: for images without the ids of SO_PEERCRED. */
struct unix_socket_holder {
	const UnixSkEntry *m;
	const struct task *user;
};

void unix_creds_of(const struct unix_socket_holder *h, struct unix_creds *ret);
/* Who connected a client that waits in a backlog. */
void unix_caller_of(const struct unix_socket_holder *h, struct unix_creds *ret);
/*
 * A call that notes who made it, made by a passing process with these credentials (or by the engine, when that does as well):
 * by the worker alone. @call gives 0 or -errno. What it changes in memory stays, its working and root directory do not.
 * ret_pid: who made it; may be NULL. 0 or -errno, not raised.
 */
typedef int (*unix_call_fn)(void *arg);
int unix_call_as(const struct unix_creds *c, unix_call_fn call, void *arg, pid_t *ret_pid);
int unix_pair_as(const struct unix_creds *c, int type, int ret_fds[2]);
int unix_listen_as(const struct unix_creds *c, int fd, int backlog);

/* The verbs of a restore. */
int unix_load_all(struct operation *op);
int unix_decode(struct operation *op, struct file *f);
int unix_create(struct operation *op, struct file *f);
int unix_finish(struct operation *op, struct file *f);
void unix_release(struct operation *op, struct file *f);
