/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>

#include "base/text.h"
#include "kernel/procfs.h"
#include "kernel/procfs_internal.h"

/*
 * /proc/PID/stat. The name stands raw between parentheses and may hold ')', blanks and newlines (do_task_stat() does
 * not escape it), so the fields are counted from the last ')': behind the name stand only numbers and one letter.
 */

/* Fields as man 5 proc counts them, from the parent's pid on. */
enum { FIRST_FIELD = 4, LAST_FIELD = 52 };

struct stat_field {
	uint64_t value; /* two's complement */
	bool minus;
};

static bool parse_fields(struct text *t, struct stat_field *fields)
{
	for (int i = FIRST_FIELD; i <= LAST_FIELD; i++) {
		if (!text_char(t, ' '))
			return false;
		fields[i].minus = text_char(t, '-');
		if (!text_u64(t, 10, &fields[i].value))
			return false;
	}
	return true;
}

static bool as_int(const struct stat_field *f, int *ret)
{
	if (f->value > (uint64_t)INT_MAX + (f->minus ? 1 : 0))
		return false;
	*ret = f->minus ? (int)-(int64_t)f->value : (int)f->value;
	return true;
}

static bool as_unsigned(const struct stat_field *f, unsigned *ret)
{
	if (f->minus || f->value > UINT_MAX)
		return false;
	*ret = (unsigned)f->value;
	return true;
}

static bool fill_stat(const struct stat_field *f, struct proc_stat *s)
{
	/* Lines that a 64-bit kernel never writes with a sign. */
	for (int i = 26; i <= 28; i++)
		if (f[i].minus)
			return false;
	for (int i = 45; i <= 51; i++)
		if (f[i].minus)
			return false;
	if (!as_int(&f[4], &s->ppid) || !as_int(&f[5], &s->pgid) || !as_int(&f[6], &s->sid) ||
	    !as_int(&f[7], &s->tty_nr) || !as_int(&f[8], &s->tty_pgrp) || !as_unsigned(&f[9], &s->flags) ||
	    !as_int(&f[19], &s->nice) || !as_int(&f[20], &s->num_threads) || !as_unsigned(&f[40], &s->rt_priority) ||
	    !as_unsigned(&f[41], &s->policy) || !as_int(&f[52], &s->exit_code) || !as_int(&f[38], &s->exit_signal) || f[22].minus)
		return false;
	s->start_time = f[22].value;
	s->start_code = f[26].value;
	s->end_code = f[27].value;
	s->start_stack = f[28].value;
	s->start_data = f[45].value;
	s->end_data = f[46].value;
	s->start_brk = f[47].value;
	s->arg_start = f[48].value;
	s->arg_end = f[49].value;
	s->env_start = f[50].value;
	s->env_end = f[51].value;
	return true;
}

int parse_proc_stat(const char *text, size_t len, struct proc_stat *ret)
{
	struct stat_field fields[LAST_FIELD + 1];
	struct text t = text_of(text, len);
	struct proc_stat s = { 0 };
	const char *close = len ? memrchr(text, ')', len) : NULL;
	size_t comm_len;

	if (!close || !text_int(&t, 10, &s.pid) || s.pid < 0 || !text_literal(&t, " (") || close < t.p)
		return -EINVAL;
	comm_len = (size_t)(close - t.p);
	/* TASK_COMM_LEN is 16; kernel threads show up to 63 bytes. */
	if (comm_len >= sizeof(s.comm) || memchr(t.p, '\0', comm_len))
		return -EINVAL;
	memcpy(s.comm, t.p, comm_len);
	t.p = close + 1;
	if (!text_char(&t, ' ') || text_empty(&t))
		return -EINVAL;
	s.state = *t.p++;
	if (!parse_fields(&t, fields) || !fill_stat(fields, &s))
		return -EINVAL;
	*ret = s;
	return 0;
}

int read_proc_stat(int dirfd, struct proc_stat *ret)
{
	char buf[PROCFS_RECORD_SIZE];
	long n = procfs_read_record(dirfd, "stat", buf, sizeof(buf));

	return n < 0 ? (int)n : parse_proc_stat(buf, (size_t)n, ret);
}
