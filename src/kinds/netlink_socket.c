/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/netlink_diag.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kernel/diag.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "kinds/socket.h"
#include "sk-netlink.pb-c.h"
#include "watch/recorder.h"

/*
 * Netlink sockets. What waits in the queue came from the kernel, and nobody but the kernel can send it: such a socket is
 * refused, and so is one with a half-read list (a dump of the kernel's, whose place is lost).
 *
 * The image has the groups as the bitmap of NETLINK_LIST_MEMBERSHIPS, 32 in a word, group 1 at bit 0.
 */
#define GROUP_WORDS_MAX 1024u

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12 /* Linux 4.20 */
#endif
static const struct {
	const char *name;
	int option;
} netlink_options[] = {
	{ "NETLINK_PKTINFO", NETLINK_PKTINFO },
	{ "NETLINK_BROADCAST_ERROR", NETLINK_BROADCAST_ERROR },
	{ "NETLINK_NO_ENOBUFS", NETLINK_NO_ENOBUFS },
	{ "NETLINK_LISTEN_ALL_NSID", NETLINK_LISTEN_ALL_NSID },
	{ "NETLINK_CAP_ACK", NETLINK_CAP_ACK },
	{ "NETLINK_EXT_ACK", NETLINK_EXT_ACK },
	{ "NETLINK_GET_STRICT_CHK", NETLINK_GET_STRICT_CHK },
};

struct netlink_tables {
	struct netlink_diag *items;
	size_t n;
};

static bool netlink_recognise(const struct fd_facts *f)
{
	return socket_domain(f) == AF_NETLINK;
}

