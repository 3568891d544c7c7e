/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/packet_filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/cleanup.h"

/*
 * nftables over netlink: include/uapi/linux/netfilter/nf_tables.h. Messages come in batches that the kernel carries out
 * whole or not at all. libmnl puts the nested attributes together; what the expressions are is written out here:
 *
 *     table inet NAME {
 *         set v4 { type ipv4_addr . inet_service . ipv4_addr . inet_service; elements = { far end . near end … } }
 *         set v6 { … }
 *         chain in  { type filter hook input priority -300;
 *                     meta mark MARK accept
 *                     meta nfproto ipv4 meta l4proto tcp ip saddr . tcp sport . ip daddr . tcp dport @v4 drop
 *                     … ip6 … @v6 drop }
 *         chain out { type filter hook output priority -300; the same with both ends exchanged }
 *     }
 */

#define PRIORITY (-300) /* before connection tracking: what is dropped shall not change its state */
#define BATCH_SIZE 32768
#define ELEMENTS_PER_BATCH 256

struct batch {
	char *buf;
	size_t len;
	uint32_t seq;
};

static struct nlmsghdr *put_header(struct batch *b, uint16_t type, uint16_t flags, uint8_t family, uint16_t res_id)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(b->buf + b->len);
	struct nfgenmsg *g;

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = ++b->seq;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	g->res_id = htons(res_id);
	return h;
}

static void put_end(struct batch *b, const struct nlmsghdr *h)
{
	b->len += MNL_ALIGN(h->nlmsg_len);
}

