/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/socket_filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <sys/socket.h>

#include "kinds/common.h"

/*
 * The kernel keeps the classic form of a filter that was attached as such, and gives it back instruction by instruction
 * (SO_GET_FILTER, Linux 3.8). A program that was attached as eBPF has none: the answer is EACCES. The programs that
 * choose among the sockets of a SO_REUSEPORT group cannot be seen at all.
 */

/* The number of instructions, 0 without a filter. */
static int filter_length(int fd)
{
	socklen_t len = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &len) < 0)
		return errno == ENOPROTOOPT || errno == EOPNOTSUPP ? 0 : -errno;
	return len > BPF_MAXINSNS ? -E2BIG : (int)len;
}

int socket_filter_check(struct operation *op, const struct fd_facts *f)
{
	int n = filter_length(f->fd);

	if (n == -EACCES) {
		(void)error_raise(op->error, EOPNOTSUPP, "%s: its eBPF filter is not carried", facts_describe(op, f));
		error_hint(op->error, "Detach the eBPF program (SO_DETACH_FILTER) before the dump.");
		return -EOPNOTSUPP;
	}
	if (n < 0)
		return error_raise_call(op->error, -n, "getsockopt(SO_GET_FILTER)", "%s", facts_describe(op, f));
	return 0;
}

int socket_filter_dump(struct operation *op, const struct fd_facts *f, SkOptsEntry *m)
{
	struct sock_filter code[BPF_MAXINSNS];
	int n, locked = 0, r;
	socklen_t len;

	r = socket_filter_check(op, f);
	if (r < 0)
		return r;
	len = sizeof(locked);
	if (getsockopt(f->fd, SOL_SOCKET, SO_LOCK_FILTER, &locked, &len) == 0 && locked)
		m->has_firn_lock_filter = m->firn_lock_filter = true;
	n = filter_length(f->fd);
	if (n <= 0)
		return n < 0 ? error_raise_call(op->error, -n, "getsockopt(SO_GET_FILTER)", "%s", facts_describe(op, f))
			     : 0;
	len = (socklen_t)n;
	if (getsockopt(f->fd, SOL_SOCKET, SO_GET_FILTER, code, &len) < 0)
		return error_raise_call(op->error, errno, "getsockopt(SO_GET_FILTER)", "%s", facts_describe(op, f));
	m->so_filter = arena_array(&op->arena, len, sizeof(*m->so_filter));
	if (!m->so_filter)
		return raise_no_memory(op);
	m->n_so_filter = len;
	/* As the image has it: code, jt, jf, k from the top bits down. */
	for (size_t i = 0; i < len; i++)
		m->so_filter[i] = (uint64_t)code[i].code << 48 | (uint64_t)code[i].jt << 40 |
				  (uint64_t)code[i].jf << 32 | code[i].k;
	return 0;
}

int socket_filter_apply(struct operation *op, int fd, const SkOptsEntry *m, const char *describe)
{
	struct sock_filter code[BPF_MAXINSNS];
	struct sock_fprog program = { .len = (unsigned short)m->n_so_filter, .filter = code };

	if (m->n_so_filter == 0 || filter_length(fd) > 0)
		return 0;
	for (size_t i = 0; i < m->n_so_filter; i++)
		code[i] = (struct sock_filter){ .code = (uint16_t)(m->so_filter[i] >> 48),
						.jt = (uint8_t)(m->so_filter[i] >> 40),
						.jf = (uint8_t)(m->so_filter[i] >> 32),
						.k = (uint32_t)m->so_filter[i] };
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		return error_raise_call(op->error, errno, "setsockopt(SO_ATTACH_FILTER)", "%s", describe);
	return 0;
}

int socket_filter_lock(struct operation *op, int fd, const SkOptsEntry *m, const char *describe)
{
	int on = 1;

	if (m->has_firn_lock_filter && m->firn_lock_filter &&
	    setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)) < 0)
		return error_raise_call(op->error, errno, "setsockopt(SO_LOCK_FILTER)", "%s", describe);
	return 0;
}
