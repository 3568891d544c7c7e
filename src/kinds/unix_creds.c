/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kinds/common.h"
#include "kinds/unix_socket.h"

/*
 * SO_PEERCRED is what the kernel noted of the caller of socketpair(), connect() or listen() (man 7 unix), so a restore
 * makes these calls with the ids of before. The raw system calls change this thread's ids alone; the real and saved ids
 * stay as they are, so the way back is open. The pid cannot be chosen: it is firn's.
 */

static int change_ids(const struct unix_creds *c, uid_t fsuid)
{
	if (syscall(SYS_setgroups, c->n_groups, c->groups) < 0 || syscall(SYS_setresgid, -1, c->gid, -1) < 0 ||
	    syscall(SYS_setresuid, -1, c->uid, -1) < 0)
		return -errno;
	/* Paths are looked up with the engine's rights still. */
	(void)syscall(SYS_setfsuid, fsuid);
	return 0;
}

static int raise_ids(struct operation *op, int r, const struct unix_creds *c, const char *describe)
{
	return error_raise_call(op->error, -r, "setresuid", "%s, made by uid %u, gid %u", describe, c->uid, c->gid);
}

int unix_creds_take(struct operation *op, const struct unix_creds *c, const char *describe, struct unix_creds *back)
{
	int n, r;

	*back = (struct unix_creds){ .uid = geteuid(), .gid = getegid() };
	if (!c->known || (c->uid == back->uid && c->gid == back->gid))
		return 0;
	n = getgroups(0, NULL);
	back->n_groups = n < 0 ? 0 : (size_t)n;
	if (n > 0) {
		gid_t *groups = arena_array(&op->arena, back->n_groups, sizeof(gid_t));

		if (!groups)
			return raise_no_memory(op);
		if (getgroups(n, groups) != n)
			return error_raise_call(op->error, errno, "getgroups", "%s", describe);
		back->groups = groups;
	}
	back->known = true;
	r = change_ids(c, back->uid);
	if (r < 0) {
		raise_ids(op, r, c, describe);
		(void)unix_creds_give_back(op, back, describe);
	}
	return r;
}

int unix_creds_give_back(struct operation *op, const struct unix_creds *back, const char *describe)
{
	int r;

	if (!back->known)
		return 0;
	/* The uid first: it brings the capabilities back that the rest needs. */
	r = syscall(SYS_setresuid, -1, back->uid, -1) < 0 ? -errno : change_ids(back, back->uid);
	return r < 0 && !error_is_set(op->error) ? raise_ids(op, r, back, describe) : r;
}

void unix_creds_of(const struct unix_socket_holder *h, struct unix_creds *ret)
{
	const CredsEntry *creds = NULL;
	const UnixSkEntry *m = h->m;

	*ret = (struct unix_creds){ 0 };
	if (h->user && h->user->core && h->user->core->thread_core)
		creds = h->user->core->thread_core->creds;
	if (m->has_firn_peer_uid && m->has_firn_peer_gid)
		*ret = (struct unix_creds){ .known = true, .uid = m->firn_peer_uid, .gid = m->firn_peer_gid };
	else if (creds)
		*ret = (struct unix_creds){ .known = true, .uid = creds->euid, .gid = creds->egid };
	if (creds && ret->uid == creds->euid && ret->gid == creds->egid) {
		ret->groups = creds->groups;
		ret->n_groups = creds->n_groups;
	}
}
