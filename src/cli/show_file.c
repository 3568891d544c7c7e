/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One line for each sort of open file, from its entry alone; a kind that describes its entries itself comes first. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/show.h"
#include "kinds/kind.h"

static const char *const type_names[] = {
	[FD_TYPES__REG] = "file",
	[FD_TYPES__PIPE] = "pipe",
	[FD_TYPES__FIFO] = "fifo",
	[FD_TYPES__INETSK] = "inet socket",
	[FD_TYPES__UNIXSK] = "unix socket",
	[FD_TYPES__EVENTFD] = "eventfd",
	[FD_TYPES__EVENTPOLL] = "epoll",
	[FD_TYPES__INOTIFY] = "inotify",
	[FD_TYPES__SIGNALFD] = "signalfd",
	[FD_TYPES__PACKETSK] = "packet socket",
	[FD_TYPES__TTY] = "terminal",
	[FD_TYPES__FANOTIFY] = "fanotify",
	[FD_TYPES__NETLINKSK] = "netlink socket",
	[FD_TYPES__NS] = "namespace",
	[FD_TYPES__TUNF] = "tun",
	[FD_TYPES__EXT] = "external",
	[FD_TYPES__TIMERFD] = "timerfd",
	[FD_TYPES__MEMFD] = "memfd",
	[FD_TYPES__BPFMAP] = "BPF map",
	[FD_TYPES__PIDFD] = "pidfd",
};

const char *show_type_name(FdTypes type, char *buf, size_t size)
{
	if ((size_t)type < ARRAY_SIZE(type_names) && type_names[type])
		return type_names[type];
	(void)snprintf(buf, size, "type %d", (int)type);
	return buf;
}

static const char *access_name(uint32_t flags)
{
	if (flags & O_PATH)
		return "path";
	switch (flags & O_ACCMODE) {
	case O_RDONLY:
		return "read";
	case O_WRONLY:
		return "write";
	default:
		return "read write";
	}
}

static bool is_ghost(const struct show *s, uint32_t id)
{
	for (size_t i = 0; i < s->n_remaps; i++)
		if (s->remaps[i]->orig_id == id && s->remaps[i]->remap_type == REMAP_TYPE__GHOST)
			return true;
	return false;
}

static void describe_regular(const struct show *s, const RegFileEntry *m, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s%s, %s%s, at %llu", m->name, is_ghost(s, m->id) ? " (deleted)" : "",
		       access_name(m->flags), m->flags & O_APPEND ? " append" : "", (unsigned long long)m->pos);
}

static void put_address(char *buf, size_t size, uint32_t family, const uint32_t *addr, size_t n, uint32_t port)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (family == AF_INET && n >= 1)
		(void)inet_ntop(AF_INET, addr, text, sizeof(text));
	else if (family == AF_INET6 && n >= 4)
		(void)inet_ntop(AF_INET6, addr, text, sizeof(text));
	(void)snprintf(buf, size, family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, port);
}

static void describe_inet(const InetSkEntry *m, char *buf, size_t size)
{
	char source[INET6_ADDRSTRLEN + 16], target[INET6_ADDRSTRLEN + 16];
	const char *proto = m->proto == IPPROTO_TCP ? "tcp" : m->proto == IPPROTO_UDP ? "udp" : "ip";

	put_address(source, sizeof(source), m->family, m->src_addr, m->n_src_addr, m->src_port);
	put_address(target, sizeof(target), m->family, m->dst_addr, m->n_dst_addr, m->dst_port);
	if (m->state == 10) /* TCP_LISTEN */
		(void)snprintf(buf, size, "%s %s, listens", proto, source);
	else if (m->dst_port)
		(void)snprintf(buf, size, "%s %s to %s", proto, source, target);
	else
		(void)snprintf(buf, size, "%s %s", proto, source);
}

static void describe_unix(const UnixSkEntry *m, char *buf, size_t size)
{
	static const char *const types[] = { [1] = "stream", [2] = "datagram", [5] = "seqpacket" };
	const char *type = m->type < ARRAY_SIZE(types) && types[m->type] ? types[m->type] : "?";
	char name[128] = "";
	size_t len = m->name.len < sizeof(name) ? m->name.len : sizeof(name) - 1;

	/* An abstract name starts with a NUL, which everybody writes as an @. */
	if (len) {
		memcpy(name, m->name.data, len);
		if (name[0] == '\0')
			name[0] = '@';
	}
	len = (size_t)snprintf(buf, size, "%s %u%s%s%s", type, m->ino, *name ? " " : "", name,
			       m->state == 10 ? ", listens" : "");
	if (m->peer && len < size)
		(void)snprintf(buf + len, size - len, ", peer %u", m->peer);
}

