/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/types.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "kinds/socket.h"
#include "sk-vsock.pb-c.h"

/*
 * Sockets between virtual machines and their host (man 7 vsock): those that are new, bound or listening. A connection
 * lives in the hypervisor too, and is refused.
 *
 * The image format of CRIU has no such type; the entry is of type EXT ("external"), which CRIU refuses without a plugin,
 * and its content is in a field of firn's own. The length of a listener's queue is told by nothing; it gets the longest.
 */

static bool vsock_recognise(const struct fd_facts *f)
{
	return socket_domain(f) == AF_VSOCK;
}

static int vsock_check(struct operation *op, const struct fd_facts *f)
{
	struct sockaddr_vm peer = { 0 };
	socklen_t len = sizeof(peer);
	struct pollfd poll_fd = { .fd = f->fd, .events = POLLIN };
	int type = 0, r;

	r = socket_check(op, f);
	if (r < 0)
		return r;
	if (getpeername(f->fd, (struct sockaddr *)&peer, &len) == 0) {
		(void)error_raise(op->error, EOPNOTSUPP, "%s: a vsock connection to %u:%u is not carried",
				  facts_describe(op, f), peer.svm_cid, peer.svm_port);
		error_hint(op->error, "Close it before the dump: its other end is in another machine.");
		return -EOPNOTSUPP;
	}
	if (socket_is_on(f->fd, SOL_SOCKET, SO_ACCEPTCONN) && poll(&poll_fd, 1, 0) > 0) {
		(void)error_raise(op->error, EOPNOTSUPP,
				  "%s: a vsock connection waits to be accepted, which is not carried",
				  facts_describe(op, f));
		error_hint(op->error, "Let the program accept it, then dump again.");
		return -EOPNOTSUPP;
	}
	len = sizeof(type);
	if (getsockopt(f->fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_DGRAM) {
		(void)error_raise(op->error, EOPNOTSUPP, "%s: a vsock datagram socket is not carried",
				  facts_describe(op, f));
		error_hint(op->error, "Let the program close it before the dump.");
		return -EOPNOTSUPP;
	}
	return 0;
}

static uint64_t get_u64(int fd, int option)
{
	uint64_t value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, AF_VSOCK, option, &value, &len) < 0 ? 0 : value;
}

static int vsock_dump(struct operation *op, struct file *f)
{
	FirnVsockEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct sockaddr_vm name = { 0 };
	struct {
		int64_t sec, usec;
	} tv = { 0 };
	socklen_t len = sizeof(name);
	int type = 0, fd = f->facts.fd, r;

	if (!m)
		return raise_no_memory(op);
	firn_vsock_entry__init(m);
	if (getsockname(fd, (struct sockaddr *)&name, &len) < 0)
		return error_raise_call(op->error, errno, "getsockname", "%s", facts_describe(op, &f->facts));
	len = sizeof(type);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return error_raise_call(op->error, errno, "getsockopt(SO_TYPE)", "%s", facts_describe(op, &f->facts));
	m->type = (uint32_t)type;
	m->flags = socket_flags(&f->facts);
	m->bound = name.svm_port != VMADDR_PORT_ANY;
	m->listening = socket_is_on(fd, SOL_SOCKET, SO_ACCEPTCONN);
	m->cid = name.svm_cid;
	m->port = name.svm_port;
	m->buffer_size = get_u64(fd, SO_VM_SOCKETS_BUFFER_SIZE);
	m->buffer_min = get_u64(fd, SO_VM_SOCKETS_BUFFER_MIN_SIZE);
	m->buffer_max = get_u64(fd, SO_VM_SOCKETS_BUFFER_MAX_SIZE);
	len = sizeof(tv);
	if (getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &tv, &len) == 0 && len == sizeof(tv)) {
		m->has_connect_sec = m->has_connect_usec = true;
		m->connect_sec = (uint64_t)tv.sec;
		m->connect_usec = (uint64_t)tv.usec;
	}
	r = socket_opts_dump(op, &f->facts, &m->opts);
	if (r == 0 && fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		r = raise_no_memory(op);
	f->entry->firn_vsock = m;
	return r;
}

/* ---- restore ---- */

static bool vsock_owns(const FileEntry *entry)
{
	return entry->firn_vsock != NULL;
}