static int netlink_check(struct operation *op, const struct fd_facts *f)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(info);
	int r;

	r = socket_check(op, f);
	if (r < 0)
		return r;
	if (getsockopt(f->fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
		return error_raise_call(op->error, errno, "getsockopt(SO_MEMINFO)", "%s", facts_describe(op, f));
	if (info[SK_MEMINFO_RMEM_ALLOC] == 0)
		return 0;
	(void)error_raise(op->error, EOPNOTSUPP,
			  "%s: a netlink socket with unread messages of the kernel is not carried",
			  facts_describe(op, f));
	error_hint(op->error, "Let the program read them, then dump again.");
	return -EOPNOTSUPP;
}

/* *ret: NULL when the kernel's table has no such socket. */
static int find(struct operation *op, const struct file *f, const struct netlink_diag **ret)
{
	void **slot = files_kind_state(op, &kind_netlink_socket);
	struct netlink_tables *t = *slot;
	int r;

	if (!t) {
		t = arena_alloc(&op->arena, sizeof(*t));
		if (!t)
			return raise_no_memory(op);
		recorder_step(0, NULL, "read", "netlink sockets by SOCK_DIAG");
		r = read_netlink_diag(&op->arena, &t->items, &t->n);
		if (r < 0) {
			(void)error_raise_call(op->error, -r, "SOCK_DIAG", "netlink sockets");
			error_hint(op->error, "The kernel needs CONFIG_NETLINK_DIAG (module netlink_diag).");
			return r;
		}
		*slot = t;
	}
	*ret = NULL;
	for (size_t i = 0; i < t->n && !*ret; i++) {
		if (t->items[i].ino == (uint32_t)f->facts.st.st_ino)
			*ret = &t->items[i];
	}
	return 0;
}

static int dump_groups(struct operation *op, const struct file *f, NetlinkSkEntry *m)
{
	uint32_t words[GROUP_WORDS_MAX] = { 0 };
	socklen_t len = sizeof(words);

	if (getsockopt(f->facts.fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, &len) < 0)
		return error_raise_call(op->error, errno, "getsockopt(NETLINK_LIST_MEMBERSHIPS)", "%s", f->describe);
	if (len > sizeof(words))
		return error_raise(op->error, EOPNOTSUPP, "%s: its netlink protocol has too many groups", f->describe);
	m->n_groups = len / sizeof(uint32_t);
	m->groups = arena_memdup(&op->arena, words, len ? len : sizeof(words[0]));
	return m->groups ? 0 : raise_no_memory(op);
}

static int dump_peer(struct operation *op, const struct file *f, NetlinkSkEntry *m)
{
	struct sockaddr_nl name = { 0 };
	const struct netlink_diag *d;
	socklen_t len = sizeof(name);
	int r;

	if (getsockname(f->facts.fd, (struct sockaddr *)&name, &len) < 0)
		return error_raise_call(op->error, errno, "getsockname", "%s", f->describe);
	m->portid = name.nl_pid;
	r = find(op, f, &d);
	if (r < 0 || !d)
		return r;
	if (d->flags & NDIAG_FLAG_CB_RUNNING) {
		(void)error_raise(op->error, EOPNOTSUPP,
				  "%s: a netlink socket with a half-read list of the kernel is not carried",
				  facts_describe(op, &f->facts));
		error_hint(op->error, "Let the program read it, then dump again.");
		return -EOPNOTSUPP;
	}
	m->state = d->state;
	m->dst_portid = d->dst_portid;
	m->dst_group = d->dst_group;
	return 0;
}

static int netlink_dump(struct operation *op, struct file *f)
{
	NetlinkSkEntry *m = arena_alloc(&op->arena, sizeof(*m));
	int type = SOCK_RAW, protocol = 0, r;
	socklen_t len = sizeof(int);

	if (!m)
		return raise_no_memory(op);
	netlink_sk_entry__init(m);
	if (getsockopt(f->facts.fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockopt(f->facts.fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) < 0)
		return error_raise_call(op->error, errno, "getsockopt(SO_PROTOCOL)", "%s", f->describe);
	m->id = f->id;
	m->ino = (uint32_t)f->facts.st.st_ino;
	m->protocol = (uint32_t)protocol;
	m->has_firn_type = true;
	m->firn_type = (uint32_t)type;
	m->flags = socket_flags(&f->facts);
	for (size_t i = 0; i < ARRAY_SIZE(netlink_options); i++) {
		if (socket_is_on(f->facts.fd, SOL_NETLINK, netlink_options[i].option)) {
			m->has_firn_options = true;
			m->firn_options |= 1u << netlink_options[i].option;
		}
	}
	r = dump_peer(op, f, m);
	if (r == 0)
		r = dump_groups(op, f, m);
	if (r == 0)
		r = socket_opts_dump(op, &f->facts, &m->opts);
	if (r == 0 && fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		r = raise_no_memory(op);
	f->entry->nlsk = m;
	return r;
}

/* ---- restore ---- */

static void netlink_describe(const FileEntry *entry, char *buf, size_t size)
{
	const NetlinkSkEntry *m = entry->nlsk;

	if (m)
		(void)snprintf(buf, size, "netlink socket of protocol %u, port %u%s", m->protocol, m->portid,
			       m->state ? ", connected" : "");
}

static int netlink_decode(struct operation *op, struct file *f)
{
	const NetlinkSkEntry *m = f->entry->nlsk;
	char text[128] = "netlink socket";
	int r;

	if (!m || m->id != f->id || !m->opts || !m->fown || m->protocol > UINT8_MAX || m->n_groups > GROUP_WORDS_MAX ||
	    (m->has_firn_type && m->firn_type != SOCK_RAW && m->firn_type != SOCK_DGRAM))
		return raise_damaged(op, f, "the netlink socket");
	if (m->dst_group > 32) {
		/* struct sockaddr_nl has 32 */
		return raise_damaged(op, f, "the peer of a netlink socket");
	}
	r = socket_opts_decode(op, f, m->opts);
	if (r < 0)
		return r;
	netlink_describe(f->entry, text, sizeof(text));
	f->describe = arena_strdup(&op->arena, text);
	return f->describe ? 0 : raise_no_memory(op);
}

static int join_groups(struct operation *op, const struct file *f, const NetlinkSkEntry *m)
{
	for (size_t i = 0; i < m->n_groups; i++) {
		for (unsigned bit = 0; bit < 32; bit++) {
			unsigned group = (unsigned)i * 32 + bit + 1;

			if ((m->groups[i] & 1u << bit) &&
			    setsockopt(f->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
				return error_raise_call(op->error, errno, "setsockopt(NETLINK_ADD_MEMBERSHIP)",
							"%s, group %u", f->describe, group);
		}
	}
	return 0;
}

static int netlink_create(struct operation *op, struct file *f)
{
	const NetlinkSkEntry *m = f->entry->nlsk;
	struct sockaddr_nl name = { .nl_family = AF_NETLINK, .nl_pid = m->portid };
	int on = 1, r;

	f->fd = socket(AF_NETLINK, (m->has_firn_type ? (int)m->firn_type : SOCK_RAW) | SOCK_CLOEXEC, (int)m->protocol);
	if (f->fd < 0)
		return error_raise_call(op->error, errno, "socket", "%s", f->describe);
	for (size_t i = 0; i < ARRAY_SIZE(netlink_options); i++) {
		if ((m->firn_options & 1u << netlink_options[i].option) &&
		    setsockopt(f->fd, SOL_NETLINK, netlink_options[i].option, &on, sizeof(on)) < 0)
			return error_raise_call(op->error, errno, "setsockopt", "%s, %s", f->describe,
						netlink_options[i].name);
	}
	r = socket_opts_before_bind(op, f->fd, m->opts, f->describe);
	if (r < 0)
		return r;
	if (m->portid != 0 && bind(f->fd, (struct sockaddr *)&name, sizeof(name)) < 0) {
		(void)error_raise_call(op->error, errno, "bind", "%s", f->describe);
		if (errno == EADDRINUSE)
			error_hint(op->error,
				   "Another process has a netlink socket with that port (/proc/net/netlink).");
		return -errno;
	}
	return 0;
}

static int netlink_finish(struct operation *op, struct file *f)
{
	const NetlinkSkEntry *m = f->entry->nlsk;
	struct sockaddr_nl peer = { .nl_family = AF_NETLINK,
				    .nl_pid = m->dst_portid,
				    .nl_groups = m->dst_group ? 1u << (m->dst_group - 1) : 0 };
	int r;

	if (m->state && connect(f->fd, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		return error_raise_call(op->error, errno, "connect", "%s", f->describe);
	r = socket_opts_apply(op, f->fd, m->opts, f->describe);
	/* Late, so that nothing is told twice that happened meanwhile. */
	if (r == 0)
		r = join_groups(op, f, m);
	if (r == 0)
		r = file_set_flags(op, f, m->flags);
	return r == 0 ? fown_apply(op, f->fd, m->fown, f->describe) : r;
}

const struct kind kind_netlink_socket = {
	.name = "netlink socket",
	.type = FD_TYPES__NETLINKSK,
	.recognise = netlink_recognise,
	.check = netlink_check,
	.dump = netlink_dump,
	.decode = netlink_decode,
	.create = netlink_create,
	.finish = netlink_finish,
	.describe = netlink_describe,
};
