// SPDX-License-Identifier: LGPL-2.1-or-later
/* packet_sockets FOLDER plain|ring1|ring2|ring3|used: packet sockets with options, groups and rings. */
#include "sockets.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/mman.h>

#define PROTO 0x88b5    /* for local experiments */

static struct snapshot shot[8];
static int lo;

static int make(int type, int protocol)
{
	int fd = socket(AF_PACKET, type, htons(protocol));

	if (fd < 0)
		check_skip("packet socket: %s", strerror(errno));
	return fd;
}

static void bind_lo(int fd, int protocol)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = lo };

	MUST(bind(fd, (struct sockaddr *)&a, sizeof(a)));
}

static void send_one(int fd, const char *text)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(PROTO), .sll_ifindex = lo, .sll_halen = 6 };

	CHECK(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&a, sizeof(a)) == (ssize_t)strlen(text), "sendto: %s", strerror(errno));
}

static int get(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_PACKET, option, &value, &len) ? -1000 - errno : value;
}

/* How many of the group that /proc/net/dev_mcast lists on lo: the kernel's count of users. */
static int members(void)
{
	char *text = slurp("/proc/net/dev_mcast"), *p = strstr(text, "0180c2000077");
	int users = 0;

	if (p) {
		while (p > text && p[-1] != '\n')
			p--;
		(void)sscanf(p, "%*d %*s %d", &users);
	}
	free(text);
	return users;
}

static void plain(void)
{
	static const int options[] = { PACKET_AUXDATA, PACKET_ORIGDEV, PACKET_LOSS, PACKET_IGNORE_OUTGOING, PACKET_QDISC_BYPASS,
				       PACKET_VNET_HDR };
	int fresh = make(SOCK_RAW, 0), all = make(SOCK_DGRAM, ETH_P_LOOPBACK), bound = make(SOCK_DGRAM, 0), full = make(SOCK_RAW, 0),
	    team[2] = { make(SOCK_DGRAM, PROTO), make(SOCK_DGRAM, PROTO) }, sender = make(SOCK_DGRAM, 0),
	    fds[] = { fresh, all, bound, full, team[0], team[1] };
	struct packet_mreq group = { .mr_ifindex = lo, .mr_type = PACKET_MR_MULTICAST, .mr_alen = 6, .mr_address = { 1, 0x80, 0xc2, 0, 0, 0x77 } };
	struct packet_mreq promisc = { .mr_ifindex = lo, .mr_type = PACKET_MR_PROMISC };
	struct sockaddr_ll names[6], now;
	socklen_t len;
	int before, total = 0;
	char buf[64];

	bind_lo(bound, PROTO);
	attach_filter(bound, 3);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		set(full, SOL_PACKET, options[i], 1);
	set(full, SOL_PACKET, PACKET_VERSION, TPACKET_V2);
	set(full, SOL_PACKET, PACKET_RESERVE, 24);
	set(full, SOL_PACKET, PACKET_TIMESTAMP, 64);
	set(full, SOL_PACKET, PACKET_TX_HAS_OFF, 1);
	set(full, SOL_PACKET, PACKET_COPY_THRESH, 100);
	set(full, SOL_SOCKET, SO_RCVBUF, 70000);
	MUST(fcntl(full, F_SETFL, O_NONBLOCK));
	for (int i = 0; i < 2; i++) {
		bind_lo(team[i], PROTO);
		set(team[i], SOL_PACKET, PACKET_FANOUT, 4711 | PACKET_FANOUT_LB << 16);
		MUST(setsockopt(full, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof(group)));
	}
	MUST(setsockopt(full, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof(promisc)));
	before = members();
	for (int i = 0; i < 6; i++) {
		len = sizeof(names[i]);
		memset(&names[i], 0, sizeof(names[i]));
		MUST(getsockname(fds[i], (struct sockaddr *)&names[i], &len));
		snapshot_take(fds[i], &shot[i]);
	}
	check_ready();
	for (int i = 0; i < 6; i++) {
		len = sizeof(now);
		memset(&now, 0, sizeof(now));
		CHECK(!getsockname(fds[i], (struct sockaddr *)&now, &len) && !memcmp(&now, &names[i], sizeof(now)), "the name of %d", i);
		snapshot_compare(fds[i], &shot[i], "socket");
	}
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		CHECK_EQ(get(full, options[i]), 1, "an option");
	CHECK_EQ(get(full, PACKET_VERSION), TPACKET_V2, "version");
	CHECK_EQ(get(full, PACKET_RESERVE), 24, "reserve");
	CHECK_EQ(get(full, PACKET_TIMESTAMP), 64, "timestamp");
	CHECK_EQ(get(full, PACKET_TX_HAS_OFF), 1, "offset");
	CHECK_EQ(members(), before, "users of the group");
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(get(team[i], PACKET_FANOUT), 4711 | PACKET_FANOUT_LB << 16, "fanout");
		MUST(setsockopt(full, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &group, sizeof(group)));
	}
	CHECK_EQ(members(), 0, "users of the group that was left");
	CHECK(!setsockopt(full, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &promisc, sizeof(promisc)), "promiscuous: %s", strerror(errno));
	check_filter(bound, 3);
	send_one(sender, "four");
	send_one(sender, "22");
	CHECK(receive(bound, buf, sizeof(buf), 2000) == 4, "nothing came");
	while (receive(bound, buf, sizeof(buf), 100) == 4)    /* lo shows it going out as well */
		;
	for (int i = 0; i < 2; i++) {
		while (receive(team[i], buf, sizeof(buf), 100) > 0)
			total++;
	}
	CHECK_EQ(total, 2, "packets of the team");
}

