/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "kernel/inet_diag.h"
#include "kinds/common.h"
#include "kinds/inet.h"
#include "kinds/ip_options.h"
#include "kinds/registry.h"
#include "kinds/socket.h"
#include "watch/recorder.h"

/*
 * The port of a socket without a connection. Connections of the time before that nobody holds any more (TIME_WAIT, FIN_WAIT2)
 * still have it. When they were made with SO_REUSEADDR, that option lets the owner come back; when not, bind() and listen()
 * say EADDRINUSE for a minute, although the program that was dumped listened all the while: the kernel asks only those who
 * come.
 *
 * So when nobody but such leftovers has the port, it is taken over:
 *  - bind(): repair mode makes the kernel share any port (SK_FORCE_REUSE). It ends before listen(), which a socket in repair
 *    mode may call, but never leaves again; and its connections would be in repair mode.
 *  - listen() looks once more (inet_csk_get_port()), and skips that when port, address, owner and SO_REUSEPORT are those of
 *    the socket that was bound last. That is a helper, bound in repair mode. Another helper, without SO_REUSEPORT, makes the
 *    kernel forget it.
 *
 * Without CAP_NET_ADMIN there is no repair mode, and EADDRINUSE stays.
 */

/* ---- who has the port? ---- */

struct claim {
	const struct operation *op;
	uint8_t address[16]; /* IPv4 mapped to IPv6 */
	bool left;	     /* there are leftovers */
};

static void map_address(int family, const void *address, uint8_t ret[16])
{
	static const uint8_t none[4];

	memset(ret, 0, 16);
	if (family == AF_INET6) {
		memcpy(ret, address, 16);
	} else if (memcmp(address, none, 4) != 0) {
		ret[10] = ret[11] = 0xff;
		memcpy(&ret[12], address, 4);
	}
}

static bool is_own(const struct operation *op, uint32_t ino)
{
	struct stat st;

	for (size_t i = 0; i < op->files->n_files; i++) {
		const struct file *f = op->files->files[i];

		if (f->kind == &kind_inet_socket && f->fd >= 0 && fstat(f->fd, &st) == 0 && (uint32_t)st.st_ino == ino)
			return true;
	}
	return false;
}

/* Ends the search at a process that has it. */
static bool holder(void *arg, int family, const uint8_t *address, uint32_t ino)
{
	static const uint8_t any[16];
	struct claim *c = arg;
	uint8_t its[16];

	map_address(family, address, its);
	if (memcmp(its, c->address, 16) != 0 && memcmp(its, any, 16) != 0 && memcmp(c->address, any, 16) != 0)
		return false;
	if (ino == 0)
		c->left = true;
	return ino != 0 && !is_own(c->op, ino);
}

static bool only_leftovers(const struct operation *op, const InetSkEntry *m)
{
	struct claim c = { .op = op };
	uint8_t address[16] = { 0 };

	memcpy(address, m->src_addr, m->n_src_addr * sizeof(uint32_t));
	map_address((int)m->family, address, c.address);
	return inet_diag_holders((uint16_t)m->src_port, holder, &c) == -ENOENT && c.left;
}

/* ---- taking it over: 0 or -errno, not raised ---- */

static int bind_over(int fd, const InetSkEntry *m)
{
	int on = TCP_REPAIR_ON, off = TCP_REPAIR_OFF, r = 0;
	struct sockaddr_storage ss;
	socklen_t len;

	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0)
		return -errno;
	inet_address_fill(m, &ss, &len);
	if (bind(fd, (const struct sockaddr *)&ss, len) < 0)
		r = -errno;
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)) < 0 && r == 0)
		r = -errno;
	return r;
}

/* What the kernel notes of the port is what @reuseport says. */
static int note_port(struct operation *op, const struct file *f, const InetSkEntry *m, int reuseport)
{
	AUTOCLOSE int fd = socket((int)m->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	struct file helper = *f;
	int r;

	if (fd < 0)
		return -errno;
	helper.fd = fd;
	r = socket_opts_before_bind(op, fd, m->opts, f->describe);
	if (r == 0)
		r = ip_options_apply(op, &helper, m);
	if (r == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &reuseport, sizeof(reuseport)) < 0)
		r = -errno;
	return r == 0 ? bind_over(fd, m) : r;
}

static int listen_over(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	int on = 1, wanted = m->opts->has_so_reuseport && m->opts->so_reuseport, r;

	r = note_port(op, f, m, on);
	if (r == 0 && setsockopt(f->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		r = -errno;
	if (r == 0 && listen(f->fd, (int)m->backlog) < 0)
		r = -errno;
	if (wanted)
		return r;
	if (setsockopt(f->fd, SOL_SOCKET, SO_REUSEPORT, &wanted, sizeof(wanted)) < 0 && r == 0)
		r = -errno;
	return r == 0 ? note_port(op, f, m, 0) : r;
}

/* ---- */

static int raise_port(struct operation *op, const struct file *f, int number, const char *call, int over)
{
	if (error_is_set(op->error))
		return over;
	error_raise_call(op->error, number, call, "%s", f->describe);
	if (over == -EPERM)
		error_hint(op->error, "Closed connections still have that port, for a minute or so. Only CAP_NET_ADMIN "
				      "can take it from them.");
	else if (number == EADDRINUSE)
		error_hint(op->error, "Another process has that port: end it first (ss -tlnp names it).");
	else if (number == EADDRNOTAVAIL)
		error_hint(op->error, "This machine does not have that address: add it to an interface first.");
	return -number;
}

int tcp_port_bind(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	struct sockaddr_storage ss;
	int reuse = 1, r = 0, number;
	socklen_t len;

	/* Until finish, which puts this back. */
	(void)setsockopt(f->fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
	inet_address_fill(m, &ss, &len);
	if (bind(f->fd, (const struct sockaddr *)&ss, len) == 0)
		return 0;
	number = errno;
	if (number == EADDRINUSE && only_leftovers(op, m)) {
		r = bind_over(f->fd, m);
		(void)setsockopt(f->fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
		if (r == 0)
			return 0;
	}
	return raise_port(op, f, number, "bind", r);
}

int tcp_port_listen(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	int r = 0, number;

	if (listen(f->fd, (int)m->backlog) == 0)
		return 0;
	number = errno;
	if (number == EADDRINUSE && only_leftovers(op, m)) {
		r = listen_over(op, f, m);
		if (r == 0)
			return 0;
	}
	return raise_port(op, f, number, "listen", r);
}
