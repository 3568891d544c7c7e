/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From facts to a cause and an advice. */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "watch/stall.h"

static const struct stall_cause fuse = {
	"a FUSE file system does not answer: its server is stopped, dead or overloaded",
	"look at the server of that mount (grep fuse /proc/self/mountinfo) and restart it, or abort the connection "
	"with: "
	"echo 1 > /sys/fs/fuse/connections/N/abort",
};
static const struct stall_cause nfs = {
	"an NFS server does not answer",
	"see that the server and the network are up, or unmount it with: umount -f",
};
static const struct stall_cause host_9p = {
	"the host behind a 9p file system does not answer",
	"look at the virtual machine's file sharing on the host",
};
static const struct stall_cause virtiofs = {
	"the host behind a virtiofs file system does not answer",
	"look at virtiofsd on the host",
};
static const struct stall_cause smb = {
	"an SMB server does not answer",
	"see that the server and the network are up",
};
static const struct stall_cause ceph = {
	"a Ceph cluster does not answer",
	"see that its monitors and the network are up",
};
static const struct stall_cause automount = {
	"an automount waits for its daemon",
	"look at the automount daemon (autofs or systemd)",
};
static const struct stall_cause empty_pipe = {
	"a pipe is empty and its writer sends nothing",
	"look at who holds the other end of that pipe",
};
static const struct stall_cause full_pipe = {
	"a pipe is full and nobody reads it",
	"look at who holds the other end of that pipe",
};
static const struct stall_cause lone_fifo = {
	"a FIFO was opened and nobody opens its other end",
	"open the other end, or leave that FIFO out",
};
static const struct stall_cause unix_peer = {
	"the peer of a unix socket neither reads nor sends",
	"look at who holds the other end of that socket",
};
static const struct stall_cause network_peer = {
	"the peer of a network connection does not answer",
	"look at the network and at the peer",
};
static const struct stall_cause terminal = {
	"a terminal does not take or give data (stopped with ctrl-S?)",
	"look at the terminal",
};
static const struct stall_cause file_lock = {
	"another process holds a lock or a lease on that file",
	"ask the holder to give it up, or end it (/proc/locks has all)",
};
static const struct stall_cause memory_map = {
	"the task's memory map is locked by one of its own threads, which itself waits",
	"see which of its threads is in uninterruptible sleep, and why",
};
static const struct stall_cause kernel_lock = {
	"a kernel lock, most likely of the task's memory map, is held by a thread that itself waits",
	"see which thread is in uninterruptible sleep, and why",
};
static const struct stall_cause userfault = {
	"a page of the task is handled by a userfaultfd monitor that does not answer",
	"look at the process that holds the userfaultfd",
};
static const struct stall_cause kernfs = {
	"a file of a control group or of sysfs waits in the kernel",
	"see which one it is, and what the tasks of that group do",
};
static const struct stall_cause slow_disk = {
	"the disk is very slow or does not answer",
	"look at the disk's load and errors; a longer --stall-timeout helps",
};

/*
 * What the kernel's function names betray, looked for in the stack and wchan of the engine's thread, then of a task in state D. The first match
 * wins: file systems before the generic waits that they use.
 */
static const struct {
	const char *function;
	const struct stall_cause *why;
} waits[] = {
	{ "fuse_", &fuse },
	{ "request_wait_answer", &fuse },
	{ "kernfs_", &kernfs }, /* before nfs, whose name it has in it */
	{ "nfs", &nfs },
	{ "rpc_wait", &nfs },
	{ "p9_", &host_9p },
	{ "v9fs", &host_9p },
	{ "virtio_fs", &virtiofs },
	{ "cifs", &smb },
	{ "ceph", &ceph },
	{ "autofs", &automount },
	{ "pipe_read", &empty_pipe },
	{ "pipe_write", &full_pipe },
	{ "wait_for_partner", &lone_fifo },
	{ "fifo_open", &lone_fifo },
	{ "unix_stream", &unix_peer },
	{ "unix_dgram", &unix_peer },
	{ "tty", &terminal },
	{ "posix_lock", &file_lock },
	{ "flock_lock", &file_lock },
	{ "locks_lock", &file_lock },
	{ "break_lease", &file_lock },
	{ "mmap_lock", &memory_map },
	{ "rwsem_down", &kernel_lock },
	{ "userfault", &userfault },
	{ "jbd2", &slow_disk },
	{ "io_schedule", &slow_disk },
	{ "folio_wait", &slow_disk },
	{ "wait_on_page", &slow_disk },
	{ "tcp_", &network_peer },
	{ "inet_", &network_peer },
};

