/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Users, groups, capabilities, securebits and no_new_privs of each thread (man 7 credentials, man 7 capabilities).
 *
 * The order of a restore: groups first, they need CAP_SETGID; then the users, under SECBIT_NO_SETUID_FIXUP so that the
 * change does not drop the capabilities that the rest needs. The inheritable capabilities come before the bounding set,
 * without which they could not be raised any more, and the ambient ones (which must be permitted and inheritable)
 * before the securebits, which may forbid it. Securebits need CAP_SETPCAP, so that the capabilities come after them;
 * no_new_privs last. What the securebits have locked in firn itself cannot be changed: the call fails and says so.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"
#include "base/cleanup.h"
#include "kernel/features.h"

#define OWN_GROUPS 64	 /* with more of them no look is taken whether they are firn's own */
#define MAX_GROUPS 65536 /* NGROUPS_MAX */
#define CAP_WORDS 2

static uint32_t *cap_words(struct operation *op, uint64_t caps)
{
	uint32_t words[CAP_WORDS] = { (uint32_t)caps, (uint32_t)(caps >> 32) };

	return arena_memdup(&op->arena, words, sizeof(words));
}

static uint64_t caps_of(const uint32_t *words, size_t n)
{
	return (n > 0 ? words[0] : 0) | (n > 1 ? (uint64_t)words[1] << 32 : 0);
}

static int collect_thread(struct operation *op, struct thread *t)
{
	const struct proc_status *s = &t->status;
	CredsEntry *m = t->core->thread_core->creds;

	m->uid = s->uid[0];
	m->euid = s->uid[1];
	m->suid = s->uid[2];
	m->fsuid = s->uid[3];
	m->gid = s->gid[0];
	m->egid = s->gid[1];
	m->sgid = s->gid[2];
	m->fsgid = s->gid[3];
	m->groups = s->groups;
	m->n_groups = s->n_groups;
	m->cap_inh = cap_words(op, s->cap_inh);
	m->cap_prm = cap_words(op, s->cap_prm);
	m->cap_eff = cap_words(op, s->cap_eff);
	m->cap_bnd = cap_words(op, s->cap_bnd);
	m->cap_amb = cap_words(op, s->cap_amb);
	if (!m->cap_inh || !m->cap_prm || !m->cap_eff || !m->cap_bnd || !m->cap_amb)
		return aspect_no_memory(op, t);
	m->n_cap_inh = m->n_cap_prm = m->n_cap_eff = m->n_cap_bnd = CAP_WORDS;
	m->n_cap_amb = s->cap_amb ? CAP_WORDS : 0;
	m->has_no_new_privs = s->no_new_privs;
	m->no_new_privs = s->no_new_privs;
	return 0;
}

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	(void)t;
	(void)ask;
	batch_call(b, 0, __NR_prctl, PR_GET_SECUREBITS);
	return 0;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	(void)op;
	t->core->thread_core->creds->secbits = (uint32_t)batch_result(b, ask->first);
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	const CredsEntry *m = t->core->thread_core->creds;
	uint64_t missing;
	char *name;
	const uint32_t ids[] = { m ? m->uid : 0, m ? m->euid : 0, m ? m->suid : 0, m ? m->fsuid : 0,
				 m ? m->gid : 0, m ? m->egid : 0, m ? m->sgid : 0, m ? m->fsgid : 0 };

	if (!m)
		return aspect_damaged(op, t, "no credentials");
	if (m->n_groups > MAX_GROUPS || m->n_cap_inh > CAP_WORDS || m->n_cap_prm > CAP_WORDS ||
	    m->n_cap_eff > CAP_WORDS || m->n_cap_bnd > CAP_WORDS || m->n_cap_amb > CAP_WORDS)
		return aspect_damaged(op, t, "too many groups or capabilities");
	/* -1 means "leave it as it is" to the calls, which would leave it firn's. */
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		if (ids[i] == UINT32_MAX)
			return aspect_damaged(op, t, "a user or group with the number -1");
	if (m->secbits & ~(SECURE_ALL_BITS | SECURE_ALL_LOCKS))
		return aspect_damaged(op, t, "unknown securebits %#x", m->secbits);
	missing = caps_of(m->cap_prm, m->n_cap_prm) & ~op->features->cap_eff;
	if (!missing)
		return 0;
	name = cap_to_name((cap_value_t)__builtin_ctzll(missing));
	(void)error_raise(op->error, EPERM, "core-%d.img: the thread had %s, which firn itself lacks", t->tid,
			  name ? name : "a capability");
	cap_free(name);
	error_hint(op->error, "Run the restore with at least the capabilities that the tasks had (capabilities(7)).");
	return -EPERM;
}

