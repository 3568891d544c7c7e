/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/system.h"
#include "kinds/common.h"
#include "kinds/unix_socket.h"
#include "watch/recorder.h"

/*
 * SO_PEERCRED and SO_PEERGROUPS are what the kernel noted of the caller of socketpair(), connect() or listen() (man 7
 * unix): its process, ids and groups. So a restore lets a passing process make the call that has all of these: one made
 * with the pid of before (clone3() with set_tid), which shares the engine's descriptors and ends at once. The tree does
 * not exist yet, so its pids are free; those of others may be, since who made a socket pair has often ended. What is noted
 * is the number, which stays when the passing process is gone; a pidfd of it (SO_PEERPIDFD) cannot be had.
 */

/* It lives in the engine's memory. */
struct passing {
	const struct unix_creds *creds;
	unix_call_fn call;
	void *arg;
	int result;
};

/* Raw calls: they change the calling thread alone. Real and saved ids stay. */
static int change_ids(const struct unix_creds *c, uid_t fsuid)
{
	if (syscall(SYS_setgroups, c->n_groups, c->groups) < 0 || syscall(SYS_setresgid, -1, c->gid, -1) < 0 ||
	    syscall(SYS_setresuid, -1, c->uid, -1) < 0)
		return -errno;
	/* Paths are looked up with the engine's rights still. */
	(void)syscall(SYS_setfsuid, fsuid);
	return 0;
}

static void pass(void *arg)
{
	struct passing *p = arg;

	p->result = change_ids(p->creds, geteuid());
	if (p->result == 0)
		p->result = p->call(p->arg);
}

static pid_t make_passing(const struct unix_creds *c, struct passing *p)
{
	struct system_clone_args args = { .flags = CLONE_FILES, .set_tid = (uint64_t)&c->pid, .set_tid_size = 1 };
	sigset_t all, old;
	pid_t pid;

	if (c->pid <= 1)
		args.set_tid = args.set_tid_size = 0;
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = sys_clone3_vfork(&args, pass, p);
	if (pid < 0 && args.set_tid_size) {
		/* Somebody has the number, or it cannot be chosen here. */
		log_info(0, "a unix socket comes back with another pid than %d in SO_PEERCRED: %s", c->pid,
			 strerror(-pid));
		args.set_tid = args.set_tid_size = 0;
		pid = sys_clone3_vfork(&args, pass, p);
	}
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid;
}

static bool are_own(const struct unix_creds *c)
{
	return !c->known || (c->pid == 0 && c->uid == geteuid() && c->gid == getegid());
}

int unix_call_as(const struct unix_creds *c, unix_call_fn call, void *arg, pid_t *ret_pid)
{
	struct passing p = { .creds = c, .call = call, .arg = arg, .result = -ECHILD };
	pid_t pid;

	recorder_moved(0);
	if (are_own(c)) {
		if (ret_pid)
			*ret_pid = getpid();
		return call(arg);
	}
	pid = make_passing(c, &p);
	while (pid > 0 && waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	if (ret_pid)
		*ret_pid = pid;
	return pid < 0 ? pid : p.result;
}

/* ---- the calls ---- */

struct pair_call {
	int type, fds[2];
};

static int call_socketpair(void *arg)
{
	struct pair_call *c = arg;

	return socketpair(AF_UNIX, c->type | SOCK_CLOEXEC, 0, c->fds) < 0 ? -errno : 0;
}

int unix_pair_as(const struct unix_creds *c, int type, int ret_fds[2])
{
	struct pair_call call = { .type = type };
	int r = unix_call_as(c, call_socketpair, &call, NULL);

	if (r == 0)
		memcpy(ret_fds, call.fds, sizeof(call.fds));
	return r;
}

struct listen_call {
	int fd, backlog;
};

static int call_listen(void *arg)
{
	const struct listen_call *c = arg;

	return listen(c->fd, c->backlog) < 0 ? -errno : 0;
}

int unix_listen_as(const struct unix_creds *c, int fd, int backlog)
{
	struct listen_call call = { .fd = fd, .backlog = backlog };

	return unix_call_as(c, call_listen, &call, NULL);
}

/* The one who holds the socket most likely made it. */
static void creds_of_user(const struct task *user, struct unix_creds *ret)
{
	const CredsEntry *creds = user && user->core && user->core->thread_core ? user->core->thread_core->creds : NULL;

	*ret = (struct unix_creds){ 0 };
	if (creds)
		*ret = (struct unix_creds){ .known = true,
					    .pid = user->pid,
					    .uid = creds->euid,
					    .gid = creds->egid,
					    .groups = creds->groups,
					    .n_groups = creds->n_groups };
}

void unix_caller_of(const struct unix_socket_holder *h, struct unix_creds *ret)
{
	const UnixSkEntry *m = h->m;

	creds_of_user(h->user, ret);
	if (m->has_firn_caller_pid && m->has_firn_caller_uid && m->has_firn_caller_gid)
		*ret = (struct unix_creds){ .known = true,
					    .pid = (pid_t)m->firn_caller_pid,
					    .uid = m->firn_caller_uid,
					    .gid = m->firn_caller_gid,
					    .groups = m->firn_caller_groups,
					    .n_groups = m->n_firn_caller_groups };
}

void unix_creds_of(const struct unix_socket_holder *h, struct unix_creds *ret)
{
	const UnixSkEntry *m = h->m;
	struct unix_creds user;

	creds_of_user(h->user, &user);
	if (!m->has_firn_peer_uid || !m->has_firn_peer_gid) {
		*ret = user;
		return;
	}
	*ret = (struct unix_creds){ .known = true, .uid = m->firn_peer_uid, .gid = m->firn_peer_gid };
	if (m->has_firn_peer_pid) {
		ret->pid = (pid_t)m->firn_peer_pid;
		ret->groups = m->firn_peer_groups;
		ret->n_groups = m->n_firn_peer_groups;
	} else if (user.known && user.uid == ret->uid && user.gid == ret->gid) {
		ret->groups = user.groups;
		ret->n_groups = user.n_groups;
	}
}
