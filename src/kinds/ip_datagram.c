/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/ip_datagram.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/diag.h"
#include "kernel/proc_net.h"
#include "kernel/procfs.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "kinds/udp_queue.h"
#include "watch/recorder.h"

/*
 * shutdown() of a socket without a peer fails with ENOTCONN and works all the same (inet_shutdown()). The half that
 * sends is told by SOCK_DIAG alone, for sockets with a port; that of receiving by poll() as well.
 */

/* What the kernel's tables tell, read once a dump. */
struct ip_tables {
	struct proc_net_socket *sockets;
	size_t n_sockets;
	struct inet_diag *udp, *udplite;
	size_t n_udp, n_udplite;
};

bool ip_socket_is(const struct fd_facts *f, int *ret_type, int *ret_protocol)
{
	int domain = socket_domain(f);
	socklen_t len = sizeof(int);

	return (domain == AF_INET || domain == AF_INET6) &&
	       getsockopt(f->fd, SOL_SOCKET, SO_TYPE, ret_type, &len) == 0 &&
	       getsockopt(f->fd, SOL_SOCKET, SO_PROTOCOL, ret_protocol, &len) == 0;
}

static int tables_of(struct operation *op, struct ip_tables **ret)
{
	void **slot = files_kind_state(op, &kind_udp_socket);
	struct ip_tables *t = *slot;
	int r;

	if (!t) {
		t = arena_alloc(&op->arena, sizeof(*t));
		if (!t)
			return raise_no_memory(op);
		recorder_step(0, NULL, "read", "/proc/net/udp, raw and their like");
		r = read_proc_net(&op->arena, &t->sockets, &t->n_sockets);
		if (r < 0)
			return error_raise_call(op->error, -r, "read", "/proc/net/udp, raw and their like");
		/* A kernel without udp_diag leaves what poll() tells. */
		if (read_inet_diag(IPPROTO_UDP, &op->arena, &t->udp, &t->n_udp) < 0)
			t->n_udp = 0;
		if (read_inet_diag(IPPROTO_UDPLITE, &op->arena, &t->udplite, &t->n_udplite) < 0)
			t->n_udplite = 0;
		*slot = t;
	}
	*ret = t;
	return 0;
}

static const struct inet_diag *diag_find(const struct inet_diag *d, size_t n, uint64_t ino)
{
	for (size_t i = 0; i < n; i++) {
		if (d[i].ino == (uint32_t)ino)
			return &d[i];
	}
	return NULL;
}

static int compare_ino(const void *key, const void *item)
{
	uint64_t ino = *(const uint64_t *)key, its = ((const struct proc_net_socket *)item)->ino;

	return ino < its ? -1 : ino > its;
}

/* Connected or not, to whom, and which halves are shut. */
static int dump_state(struct operation *op, const struct fd_facts *f, InetSkEntry *m)
{
	struct pollfd poll_fd = { .fd = f->fd, .events = POLLRDHUP };
	const struct proc_net_socket *s;
	const struct inet_diag *d;
	struct ip_tables *t = NULL;
	uint64_t ino = f->st.st_ino;
	unsigned shut = 0;
	int r;

	r = tables_of(op, &t);
	if (r < 0)
		return r;
	m->state = inet_peer_unset(m) ? TCP_CLOSE : TCP_ESTABLISHED;
	s = t->n_sockets ? bsearch(&ino, t->sockets, t->n_sockets, sizeof(*s), compare_ino) : NULL;
	if (s && s->state == TCP_ESTABLISHED) {
		m->state = TCP_ESTABLISHED;
		memcpy(m->dst_addr, s->peer, m->n_dst_addr * sizeof(uint32_t));
		m->dst_port = s->peer_port;
	}
	d = m->proto == IPPROTO_UDPLITE ? diag_find(t->udplite, t->n_udplite, ino) : diag_find(t->udp, t->n_udp, ino);
	if (d)
		shut = d->shutdown & 3u;
	if (poll(&poll_fd, 1, 0) > 0) {
		if (poll_fd.revents & POLLHUP)
			shut = 3;
		else if (poll_fd.revents & POLLRDHUP)
			shut |= 1;
	}
	if (shut) {
		m->has_shutdown = true;
		m->shutdown = (SkShutdown)shut;
	}
	return 0;
}

int ip_datagram_check_error(struct operation *op, const struct fd_facts *f)
{
	struct pollfd p = { .fd = f->fd };

	if (poll(&p, 1, 0) < 0 || !(p.revents & POLLERR))
		return 0;
	(void)error_raise(op->error, EOPNOTSUPP, "%s: an error waits to be reported by it, which is not carried",
			  facts_describe(op, f));
	error_hint(op->error, "Let the program use the socket once, then dump again.");
	return -EOPNOTSUPP;
}

