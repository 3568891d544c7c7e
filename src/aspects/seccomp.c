/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Seccomp (man 2 seccomp): strict mode, and the filters of each thread.
 *
 * A thread's filters are a chain: each was added to the one before, and clone() hands the chain on. In the images a thread
 * has the number of the filter that came first, and each filter of seccomp.img has as "prev" the number of the one that
 * was added to it next (so CRIU writes it, whatever the field is called). Where all threads of a process have the same
 * chain, only the leader has its number, and the flags of the filters have SECCOMP_FILTER_FLAG_TSYNC.
 *
 * Filters judge firn's own calls, too. So every thread that has some is traced with PTRACE_O_SUSPEND_SECCOMP (Linux
 * 4.3) from before the first call to the end, in a dump and in a restore. That and reading filters (PTRACE_SECCOMP_GET_
 * FILTER) need CAP_SYS_ADMIN, and that firn is not under seccomp itself.
 *
 * A restore adds the filters while the thread still has CAP_SYS_ADMIN: without that they would need no_new_privs, which
 * the thread may not have had. What all threads of a process have in common is added by one of them for all (TSYNC), so
 * that it is one chain again and a later TSYNC of the program finds what it needs.
 *
 * Strict mode forbids the time stamp counter as well (disable_TSC()); what PR_SET_TSC says is carried by tsc.c.
 */
#include "aspects/seccomp.h"

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "aspects/common.h"
#include "kernel/features.h"
#include "puppet/trace.h"
#include "seccomp.pb-c.h"
#include "watch/recorder.h"

#ifndef PTRACE_O_SUSPEND_SECCOMP
#define PTRACE_O_SUSPEND_SECCOMP (1 << 21)
#endif
#define GET_FILTER 0x420c   /* PTRACE_SECCOMP_GET_FILTER, Linux 4.4 */
#define GET_METADATA 0x420d /* PTRACE_SECCOMP_GET_METADATA, Linux 4.16 */
#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1ul << 4) /* Linux 5.7 */
#endif
#ifndef SECCOMP_RET_USER_NOTIF
#define SECCOMP_RET_USER_NOTIF 0x7fc00000u /* Linux 5.0 */
#endif

#define FILTERS_MAX 32768u /* of one chain; the kernel allows fewer instructions than that */
#define TABLE_MAX 1000000u /* of one tree */

/* op->seccomp: the filters of the tree, in the order of the image. */
struct seccomp_table {
	SeccompFilter **filters;
	size_t n, room;
	bool read; /* restore: seccomp.img was read */
};

static struct seccomp_table *table_of(struct operation *op)
{
	if (!op->seccomp)
		op->seccomp = arena_alloc(&op->arena, sizeof(*op->seccomp));
	return op->seccomp;
}

