/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/procfs.h"
#include "kernel/procfs_internal.h"

/*
 * /proc/PID/status and /proc/PID/limits. Each line of status is a key, a colon, a tab and a value. The name has its
 * newlines and backslashes escaped (proc_task_name() with escape), so no line can be forged by a task's name.
 */

enum line_kind {
	LINE_NAME,
	LINE_STATE,
	LINE_INT,
	LINE_UNSIGNED,
	LINE_OCTAL,
	LINE_HEX,
	LINE_BOOL,
	LINE_IDS,
	LINE_GROUPS,
	LINE_NSPID,
};

struct line {
	const char *key;
	enum line_kind kind;
	size_t offset; /* in struct proc_status */
	bool required; /* stands in the status of every task, zombies included, since Linux 5.15 */
};

#define AT(field) offsetof(struct proc_status, field)

static const struct line lines[] = {
	{ "Name:", LINE_NAME, AT(name), true },
	{ "Umask:", LINE_OCTAL, AT(umask), false },
	{ "State:", LINE_STATE, AT(state), true },
	{ "Tgid:", LINE_INT, AT(tgid), true },
	{ "Pid:", LINE_INT, AT(pid), true },
	{ "PPid:", LINE_INT, AT(ppid), true },
	{ "TracerPid:", LINE_INT, AT(tracer), true },
	{ "Uid:", LINE_IDS, AT(uid), true },
	{ "Gid:", LINE_IDS, AT(gid), true },
	{ "Groups:", LINE_GROUPS, AT(groups), true },
	{ "NSpid:", LINE_NSPID, AT(ns_pid), false },
	{ "THP_enabled:", LINE_INT, AT(thp_enabled), false },
	{ "Threads:", LINE_UNSIGNED, AT(threads), true },
	{ "SigPnd:", LINE_HEX, AT(sig_pending), true },
	{ "ShdPnd:", LINE_HEX, AT(shared_pending), true },
	{ "SigBlk:", LINE_HEX, AT(sig_blocked), true },
	{ "SigIgn:", LINE_HEX, AT(sig_ignored), true },
	{ "SigCgt:", LINE_HEX, AT(sig_caught), true },
	{ "CapInh:", LINE_HEX, AT(cap_inh), true },
	{ "CapPrm:", LINE_HEX, AT(cap_prm), true },
	{ "CapEff:", LINE_HEX, AT(cap_eff), true },
	{ "CapBnd:", LINE_HEX, AT(cap_bnd), true },
	{ "CapAmb:", LINE_HEX, AT(cap_amb), true },
	{ "NoNewPrivs:", LINE_BOOL, AT(no_new_privs), true },
	{ "Seccomp:", LINE_INT, AT(seccomp), false },
	{ "Seccomp_filters:", LINE_INT, AT(seccomp_filters), false },
};

static bool parse_name(struct text *t, struct proc_status *s)
{
	size_t out = 0;

	while (!text_empty(t)) {
		char c = *t->p++;

		if (c == '\\' && !text_empty(t)) {
			if (*t->p == 'n')
				c = '\n';
			else if (*t->p != '\\')
				return false;
			t->p++;
		}
		if (c == '\0' || out + 1 >= sizeof(s->name))
			return false;
		s->name[out++] = c;
	}
	s->name[out] = '\0';
	return true;
}

static bool parse_ids(struct text *t, uint32_t *ids)
{
	for (int i = 0; i < 4; i++) {
		text_blanks(t);
		if (!text_u32(t, 10, &ids[i]))
			return false;
	}
	return true;
}

/* Groups are separated and followed by blanks; at most NGROUPS_MAX = 65536. */
static int parse_groups(struct text *t, struct arena *a, struct proc_status *s)
{
	struct text count = *t;
	uint32_t group;
	size_t n = 0;

	for (text_blanks(&count); !text_empty(&count); text_blanks(&count), n++)
		if (!text_u32(&count, 10, &group) || n >= 65536)
			return -EINVAL;
	s->groups = NULL;
	s->n_groups = 0;
	if (!n)
		return 0;
	s->groups = arena_array(a, n, sizeof(*s->groups));
	if (!s->groups)
		return -ENOMEM;
	for (; s->n_groups < n; s->n_groups++) {
		text_blanks(t);
		if (!text_u32(t, 10, &s->groups[s->n_groups]))
			return -EINVAL;
	}
	return 0;
}

static bool parse_ns_pids(struct text *t, struct proc_status *s)
{
	s->ns_pid_depth = 0;
	for (text_blanks(t); !text_empty(t); text_blanks(t)) {
		if (s->ns_pid_depth == ARRAY_SIZE(s->ns_pid) || !text_int(t, 10, &s->ns_pid[s->ns_pid_depth]))
			return false;
		s->ns_pid_depth++;
	}
	return true;
}