static const struct {
	const char *type; /* beginning of the file system's type */
	const struct stall_cause *why;
} file_systems[] = {
	{ "fuse", &fuse }, { "nfs", &nfs }, { "9p", &host_9p }, { "virtiofs", &virtiofs },
	{ "cifs", &smb },  { "smb", &smb }, { "ceph", &ceph },	{ "autofs", &automount },
};

static const struct {
	long nr;
	const struct stall_cause *why;
} engine_calls[] = {
	{ SYS_fsync, &slow_disk },
	{ SYS_fdatasync, &slow_disk },
	{ SYS_syncfs, &slow_disk },
	{ SYS_flock, &file_lock },
};

static bool waits_in(const struct glance *g, const char *function)
{
	return strstr(g->stack, function) || strstr(g->wchan, function);
}

/* What the task's own state says. False when it says nothing. */
static bool explain_task(const struct stall_facts *f, struct stall_cause *ret)
{
	const struct glance *task = &f->task;

	if (!task->pid || task->gone)
		return false;
	/* Version 1 freezes in __refrigerator() or, since Linux 6.1, where the task sleeps; version 2 in do_freezer_trap(),
	 * which is a part of get_signal(). */
	if (waits_in(task, "freez") || waits_in(task, "refrigerator") || strcmp(task->wchan, "get_signal") == 0) {
		ret->cause = "the task's control group is frozen";
		ret->advice = "thaw the group (cgroup.freeze or freezer.state), then try again";
		return true;
	}
	if (waits_in(task, "vfork")) {
		ret->cause =
			"the task waits for its child of a vfork(), and nothing can stop it until that child has ended "
			"or executed a program";
		ret->advice = "try again when the child has done so";
		return true;
	}
	/* wait() for a first thread that was killed returns once all other threads were waited for, and they are not. */
	if (task->state == 'Z' && f->verdict == VERDICT_STALL) {
		ret->cause = "the task was killed while firn worked in it";
		ret->advice = "see who killed it (the kernel's log tells of kills for want of memory), then try again";
		return true;
	}
	for (size_t i = 0; task->state == 'D' && i < ARRAY_SIZE(waits); i++)
		if (waits_in(task, waits[i].function)) {
			*ret = *waits[i].why;
			return true;
		}
	if (task->state == 'D') {
		ret->cause = "the task itself is in uninterruptible sleep in the kernel, where nothing can stop it";
		ret->advice = "see what it waits for (its system call and kernel function above): most often a file "
			      "server or a disk that does not answer, or a frozen control group (freezer.state)";
		return true;
	}
	if (task->tracer && task->tracer != f->tracer.pid && task->tracer != f->tracer.tid) {
		ret->cause = "another tracer holds the task";
		ret->advice = "end that debugger or tracer first";
		return true;
	}
	return false;
}

struct stall_cause stall_explain(const struct stall_facts *f)
{
	struct stall_cause why = {
		"unknown: the engine's call does not return",
		"the kernel functions above say what it waits for; a longer --stall-timeout helps where the object is "
		"merely "
		"slow",
	};

	for (size_t i = 0; i < ARRAY_SIZE(waits); i++)
		if (waits_in(&f->engine, waits[i].function))
			return *waits[i].why;
	for (size_t i = 0; f->engine.state == 'D' && i < ARRAY_SIZE(file_systems); i++)
		if (strncmp(f->object.fs_type, file_systems[i].type, strlen(file_systems[i].type)) == 0)
			return *file_systems[i].why;
	for (size_t i = 0; i < ARRAY_SIZE(engine_calls); i++)
		if (f->engine.syscall == engine_calls[i].nr)
			return *engine_calls[i].why;
	if (explain_task(f, &why))
		return why;
	if (f->verdict == VERDICT_SEIZE) {
		why.cause = "the tree keeps changing: its tasks create others faster than they can be stopped";
		why.advice = "raise --timeout, or freeze the tree's control group first";
	} else if (f->verdict == VERDICT_DEADLINE) {
		why.cause = "the operation moved all the time and was not done when its time was over";
		why.advice = "raise --deadline";
	} else if (f->engine.state == 'T') {
		why.cause = "the engine itself was stopped by a signal";
		why.advice = "see who sends SIGSTOP to firn, and ask again";
	} else if (f->engine.state == 'R') {
		why.cause = "the engine computes, or the machine has no processor time left for it";
		why.advice = "look at the machine's load; a longer --stall-timeout helps";
	}
	return why;
}

void stall_advice(const struct stall_facts *f, char *buf, size_t size)
{
	static const char connection[] = "connections/N/";
	const char *advice = stall_explain(f).advice, *at = strstr(advice, connection);

	if (at && f->object.fuse)
		(void)snprintf(buf, size, "%.*sconnections/%u/%s", (int)(at - advice), advice, f->object.dev_minor,
			       at + strlen(connection));
	else
		(void)snprintf(buf, size, "%s", advice);
}
