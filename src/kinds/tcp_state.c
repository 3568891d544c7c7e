/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/inet.h"

/*
 * The states of a TCP socket, and which of them can be carried. TIME_WAIT is none that a descriptor shows: the kernel then
 * keeps a small record of its own, and the socket is closed.
 */

static const char *const names[] = {
	"in an unknown state",
	"established",
	"connecting (SYN_SENT)",
	"being connected (SYN_RECV)",
	"closing (FIN_WAIT1)",
	"closing (FIN_WAIT2)",
	"closing (TIME_WAIT)",
	"closed",
	"closing (CLOSE_WAIT)",
	"closing (LAST_ACK)",
	"listening",
	"closing",
};

const char *tcp_state_name(uint32_t state)
{
	return names[state < ARRAY_SIZE(names) ? state : 0];
}

bool tcp_state_connected(uint32_t state)
{
	return state == TCP_ESTABLISHED || state == TCP_SYN_SENT || state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 ||
	       state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK || state == TCP_CLOSING;
}

bool tcp_state_fin_received(uint32_t state)
{
	return state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK || state == TCP_CLOSING;
}

bool tcp_state_fin_sent(uint32_t state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_LAST_ACK || state == TCP_CLOSING;
}

bool tcp_socket_ended(int fd, uint32_t state)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return state == TCP_CLOSE && poll(&p, 1, 0) == 1 && (p.revents & POLLRDHUP);
}

static int refuse(struct operation *op, const struct fd_facts *f, const char *what, const char *hint)
{
	error_raise(op->error, EOPNOTSUPP, "%s: TCP connection %s %s", facts_describe(op, f), inet_ends_text(op, f->fd),
		    what);
	error_hint(op->error, "%s", hint);
	return -EOPNOTSUPP;
}

static int check_listener(struct operation *op, const struct fd_facts *f, unsigned waiting)
{
	if (waiting == 0 || op->options->skip_in_flight)
		return 0;
	error_raise(op->error, EOPNOTSUPP, "%s: %u connection(s) wait to be accepted on %s, which is not carried",
		    facts_describe(op, f), waiting, inet_ends_text(op, f->fd));
	error_hint(op->error, "Let the program accept them, or leave them out with --skip-in-flight: they are reset.");
	return -EOPNOTSUPP;
}

/* A byte out of band has no place in the image: its position in the stream cannot be read or set. */
static bool has_urgent_data(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };
	int at_mark = 0;

	return (poll(&p, 1, 0) == 1 && (p.revents & POLLPRI)) || (ioctl(fd, SIOCATMARK, &at_mark) == 0 && at_mark);
}

static bool has_upper_layer(int fd)
{
	char name[16] = "";
	socklen_t len = sizeof(name) - 1;

	return getsockopt(fd, IPPROTO_TCP, TCP_ULP, name, &len) == 0 && len > 0 && name[0];
}

static int check_connection(struct operation *op, const struct fd_facts *f, uint32_t state)
{
	if (!op->options->tcp_established) {
		error_raise(op->error, EOPNOTSUPP, "%s: TCP connection %s is %s", facts_describe(op, f),
			    inet_ends_text(op, f->fd), tcp_state_name(state));
		error_hint(op->error, "Carry connections with --tcp-established, or drop them with --tcp-close.");
		return -EOPNOTSUPP;
	}
	if (has_urgent_data(f->fd))
		return refuse(op, f, "has urgent data, which is not carried",
			      "Let the program read it (MSG_OOB) first.");
	if (has_upper_layer(f->fd))
		return refuse(op, f, "is encrypted or framed by the kernel (TCP_ULP), which is not carried",
			      "Close it before the dump, or run the program without kernel TLS.");
	return 0;
}

int tcp_check(struct operation *op, const struct fd_facts *f, uint32_t *ret_state)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(f->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return error_raise_call(op->error, errno, "getsockopt(TCP_INFO)", "%s", facts_describe(op, f));
	*ret_state = info.tcpi_state;
	/* For a listener the kernel puts the length of its queue into tcpi_unacked. */
	if (info.tcpi_state == TCP_LISTEN)
		return check_listener(op, f, info.tcpi_unacked);
	if (tcp_state_connected(info.tcpi_state) && !op->options->tcp_close)
		return check_connection(op, f, info.tcpi_state);
	if (info.tcpi_state == TCP_CLOSE || op->options->tcp_close)
		return 0;
	return refuse(op, f, tcp_state_name(info.tcpi_state), "Dump again a moment later.");
}