/* Answers of a filter that go to a supervisor: only a program with the listener's descriptor can give them. */
static bool asks_supervisor(const SeccompFilter *m)
{
	const struct sock_filter *code = (const void *)m->filter.data;

	bool computed = false, named = false;

	/* An answer may be computed as well; then the number stands somewhere in the program. */
	for (size_t i = 0; i < m->filter.len / sizeof(*code); i++) {
		bool notif = (code[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF;

		if (code[i].code == (BPF_RET | BPF_K) && notif)
			return true;
		computed |= code[i].code == (BPF_RET | BPF_A);
		named |= notif;
	}
	return computed && named;
}

/* dump --------------------------------------------------------------------------------------------------------- */

static int check(struct operation *op, struct thread *t)
{
	const char *what = t->status.seccomp == 1 ? "strict mode" : "filter", *why = NULL;

	if (t->status.seccomp == 0)
		return 0;
	if (!features_capable(op->features, CAP_SYS_ADMIN))
		why = "firn lacks CAP_SYS_ADMIN";
	else if (!op->features->ptrace_suspend_seccomp)
		why = "this kernel has no PTRACE_O_SUSPEND_SECCOMP";
	else if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0)
		why = "firn is under seccomp itself";
	if (!why)
		return 0;
	(void)aspect_refuse(op, t, "is confined by seccomp (%s), which cannot be suspended for firn's calls: %s", what,
			    why);
	error_hint(op->error,
		   "Run firn as root with CAP_SYS_ADMIN and outside of any seccomp filter, such as from the host.");
	return -EOPNOTSUPP;
}

static bool same_filter(const SeccompFilter *a, const SeccompFilter *b)
{
	return a->has_prev == b->has_prev && a->prev == b->prev && a->flags == b->flags &&
	       a->filter.len == b->filter.len && memcmp(a->filter.data, b->filter.data, a->filter.len) == 0;
}

/* The number of the filter in the table, where it is put when it is not there. */
static int add_filter(struct operation *op, struct thread *t, SeccompFilter *m, uint32_t *ret)
{
	struct seccomp_table *table = table_of(op);

	for (size_t i = 0; table && i < table->n; i++)
		if (same_filter(table->filters[i], m)) {
			*ret = (uint32_t)i;
			return 0;
		}
	if (table && table->n == table->room) {
		SeccompFilter **more =
			arena_grow(&op->arena, table->filters, table->n, table->n ? table->n * 2 : 8, sizeof(*more));

		if (!more)
			return aspect_no_memory(op, t);
		table->filters = more;
		table->room = table->n ? table->n * 2 : 8;
	}
	if (!table)
		return aspect_no_memory(op, t);
	*ret = (uint32_t)table->n;
	table->filters[table->n++] = m;
	return 0;
}

/* 0 and NULL: there is no filter with that number; the first that was added is 0. */
static int read_filter(struct operation *op, struct thread *t, uint64_t index, SeccompFilter **ret)
{
	struct {
		uint64_t index, flags;
	} metadata = { index, 0 };
	long n = ptrace(GET_FILTER, t->tid, index, NULL);
	SeccompFilter *m;

	*ret = NULL;
	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0)
		return aspect_raise_call(op, t, errno, "ptrace(PTRACE_SECCOMP_GET_FILTER)", "its seccomp filter %d",
					 (int)index);
	m = arena_alloc(&op->arena, sizeof(*m));
	if (!m)
		return aspect_no_memory(op, t);
	seccomp_filter__init(m);
	m->filter.len = (size_t)n * sizeof(struct sock_filter);
	m->filter.data = arena_alloc(&op->arena, m->filter.len);
	if (!m->filter.data)
		return aspect_no_memory(op, t);
	if (ptrace(GET_FILTER, t->tid, index, m->filter.data) < 0)
		return aspect_raise_call(op, t, errno, "ptrace(PTRACE_SECCOMP_GET_FILTER)", "its seccomp filter %d",
					 (int)index);
	if (ptrace(GET_METADATA, t->tid, sizeof(metadata), &metadata) < 0)
		return aspect_raise_call(op, t, errno, "ptrace(PTRACE_SECCOMP_GET_METADATA)", "its seccomp filter %d",
					 (int)index);
	m->has_flags = true;
	m->flags = (uint32_t)metadata.flags;
	*ret = m;
	return 0;
}

struct chain {
	SeccompFilter **filters; /* the first that was added first */
	size_t n, room;
};

static int read_chain(struct operation *op, struct thread *t, struct chain *ret)
{
	for (uint64_t i = 0; i < FILTERS_MAX; i++) {
		SeccompFilter *m;
		int r = read_filter(op, t, i, &m);

		if (r < 0 || !m)
			return r;
		if (asks_supervisor(m)) {
			(void)aspect_refuse(op, t,
					    "has a seccomp filter that asks a supervisor (SECCOMP_RET_USER_NOTIF), "
					    "whose listener firn cannot give back");
			error_hint(op->error,
				   "Start it without the supervisor, or with a filter that answers by itself.");
			return -EOPNOTSUPP;
		}
		if (ret->n == ret->room) {
			size_t room = ret->room ? ret->room * 2 : 4;

			ret->filters = arena_grow(&op->arena, ret->filters, ret->n, room, sizeof(*ret->filters));
			if (!ret->filters)
				return aspect_no_memory(op, t);
			ret->room = room;
		}
		ret->filters[ret->n++] = m;
	}
	return 0;
}

