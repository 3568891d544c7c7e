/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/socket_filter.h"
#include "watch/recorder.h"

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72         /* Linux 5.15 */
#endif
#ifndef SO_RESERVE_MEM
#define SO_RESERVE_MEM 73      /* Linux 5.16 */
#endif
#ifndef SO_TXREHASH
#define SO_TXREHASH 74         /* Linux 5.18 */
#endif
#ifndef SO_RCVMARK
#define SO_RCVMARK 75          /* Linux 5.19 */
#endif
#ifndef SO_RCVPRIORITY
#define SO_RCVPRIORITY 82      /* Linux 6.14 */
#endif
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76        /* Linux 6.5 */
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83       /* Linux 6.16 */
#endif

/*
 * The options that are one int. Every field of the message is an int's size (bool and uint32 alike in protobuf-c), so
 * a table can name them. `common`: the value a fresh socket has, which is not written when `sparse`.
 */
struct int_option {
	const char *name;
	int option;
	size_t has, field;
	bool sparse;
	int common;
	int max;
};

#define OPTION(OPT, FIELD, SPARSE, COMMON, MAX)                                                             \
	{                                                                                                   \
		.name = #OPT, .option = OPT, .has = offsetof(SkOptsEntry, has_##FIELD),                     \
		.field = offsetof(SkOptsEntry, FIELD), .sparse = SPARSE, .common = COMMON, .max = MAX,      \
	}

/* In the order in which a restore sets them: buffer locks come after the sizes, which are not in this table. */
static const struct int_option int_options[] = {
	OPTION(SO_REUSEADDR, reuseaddr, false, 0, 1),
	OPTION(SO_REUSEPORT, so_reuseport, false, 0, 1),
	OPTION(SO_PRIORITY, so_priority, false, 0, INT32_MAX),
	OPTION(SO_RCVLOWAT, so_rcvlowat, false, 1, INT32_MAX),
	OPTION(SO_MARK, so_mark, true, 0, INT32_MAX),
	OPTION(SO_PASSCRED, so_passcred, false, 0, 1),
	OPTION(SO_PASSSEC, so_passsec, false, 0, 1),
	OPTION(SO_DONTROUTE, so_dontroute, false, 0, 1),
	OPTION(SO_NO_CHECK, so_no_check, false, 0, 1),
	OPTION(SO_BROADCAST, so_broadcast, false, 0, 1),
	OPTION(SO_KEEPALIVE, so_keepalive, false, 0, 1),
	OPTION(SO_OOBINLINE, so_oobinline, false, 0, 1),
	OPTION(SO_PASSPIDFD, firn_passpidfd, true, 0, 1),
	OPTION(SO_PASSRIGHTS, firn_passrights, true, 1, 1),
	OPTION(SO_TIMESTAMP, firn_timestamp, true, 0, 1),
	OPTION(SO_TIMESTAMPNS, firn_timestampns, true, 0, 1),
	OPTION(SO_TIMESTAMP_NEW, firn_timestamp_new, true, 0, 1),
	OPTION(SO_TIMESTAMPNS_NEW, firn_timestampns_new, true, 0, 1),
	OPTION(SO_RXQ_OVFL, firn_rxq_ovfl, true, 0, 1),
	OPTION(SO_WIFI_STATUS, firn_wifi_status, true, 0, 1),
	OPTION(SO_NOFCS, firn_nofcs, true, 0, 1),
	OPTION(SO_SELECT_ERR_QUEUE, firn_select_err_queue, true, 0, 1),
	OPTION(SO_BUSY_POLL, firn_busy_poll, true, 0, INT32_MAX),
	OPTION(SO_PREFER_BUSY_POLL, firn_prefer_busy_poll, true, 0, 1),
	OPTION(SO_ZEROCOPY, firn_zerocopy, true, 0, 1),
	OPTION(SO_RCVMARK, firn_rcvmark, true, 0, 1),
	OPTION(SO_RCVPRIORITY, firn_rcvpriority, true, 0, 1),
	/* 255: as the sysctl says, when the socket connects or listens */
	OPTION(SO_TXREHASH, firn_txrehash, true, 255, 1),
	OPTION(SO_DEBUG, firn_debug, true, 0, 1),
	OPTION(SO_RESERVE_MEM, firn_reserve_mem, true, 0, INT32_MAX),
	OPTION(SO_BUF_LOCK, so_buf_lock, false, 0, 3),
};