static void batch_begin(struct batch *b)
{
	b->len = 0;
	put_end(b, put_header(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
}

static struct nlmsghdr *message_begin(struct batch *b, uint16_t type, uint16_t flags)
{
	return put_header(b, (NFNL_SUBSYS_NFTABLES << 8) | type, flags, NFPROTO_INET, 0);
}

/* Sends what is there. The message before the batch's end has asked for an answer; any message may get an error. */
static int batch_send(int netlink, struct batch *b)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	uint32_t last = b->seq;
	char answers[4096] __attribute__((aligned(8)));

	put_end(b, put_header(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
	if (sendto(netlink, b->buf, b->len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	for (int result = 0;;) {
		ssize_t n = recv(netlink, answers, sizeof(answers), 0);
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return result ? result : -errno;
		for (struct nlmsghdr *h = (struct nlmsghdr *)answers; mnl_nlmsg_ok(h, left);
		     h = mnl_nlmsg_next(h, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

			if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_len < NLMSG_LENGTH(sizeof(*e)))
				continue;
			if (e->error && !result)
				result = e->error;
			/* Of a batch that failed there may be no more than the error. */
			if (h->nlmsg_seq == last || e->error)
				return result;
		}
	}
}

/* ---- expressions ---- */

static void put_u32(struct nlmsghdr *h, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(h, type, htonl(value));
}

struct expression {
	struct nlattr *element, *data;
};

static struct expression expression_begin(struct nlmsghdr *h, const char *name)
{
	struct expression e;

	e.element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
	mnl_attr_put_strz(h, NFTA_EXPR_NAME, name);
	e.data = mnl_attr_nest_start(h, NFTA_EXPR_DATA);
	return e;
}

static void expression_end(struct nlmsghdr *h, struct expression e)
{
	mnl_attr_nest_end(h, e.data);
	mnl_attr_nest_end(h, e.element);
}

/* meta KEY == VALUE (in the byte order in which the kernel keeps it) */
static void put_meta_is(struct nlmsghdr *h, enum nft_meta_keys key, const void *value, uint16_t len)
{
	struct expression e = expression_begin(h, "meta");
	struct nlattr *nest;

	put_u32(h, NFTA_META_KEY, key);
	put_u32(h, NFTA_META_DREG, NFT_REG_1);
	expression_end(h, e);
	e = expression_begin(h, "cmp");
	put_u32(h, NFTA_CMP_SREG, NFT_REG_1);
	put_u32(h, NFTA_CMP_OP, NFT_CMP_EQ);
	nest = mnl_attr_nest_start(h, NFTA_CMP_DATA);
	mnl_attr_put(h, NFTA_DATA_VALUE, len, value);
	mnl_attr_nest_end(h, nest);
	expression_end(h, e);
}

static void put_payload(struct nlmsghdr *h, enum nft_payload_bases base, uint32_t offset, uint32_t len, uint32_t to)
{
	struct expression e = expression_begin(h, "payload");

	put_u32(h, NFTA_PAYLOAD_DREG, to);
	put_u32(h, NFTA_PAYLOAD_BASE, base);
	put_u32(h, NFTA_PAYLOAD_OFFSET, offset);
	put_u32(h, NFTA_PAYLOAD_LEN, len);
	expression_end(h, e);
}

static void put_verdict(struct nlmsghdr *h, uint32_t verdict)
{
	struct expression e = expression_begin(h, "immediate");
	struct nlattr *data, *nest;

	put_u32(h, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = mnl_attr_nest_start(h, NFTA_IMMEDIATE_DATA);
	nest = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);
	put_u32(h, NFTA_VERDICT_CODE, verdict);
	mnl_attr_nest_end(h, nest);
	mnl_attr_nest_end(h, data);
	expression_end(h, e);
}

static void put_lookup(struct nlmsghdr *h, const char *set)
{
	struct expression e = expression_begin(h, "lookup");

	put_u32(h, NFTA_LOOKUP_SREG, NFT_REG32_00);
	mnl_attr_put_strz(h, NFTA_LOOKUP_SET, set);
	expression_end(h, e);
}

/* ---- the table ---- */

static const struct {
	const char *set;
	uint8_t nfproto;
	uint32_t address_len, source_at, dest_at; /* bytes in the IP header */
	uint32_t address_type;			  /* as nft names it when it lists the table */
} versions[] = {
	{ "v4", NFPROTO_IPV4, 4, 12, 16, 7 },
	{ "v6", NFPROTO_IPV6, 16, 8, 24, 8 },
};
#define TYPE_INET_SERVICE 13u
#define KEY_LEN(v) (2 * (versions[v].address_len + 4)) /* each part of a key fills whole registers */

static void put_table(struct batch *b, const char *name, bool owned)
{
	struct nlmsghdr *h = message_begin(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);

	mnl_attr_put_strz(h, NFTA_TABLE_NAME, name);
	put_u32(h, NFTA_TABLE_FLAGS, owned ? NFT_TABLE_F_OWNER : 0);
	put_end(b, h);
}

static void put_set(struct batch *b, const char *table, size_t v)
{
	struct nlmsghdr *h = message_begin(b, NFT_MSG_NEWSET, NLM_F_CREATE);
	uint32_t half = versions[v].address_type << 6 | TYPE_INET_SERVICE;

	mnl_attr_put_strz(h, NFTA_SET_TABLE, table);
	mnl_attr_put_strz(h, NFTA_SET_NAME, versions[v].set);
	put_u32(h, NFTA_SET_ID, (uint32_t)v + 1);
	put_u32(h, NFTA_SET_KEY_TYPE, half << 12 | half);
	put_u32(h, NFTA_SET_KEY_LEN, KEY_LEN(v));
	put_end(b, h);
}

static void put_chain(struct batch *b, const char *table, const char *name, uint32_t hook)
{
	struct nlmsghdr *h = message_begin(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	struct nlattr *nest;

	mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, table);
	mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
	nest = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
	put_u32(h, NFTA_HOOK_HOOKNUM, hook);
	put_u32(h, NFTA_HOOK_PRIORITY, (uint32_t)PRIORITY);
	mnl_attr_nest_end(h, nest);
	mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, "filter");
	put_end(b, h);
}

static struct nlmsghdr *rule_begin(struct batch *b, const char *table, const char *chain, uint16_t flags,
				   struct nlattr **expressions)
{
	struct nlmsghdr *h = message_begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | flags);

	mnl_attr_put_strz(h, NFTA_RULE_TABLE, table);
	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
	*expressions = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
	return h;
}

static void put_pass_rule(struct batch *b, const char *table, const char *chain)
{
	const uint32_t mark = PACKET_FILTER_MARK;
	struct nlattr *nest;
	struct nlmsghdr *h = rule_begin(b, table, chain, 0, &nest);

	put_meta_is(h, NFT_META_MARK, &mark, sizeof(mark));
	put_verdict(h, NF_ACCEPT);
	mnl_attr_nest_end(h, nest);
	put_end(b, h);
}

static void put_drop_rule(struct batch *b, const char *table, const char *chain, size_t v, bool incoming,
			  uint16_t flags)
{
	const uint8_t tcp = IPPROTO_TCP;
	uint32_t len = versions[v].address_len, second = NFT_REG32_00 + len / 4 + 1;
	uint32_t far = incoming ? versions[v].source_at : versions[v].dest_at;
	uint32_t near = incoming ? versions[v].dest_at : versions[v].source_at;
	struct nlattr *nest;
	struct nlmsghdr *h = rule_begin(b, table, chain, flags, &nest);

	put_meta_is(h, NFT_META_NFPROTO, &versions[v].nfproto, 1);
	put_meta_is(h, NFT_META_L4PROTO, &tcp, 1);
	put_payload(h, NFT_PAYLOAD_NETWORK_HEADER, far, len, NFT_REG32_00);
	put_payload(h, NFT_PAYLOAD_TRANSPORT_HEADER, incoming ? 0 : 2, 2, NFT_REG32_00 + len / 4);
	put_payload(h, NFT_PAYLOAD_NETWORK_HEADER, near, len, second);
	put_payload(h, NFT_PAYLOAD_TRANSPORT_HEADER, incoming ? 2 : 0, 2, second + len / 4);
	put_lookup(h, versions[v].set);
	put_verdict(h, NF_DROP);
	mnl_attr_nest_end(h, nest);
	put_end(b, h);
}

static int make_table(int netlink, struct batch *b, const char *name, bool owned)
{
	static const char *const chains[] = { "out", "in" };

	batch_begin(b);
	put_table(b, name, owned);
	for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
		put_set(b, name, v);
	put_chain(b, name, "out", NF_INET_LOCAL_OUT);
	put_chain(b, name, "in", NF_INET_LOCAL_IN);
	for (size_t c = 0; c < ARRAY_SIZE(chains); c++) {
		put_pass_rule(b, name, chains[c]);
		put_drop_rule(b, name, chains[c], 0, c == 1, 0);
		put_drop_rule(b, name, chains[c], 1, c == 1, c == 1 ? NLM_F_ACK : 0);
	}
	return batch_send(netlink, b);
}

static void put_element(struct nlmsghdr *h, const struct tcp_ends *t, size_t v)
{
	struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
	struct nlattr *nest = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
	uint32_t len = versions[v].address_len;
	uint16_t port = htons(t->remote_port);
	uint8_t key[40] = { 0 };

	memcpy(key, t->remote, len);
	memcpy(key + len, &port, sizeof(port));
	memcpy(key + len + 4, t->local, len);
	port = htons(t->local_port);
	memcpy(key + 2 * len + 4, &port, sizeof(port));
	mnl_attr_put(h, NFTA_DATA_VALUE, KEY_LEN(v), key);
	mnl_attr_nest_end(h, nest);
	mnl_attr_nest_end(h, element);
}

/* The connections of one IP version from *@i on, as many as go into one batch. */
static int add_elements(int netlink, struct batch *b, const char *table, size_t v, const struct tcp_ends *ends,
			size_t n, size_t *i)
{
	struct nlmsghdr *h;
	struct nlattr *nest;
	size_t put = 0;

	batch_begin(b);
	h = message_begin(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_ACK);
	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table);
	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, versions[v].set);
	nest = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
	for (; *i < n && put < ELEMENTS_PER_BATCH; ++*i) {
		if ((ends[*i].family == AF_INET6) != (v == 1))
			continue;
		put_element(h, &ends[*i], v);
		put++;
	}
	mnl_attr_nest_end(h, nest);
	put_end(b, h);
	return put ? batch_send(netlink, b) : 0;
}

int packet_filter_open(void)
{
	struct timeval limit = { .tv_sec = 5 };
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	AUTOCLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0)
		return -errno;
	/* The kernel answers while it is asked, so the limit is never met; it is there because each wait has one. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return TAKE_FD(fd);
}

int packet_filter_lock(int netlink, const char *name, bool owned, const struct tcp_ends *ends, size_t n)
{
	AUTOFREE char *buf = malloc(BATCH_SIZE);
	struct batch b = { .buf = buf };
	int r;

	if (!buf)
		return -ENOMEM;
	r = make_table(netlink, &b, name, owned);
	if (r < 0)
		return r;
	for (size_t v = 0; v < ARRAY_SIZE(versions); v++) {
		for (size_t i = 0; i < n && r == 0;)
			r = add_elements(netlink, &b, name, v, ends, n, &i);
	}
	if (r < 0)
		(void)packet_filter_unlock(netlink, name);
	return r;
}

int packet_filter_unlock(int netlink, const char *name)
{
	char buf[512] __attribute__((aligned(8)));
	struct batch b = { .buf = buf };
	struct nlmsghdr *h;

	if (strlen(name) > 64)
		return -EINVAL;
	batch_begin(&b);
	h = message_begin(&b, NFT_MSG_DELTABLE, NLM_F_ACK);
	mnl_attr_put_strz(h, NFTA_TABLE_NAME, name);
	put_end(&b, h);
	return batch_send(netlink, &b);
}
