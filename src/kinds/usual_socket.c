/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/usual_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kinds/common.h"
#include "kinds/socket.h"

struct usual_option {
	int level, option;
	int value;
	int result; /* of reading it */
};

struct usual_socket *usual_socket(struct operation *op, int domain, int type, int protocol, int *ret_errno)
{
	struct usual_socket *u;
	int fd;

	for (u = op->files->usual; u; u = u->next)
		if (u->domain == domain && u->type == type && u->protocol == protocol)
			return u;
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	*ret_errno = errno;
	if (fd < 0)
		return NULL;
	u = arena_alloc(&op->arena, sizeof(*u));
	if (!u) {
		close(fd);
		*ret_errno = ENOMEM;
		return NULL;
	}
	*u = (struct usual_socket){
		.next = op->files->usual, .domain = domain, .type = type, .protocol = protocol, .fd = fd
	};
	op->files->usual = u;
	return u;
}

/* Whoever dumps a socket asks for the same options in the same order as for the one before. */
static struct usual_option *find(struct usual_socket *u, int level, int option)
{
	for (size_t i = 0; i < u->n; i++) {
		size_t at = (u->last + i) % u->n;

		if (u->options[at].level == level && u->options[at].option == option) {
			u->last = at + 1;
			return &u->options[at];
		}
	}
	return NULL;
}

int usual_get_int(struct operation *op, struct usual_socket *u, int level, int option, int *ret)
{
	struct usual_option *o = find(u, level, option);

	if (!o && u->n == u->room) {
		size_t room = u->room ? u->room * 2 : 64;
		struct usual_option *bigger = arena_grow(&op->arena, u->options, u->n, room, sizeof(*bigger));

		if (!bigger)
			return socket_get_int(u->fd, level, option, ret);
		u->options = bigger;
		u->room = room;
	}
	if (!o) {
		o = &u->options[u->n++];
		*o = (struct usual_option){ .level = level, .option = option };
		o->result = socket_get_int(u->fd, level, option, &o->value);
	}
	if (o->result == 0)
		*ret = o->value;
	return o->result;
}

void usual_sockets_release(struct operation *op)
{
	for (struct usual_socket *u = op->files->usual; u; u = u->next)
		close(u->fd);
	op->files->usual = NULL;
}
