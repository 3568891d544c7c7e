/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/system.h"
#include "kinds/common.h"
#include "kinds/inet.h"
#include "kinds/registry.h"
#include "watch/recorder.h"

/*
 * While connections are read two things are true that must not outlive the dump: their segments are dropped by a table of
 * the packet filter, and their sockets are in repair mode. Both belong to the machine and not to the engine: the mode is one
 * of the socket, which the target shares.
 *
 * So a process of its own is made before: the guard. It has copies of the sockets and of the netlink sockets, waits for one
 * word from the engine, and ends repair mode and lock when it hears "run", or when the engine is gone without a word. It does
 * nothing else, makes only plain system calls (it is a copy of one thread of a threaded process), and no signal but SIGKILL
 * reaches it. It is a child of the front, so that the front can wait for it after an engine that died.
 *
 * Two tables:
 *  - firn-dump-PID is owned by a netlink socket that engine and guard hold: when both are gone the kernel removes it. It is
 *    there with --network-lock skip as well, where it can be: two ends in one tree must be read at one moment, and even
 *    MSG_PEEK may make the kernel tell the other end of a new window.
 *  - the one that stays until the restore. It is made when the images are whole, just before the tree is killed. Its name is
 *    that of CRIU's own, made from the run id in the inventory, so that CRIU too removes it when it restores.
 *
 * A tree that is killed dies with its sockets in repair mode: the kernel then closes them without FIN or RST.
 */

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif
#define CLONE_PARENT_FLAG 0x8000

#define SAY_RUN 'R'	/* the tasks go on: end repair mode and both locks */
#define SAY_KILLING 'K' /* from now on the tasks die */
#define SAY_KILLED 'D'	/* all are dead: leave everything as it is */
#define GUARD_MS 2000	/* how long the engine waits for the guard's end */
#define DEATH_MS 1000	/* how long the guard waits for tasks whose killer died */

struct hold {
	pid_t guard;
	int guard_pidfd, say;	  /* say: the pipe to the guard */
	int own_netlink, netlink; /* the first owns its table */
	char own[40], kept[40];	  /* names of the tables; "" = none */
	bool killing;

	/* for the guard; nothing may be allocated there */
	int hear;
	size_t n_sockets;
	int *sockets, *reuse;
	size_t n_tasks;
	struct pollfd *tasks;
	size_t n_keep;
	int *keep; /* every descriptor that the guard needs, ascending */
};

/* ---- what ends a hold: plain system calls alone ---- */

