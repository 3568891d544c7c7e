/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "kinds/common.h"
#include "kinds/ip_datagram.h"
#include "kinds/registry.h"
#include "watch/recorder.h"

/*
 * UDP and UDP-Lite sockets, and those of ICMP that send echo requests without privileges ("ping sockets").
 *
 * Data that was sent with UDP_CORK or MSG_MORE and waits for the rest cannot be read back: it is refused. It counts as
 * memory of the send queue, as do datagrams that a network card has not sent yet; these are waited for.
 */
#define CARD_TURNS 20
#define CARD_TURN_MS 10

static bool is_udp(int type, int protocol)
{
	return type == SOCK_DGRAM && (protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
				      protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6);
}

static bool udp_recognise(const struct fd_facts *f)
{
	int type, protocol;

	return ip_socket_is(f, &type, &protocol) && is_udp(type, protocol);
}

static int check_send_queue(struct operation *op, const struct fd_facts *f)
{
	int bytes = 0, cork = 0;
	socklen_t len = sizeof(cork);

	if (getsockopt(f->fd, IPPROTO_UDP, UDP_CORK, &cork, &len) < 0)
		return 0; /* a ping socket */
	for (int i = 0; i < CARD_TURNS; i++) {
		if (ioctl(f->fd, SIOCOUTQ, &bytes) < 0)
			return error_raise_call(op->error, errno, "ioctl(SIOCOUTQ)", "%s", facts_describe(op, f));
		if (bytes == 0)
			return 0;
		if (cork || recorder_cancelled())
			break;
		recorder_step(f->task->pid, f->task->comm, "wait", "for datagrams of %s that are not sent yet",
			      f->what);
		(void)poll(NULL, 0, CARD_TURN_MS);
	}
	(void)error_raise(op->error, EOPNOTSUPP,
			  "%s: UDP socket %s holds data that waits for more (UDP_CORK or MSG_MORE)",
			  facts_describe(op, f), inet_ends_text(op, f->fd));
	error_hint(op->error, "Let the program send it, then dump again.");
	return -EOPNOTSUPP;
}

/* The kernel's own users of UDP sockets (L2TP, VXLAN …) hang on them, and no call would bring that back. */
static int check_tunnel(struct operation *op, const struct fd_facts *f)
{
	int encap = 0;
	socklen_t len = sizeof(encap);

	if (getsockopt(f->fd, IPPROTO_UDP, UDP_ENCAP, &encap, &len) < 0 || encap == 0 || encap == UDP_ENCAP_ESPINUDP ||
	    encap == UDP_ENCAP_L2TPINUDP)
		return 0;
	(void)error_raise(op->error, EOPNOTSUPP, "%s: UDP socket %s is the kernel's end of a tunnel (UDP_ENCAP %d)",
			  facts_describe(op, f), inet_ends_text(op, f->fd), encap);
	error_hint(op->error, "Take the tunnel down before the dump.");
	return -EOPNOTSUPP;
}

static int udp_check(struct operation *op, const struct fd_facts *f)
{
	int r = socket_check(op, f);

	if (r == 0)
		r = check_send_queue(op, f);
	if (r == 0)
		r = ip_datagram_check_error(op, f);
	return r == 0 ? check_tunnel(op, f) : r;
}

static bool udp_owns(const FileEntry *entry)
{
	const InetSkEntry *m = entry->isk;

	return m && is_udp((int)m->type, (int)m->proto);
}

static void udp_describe(const FileEntry *entry, char *buf, size_t size)
{
	const InetSkEntry *m = entry->isk;
	char here[INET_ADDRESS_TEXT], there[INET_ADDRESS_TEXT] = "";
	struct sockaddr_storage ss;
	const char *name;
	socklen_t len;

	if (!m || !inet_address_valid(m))
		return;
	name = m->proto == IPPROTO_UDP ? "UDP" : m->proto == IPPROTO_UDPLITE ? "UDP-Lite" : "ping socket";
	inet_address_fill(m, &ss, &len);
	inet_address_text(&ss, here, sizeof(here));
	if (m->state == TCP_ESTABLISHED) {
		inet_peer_fill(m, &ss, &len);
		inet_address_text(&ss, there, sizeof(there));
	}
	(void)snprintf(buf, size, "%s %s%s%s", name, here, there[0] ? " → " : "", there);
}

const struct kind kind_udp_socket = {
	.name = "UDP socket",
	.type = FD_TYPES__INETSK,
	.recognise = udp_recognise,
	.check = udp_check,
	.dump = ip_datagram_dump,
	.owns = udp_owns,
	.decode = ip_datagram_decode,
	.create = ip_datagram_create,
	.finish = ip_datagram_finish,
	.describe = udp_describe,
};
