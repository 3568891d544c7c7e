/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/inet_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/cleanup.h"

static int ask(int fd, int family, uint32_t states, uint16_t port)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 req;
	} message = {
		.head = { .nlmsg_len = sizeof(message),
			  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.req = { .sdiag_family = (uint8_t)family,
			 .sdiag_protocol = IPPROTO_TCP,
			 .idiag_states = states,
			 .id = { .idiag_sport = htons(port) } },
	};

	return send(fd, &message, sizeof(message), 0) < 0 ? -errno : 0;
}

struct search {
	/* far end of a socket */
	uint32_t ino;
	uint8_t *address;
	uint16_t *port;
	/* holders of a port */
	inet_diag_holder holder;
	void *arg;
};

/* One datagram of answers: 1 when it was found, 0 when more follows, -ENOENT at the end. */
static int look(char *buf, int len, const struct search *s)
{
	for (struct nlmsghdr *h = (struct nlmsghdr *)buf; mnl_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len)) {
		const struct inet_diag_msg *m = mnl_nlmsg_get_payload(h);

		if (h->nlmsg_type == NLMSG_DONE)
			return -ENOENT;
		if (h->nlmsg_type == NLMSG_ERROR)
			return -EIO;
		if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
			continue;
		if (s->holder) {
			if (s->holder(s->arg, m->idiag_family, (const uint8_t *)m->id.idiag_src, m->idiag_inode))
				return 1;
		} else if (m->idiag_inode == s->ino) {
			memcpy(s->address, m->id.idiag_dst, 16);
			*s->port = ntohs(m->id.idiag_dport);
			return 1;
		}
	}
	return 0;
}

static int search(int family, uint32_t states, uint16_t port, const struct search *s)
{
	AUTOCLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	struct timeval limit = { .tv_sec = 5 };
	char buf[32768] __attribute__((aligned(8)));
	int r;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	r = ask(fd, family, states, port);
	while (r == 0) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0 ? -errno : look(buf, (int)n, s);
	}
	return r < 0 ? r : 0;
}

int inet_diag_connecting(int family, uint32_t ino, uint8_t ret_address[16], uint16_t *ret_port)
{
	return search(family, 1u << TCP_SYN_SENT, 0,
		      &(struct search){ .ino = ino, .address = ret_address, .port = ret_port });
}

int inet_diag_holders(uint16_t port, inet_diag_holder holder, void *arg)
{
	const struct search s = { .holder = holder, .arg = arg };
	int r = search(AF_INET, UINT32_MAX, port, &s);

	return r == -ENOENT ? search(AF_INET6, UINT32_MAX, port, &s) : r;
}