/* A ring of each version, mapped; with a sending half. Then a frame comes through it. */
static void ring(unsigned version, bool used)
{
	struct tpacket_req3 req = { .tp_block_size = 4096, .tp_block_nr = 4, .tp_frame_size = 1024, .tp_frame_nr = 16 };
	socklen_t len = version == TPACKET_V3 ? sizeof(req) : sizeof(struct tpacket_req);
	int fd = make(SOCK_DGRAM, 0), sender = make(SOCK_DGRAM, 0);
	size_t size = (version == TPACKET_V3 ? 1 : 2) * 4 * 4096;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned char *map;

	set(fd, SOL_PACKET, PACKET_VERSION, (int)version);
	set(fd, SOL_PACKET, PACKET_RESERVE, 16);
	if (version == TPACKET_V3) {
		req.tp_retire_blk_tov = 20;
		req.tp_sizeof_priv = 8;
		req.tp_feature_req_word = TP_FT_REQ_FILL_RXHASH;
	}
	MUST(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, len));
	if (version != TPACKET_V3)
		MUST(setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &req, len));
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
	bind_lo(fd, PROTO);
	if (used)
		send_one(sender, "before");
	check_ready();
	CHECK_EQ(get(fd, PACKET_VERSION), version, "version");
	CHECK(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, len) == -1 && errno == EBUSY, "the ring is not mapped");
	send_one(sender, "through the ring");
	CHECK(poll(&p, 1, 2000) == 1, "nothing came");
	if (version == TPACKET_V3) {
		struct tpacket_block_desc *d = (void *)map;
		struct tpacket3_hdr *h = (void *)(map + d->hdr.bh1.offset_to_first_pkt);

		CHECK(d->hdr.bh1.block_status & TP_STATUS_USER, "block: status %x", d->hdr.bh1.block_status);
		CHECK(!memcmp((char *)h + h->tp_net, "through the ring", 16), "content");
		CHECK_EQ(d->offset_to_priv + 8 <= d->hdr.bh1.offset_to_first_pkt, 1, "private part");
	} else if (version == TPACKET_V2) {
		struct tpacket2_hdr *h = (void *)map;

		CHECK(h->tp_status & TP_STATUS_USER, "frame: status %x", h->tp_status);
		CHECK(!memcmp((char *)h + h->tp_net, used ? "before" : "through the ring", used ? 6 : 16), "content");
	} else {
		struct tpacket_hdr *h = (void *)map;

		CHECK(h->tp_status & TP_STATUS_USER, "frame: status %lx", h->tp_status);
		CHECK(!memcmp((char *)h + h->tp_net, "through the ring", 16), "content");
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "plain";

	check_begin(argc, argv);
	lo = (int)if_nametoindex("lo");
	if (!strcmp(mode, "plain"))
		plain();
	else if (!strcmp(mode, "used"))
		ring(TPACKET_V2, true);
	else if (!strncmp(mode, "ring", 4))
		ring((unsigned)(mode[4] - '1'), false);
	else
		DIE("no such mode");
	return check_end();
}
