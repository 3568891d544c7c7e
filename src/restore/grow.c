/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sessions and groups. A session is inherited at birth and can only be left for a new one (setsid), so the order in
 * which tasks are made matters:
 *
 *   - a task is made by its parent while the parent is in the task's session: before or after the parent's own setsid;
 *   - a task whose parent was never in its session was adopted: its first parent has ended. It is made by somebody of
 *     that session below the adopter (the nearest sub-reaper above, man 2 PR_SET_CHILD_SUBREAPER), through a helper
 *     that ends at once; a leader that has ended is itself such a helper;
 *   - process groups are set at the end, when all who belong to them exist.
 */
#include "restore/grow.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/system.h"
#include "kinds/dead.h"
#include "puppet/trace.h"
#include "restore/pid_taken.h"
#include "restore/seed.h"
#include "restore/sprout.h"
#include "tree/tree.h"
#include "watch/recorder.h"

int grow_check_pids(struct operation *op)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *t = op->tree.tasks[i];

		for (size_t k = 0; k == 0 || k < t->n_threads; k++) {
			pid_t tid = k == 0 ? t->pid : t->threads[k].tid;
			int r = pid_check_free(op, tid);

			if (r < 0)
				return r;
		}
	}
	for (const struct dead_task *d = op->files->dead; d; d = d->next) {
		int r = d->pid != 0 ? pid_check_free(op, d->pid) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_leader(const struct task *t)
{
	return t->sid == t->pid;
}

static int become_leader(struct operation *op, struct task *t)
{
	int r = call_in(op, t, __NR_setsid, (uint64_t[6]){ 0 }, NULL);

	if (r == 0)
		t->session_now = t->pid;
	return r;
}

/* The session that @t has to be born in so that its own children can inherit it; 0 if any will do. */
static pid_t wanted_birth(const struct operation *op, const struct task *t)
{
	if (!is_leader(t))
		return t->sid;
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *child = op->tree.tasks[i];

		if (child->parent == t && !is_leader(child) && child->sid != t->sid)
			return child->sid;
	}
	return 0;
}

/* Who makes @t: its parent, or a sibling made before that shares memory with it when the parent does not. */
static struct task *choose_maker(const struct operation *op, const struct task *t, bool *ret_sibling)
{
	*ret_sibling = false;
	if (t->state == TASK_ZOMBIE || t->mm_owner == t || t->parent->mm_owner == t->mm_owner)
		return t->parent;
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *other = op->tree.tasks[i];

		if (other->made && other->parent == t->parent && other->mm_owner == t->mm_owner) {
			*ret_sibling = true;
			return other;
		}
	}
	return t->parent;
}

/* Whatever two tasks share, one must be able to inherit it from the other. */
static int check_inherits(struct operation *op, const struct task *maker, const struct task *t)
{
	const char *what = NULL;

	if (t->state == TASK_ZOMBIE)
		return 0;
	if (t->mm_owner != t && t->mm_owner != maker->mm_owner)
		what = "memory";
	else if (t->files_owner != t && t->files_owner != maker->files_owner)
		what = "descriptor table";
	else if (t->fs_owner != t && t->fs_owner != maker->fs_owner)
		what = "working directory";
	else if (t->sighand_owner != t && t->sighand_owner != maker->sighand_owner)
		what = "signal handlers";
	if (!what)
		return 0;
	return error_raise(op->error, EOPNOTSUPP,
			   "pid %d (%s) shares its %s with a task that is neither its parent nor its sibling, which firn does not "
			   "restore yet",
			   t->pid, t->comm, what);
}

static int make_child(struct operation *op, struct task *t)
{
	bool sibling;
	struct task *maker = choose_maker(op, t, &sibling);
	int r = check_inherits(op, maker, t);

	return r < 0 ? r : sprout_task(op, maker, t, sibling);
}

/* Makes those children of @parent that belong into the session it is in now. */
static int make_children(struct operation *op, struct task *parent, bool before_setsid)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		pid_t want;
		int r;

		if (t->parent != parent || t->made)
			continue;
		want = wanted_birth(op, t);
		if (before_setsid ? want != parent->session_now : want != 0 && want != parent->session_now)
			continue;
		r = make_child(op, t);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The tasks are in an order that has parents first, so one walk makes all that their parents can make. */