static void describe_memfd(const struct show *s, const MemfdFileEntry *m, char *buf, size_t size)
{
	for (size_t i = 0; i < s->n_memfds; i++)
		if (s->memfds[i]->inode_id == m->inode_id) {
			(void)snprintf(buf, size, "%s, %llu bytes", s->memfds[i]->name,
				       (unsigned long long)s->memfds[i]->size);
			return;
		}
	(void)snprintf(buf, size, "inode %u", m->inode_id);
}

static void describe_terminal(const struct show *s, const TtyFileEntry *m, char *buf, size_t size)
{
	const char *path = m->has_regf_id ? show_file_path(s, m->regf_id) : NULL;

	(void)snprintf(buf, size, "%s, terminal %u", path ? path : "?", m->tty_info_id);
}

/* The entry's own message by its type; kinds may rely on it. */
static bool has_body(const FileEntry *f)
{
	const void *const bodies[] = {
		[FD_TYPES__REG] = f->reg,	 [FD_TYPES__PIPE] = f->pipe,   [FD_TYPES__FIFO] = f->fifo,
		[FD_TYPES__INETSK] = f->isk,	 [FD_TYPES__UNIXSK] = f->usk,  [FD_TYPES__EVENTFD] = f->efd,
		[FD_TYPES__EVENTPOLL] = f->epfd, [FD_TYPES__INOTIFY] = f->ify, [FD_TYPES__SIGNALFD] = f->sgfd,
		[FD_TYPES__PACKETSK] = f->psk,	 [FD_TYPES__TTY] = f->tty,     [FD_TYPES__FANOTIFY] = f->ffy,
		[FD_TYPES__NETLINKSK] = f->nlsk, [FD_TYPES__NS] = f->nsf,      [FD_TYPES__TUNF] = f->tunf,
		[FD_TYPES__EXT] = f->ext,	 [FD_TYPES__TIMERFD] = f->tfd, [FD_TYPES__MEMFD] = f->memfd,
		[FD_TYPES__BPFMAP] = f->bpf,	 [FD_TYPES__PIDFD] = f->pidfd,
	};

	return (size_t)f->type < ARRAY_SIZE(bodies) && bodies[f->type];
}

static bool describe_by_kind(const FileEntry *f, char *buf, size_t size)
{
	for (size_t i = 0; i < n_kinds; i++)
		if (kinds[i]->type == f->type && kinds[i]->describe && (!kinds[i]->owns || kinds[i]->owns(f))) {
			kinds[i]->describe(f, buf, size);
			return buf[0] != '\0';
		}
	return false;
}

/* The types whose line is a few numbers. */
static void describe_simple(const struct show *s, const FileEntry *f, char *buf, size_t size)
{
	const char *path;

	if (f->pipe) {
		(void)snprintf(buf, size, "%u, %s end", f->pipe->pipe_id,
			       (f->pipe->flags & O_ACCMODE) == O_RDONLY ? "read" : "write");
	} else if (f->fifo) {
		path = f->fifo->has_regf_id ? show_file_path(s, f->fifo->regf_id) : f->reg ? f->reg->name : NULL;
		(void)snprintf(buf, size, "%s", path ? path : "?");
	} else if (f->ify) {
		(void)snprintf(buf, size, "watches %zu", f->ify->n_wd);
	} else if (f->ffy) {
		(void)snprintf(buf, size, "marks %zu", f->ffy->n_mark);
	} else if (f->nlsk) {
		(void)snprintf(buf, size, "protocol %u", f->nlsk->protocol);
	} else if (f->nsf) {
		(void)snprintf(buf, size, "namespace %u", f->nsf->ns_id);
	} else if (f->bpf) {
		(void)snprintf(buf, size, "%s", f->bpf->map_name);
	} else if (f->pidfd) {
		(void)snprintf(buf, size, "pid %d", f->pidfd->nspid);
	}
}

void show_describe_file(const struct show *s, const FileEntry *f, char *buf, size_t size)
{
	char type[32];
	size_t len;

	buf[0] = '\0';
	if (has_body(f) && describe_by_kind(f, buf, size))
		return;
	if (f->type == FD_TYPES__REG && f->reg) {
		describe_regular(s, f->reg, buf, size);
		return;
	}
	len = (size_t)snprintf(buf, size, "%s ", show_type_name(f->type, type, sizeof(type)));
	buf += len;
	size -= len;
	if (f->isk)
		describe_inet(f->isk, buf, size);
	else if (f->usk)
		describe_unix(f->usk, buf, size);
	else if (f->memfd)
		describe_memfd(s, f->memfd, buf, size);
	else if (f->tty)
		describe_terminal(s, f->tty, buf, size);
	else
		describe_simple(s, f, buf, size);
}