int socket_domain(const struct fd_facts *f)
{
	int domain;
	socklen_t len = sizeof(domain);

	if (f->fd < 0 || strncmp(f->link, "socket:[", 8) != 0)
		return -1;
	return getsockopt(f->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ? -1 : domain;
}

uint32_t socket_flags(const struct fd_facts *f)
{
	return f->info.flags & (O_ACCMODE | O_NONBLOCK | O_ASYNC);
}

int socket_get_int(int fd, int level, int option, int *ret)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, level, option, &value, &len) < 0)
		return -errno;
	*ret = value;
	return 0;
}

bool socket_is_on(int fd, int level, int option)
{
	int value;

	return socket_get_int(fd, level, option, &value) == 0 && value;
}

/* 1: the socket's family or this kernel has no such option. */
static int get_known(int fd, int option, int *ret)
{
	int r = socket_get_int(fd, SOL_SOCKET, option, ret);

	return r == -EOPNOTSUPP || r == -ENOPROTOOPT || r == -EINVAL ? 1 : r;
}

static int dump_timeouts(int fd, SkOptsEntry *m)
{
	struct timeval tv;
	socklen_t len = sizeof(tv);

	if (getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, &len) < 0)
		return -errno;
	m->so_snd_tmo_sec = (uint64_t)tv.tv_sec;
	m->so_snd_tmo_usec = (uint64_t)tv.tv_usec;
	len = sizeof(tv);
	if (getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len) < 0)
		return -errno;
	m->so_rcv_tmo_sec = (uint64_t)tv.tv_sec;
	m->so_rcv_tmo_usec = (uint64_t)tv.tv_usec;
	return 0;
}

static int dump_linger(int fd, SkOptsEntry *m)
{
	struct linger linger = { 0 };
	socklen_t len = sizeof(linger);

	if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) < 0)
		return -errno;
	if (linger.l_onoff) {
		m->has_so_linger = true;
		m->so_linger = (uint32_t)linger.l_linger;
	}
	return 0;
}

static int dump_device(struct arena *a, int fd, SkOptsEntry *m)
{
	char name[IFNAMSIZ] = "";
	socklen_t len = sizeof(name);

	if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len) < 0)
		return errno == ENOPROTOOPT || errno == EOPNOTSUPP ? 0 : -errno;
	if (len == 0 || name[0] == '\0')
		return 0;
	name[IFNAMSIZ - 1] = '\0';
	m->so_bound_dev = arena_strdup(a, name);
	return m->so_bound_dev ? 0 : -ENOMEM;
}

/* Options that are no int: SO_TIMESTAMPING, SO_TXTIME, SO_MAX_PACING_RATE. */
static int dump_times(int fd, SkOptsEntry *m)
{
	struct so_timestamping stamps = { 0 };
	struct sock_txtime tx = { 0 };
	uint64_t rate = UINT64_MAX;
	socklen_t len = sizeof(stamps);

	/* The old name tells the flags of both; the new one is silent unless it was used. */
	if (getsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING_NEW, &stamps, &len) == 0 && stamps.flags) {
		m->has_firn_timestamping_new = true;
		m->firn_timestamping_new = (uint32_t)stamps.flags;
	} else {
		len = sizeof(stamps);
		if (getsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING_OLD, &stamps, &len) == 0 && stamps.flags) {
			m->has_firn_timestamping = true;
			m->firn_timestamping = (uint32_t)stamps.flags;
		}
	}
	if (stamps.flags && stamps.bind_phc > 0) {
		m->has_firn_bind_phc = true;
		m->firn_bind_phc = (uint32_t)stamps.bind_phc;
	}
	/* Whether it is on is not told: with CLOCK_REALTIME and without flags it looks as if it had never been set. */
	len = sizeof(tx);
	if (getsockopt(fd, SOL_SOCKET, SO_TXTIME, &tx, &len) == 0 && (tx.clockid || tx.flags)) {
		m->has_firn_txtime_clock = m->has_firn_txtime_flags = true;
		m->firn_txtime_clock = tx.clockid;
		m->firn_txtime_flags = tx.flags;
	}
	len = sizeof(rate);
	if (getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, &len) == 0 && len == sizeof(rate) && rate != UINT64_MAX) {
		m->has_firn_max_pacing_rate = true;
		m->firn_max_pacing_rate = rate;
	}
	return 0;
}