static bool same_content(const SeccompFilter *a, const SeccompFilter *b)
{
	return (a->flags & SECCOMP_FILTER_FLAG_LOG) == (b->flags & SECCOMP_FILTER_FLAG_LOG) &&
	       a->filter.len == b->filter.len && memcmp(a->filter.data, b->filter.data, a->filter.len) == 0;
}

/* How many filters two chains have in common, from the first on. */
static size_t same_filters(const struct chain *a, const struct chain *b)
{
	size_t n = 0;

	while (n < a->n && n < b->n && same_content(a->filters[n], b->filters[n]))
		n++;
	return n;
}

/* Into the table, and its first filter's number into the thread's message. */
static int keep_chain(struct operation *op, struct thread *t, const struct chain *c, uint32_t flags)
{
	ThreadCoreEntry *core = t->core->thread_core;

	for (size_t i = c->n; i-- > 0;) {
		SeccompFilter *m = c->filters[i];
		uint32_t id = 0;
		int r;

		m->flags |= flags;
		m->has_prev = core->has_seccomp_filter;
		m->prev = core->seccomp_filter;
		r = add_filter(op, t, m, &id);
		if (r < 0)
			return r;
		core->has_seccomp_filter = true;
		core->seccomp_filter = id;
	}
	core->has_seccomp_mode = true;
	core->seccomp_mode = (SeccompMode)t->status.seccomp;
	return 0;
}

static int read_filters(struct operation *op, struct task *t)
{
	struct chain *chains = arena_array(&op->arena, t->n_threads, sizeof(*chains));
	/* An ended leader would have to have them for all. */
	bool alike = !t->leader_exited;
	int r = chains ? 0 : aspect_no_memory(op, t->threads);

	for (size_t i = 0; i < t->n_threads && r == 0; i++) {
		if (t->threads[i].status.seccomp == SECCOMP_MODE_FILTER)
			r = read_chain(op, &t->threads[i], &chains[i]);
		alike = alike && chains[i].n == chains[0].n && chains[i].n > 0 &&
			same_filters(&chains[i], &chains[0]) == chains[i].n;
	}
	for (size_t i = 0; i < (alike ? 1 : t->n_threads) && r == 0; i++)
		if (t->threads[i].status.seccomp)
			r = keep_chain(op, &t->threads[i], &chains[i], alike ? SECCOMP_FILTER_FLAG_TSYNC : 0);
	return r;
}

/* The first that is done to the stopped thread: no call was made in it yet. It ends with the trace. */
static int peek(struct operation *op, struct thread *t)
{
	struct task *task = t->task;

	if (t->status.seccomp != 0 && TRACE(PTRACE_SETOPTIONS, task->pid, t->tid, 0,
					    PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP, op->error) < 0)
		return -op->error->number;
	/* They are read together, once for the process. */
	return t == &task->threads[task->n_threads - 1] ? read_filters(op, task) : 0;
}

