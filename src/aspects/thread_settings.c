/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Settings of each thread that prctl() or arch_prctl() makes: when it learns of a broken page (PR_MCE_KILL), which
 * speculation the processor may do for it (PR_SET_SPECULATION_CTRL), whether CPUID faults (ARCH_SET_CPUID).
 */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "aspects/common.h"
#include "base/cleanup.h"
#include "watch/recorder.h"

#define SPECULATIONS 3 /* PR_SPEC_STORE_BYPASS, _INDIRECT_BRANCH, _L1D_FLUSH */
#define SPEC_CHANGED (PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE | SPEC_DISABLE_NOEXEC)
#define SPEC_DISABLE_NOEXEC (1u << 4) /* Linux 5.2 */
#define SPEC_L1D_FLUSH 2	      /* Linux 5.15: here it is off until it is enabled */
#define ARCH_GET_CPUID 0x1011
#define ARCH_SET_CPUID 0x1012

enum { ASK_MCE, ASK_CPUID, ASK_SPECULATION };

static int ask(struct operation *op, struct thread *t, struct batch *b, struct ask *ask)
{
	(void)op;
	(void)t;
	(void)ask;
	batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_MCE_KILL_GET, 0, 0, 0, 0);
	batch_call(b, CALL_MAY_FAIL, __NR_arch_prctl, ARCH_GET_CPUID);
	for (uint64_t i = 0; i < SPECULATIONS; i++)
		batch_call(b, CALL_MAY_FAIL, __NR_prctl, PR_GET_SPECULATION_CTRL, i, 0, 0, 0);
	return 0;
}

/* Only what the thread has changed is kept, so that it is not refused where the processor or the kernel differs. */
static uint32_t changed(size_t which, int64_t value)
{
	if (value < 0 || !(value & PR_SPEC_PRCTL))
		return 0;
	if (which == SPEC_L1D_FLUSH)
		return (uint32_t)value & PR_SPEC_ENABLE;
	return (uint32_t)value & SPEC_CHANGED;
}

static int answer(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask)
{
	ThreadCoreEntry *m = t->core->thread_core;
	int64_t mce = batch_result(b, ask->first + ASK_MCE);
	uint32_t values[SPECULATIONS], any = 0;

	if (mce >= 0 && mce != PR_MCE_KILL_DEFAULT) {
		m->has_firn_mce_kill = true;
		m->firn_mce_kill = (uint32_t)mce;
	}
	if (batch_result(b, ask->first + ASK_CPUID) == 0)
		m->has_firn_cpuid_faults = m->firn_cpuid_faults = true;
	for (size_t i = 0; i < SPECULATIONS; i++)
		any |= values[i] = changed(i, batch_result(b, ask->first + ASK_SPECULATION + i));
	if (!any)
		return 0;
	m->firn_speculation = arena_memdup(&op->arena, values, sizeof(values));
	if (!m->firn_speculation)
		return aspect_no_memory(op, t);
	m->n_firn_speculation = SPECULATIONS;
	return 0;
}

static int decode(struct operation *op, struct thread *t)
{
	const ThreadCoreEntry *m = t->core->thread_core;

	if (m->has_firn_mce_kill && m->firn_mce_kill > PR_MCE_KILL_DEFAULT)
		return aspect_damaged(op, t, "an unknown policy for broken pages");
	if (m->n_firn_speculation > SPECULATIONS)
		return aspect_damaged(op, t, "too many settings for speculation");
	for (size_t i = 0; i < m->n_firn_speculation; i++)
		if (m->firn_speculation[i] & ~(PR_SPEC_ENABLE | SPEC_CHANGED) ||
		    (m->firn_speculation[i] & (m->firn_speculation[i] - 1)))
			return aspect_damaged(op, t, "an unknown setting for speculation");
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const ThreadCoreEntry *m = t->core->thread_core;
	int r = aspect_room(op, b, 2 + SPECULATIONS, 0);

	if (r < 0)
		return r;
	if (m->has_firn_mce_kill)
		batch_call(b, 0, __NR_prctl, PR_MCE_KILL, PR_MCE_KILL_SET, m->firn_mce_kill, 0, 0);
	if (m->has_firn_cpuid_faults && m->firn_cpuid_faults)
		batch_call(b, 0, __NR_arch_prctl, ARCH_SET_CPUID, 0);
	for (size_t i = 0; i < m->n_firn_speculation; i++)
		if (m->firn_speculation[i])
			batch_call(b, 0, __NR_prctl, PR_SET_SPECULATION_CTRL, i, m->firn_speculation[i], 0, 0);
	return 0;
}

const struct aspect thread_settings_aspect = {
	.name = "settings of the thread",
	.ask = ask,
	.answer = answer,
	.decode = decode,
	.apply = apply,
};