static int dump_ints(int fd, SkOptsEntry *m)
{
	int value, r;

	r = get_known(fd, SO_SNDBUF, &value);
	if (r != 0)
		return r < 0 ? r : -EOPNOTSUPP;
	m->so_sndbuf = (uint32_t)value;
	r = get_known(fd, SO_RCVBUF, &value);
	if (r != 0)
		return r < 0 ? r : -EOPNOTSUPP;
	m->so_rcvbuf = (uint32_t)value;

	for (size_t i = 0; i < ARRAY_SIZE(int_options); i++) {
		const struct int_option *o = &int_options[i];

		r = get_known(fd, o->option, &value);
		if (r < 0)
			return r;
		if (r > 0 || (o->sparse && value == o->common))
			continue;
		*(int *)((char *)m + o->has) = true;
		memcpy((char *)m + o->field, &value, sizeof(value));
	}
	return 0;
}

int socket_check(struct operation *op, const struct fd_facts *f)
{
	uint64_t own = 0, its = 0;
	socklen_t len = sizeof(its);
	AUTOCLOSE int fd = -1;

	/* Linux 5.14. Without it there is nothing to compare, and as little to refuse. */
	if (getsockopt(f->fd, SOL_SOCKET, SO_NETNS_COOKIE, &its, &len) == 0) {
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		len = sizeof(own);
		if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &own, &len) < 0)
			return error_raise_call(op->error, errno, "getsockopt(SO_NETNS_COOKIE)", "a socket of firn");
		if (own != its) {
			(void)error_raise(op->error, EOPNOTSUPP, "%s: a socket of another network namespace is not carried",
					  facts_describe(op, f));
			error_hint(op->error, "Run firn inside of that namespace.");
			return -EOPNOTSUPP;
		}
	}
	return socket_filter_check(op, f);
}

/* SO_MEMINFO (Linux 4.12) counts what waits without touching it. */
void socket_warn_queue(const struct fd_facts *f)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(info);
	struct pollfd poll_fd = { .fd = f->fd, .events = POLLIN };

	if (getsockopt(f->fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0 && info[SK_MEMINFO_RMEM_ALLOC] > 0 &&
	    poll(&poll_fd, 1, 0) > 0)
		log_warn(f->task->pid, "%s → %s: what waits in its receive queue is dropped", f->what, f->link);
}

int socket_opts_dump(struct operation *op, const struct fd_facts *f, SkOptsEntry **ret)
{
	SkOptsEntry *m = arena_alloc(&op->arena, sizeof(*m));
	int r;

	if (!m)
		return raise_no_memory(op);
	sk_opts_entry__init(m);
	r = dump_ints(f->fd, m);
	if (r == 0)
		r = dump_timeouts(f->fd, m);
	if (r == 0)
		r = dump_linger(f->fd, m);
	if (r == 0)
		r = dump_device(&op->arena, f->fd, m);
	if (r == 0)
		r = dump_times(f->fd, m);
	if (r == 0) {
		m->has_firn_uid = m->has_firn_gid = true;
		m->firn_uid = f->st.st_uid;
		m->firn_gid = f->st.st_gid;
		r = socket_filter_dump(op, f, m);
	}
	if (r < 0 && !error_is_set(op->error))
		return error_raise_call(op->error, -r, "getsockopt", "%s", facts_describe(op, f));
	if (r < 0)
		return r;
	*ret = m;
	return 0;
}

