/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/inet_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "kernel/diag_ask.h"

struct search {
	/* far end of a socket */
	uint32_t ino;
	uint8_t *address;
	uint16_t *port;
	/* holders of a port */
	inet_diag_holder holder;
	void *arg;
};

static int look(const uint8_t *payload, size_t len, void *arg)
{
	const struct search *s = arg;
	struct inet_diag_msg m;

	if (len < sizeof(m))
		return 0;
	memcpy(&m, payload, sizeof(m));
	if (s->holder)
		return s->holder(s->arg, m.idiag_family, (const uint8_t *)m.id.idiag_src, m.idiag_inode);
	if (m.idiag_inode != s->ino)
		return 0;
	memcpy(s->address, m.id.idiag_dst, 16);
	*s->port = ntohs(m.id.idiag_dport);
	return 1;
}

/* 0 when it was found, -ENOENT when it was not. */
static int search(int family, uint32_t states, uint16_t port, struct search *s)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 req;
	} request = {
		.head = { .nlmsg_len = sizeof(request),
			  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.req = { .sdiag_family = (uint8_t)family,
			 .sdiag_protocol = IPPROTO_TCP,
			 .idiag_states = states,
			 .id = { .idiag_sport = htons(port) } },
	};
	int r = diag_ask(&request, sizeof(request), look, s);

	/* A kernel without that part of sock_diag says ENOENT as well, which is no answer. */
	if (r == -ENOENT)
		return -EIO;
	return r == 0 ? -ENOENT : r < 0 ? r : 0;
}

int inet_diag_connecting(int family, uint32_t ino, uint8_t ret_address[16], uint16_t *ret_port)
{
	return search(family, 1u << TCP_SYN_SENT, 0,
		      &(struct search){ .ino = ino, .address = ret_address, .port = ret_port });
}

int inet_diag_holders(uint16_t port, inet_diag_holder holder, void *arg)
{
	struct search s = { .holder = holder, .arg = arg };
	int r = search(AF_INET, UINT32_MAX, port, &s);

	return r == -ENOENT ? search(AF_INET6, UINT32_MAX, port, &s) : r;
}