static void leave_repair(int fd, int reuse)
{
	int off = TCP_REPAIR_OFF_NO_WP, plain = TCP_REPAIR_OFF, now = 0;

	if (socket_get_int(fd, IPPROTO_TCP, TCP_REPAIR, &now) < 0 || !now)
		return;
	/* Without the probe that the kernel would send after a restore; Linux 4.20. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)) < 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &plain, sizeof(plain));
	/* Repair mode also changes whether the port may be shared, and forgets it when it ends. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
}

static void undo(const struct hold *h)
{
	for (size_t i = 0; i < h->n_sockets; i++)
		leave_repair(h->sockets[i], h->reuse[i]);
	if (h->kept[0])
		(void)packet_filter_unlock(h->netlink, h->kept);
	if (h->own[0])
		(void)packet_filter_unlock(h->own_netlink, h->own);
}

/* ---- the guard ---- */

static void close_others(const struct hold *h)
{
	unsigned from = 0;

	for (size_t i = 0; i < h->n_keep; i++) {
		unsigned keep = (unsigned)h->keep[i];

		if (keep > from)
			(void)sys_close_range(from, keep - 1, 0);
		from = keep + 1;
	}
	(void)sys_close_range(from, ~0u, 0);
}

static bool all_dead(const struct hold *h)
{
	struct timespec pause = { 0, 5000000 };
	uint64_t until = monotonic_ns() + DEATH_MS * 1000000ull;

	do {
		size_t dead = 0;

		(void)poll(h->tasks, h->n_tasks, 0);
		for (size_t i = 0; i < h->n_tasks; i++)
			dead += h->tasks[i].fd < 0 || (h->tasks[i].revents & POLLIN);
		if (dead == h->n_tasks)
			return true;
		(void)nanosleep(&pause, NULL);
	} while (monotonic_ns() < until);
	return false;
}

static void guard(const struct hold *h)
{
	char word = 0, last = 0;

	(void)prctl(PR_SET_NAME, "firn-guard");
	(void)setsid();
	close_others(h);
	while (last != SAY_RUN && last != SAY_KILLED) {
		ssize_t n = read(h->hear, &word, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		last = word;
	}
	if (last != SAY_KILLED && !(last == SAY_KILLING && all_dead(h)))
		undo(h);
	atomic_store(&recorder->guard_done, true);
	_exit(0);
}

static int compare_ints(const void *a, const void *b)
{
	return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

static int prepare_guard(struct operation *op, struct hold *h, const int *sockets, size_t n)
{
	struct arena *a = &op->arena;

	h->n_sockets = n;
	h->n_tasks = op->tree.n_tasks;
	h->sockets = arena_memdup(a, sockets, n * sizeof(*sockets));
	h->reuse = arena_array(a, n + 1, sizeof(*h->reuse));
	h->tasks = arena_array(a, h->n_tasks + 1, sizeof(*h->tasks));
	h->keep = arena_array(a, n + h->n_tasks + 3, sizeof(*h->keep));
	if (!h->sockets || !h->reuse || !h->tasks || !h->keep)
		return raise_no_memory(op);
	for (size_t i = 0; i < n; i++) {
		(void)socket_get_int(sockets[i], SOL_SOCKET, SO_REUSEADDR, &h->reuse[i]);
		h->keep[h->n_keep++] = sockets[i];
	}
	for (size_t i = 0; i < h->n_tasks; i++) {
		h->tasks[i] = (struct pollfd){ .fd = op->tree.tasks[i]->pidfd, .events = POLLIN };
		if (h->tasks[i].fd >= 0)
			h->keep[h->n_keep++] = h->tasks[i].fd;
	}
	h->keep[h->n_keep++] = h->hear;
	if (h->netlink >= 0)
		h->keep[h->n_keep++] = h->netlink;
	if (h->own_netlink >= 0)
		h->keep[h->n_keep++] = h->own_netlink;
	qsort(h->keep, h->n_keep, sizeof(*h->keep), compare_ints);
	return 0;
}

static int start_guard(struct operation *op, struct hold *h)
{
	struct system_clone_args args = { .flags = CLONE_PIDFD | CLONE_PARENT_FLAG,
					  .pidfd = (uint64_t)(uintptr_t)&h->guard_pidfd };
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = sys_clone3(&args, sizeof(args));
	if (pid == 0)
		guard(h);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return error_raise_call(op->error, (int)-pid, "clone3",
					"the process that ends repair mode if firn is killed");
	h->guard = pid;
	atomic_store(&recorder->guard, pid);
	close(h->hear);
	h->hear = -1;
	return 0;
}

/* ---- the engine ---- */

static int raise_filter(struct operation *op, int number, const char *table)
{
	error_raise_call(op->error, number, "nftables", "the lock on TCP connections, table inet %s", table);
	if (number == EPROTONOSUPPORT || number == EOPNOTSUPP || number == ENOENT || number == EINVAL)
		error_hint(op->error,
			   "This kernel has no nftables (nf_tables, nf_tables_inet): load it, or lock the network "
			   "yourself and say --network-lock skip.");
	else if (number == EPERM)
		error_hint(op->error, "It needs CAP_NET_ADMIN.");
	return -number;
}

/* A uuid whose first word says who made it. */
static int make_run_id(struct operation *op)
{
	uint8_t b[12];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return error_raise_call(op->error, errno, "getrandom", "a name for the lock on TCP connections");
	op->run_id = arena_printf(&op->arena, "6669726e-%02x%02x-4%x%02x-a%x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
				  b[2] & 15, b[3], b[4] & 15, b[5], b[6], b[7], b[8], b[9], b[10], b[11]);
	return op->run_id ? 0 : raise_no_memory(op);
}

static int open_filter(struct operation *op, struct hold *h)
{
	int r;

	h->own_netlink = packet_filter_open();
	h->netlink = packet_filter_open();
	(void)snprintf(h->own, sizeof(h->own), "firn-dump-%d", getpid());
	if (op->options->network_lock == NETWORK_LOCK_SKIP)
		return 0;
	if (h->own_netlink < 0 || h->netlink < 0)
		return raise_filter(op, -(h->own_netlink < 0 ? h->own_netlink : h->netlink), h->own);
	r = make_run_id(op);
	if (r == 0)
		tcp_lock_name(op->run_id, h->kept, sizeof(h->kept));
	return r;
}

void tcp_lock_name(const char *run_id, char *buf, size_t size)
{
	(void)snprintf(buf, size, "CRIU-%.21s", run_id);
}

int tcp_hold_begin(struct operation *op, const struct tcp_ends *ends, size_t n_ends, const int *sockets,
		   size_t n_sockets)
{
	struct hold *h = arena_alloc(&op->arena, sizeof(*h));
	bool lock = n_ends > 0, may_fail = op->options->network_lock == NETWORK_LOCK_SKIP;
	int p[2], r = 0;

	if (!h)
		return raise_no_memory(op);
	*h = (struct hold){ .guard_pidfd = -1, .say = -1, .hear = -1, .own_netlink = -1, .netlink = -1 };
	if (lock)
		r = open_filter(op, h);
	if (r < 0)
		return r;
	if (pipe2(p, O_CLOEXEC) < 0)
		return error_raise_call(op->error, errno, "pipe2", "for the guard");
	h->hear = p[0];
	h->say = p[1];
	r = prepare_guard(op, h, sockets, n_sockets);
	if (r == 0)
		r = start_guard(op, h);
	if (r < 0)
		return r;
	*files_kind_state(op, &kind_inet_socket) = h;
	if (!lock)
		return 0;
	recorder_step(0, NULL, "nftables", "lock %zu TCP connections, table inet %s", n_ends, h->own);
	r = packet_filter_lock(h->own_netlink, h->own, true, ends, n_ends);
	if (r < 0 && may_fail)
		log_warn(0, "TCP connections are not kept still while they are read: nftables: %s", strerror(-r));
	return r < 0 && !may_fail ? raise_filter(op, -r, h->own) : 0;
}

int tcp_hold_keep(struct operation *op, const struct tcp_ends *ends, size_t n_ends)
{
	struct hold *h = *files_kind_state(op, &kind_inet_socket);
	int r;

	if (!h || !h->kept[0])
		return 0;
	recorder_step(0, NULL, "nftables", "lock %zu TCP connections until the restore, table inet %s", n_ends,
		      h->kept);
	r = packet_filter_lock(h->netlink, h->kept, false, ends, n_ends);
	return r < 0 ? raise_filter(op, -r, h->kept) : 0;
}

/* The tracer thread: one byte into an empty pipe, and a wait with an end. */
void tcp_part(struct operation *op, enum parting how)
{
	static const char words[] = { [PART_RUN] = SAY_RUN, [PART_KILLING] = SAY_KILLING, [PART_KILLED] = SAY_KILLED };
	struct hold *h = *files_kind_state(op, &kind_inet_socket);
	struct pollfd p;
	bool heard;

	/* What is being killed is not let go any more: the guard sees to the rest when the engine ends. */
	if (!h || h->say < 0 || (how == PART_RUN && h->killing))
		return;
	h->killing |= how == PART_KILLING;
	heard = write(h->say, &words[how], 1) == 1;
	if (how == PART_KILLING)
		return;
	close(h->say);
	h->say = -1;
	p = (struct pollfd){ .fd = h->guard_pidfd, .events = POLLIN };
	recorder_step(0, NULL, "poll", "the guard of the TCP connections, to end their repair mode");
	/* The front interrupts again and again when it cancels. */
	for (uint64_t until = monotonic_ns() + GUARD_MS * 1000000ull, now; (now = monotonic_ns()) < until;)
		if (poll(&p, 1, (int)((until - now) / 1000000) + 1) != -1 || errno != EINTR)
			break;
	if (how == PART_RUN && (!heard || !atomic_load(&recorder->guard_done))) {
		/* Somebody killed the guard. */
		log_warn(0, "the guard of the TCP connections is gone: the engine ends their repair mode itself");
		undo(h);
	}
}

void inet_fill_ends(const InetSkEntry *m, struct tcp_ends *ret)
{
	bool mapped = m->family == AF_INET6 && m->n_src_addr == 4 &&
		      IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)m->src_addr);

	*ret = (struct tcp_ends){ .family = mapped ? AF_INET : (int)m->family,
				  .local_port = (uint16_t)m->src_port,
				  .remote_port = (uint16_t)m->dst_port };
	if (mapped) {
		memcpy(ret->local, &m->src_addr[3], 4);
		memcpy(ret->remote, &m->dst_addr[3], 4);
	} else {
		memcpy(ret->local, m->src_addr, m->n_src_addr * sizeof(uint32_t));
		memcpy(ret->remote, m->dst_addr, m->n_dst_addr * sizeof(uint32_t));
	}
}
