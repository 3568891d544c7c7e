/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "restore/pid_taken.h"

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kernel/procfs.h"
#include "watch/recorder.h"

#define LOOKS 1000 /* every 2 ms */

/* Signal 0 asks for threads too (man 2 tkill) and costs no descriptor. */
static bool is_taken(pid_t pid)
{
	return syscall(__NR_tkill, pid, 0) == 0 || errno == EPERM;
}

static struct proc_stat stat_of(pid_t pid)
{
	struct proc_stat stat = { 0 };
	int fd = procfs_open(pid);

	if (fd >= 0) {
		(void)read_proc_stat(fd, &stat);
		close(fd);
	}
	return stat;
}

/* Is it only left to be reaped, or gone already? */
static bool has_ended(const struct proc_stat *holder)
{
	return holder->state == 'Z' || holder->state == 'X' || holder->state == '\0';
}

int pid_check_free(struct operation *op, pid_t pid)
{
	const struct timespec briefly = { 0, 2000000 };

	if (!is_taken(pid))
		return 0;
	recorder_step(pid, NULL, "tkill", "the task that had this number, which has ended, to be reaped");
	for (int i = 0; i < LOOKS && !recorder_cancelled(); i++) {
		struct proc_stat holder = stat_of(pid);

		if (!is_taken(pid))
			return 0;
		if (!has_ended(&holder))
			break;
		(void)nanosleep(&briefly, NULL);
	}
	return raise_pid_taken(op, pid);
}

int raise_pid_taken(struct operation *op, pid_t pid)
{
	struct proc_stat holder = stat_of(pid), parent;

	if (holder.state != 'Z') {
		(void)error_raise(op->error, EEXIST, "pid %d is taken by another task (%s)", pid,
				  holder.comm[0] ? holder.comm : "it has just ended");
		error_hint(op->error,
			   "End that task, or restore where the number is free, such as in a new pid namespace.");
		return -EEXIST;
	}
	parent = stat_of(holder.ppid);
	(void)error_raise(op->error, EEXIST,
			  "pid %d is still held by a task that has ended (%s) and that its parent, pid %d (%s), "
			  "has not waited for",
			  pid, holder.comm, holder.ppid, parent.comm);
	error_hint(
		op->error,
		"Its parent has to call wait(); when that is pid 1 of a container, run one that reaps (such as tini).");
	return -EEXIST;
}
