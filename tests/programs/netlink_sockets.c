// SPDX-License-Identifier: LGPL-2.1-or-later
/* netlink_sockets FOLDER plain|queue: netlink sockets with ports, groups, peers and options; one with unread messages. */
#include "sockets.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

static struct snapshot shot[6];

static int make(int type, int protocol)
{
	int fd = socket(AF_NETLINK, type, protocol);

	if (fd < 0)
		check_skip("netlink protocol %d: %s", protocol, strerror(errno));
	return fd;
}

static int ask(int fd)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
	} req = { .h = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)), .nlmsg_type = RTM_GETLINK,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = 7 },
		  .g = { .rtgen_family = AF_UNSPEC } };

	return (int)send(fd, &req, req.h.nlmsg_len, 0);
}

static void memberships(int fd, unsigned words[8], socklen_t *len)
{
	*len = 8 * sizeof(unsigned);
	memset(words, 0, *len);
	MUST(getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, len));
}

static void plain(void)
{
	static const int options[] = { NETLINK_PKTINFO, NETLINK_BROADCAST_ERROR, NETLINK_NO_ENOBUFS, NETLINK_LISTEN_ALL_NSID,
				       NETLINK_CAP_ACK, NETLINK_EXT_ACK, 12 /* NETLINK_GET_STRICT_CHK */ };
	int fresh = make(SOCK_DGRAM, NETLINK_ROUTE), bound = make(SOCK_RAW, NETLINK_ROUTE), groups = make(SOCK_RAW, NETLINK_ROUTE),
	    peer = make(SOCK_DGRAM, NETLINK_ROUTE), events = make(SOCK_DGRAM, NETLINK_KOBJECT_UEVENT),
	    all[] = { fresh, bound, groups, peer, events };
	struct sockaddr_nl name = { .nl_family = AF_NETLINK }, names[5], kernel = { .nl_family = AF_NETLINK };
	struct sockaddr_nl wanted = { .nl_family = AF_NETLINK, .nl_pid = 0x40000000u + (unsigned)getpid() };
	unsigned before[8], after[8], group = RTNLGRP_MPLS_NETCONF;
	socklen_t len, len_before, len_after;
	char buf[32768];

	MUST(bind(bound, (struct sockaddr *)&name, sizeof(name)));
	MUST(bind(groups, (struct sockaddr *)&wanted, sizeof(wanted)));
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		try_set(groups, SOL_NETLINK, options[i], 1);
	/* group 29 and more do not fit into the address; nothing of these is told on a quiet machine */
	set(groups, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, (int)group);
	set(groups, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 33);
	MUST(connect(peer, (struct sockaddr *)&kernel, sizeof(kernel)));
	attach_filter(peer, 1);
	set(peer, SOL_SOCKET, SO_RCVBUF, 100000);
	MUST(fcntl(peer, F_SETFL, O_NONBLOCK));
	memberships(groups, before, &len_before);
	for (int i = 0; i < 5; i++) {
		len = sizeof(names[i]);
		MUST(getsockname(all[i], (struct sockaddr *)&names[i], &len));
		snapshot_take(all[i], &shot[i]);
	}
	check_ready();
	for (int i = 0; i < 5; i++) {
		struct sockaddr_nl now;

		len = sizeof(now);
		CHECK(!getsockname(all[i], (struct sockaddr *)&now, &len), "name");
		CHECK(now.nl_pid == names[i].nl_pid && now.nl_groups == names[i].nl_groups, "socket %d: port %u, groups %x instead of %u, %x",
		      i, now.nl_pid, now.nl_groups, names[i].nl_pid, names[i].nl_groups);
		snapshot_compare(all[i], &shot[i], (const char *[]){ "fresh", "bound", "groups", "peer", "events" }[i]);
	}
	memberships(groups, after, &len_after);
	CHECK(len_after == len_before && !memcmp(before, after, sizeof(before)), "memberships: %x %x instead of %x %x", after[0],
	      after[1], before[0], before[1]);
	check_filter(peer, 1);
	CHECK(ask(peer) > 0, "send: %s", strerror(errno));
	CHECK(receive(peer, buf, sizeof(buf), 2000) > 0 && ((struct nlmsghdr *)buf)->nlmsg_seq == 7, "no answer");
	CHECK(ask(fresh) > 0 && receive(fresh, buf, sizeof(buf), 2000) > 0, "no answer to the fresh one");
	CHECK(ask(bound) > 0 && receive(bound, buf, sizeof(buf), 2000) > 0, "no answer to the bound one");
}

static void queue(void)
{
	int fd = make(SOCK_DGRAM, NETLINK_ROUTE);
	char buf[32768];

	MUST(ask(fd));
	check_ready();
	CHECK(receive(fd, buf, sizeof(buf), 2000) > 0, "the answer is lost");
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "plain";

	check_begin(argc, argv);
	if (!strcmp(mode, "plain"))
		plain();
	else if (!strcmp(mode, "queue"))
		queue();
	else
		DIE("no such mode");
	return check_end();
}