static int grow_below(struct operation *op, size_t from)
{
	for (size_t i = from; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		int r = 0;

		if (!t->made)
			continue;
		if (is_leader(t) && t->session_now != t->pid) {
			r = make_children(op, t, true);
			if (r == 0)
				r = become_leader(op, t);
		}
		if (r == 0)
			r = make_children(op, t, false);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool descends_from(const struct task *t, const struct task *ancestor)
{
	for (t = t->parent; t; t = t->parent)
		if (t == ancestor)
			return true;
	return false;
}

/* A member of the session below the adopter: it can make a helper there. Zombies-to-be still live. */
static struct task *session_member_below(const struct operation *op, pid_t sid, const struct task *adopter)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->made && t->session_now == sid && descends_from(t, adopter))
			return t;
	}
	return NULL;
}

static int make_adopted(struct operation *op, struct task *t)
{
	struct task *adopter = t->parent, *member = session_member_below(op, t->sid, adopter), *helper;
	bool new_session = !member;
	int r;

	/* With no member left, the session is made anew by a helper in the place of its dead leader. */
	helper = sprout_helper(op, member ? member : adopter, member ? 0 : t->sid);
	if (!helper)
		return -op->error->number;
	r = new_session ? become_leader(op, helper) : 0;
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *other = op->tree.tasks[i];

		if (other->parent == adopter && other->sid == t->sid && !other->made && (new_session || other == t))
			r = sprout_task(op, helper, other, false);
	}
	if (r == 0)
		r = call_in(op, adopter, __NR_prctl, (uint64_t[6]){ PR_SET_CHILD_SUBREAPER, 1 }, NULL);
	return r == 0 ? helper_end(op, helper, member ? member : adopter) : r;
}

static int grow_adopted(struct operation *op)
{
	for (size_t i = 1; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		int r;

		if (t->made)
			continue;
		if (!t->parent->made)
			return error_raise(op->error, EOPNOTSUPP, "pid %d (%s): session %d cannot be rebuilt around its parent %d",
					   t->pid, t->comm, t->sid, t->ppid);
		r = make_adopted(op, t);
		if (r == 0)
			r = grow_below(op, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- process groups ---- */

static bool group_exists(const struct operation *op, pid_t pgid)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++)
		if (op->tree.tasks[i]->pid == pgid)
			return true;
	return false;
}

static int join_group(struct operation *op, struct task *t)
{
	return call_in(op, t, __NR_setpgid, (uint64_t[6]){ 0, (uint64_t)t->pgid }, NULL);
}

/* The group's leader has ended: a helper founds the group and leaves it to its members. */
static int refound_group(struct operation *op, struct task *founder)
{
	struct task *helper = sprout_helper(op, founder, founder->pgid);
	int r;

	if (!helper)
		return -op->error->number;
	r = call_in(op, helper, __NR_setpgid, (uint64_t[6]){ 0, 0 }, NULL);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++)
		if (op->tree.tasks[i]->pgid == founder->pgid)
			r = join_group(op, op->tree.tasks[i]);
	return r == 0 ? helper_end(op, helper, founder) : r;
}

static int set_groups(struct operation *op)
{
	const struct task *root = op->tree.tasks[0];
	/* A shell job belongs to its shell's session and, mostly, to a group of that session: the caller's now. */
	pid_t outer_group = !is_leader(root) && !group_exists(op, root->pgid) ? root->pgid : 0;
	int r = 0;

	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->pgid == t->pid && !is_leader(t))
			r = join_group(op, t);
	}
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];
		int64_t now;

		if (t->pgid == t->pid || t->pgid == outer_group || t->pgid == 0)
			continue;
		r = call_in(op, t, __NR_getpgid, (uint64_t[6]){ 0 }, &now);
		if (r < 0 || now == t->pgid)
			continue;
		r = group_exists(op, t->pgid) ? join_group(op, t) : refound_group(op, t);
	}
	return r;
}

int grow_tree(struct operation *op, struct channel *c)
{
	struct task *root = op->tree.tasks[0];
	int r = seed_root(op, c);

	if (r < 0)
		return r;
	root->made = true;
	root->session_now = is_leader(root) ? 0 : root->sid;
	r = grow_below(op, 0);
	if (r == 0)
		r = grow_adopted(op);
	return r == 0 ? set_groups(op) : r;
}