static void vsock_describe(const FileEntry *entry, char *buf, size_t size)
{
	const FirnVsockEntry *m = entry->firn_vsock;

	if (m && m->bound)
		(void)snprintf(buf, size, "vsock socket %u:%u%s", m->cid, m->port, m->listening ? ", listening" : "");
	else if (m)
		(void)snprintf(buf, size, "vsock socket");
}

static int vsock_decode(struct operation *op, struct file *f)
{
	const FirnVsockEntry *m = f->entry->firn_vsock;
	char text[96] = "vsock socket";
	int r;

	if (!m || (m->type != SOCK_STREAM && m->type != SOCK_SEQPACKET) || (m->listening && !m->bound) ||
	    m->connect_sec > INT64_MAX || m->connect_usec > 999999)
		return raise_damaged(op, f, "the vsock socket");
	r = socket_opts_decode(op, f, m->opts);
	if (r < 0)
		return r;
	vsock_describe(f->entry, text, sizeof(text));
	f->describe = arena_strdup(&op->arena, text);
	return f->describe ? 0 : raise_no_memory(op);
}

static int set_options(struct operation *op, const struct file *f, const FirnVsockEntry *m)
{
	struct {
		int64_t sec, usec;
	} tv = { (int64_t)m->connect_sec, (int64_t)m->connect_usec };
	/* The kernel keeps the size between the two bounds. */
	const struct {
		int option;
		uint64_t value;
	} sizes[] = { { SO_VM_SOCKETS_BUFFER_MIN_SIZE, m->buffer_min },
		      { SO_VM_SOCKETS_BUFFER_MAX_SIZE, m->buffer_max },
		      { SO_VM_SOCKETS_BUFFER_SIZE, m->buffer_size } };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (get_u64(f->fd, sizes[i].option) != sizes[i].value &&
		    setsockopt(f->fd, AF_VSOCK, sizes[i].option, &sizes[i].value, sizeof(sizes[i].value)) < 0)
			return error_raise_call(op->error, errno, "setsockopt", "%s, the size of its buffer",
						f->describe);
	}
	if (m->has_connect_sec && (tv.sec || tv.usec) &&
	    setsockopt(f->fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &tv, sizeof(tv)) < 0)
		return error_raise_call(op->error, errno, "setsockopt(SO_VM_SOCKETS_CONNECT_TIMEOUT)", "%s",
					f->describe);
	return 0;
}

static int vsock_create(struct operation *op, struct file *f)
{
	const FirnVsockEntry *m = f->entry->firn_vsock;
	struct sockaddr_vm name = { .svm_family = AF_VSOCK, .svm_cid = m->cid, .svm_port = m->port };
	int r;

	f->fd = socket(AF_VSOCK, (int)m->type | SOCK_CLOEXEC, 0);
	if (f->fd < 0)
		return error_raise_call(op->error, errno, "socket", "%s", f->describe);
	r = set_options(op, f, m);
	if (r == 0)
		r = socket_opts_before_bind(op, f->fd, m->opts, f->describe);
	if (r == 0 && m->bound && bind(f->fd, (struct sockaddr *)&name, sizeof(name)) < 0) {
		r = error_raise_call(op->error, errno, "bind", "%s", f->describe);
		if (r == -EADDRINUSE)
			error_hint(op->error, "Another process has that port: end it first (ss --vsock -lp names it).");
	}
	return r;
}

static int vsock_finish(struct operation *op, struct file *f)
{
	const FirnVsockEntry *m = f->entry->firn_vsock;
	int r = socket_opts_apply(op, f->fd, m->opts, f->describe);

	if (r == 0 && m->listening && listen(f->fd, SOMAXCONN) < 0)
		r = error_raise_call(op->error, errno, "listen", "%s", f->describe);
	if (r == 0)
		r = file_set_flags(op, f, m->flags);
	return r == 0 ? fown_apply(op, f->fd, m->fown, f->describe) : r;
}

const struct kind kind_vsock_socket = {
	.name = "vsock socket",
	.type = FD_TYPES__EXT,
	.recognise = vsock_recognise,
	.check = vsock_check,
	.dump = vsock_dump,
	.owns = vsock_owns,
	.decode = vsock_decode,
	.create = vsock_create,
	.finish = vsock_finish,
	.describe = vsock_describe,
};