int ip_datagram_dump(struct operation *op, struct file *f)
{
	InetSkEntry *m = arena_alloc(&op->arena, sizeof(*m));
	int type, protocol, r;

	if (!m)
		return raise_no_memory(op);
	inet_sk_entry__init(m);
	if (!ip_socket_is(&f->facts, &type, &protocol))
		return error_raise_call(op->error, errno, "getsockopt(SO_PROTOCOL)", "%s",
					facts_describe(op, &f->facts));
	m->id = f->id;
	m->ino = (uint32_t)f->facts.st.st_ino;
	m->type = (uint32_t)type;
	m->proto = (uint32_t)protocol;
	m->flags = socket_flags(&f->facts);
	r = inet_address_dump(op, &f->facts, m);
	if (r == 0)
		r = dump_state(op, &f->facts, m);
	if (r == 0)
		r = socket_opts_dump(op, &f->facts, &m->opts);
	if (r == 0)
		r = ip_options_dump(op, &f->facts, m);
	if (r == 0)
		r = ip_groups_dump(op, &f->facts, m);
	if (r == 0 && fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		r = raise_no_memory(op);
	if (r == 0)
		r = udp_queue_dump(op, f, m);
	f->entry->isk = m;
	return r;
}

/* ---- restore ---- */

int ip_datagram_decode(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;
	char text[256] = "IP socket";
	int r;

	if (!m || m->id != f->id || !m->opts || !m->fown || m->proto > UINT16_MAX)
		return raise_damaged(op, f, "the IP socket");
	if (!inet_address_valid(m))
		return raise_damaged(op, f, "the address of an IP socket");
	if (m->has_shutdown && (unsigned)m->shutdown > 3)
		return raise_damaged(op, f, "the shutdown of an IP socket");
	r = socket_opts_decode(op, f, m->opts);
	if (r == 0)
		r = ip_options_decode(op, f, m);
	if (r == 0)
		r = ip_groups_decode(op, f, m);
	if (r == 0)
		r = udp_queue_decode(op, f, m);
	if (r < 0)
		return r;
	f->kind->describe(f->entry, text, sizeof(text));
	f->describe = arena_strdup(&op->arena, text);
	return f->describe ? 0 : raise_no_memory(op);
}

/* A ping socket is for the groups of net.ipv4.ping_group_range: the owner's may be one where root's is not. */
static int make_socket(const InetSkEntry *m)
{
	int fd = socket((int)m->family, (int)m->type | SOCK_CLOEXEC, (int)m->proto);
	int number = errno;
	gid_t back = getegid();

	if (fd >= 0 || number != EACCES || !m->opts->has_firn_gid)
		return fd < 0 ? -number : fd;
	/* The raw system call changes this thread alone. */
	if (syscall(SYS_setresgid, -1, m->opts->firn_gid, -1) == 0) {
		fd = socket((int)m->family, (int)m->type | SOCK_CLOEXEC, (int)m->proto);
		if (syscall(SYS_setresgid, -1, back, -1) < 0)
			number = errno;
	}
	return fd < 0 ? -number : fd;
}

/* Is there another socket of the tree with the same protocol and port? Then both bound it with SO_REUSEADDR, which may
 * have been cleared since. */
static bool port_is_shared(const struct operation *op, const struct file *f)
{
	const InetSkEntry *m = f->entry->isk;

	for (size_t i = 0; i < op->files->n_files; i++) {
		const struct file *other = op->files->files[i];
		const InetSkEntry *o = other->entry->isk;

		if (other != f && other->kind == f->kind && o && o->proto == m->proto && o->src_port == m->src_port)
			return true;
	}
	return false;
}

static int raise_bind(struct operation *op, const struct file *f, int number)
{
	(void)error_raise_call(op->error, number, "bind", "%s", f->describe);
	if (number == EADDRINUSE)
		error_hint(op->error, "Another process has that port: end it first (ss -ulnp names it).");
	else if (number == EADDRNOTAVAIL)
		error_hint(op->error, "This machine does not have that address: add it to an interface first.");
	return -number;
}

/* No packet is sent, and nothing waited for. -errno, not raised. */
static int connect_peer(int fd, const InetSkEntry *m)
{
	struct sockaddr_storage ss;
	socklen_t len;

	if (m->state != TCP_ESTABLISHED)
		return 0;
	inet_peer_fill(m, &ss, &len);
	return connect(fd, (const struct sockaddr *)&ss, len) < 0 ? -errno : 0;
}

/*
 * A client that only connects gets its address from the route, and an address that was bound to stays when it connects
 * elsewhere: a bind() to 127.0.0.1 would keep it from any other machine. Whether an address was bound to is not told, but
 * for IPv6, where bind() sets IPV6_V6ONLY; the kernel's choice of a port is the sign for IPv4.
 */
static bool address_came_by_route(const InetSkEntry *m)
{
	AUTOFREE char *text = NULL;
	unsigned first = 0, last = 0;
	size_t len;

	if (m->type != SOCK_DGRAM || m->state != TCP_ESTABLISHED || m->src_port == 0)
		return false;
	if (m->family == AF_INET6)
		return !m->v6only;
	return procfs_read(AT_FDCWD, "/proc/sys/net/ipv4/ip_local_port_range", 64, &text, &len) == 0 &&
	       sscanf(text, "%u %u", &first, &last) == 2 && m->src_port >= first && m->src_port <= last;
}

/* 1: the address is the one it had. 0: it is not, or the port is taken for all addresses; the socket is to be made anew. */
static int bind_by_route(const struct file *f, const InetSkEntry *m)
{
	struct sockaddr_storage want, ss;
	struct sockaddr_in *in = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
	socklen_t len;

	inet_address_fill(m, &want, &len);
	ss = want;
	if (m->family == AF_INET6)
		in6->sin6_addr = in6addr_any;
	else
		in->sin_addr.s_addr = INADDR_ANY;
	if (bind(f->fd, (struct sockaddr *)&ss, len) < 0 || connect_peer(f->fd, m) < 0)
		return 0;
	len = sizeof(ss);
	memset(&ss, 0, sizeof(ss));
	return getsockname(f->fd, (struct sockaddr *)&ss, &len) == 0 && memcmp(&ss, &want, len) == 0;
}

static int do_bind(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	static const uint32_t any[4];
	struct sockaddr_storage ss;
	socklen_t len;
	int on = 1;

	/* The port of a raw socket is its protocol. */
	if (m->type == SOCK_RAW ? memcmp(m->src_addr, any, m->n_src_addr * sizeof(uint32_t)) == 0
				: inet_address_unset(m))
		return 0;
	if (m->type == SOCK_DGRAM && port_is_shared(op, f))
		(void)setsockopt(f->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	inet_address_fill(m, &ss, &len);
	return bind(f->fd, (const struct sockaddr *)&ss, len) < 0 ? raise_bind(op, f, errno) : 0;
}

static int do_connect(struct operation *op, const struct file *f, const InetSkEntry *m)
{
	int r = connect_peer(f->fd, m);

	if (r < 0)
		(void)error_raise_call(op->error, -r, "connect", "%s", f->describe);
	if (r == -ENETUNREACH || r == -EHOSTUNREACH)
		error_hint(op->error, "This machine has no route to the peer.");
	return r;
}

/* Everything that comes before bind(). */
static int prepare(struct operation *op, struct file *f, const InetSkEntry *m)
{
	int r;

	f->fd = make_socket(m);
	if (f->fd < 0) {
		r = f->fd;
		f->fd = -1;
		(void)error_raise_call(op->error, -r, "socket", "%s", f->describe);
		if (r == -EACCES)
			error_hint(op->error,
				   "The sysctl net.ipv4.ping_group_range says which groups may have ping sockets.");
		return r;
	}
	r = ip_options_apply(op, f, m);
	if (r == 0)
		r = socket_opts_before_bind(op, f->fd, m->opts, f->describe);
	/* connect() to a broadcast address asks for it. */
	if (r == 0 && m->opts->has_so_broadcast && m->opts->so_broadcast &&
	    setsockopt(f->fd, SOL_SOCKET, SO_BROADCAST, &(int){ 1 }, sizeof(int)) < 0)
		r = error_raise_call(op->error, errno, "setsockopt(SO_BROADCAST)", "%s", f->describe);
	return r;
}

int ip_datagram_create(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;
	int r, on = 1;

	r = prepare(op, f, m);
	if (r == 0 && address_came_by_route(m)) {
		if (port_is_shared(op, f))
			(void)setsockopt(f->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind_by_route(f, m))
			return ip_groups_join(op, f, m);
		close(f->fd);
		r = prepare(op, f, m);
	}
	if (r == 0)
		r = do_bind(op, f, m);
	if (r == 0)
		r = ip_groups_join(op, f, m);
	return r == 0 ? do_connect(op, f, m) : r;
}

int ip_datagram_finish(struct operation *op, struct file *f)
{
	const InetSkEntry *m = f->entry->isk;
	int r, off = 0;

	/* Needed for bind() alone. */
	if (m->opts->has_reuseaddr && !m->opts->reuseaddr)
		(void)setsockopt(f->fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof(off));
	r = socket_opts_apply(op, f->fd, m->opts, f->describe);
	if (r == 0)
		r = udp_queue_send(op, f, m);
	if (r == 0)
		r = ip_options_apply_late(op, f, m);
	if (r == 0 && m->has_shutdown && m->shutdown != SK_SHUTDOWN__NONE &&
	    shutdown(f->fd, (int)m->shutdown - 1) < 0 && errno != ENOTCONN)
		r = error_raise_call(op->error, errno, "shutdown", "%s", f->describe);
	if (r == 0)
		r = file_set_flags(op, f, m->flags);
	return r == 0 ? fown_apply(op, f->fd, m->fown, f->describe) : r;
}