static int parse_value(const struct line *l, struct text *t, struct arena *a, struct proc_status *s)
{
	void *at = (char *)s + l->offset;
	uint64_t value;
	bool good = false;

	switch (l->kind) {
	case LINE_NAME:
		good = parse_name(t, s);
		break;
	case LINE_STATE:
		good = !text_empty(t);
		if (good)
			s->state = *t->p;
		break;
	case LINE_INT:
		good = text_int(t, 10, at);
		break;
	case LINE_UNSIGNED:
		good = text_u32(t, 10, at);
		break;
	case LINE_OCTAL:
		good = s->umask_known = text_u32(t, 8, at);
		break;
	case LINE_HEX:
		good = text_u64(t, 16, at);
		break;
	case LINE_BOOL:
		good = text_unsigned(t, 10, 1, &value);
		if (good)
			*(bool *)at = value;
		break;
	case LINE_IDS:
		good = parse_ids(t, at);
		break;
	case LINE_GROUPS:
		return parse_groups(t, a, s);
	case LINE_NSPID:
		good = parse_ns_pids(t, s);
		break;
	}
	return good ? 0 : -EINVAL;
}

int parse_proc_status(const char *text, size_t len, struct arena *a, struct proc_status *ret)
{
	struct text t = text_of(text, len), line;
	struct proc_status s = { .thp_enabled = -1 };
	uint64_t seen = 0;
	size_t next = 0;
	int r;

	while (text_line(&t, &line)) {
		/* The kernel keeps the order of the table, so the key is nearly always found at once. */
		for (size_t i = next; i < ARRAY_SIZE(lines); i++) {
			if (text_empty(&line) || *line.p != *lines[i].key || !text_literal(&line, lines[i].key))
				continue;
			if (lines[i].kind != LINE_NAME)
				text_blanks(&line);
			else
				(void)text_char(&line, '\t');
			r = parse_value(&lines[i], &line, a, &s);
			if (r < 0)
				return r;
			seen |= 1ull << i;
			next = i + 1;
			break;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (lines[i].required && !(seen & (1ull << i)))
			return -EINVAL;
	*ret = s;
	return 0;
}

int read_proc_status(int dirfd, struct arena *a, struct proc_status *ret)
{
	char buf[PROCFS_RECORD_SIZE];
	AUTOFREE char *heap = NULL;
	long n = procfs_read_record(dirfd, "status", buf, sizeof(buf));
	size_t len;
	int r;

	if (n >= 0)
		return parse_proc_status(buf, (size_t)n, a, ret);
	if (n != -EFBIG)
		return (int)n;
	r = procfs_read(dirfd, "status", 4UL << 20, &heap, &len); /* thousands of groups */
	return r < 0 ? r : parse_proc_status(heap, len, a, ret);
}

static const struct {
	const char *name;
	int number;
} limit_lines[] = {
	{ "Max cpu time", RLIMIT_CPU },
	{ "Max file size", RLIMIT_FSIZE },
	{ "Max data size", RLIMIT_DATA },
	{ "Max stack size", RLIMIT_STACK },
	{ "Max core file size", RLIMIT_CORE },
	{ "Max resident set", RLIMIT_RSS },
	{ "Max processes", RLIMIT_NPROC },
	{ "Max open files", RLIMIT_NOFILE },
	{ "Max locked memory", RLIMIT_MEMLOCK },
	{ "Max address space", RLIMIT_AS },
	{ "Max file locks", RLIMIT_LOCKS },
	{ "Max pending signals", RLIMIT_SIGPENDING },
	{ "Max msgqueue size", RLIMIT_MSGQUEUE },
	{ "Max nice priority", RLIMIT_NICE },
	{ "Max realtime priority", RLIMIT_RTPRIO },
	{ "Max realtime timeout", RLIMIT_RTTIME },
};

static bool parse_limit(struct text *t, uint64_t *ret)
{
	text_blanks(t);
	if (text_literal(t, "unlimited")) {
		*ret = RLIM64_INFINITY;
		return true;
	}
	return text_u64(t, 10, ret);
}

int parse_proc_limits(const char *text, size_t len, struct proc_limits *ret)
{
	struct text t = text_of(text, len), line;
	struct proc_limits l;
	size_t seen = 0;

	if (!text_line(&t, &line)) /* the heading */
		return -EINVAL;
	while (text_line(&t, &line)) {
		if (seen == ARRAY_SIZE(limit_lines))
			break; /* a limit that came after Linux 6.18 */
		if (!text_literal(&line, limit_lines[seen].name) || text_empty(&line) || *line.p != ' ' ||
		    !parse_limit(&line, &l.soft[limit_lines[seen].number]) ||
		    !parse_limit(&line, &l.hard[limit_lines[seen].number]))
			return -EINVAL;
		seen++;
	}
	if (seen != ARRAY_SIZE(limit_lines))
		return -EINVAL;
	*ret = l;
	return 0;
}

int read_proc_limits(int dirfd, struct proc_limits *ret)
{
	char buf[PROCFS_RECORD_SIZE];
	long n = procfs_read_record(dirfd, "limits", buf, sizeof(buf));

	return n < 0 ? (int)n : parse_proc_limits(buf, (size_t)n, ret);
}
