/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kinds/kind.h"
#include "sk-opts.pb-c.h"
#include "sk-packet.pb-c.h"

#define SCM_RIGHTS_MAX 253u    /* the kernel's SCM_MAX_FD */

/*
 * What unix and IP sockets share: options at SOL_SOCKET, and the packets that wait in a receive queue. Functions that
 * take the operation return 0 or -errno, raised. Nothing here waits for a peer: sockets are read with MSG_DONTWAIT, and
 * what is sent has room.
 */

/* SO_DOMAIN of the local copy; -1 when @f is no socket or was not taken. */
int socket_domain(const struct fd_facts *f);

/* An option that is an int, of a local copy or of firn's own: 0, or -errno, not raised; *ret is left alone then. */
int socket_get_int(int fd, int level, int option, int *ret);
/* Is it there, and not 0? */
bool socket_is_on(int fd, int level, int option);

/* The open flags that a socket has: O_RDWR, O_NONBLOCK and O_ASYNC, without the descriptor's O_CLOEXEC. */
uint32_t socket_flags(const struct fd_facts *f);

/* dump, in check: refuses a socket of another network namespace, and an eBPF filter. Changes nothing. */
int socket_check(struct operation *op, const struct fd_facts *f);
/* dump: says in the log that what waits in the receive queue is dropped, when something does. */
void socket_warn_queue(const struct fd_facts *f);
/* dump. Refuses what the format cannot carry (kernel TLS and its like stay invisible). */
int socket_opts_dump(struct operation *op, const struct fd_facts *f, SkOptsEntry **ret);
/* restore: checks the hostile entry of file @f. */
int socket_opts_decode(struct operation *op, const struct file *f, const SkOptsEntry *m);
/* restore: sets what differs from the socket's present values. After queued data was sent: buffer sizes, credentials
 * and filters must not disturb that. */
int socket_opts_apply(struct operation *op, int fd, const SkOptsEntry *m, const char *describe);
/* What bind() asks for: SO_REUSEADDR, SO_REUSEPORT, SO_BINDTODEVICE, the owner; and the filter. */
int socket_opts_before_bind(struct operation *op, int fd, const SkOptsEntry *m, const char *describe);
/* Makes room to send @bytes at once, as far as the privileges allow. */
void socket_make_room(int fd, size_t bytes);

/* A packet in a receive queue; of a stream: a run of bytes. */
struct packet {
	uint32_t id_for;                /* the file that will receive it; 0 with backlog_of */
	uint32_t backlog_of;            /* the file whose connection waits to be accepted, with this in its queue; or 0 */
	const uint8_t *data;
	size_t len;
	const uint8_t *source;          /* sun_path of the sender; NULL: it has no name */
	size_t source_len;
	bool has_creds;                 /* SCM_CREDENTIALS came with it */
	pid_t pid;
	uid_t uid;
	gid_t gid;
	int *fds;                       /* dump, until they are resolved: copies of the descriptors in it */
	uint32_t *rights;               /* the files that come with it */
	size_t n_rights;
};

struct packet_list {
	struct packet *items;           /* in the arena */
	size_t n, room;
};

/* Reads the receive queue of the unix socket @f without taking anything out and appends it to @ret. Descriptors in it
 * become files of the table. */
int packets_peek(struct operation *op, const struct file *f, int type, struct packet_list *ret);
/* Refuses a stream with an urgent byte (MSG_OOB) in its queue. Disturbs nobody. 0 or -errno, raised. */
int packets_check_urgent(struct operation *op, const char *describe, int fd);
/* Turns p->fds into files, which are added to the table where they are not there yet; takes the descriptors. */
int packet_resolve_rights(struct operation *op, const struct file *holder, struct packet *p);

/* sk-queues.img. */
int packets_write(struct operation *op, const struct packet_list *l);
int packets_read(struct operation *op, struct packet_list *ret);