int socket_opts_decode(struct operation *op, const struct file *f, const SkOptsEntry *m)
{
	if (m->so_sndbuf > INT32_MAX || m->so_rcvbuf > INT32_MAX)
		return raise_damaged(op, f, "a socket's buffer size");
	if (m->so_snd_tmo_usec >= 1000000 || m->so_rcv_tmo_usec >= 1000000 || m->so_snd_tmo_sec > INT64_MAX ||
	    m->so_rcv_tmo_sec > INT64_MAX)
		return raise_damaged(op, f, "a socket's timeout");
	if (m->n_so_filter > BPF_MAXINSNS)
		return raise_damaged(op, f, "a socket's filter");
	if (m->so_bound_dev && strlen(m->so_bound_dev) >= IFNAMSIZ)
		return raise_damaged(op, f, "a socket's device");
	if (m->has_so_linger && m->so_linger > INT32_MAX)
		return raise_damaged(op, f, "a socket's linger time");
	for (size_t i = 0; i < ARRAY_SIZE(int_options); i++) {
		const struct int_option *o = &int_options[i];
		int value;

		memcpy(&value, (const char *)m + o->field, sizeof(value));
		if (*(const int *)((const char *)m + o->has) && o->max == 1 && (value < 0 || value > 1) &&
		    o->option != SO_NO_CHECK)
			return raise_damaged(op, f, "a socket's option");
	}
	return 0;
}

/* The kernel doubles what it is given (man 7 socket), so half of what getsockopt() said gives the same again. */
static int apply_buffer(int fd, int force, int plain, uint32_t wanted)
{
	int half = (int)(wanted / 2), now;

	if (get_known(fd, plain, &now) == 0 && (uint32_t)now == wanted)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, force, &half, sizeof(half)) == 0)
		return 0;
	return setsockopt(fd, SOL_SOCKET, plain, &half, sizeof(half)) < 0 ? -errno : 0;
}

static int apply_int(int fd, const SkOptsEntry *m, const struct int_option *o)
{
	int value, now;

	if (!*(const int *)((const char *)m + o->has))
		return 0;
	memcpy(&value, (const char *)m + o->field, sizeof(value));
	if (get_known(fd, o->option, &now) == 0 && now == value)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, o->option, &value, sizeof(value)) == 0)
		return 0;
	/* A kernel without the option has it switched off. */
	return value == o->common && (errno == ENOPROTOOPT || errno == EOPNOTSUPP) ? 0 : -errno;
}

static int apply_timeout(int fd, int option, uint64_t sec, uint64_t usec)
{
	struct timeval tv = { .tv_sec = (time_t)sec, .tv_usec = (suseconds_t)usec };

	if (sec == 0 && usec == 0)
		return 0;
	return setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv)) < 0 ? -errno : 0;
}

/* Who owns a socket decides whom it shares a port with (SO_REUSEPORT), and what a firewall takes it for. */
static int apply_owner(struct operation *op, int fd, const SkOptsEntry *m, const char *describe)
{
	struct stat st;

	if (!m->has_firn_uid || !m->has_firn_gid)
		return 0;
	if (fstat(fd, &st) == 0 && st.st_uid == m->firn_uid && st.st_gid == m->firn_gid)
		return 0;
	if (fchown(fd, m->firn_uid, m->firn_gid) < 0)
		return error_raise_call(op->error, errno, "fchown", "%s", describe);
	return 0;
}