/* Are the ids those that a restored task has from firn anyway? Then nothing is called that needs a privilege. */
static bool ids_are_own(const CredsEntry *m)
{
	gid_t groups[OWN_GROUPS], r, e, s;
	uid_t ru, eu, su;
	int n = getgroups(OWN_GROUPS, groups);

	if (n < 0 || (size_t)n != m->n_groups || getresgid(&r, &e, &s) < 0 || getresuid(&ru, &eu, &su) < 0)
		return false;
	for (int i = 0; i < n; i++)
		if (groups[i] != m->groups[i])
			return false;
	return r == m->gid && e == m->egid && s == m->sgid && e == m->fsgid && ru == m->uid && eu == m->euid &&
	       su == m->suid && eu == m->fsuid && prctl(PR_GET_SECUREBITS) == (int)m->secbits;
}

static void add_ids(struct batch *b, const CredsEntry *m)
{
	batch_call(b, 0, __NR_setgroups, m->n_groups, batch_data(b, m->groups, m->n_groups * sizeof(*m->groups)));
	batch_call(b, 0, __NR_setresgid, m->gid, m->egid, m->sgid);
	batch_call(b, 0, __NR_setfsgid, m->fsgid);
	batch_call(b, 0, __NR_prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS);
	batch_call(b, 0, __NR_setresuid, m->uid, m->euid, m->suid);
	batch_call(b, 0, __NR_setfsuid, m->fsuid);
}

static void add_capset(struct batch *b, uint64_t prm, uint64_t eff, uint64_t inh)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[CAP_WORDS];
	uint64_t remote_header = batch_data(b, &header, sizeof(header));

	for (size_t i = 0; i < CAP_WORDS; i++) {
		data[i].inheritable = (uint32_t)(inh >> (32 * i));
		data[i].permitted = (uint32_t)(prm >> (32 * i));
		data[i].effective = (uint32_t)(eff >> (32 * i));
	}
	batch_call(b, 0, __NR_capset, remote_header, batch_data(b, data, sizeof(data)));
}

static void add_capabilities(struct operation *op, struct batch *b, const CredsEntry *m, bool own_ids)
{
	uint64_t own = op->features->cap_eff, bnd = caps_of(m->cap_bnd, m->n_cap_bnd),
		 inh = caps_of(m->cap_inh, m->n_cap_inh), prm = caps_of(m->cap_prm, m->n_cap_prm),
		 eff = caps_of(m->cap_eff, m->n_cap_eff), amb = caps_of(m->cap_amb, m->n_cap_amb);

	add_capset(b, own, own, inh);
	batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned cap = 0; cap < 64; cap++)
		if (amb >> cap & 1)
			batch_call(b, 0, __NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
	for (unsigned cap = 0; cap < 64; cap++)
		if (!(bnd >> cap & 1)) /* EINVAL above the last capability of this kernel */
			batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_CAPBSET_DROP, cap);
	if (!own_ids)
		batch_call(b, 0, __NR_prctl, PR_SET_SECUREBITS, m->secbits);
	add_capset(b, prm, eff, inh);
	if (m->no_new_privs)
		batch_call(b, 0, __NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const CredsEntry *m = t->core->thread_core->creds;
	int r = aspect_room(op, b, 160, m->n_groups * sizeof(*m->groups) + 256);
	bool own = ids_are_own(m);

	if (r < 0)
		return r;
	if (!batch_has_room(b, 160, m->n_groups * sizeof(*m->groups) + 256))
		return aspect_refuse(op, t, "has %zu groups, more than firn can set", m->n_groups);
	if (!own)
		add_ids(b, m);
	add_capabilities(op, b, m, own);
	return 0;
}

const struct aspect credentials_aspect = {
	.name = "credentials",
	.collect_thread = collect_thread,
	.ask = ask,
	.answer = answer,
	.decode = decode,
	.apply = apply,
};