int seccomp_write(struct operation *op)
{
	SeccompEntry m = SECCOMP_ENTRY__INIT;
	struct image_writer w = { 0 };
	int r = image_writer_open(&w, &op->images, IMAGE_SECCOMP, 0, op->error);

	if (op->seccomp) {
		m.seccomp_filters = op->seccomp->filters;
		m.n_seccomp_filters = op->seccomp->n;
	}
	if (r == 0)
		r = image_write(&w, &m.base, op->error);
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

/* restore ------------------------------------------------------------------------------------------------------ */

static int damaged(struct operation *op, const struct image_reader *reader, size_t i, const char *what)
{
	return error_raise(op->error, EINVAL, "%s: filter %zu: %s", reader->name, i, what);
}

static int check_filter(struct operation *op, const struct image_reader *reader, const SeccompFilter *m, size_t i,
			size_t n)
{
	if (m->filter.len == 0 || m->filter.len % sizeof(struct sock_filter) ||
	    m->filter.len / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return damaged(op, reader, i, "its length is no filter's");
	if (m->has_prev && m->prev >= n)
		return damaged(op, reader, i, "the one after it is not there");
	if (m->flags & ~(uint32_t)(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG))
		return damaged(op, reader, i, "unknown flags");
	if (asks_supervisor(m))
		return error_raise(
			op->error, EOPNOTSUPP,
			"%s: filter %zu asks a supervisor (SECCOMP_RET_USER_NOTIF), which firn cannot give back",
			reader->name, i);
	return 0;
}

static int read_table(struct operation *op, struct thread *t)
{
	struct seccomp_table *table = table_of(op);
	struct image_reader reader;
	ProtobufCMessage *message;
	SeccompEntry *m;
	int r;

	if (!table)
		return aspect_no_memory(op, t);
	if (table->read)
		return 0;
	r = image_reader_open(&reader, &op->images, IMAGE_SECCOMP, 0, false, &op->arena, op->error);
	if (r == 0)
		r = image_read(&reader, &seccomp_entry__descriptor, &message, op->error);
	if (r < 0)
		return r;
	if (r == 0)
		return error_raise(op->error, EINVAL, "%s: the image is empty", reader.name);
	m = (SeccompEntry *)message;
	if (m->n_seccomp_filters > TABLE_MAX)
		return error_raise(op->error, EINVAL, "%s: too many filters", reader.name);
	for (size_t i = 0; i < m->n_seccomp_filters; i++) {
		r = check_filter(op, &reader, m->seccomp_filters[i], i, m->n_seccomp_filters);
		if (r < 0)
			return r;
	}
	table->filters = m->seccomp_filters;
	table->n = m->n_seccomp_filters;
	table->read = true;
	return 0;
}

static bool has_filters(const struct thread *t)
{
	const ThreadCoreEntry *m = t->core->thread_core;

	return m->has_seccomp_mode && m->seccomp_mode == SECCOMP_MODE__filter && m->has_seccomp_filter;
}

/* What a thread has by its process: before there were filters for each thread, and where all have the leader's. */
static void take_from_process(struct operation *op, struct thread *t)
{
	const struct thread *leader = leader_of(t);
	const ThreadCoreEntry *theirs = leader->core->thread_core;
	const TaskCoreEntry *tc = leader->core->tc;
	ThreadCoreEntry *m = t->core->thread_core;

	if (m->has_seccomp_mode)
		return;
	if (tc && tc->has_old_seccomp_mode) {
		m->has_seccomp_mode = true;
		m->seccomp_mode = tc->old_seccomp_mode;
		m->has_seccomp_filter = tc->has_old_seccomp_filter;
		m->seccomp_filter = tc->old_seccomp_filter;
	} else if (t != leader && has_filters(leader) && op->seccomp && theirs->seccomp_filter < op->seccomp->n &&
		   (op->seccomp->filters[theirs->seccomp_filter]->flags & SECCOMP_FILTER_FLAG_TSYNC)) {
		m->has_seccomp_mode = m->has_seccomp_filter = true;
		m->seccomp_mode = theirs->seccomp_mode;
		m->seccomp_filter = theirs->seccomp_filter;
	}
}

/* How many filters the thread has; 0: the chain is damaged. */
static size_t chain_length(const struct seccomp_table *table, const ThreadCoreEntry *m)
{
	uint32_t at = m->seccomp_filter;
	size_t n = 0;

	for (;;) {
		if (at >= table->n || ++n > FILTERS_MAX)
			return 0;
		if (!table->filters[at]->has_prev)
			return n;
		at = table->filters[at]->prev;
	}
}

static int decode(struct operation *op, struct thread *t)
{
	const ThreadCoreEntry *m = t->core->thread_core;
	int r;

	take_from_process(op, t);
	if (!m->has_seccomp_mode || m->seccomp_mode == SECCOMP_MODE__disabled)
		return 0;
	if (m->seccomp_mode != SECCOMP_MODE__strict && m->seccomp_mode != SECCOMP_MODE__filter)
		return aspect_damaged(op, t, "an unknown seccomp mode");
	if (!features_capable(op->features, CAP_SYS_ADMIN) || !op->features->ptrace_suspend_seccomp ||
	    prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0) {
		(void)aspect_refuse(op, t, "was confined by seccomp, which firn cannot give back here");
		error_hint(op->error,
			   "That needs CAP_SYS_ADMIN, a kernel with PTRACE_O_SUSPEND_SECCOMP, and that firn is not "
			   "under seccomp itself.");
		return -EOPNOTSUPP;
	}
	if (m->seccomp_mode == SECCOMP_MODE__strict)
		return 0;
	if (!m->has_seccomp_filter)
		return aspect_damaged(op, t, "seccomp without a filter");
	r = read_table(op, t);
	if (r == 0 && chain_length(op->seccomp, m) == 0)
		return aspect_damaged(op, t, "a chain of seccomp filters without an end");
	return r;
}

static int chain_of(struct operation *op, struct thread *t, struct chain *ret)
{
	size_t n = has_filters(t) ? chain_length(op->seccomp, t->core->thread_core) : 0;
	uint32_t at = t->core->thread_core->seccomp_filter;

	*ret = (struct chain){ .filters = arena_array(&op->arena, n + 1, sizeof(*ret->filters)), .n = n };
	if (!ret->filters)
		return aspect_no_memory(op, t);
	for (size_t i = 0; i < n; i++, at = op->seccomp->filters[at]->prev)
		ret->filters[i] = op->seccomp->filters[at];
	return 0;
}

/* How many of the thread's filters, from the first on, every thread of the process has. */
static int common_filters(struct operation *op, struct thread *t, const struct chain *c, size_t *ret)
{
	const struct task *task = t->task;
	size_t n = task->n_threads > 1 ? c->n : 0;

	for (size_t i = 0; i < task->n_threads && n > 0; i++) {
		struct chain other;
		size_t same;
		int r = chain_of(op, &task->threads[i], &other);

		if (r < 0)
			return r;
		same = same_filters(c, &other);
		if (same < n)
			n = same;
	}
	*ret = n;
	return 0;
}

static int add_filters(struct operation *op, struct batch *b, SeccompFilter *const *filters, size_t n, uint64_t flags)
{
	for (size_t i = 0; i < n; i++) {
		const SeccompFilter *m = filters[i];
		struct sock_fprog prog = { .len = (unsigned short)(m->filter.len / sizeof(struct sock_filter)) };
		int r = aspect_room(op, b, 1, m->filter.len + sizeof(prog) + 32);

		if (r < 0)
			return r;
		prog.filter = (struct sock_filter *)(uintptr_t)batch_data(b, m->filter.data, m->filter.len);
		batch_call(b, 0, __NR_seccomp, SECCOMP_SET_MODE_FILTER, flags | (m->flags & SECCOMP_FILTER_FLAG_LOG),
			   batch_data(b, &prog, sizeof(prog)));
	}
	return 0;
}

/* From here on no filter judges the threads of the task, until they are let go. */
static int suspend(struct operation *op, struct task *task)
{
	for (size_t i = 0; i < task->n_threads; i++) {
		const struct thread *t = &task->threads[i];

		if (TRACE(PTRACE_SETOPTIONS, task->pid, t->tid, 0,
			  PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP, op->error) < 0)
			return -op->error->number;
	}
	return 0;
}

static int apply(struct operation *op, struct thread *t, struct batch *b)
{
	const struct task *task = t->task;
	/* Threads are given their state from the last to the leader. */
	bool first = t == &task->threads[task->n_threads - 1];
	const ThreadCoreEntry *m = t->core->thread_core;
	size_t common = 0;
	struct chain c;
	int r;

	if (!m->has_seccomp_mode || m->seccomp_mode == SECCOMP_MODE__disabled)
		return 0;
	/* One that has no filters has none in common with others, who suspend for all. */
	r = suspend(op, t->task);
	if (r == 0)
		r = chain_of(op, t, &c);
	if (r == 0)
		r = common_filters(op, t, &c, &common);
	if (r == 0 && first)
		r = add_filters(op, b, c.filters, common, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH);
	if (r == 0)
		r = add_filters(op, b, c.filters + common, c.n - common, 0);
	if (r == 0 && m->seccomp_mode == SECCOMP_MODE__strict)
		r = aspect_room(op, b, 1, 0);
	if (r == 0 && m->seccomp_mode == SECCOMP_MODE__strict)
		batch_call(b, 0, __NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	return r;
}

const struct aspect seccomp_aspect = {
	.name = "seccomp",
	.check = check,
	.peek = peek,
	.decode = decode,
	.apply = apply,
};