int socket_opts_before_bind(struct operation *op, int fd, const SkOptsEntry *m, const char *describe)
{
	int on = 1, r;

	if (m->has_reuseaddr && m->reuseaddr && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return error_raise_call(op->error, errno, "setsockopt(SO_REUSEADDR)", "%s", describe);
	if (m->has_so_reuseport && m->so_reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		return error_raise_call(op->error, errno, "setsockopt(SO_REUSEPORT)", "%s", describe);
	if (m->so_bound_dev && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, m->so_bound_dev,
					  (socklen_t)strlen(m->so_bound_dev) + 1) < 0)
		return error_raise_call(op->error, errno, "setsockopt(SO_BINDTODEVICE)", "%s, device %s", describe,
					m->so_bound_dev);
	r = apply_owner(op, fd, m, describe);
	/* Before anything can arrive. */
	return r == 0 ? socket_filter_apply(op, fd, m, describe) : r;
}

/* Those that are no int; *ret_call names the one that failed. -errno, not raised. */
static int apply_times(int fd, const SkOptsEntry *m, const char **ret_call)
{
	struct so_timestamping stamps = { .flags = (int)m->firn_timestamping_new, .bind_phc = (int)m->firn_bind_phc };
	struct sock_txtime tx = { .clockid = m->firn_txtime_clock, .flags = m->firn_txtime_flags };

	*ret_call = "setsockopt(SO_TIMESTAMPING)";
	if (m->has_firn_timestamping_new && setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING_NEW, &stamps, sizeof(stamps)) < 0)
		return -errno;
	stamps.flags = (int)m->firn_timestamping;
	if (m->has_firn_timestamping && setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING_OLD, &stamps, sizeof(stamps)) < 0)
		return -errno;
	*ret_call = "setsockopt(SO_TXTIME)";
	if (m->has_firn_txtime_clock && setsockopt(fd, SOL_SOCKET, SO_TXTIME, &tx, sizeof(tx)) < 0)
		return -errno;
	*ret_call = "setsockopt(SO_MAX_PACING_RATE)";
	if (m->has_firn_max_pacing_rate && setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &m->firn_max_pacing_rate,
						      sizeof(m->firn_max_pacing_rate)) < 0)
		return -errno;
	return 0;
}

int socket_opts_apply(struct operation *op, int fd, const SkOptsEntry *m, const char *describe)
{
	struct linger linger = { .l_onoff = 1, .l_linger = (int)m->so_linger };
	const char *call = "setsockopt(SO_SNDBUF)";
	int r;

	r = apply_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, m->so_sndbuf);
	if (r == 0) {
		call = "setsockopt(SO_RCVBUF)";
		r = apply_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, m->so_rcvbuf);
	}
	if (r == 0) {
		call = "setsockopt(SO_SNDTIMEO)";
		r = apply_timeout(fd, SO_SNDTIMEO, m->so_snd_tmo_sec, m->so_snd_tmo_usec);
	}
	if (r == 0) {
		call = "setsockopt(SO_RCVTIMEO)";
		r = apply_timeout(fd, SO_RCVTIMEO, m->so_rcv_tmo_sec, m->so_rcv_tmo_usec);
	}
	if (r == 0 && m->has_so_linger) {
		call = "setsockopt(SO_LINGER)";
		r = setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0 ? -errno : 0;
	}
	if (r == 0)
		r = apply_times(fd, m, &call);
	if (r < 0)
		return error_raise_call(op->error, -r, call, "%s", describe);
	r = socket_filter_apply(op, fd, m, describe);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(int_options); i++) {
		r = apply_int(fd, m, &int_options[i]);
		if (r < 0)
			return error_raise_call(op->error, -r, "setsockopt", "%s, %s", describe, int_options[i].name);
	}
	return socket_filter_lock(op, fd, m, describe);
}

void socket_make_room(int fd, size_t bytes)
{
	/* Each packet costs the kernel more than its bytes: an skb, its data rounded up, page fragments. */
	int size = bytes > INT32_MAX / 8 ? INT32_MAX / 2 : (int)(bytes * 2 + (256 << 10));

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}
