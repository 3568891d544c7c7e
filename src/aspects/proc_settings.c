/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is set by writing to /proc/PID: the OOM killer's bias (man 5 proc_pid_oom_score_adj), the audit's login user,
 * what a core dump holds (man 5 core) and the nice value of the session's autogroup (man 7 sched). All
 * may need privileges that firn does without, so a restore only says when one could not be set. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "aspects/common.h"
#include "base/cleanup.h"
#include "watch/recorder.h"

static void write_number(const struct thread *t, const char *name, long long value)
{
	char path[64], text[24];
	AUTOCLOSE int fd = -1;
	int len = snprintf(text, sizeof(text), "%lld", value);

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", t->task->pid, name);
	recorder_step(t->task->pid, t->task->comm, "write", "%s", path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)len) != len)
		log_warn(t->task->pid, "%s could not be set to %lld: %s", name, value, strerror(errno));
}

static bool differs(const struct thread *t, const char *name, long long value)
{
	AUTOCLOSE int dir = procfs_open(t->task->pid);
	long long now;

	return dir >= 0 && read_proc_number(dir, name, 10, &now) == 0 && now != value;
}

static int oom_collect(struct operation *op, struct task *t)
{
	long long value;
	int r = read_proc_number(t->proc_fd, "oom_score_adj", 10, &value);

	if (r < 0)
		return aspect_raise_call(op, t->threads, -r, "read", "its oom_score_adj");
	t->core->tc->has_oom_score_adj = true;
	t->core->tc->oom_score_adj = (int32_t)value;
	return 0;
}

static int oom_decode(struct operation *op, struct thread *t)
{
	if (is_leader(t) && (t->core->tc->oom_score_adj < -1000 || t->core->tc->oom_score_adj > 1000))
		return aspect_damaged(op, t, "an oom_score_adj of %d", t->core->tc->oom_score_adj);
	return 0;
}

static int oom_poke(struct operation *op, struct thread *t)
{
	(void)op;
	if (is_leader(t) && t->core->tc->has_oom_score_adj && differs(t, "oom_score_adj", t->core->tc->oom_score_adj))
		write_number(t, "oom_score_adj", t->core->tc->oom_score_adj);
	return 0;
}

static int login_collect(struct operation *op, struct task *t)
{
	long long value;

	(void)op;
	if (read_proc_number(t->proc_fd, "loginuid", 10, &value) == 0) { /* missing without CONFIG_AUDIT */
		t->core->tc->has_loginuid = true;
		t->core->tc->loginuid = (uint32_t)value;
	}
	return 0;
}

static int login_poke(struct operation *op, struct thread *t)
{
	(void)op;
	if (is_leader(t) && t->core->tc->has_loginuid && differs(t, "loginuid", t->core->tc->loginuid))
		write_number(t, "loginuid", t->core->tc->loginuid);
	return 0;
}

static int coredump_collect(struct operation *op, struct task *t)
{
	long long value;

	(void)op;
	if (read_proc_number(t->proc_fd, "coredump_filter", 16, &value) == 0) { /* missing without CONFIG_ELF_CORE */
		t->core->tc->has_firn_coredump_filter = true;
		t->core->tc->firn_coredump_filter = (uint32_t)value;
	}
	return 0;
}

static int coredump_poke(struct operation *op, struct thread *t)
{
	const TaskCoreEntry *tc = t->core->tc;
	AUTOCLOSE int dir = is_leader(t) && tc->has_firn_coredump_filter ? procfs_open(t->task->pid) : -1;
	long long now;

	(void)op;
	if (dir >= 0 && read_proc_number(dir, "coredump_filter", 16, &now) == 0 && now != tc->firn_coredump_filter)
		write_number(t, "coredump_filter", tc->firn_coredump_filter);
	return 0;
}

const struct aspect coredump_filter_aspect = {
	.name = "core dump filter",
	.collect_task = coredump_collect,
	.poke = coredump_poke,
};

const struct aspect oom_score_aspect = {
	.name = "OOM score",
	.collect_task = oom_collect,
	.decode = oom_decode,
	.poke = oom_poke,
};

const struct aspect loginuid_aspect = {
	.name = "login user",
	.collect_task = login_collect,
	.poke = login_poke,
};

/* "/autogroup-25 nice 3"; the name is the kernel's own count. */
static bool read_autogroup(int dir, int *ret)
{
	AUTOFREE char *text = NULL;
	const char *nice;
	size_t len;

	if (procfs_read(dir, "autogroup", 256, &text, &len) < 0)
		return false; /* missing without CONFIG_SCHED_AUTOGROUP */
	nice = strstr(text, " nice ");
	return nice && sscanf(nice, " nice %d", ret) == 1;
}

/* A session has one group, which its leader's setsid() made. */
static int autogroup_collect(struct operation *op, struct task *t)
{
	int value;

	(void)op;
	if (read_autogroup(t->proc_fd, &value) && value != 0) {
		t->core->tc->has_firn_autogroup_nice = true;
		t->core->tc->firn_autogroup_nice = value;
	}
	return 0;
}

static int autogroup_decode(struct operation *op, struct thread *t)
{
	if (is_leader(t) && (t->core->tc->firn_autogroup_nice < -20 || t->core->tc->firn_autogroup_nice > 19))
		return aspect_damaged(op, t, "an autogroup with the nice value %d", t->core->tc->firn_autogroup_nice);
	return 0;
}

/* Not where the session is the caller's own (--shell-job): its group has other members. */
static int autogroup_poke(struct operation *op, struct thread *t)
{
	const TaskCoreEntry *tc = t->core->tc;
	AUTOCLOSE int dir = -1;
	int now;

	if (!is_leader(t) || !tc->has_firn_autogroup_nice || t->task->session_now == getsid(0))
		return 0;
	dir = procfs_open(t->task->pid);
	(void)op;
	if (dir >= 0 && read_autogroup(dir, &now) && now != tc->firn_autogroup_nice)
		write_number(t, "autogroup", tc->firn_autogroup_nice);
	return 0;
}

const struct aspect autogroup_aspect = {
	.name = "autogroup",
	.collect_task = autogroup_collect,
	.decode = autogroup_decode,
	.poke = autogroup_poke,
};
