/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/stall.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define MOUNTINFO_MAX (256u * 1024)

/* Which mount does the path in the step's object lie on? In the front's mount namespace: a hint, no proof. */
static void gather_mount(struct stall_facts *f)
{
	const char *path = strchr(f->step.object, '/');
	AUTOCLOSE int fd = -1;
	AUTOFREE char *text = NULL;
	size_t used = 0;
	ssize_t n;

	f->fs_type[0] = '\0';
	fd = path ? open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC) : -1;
	text = fd < 0 ? NULL : malloc(MOUNTINFO_MAX + 1);
	if (!text)
		return;
	while (used < MOUNTINFO_MAX && (n = read(fd, text + used, MOUNTINFO_MAX - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	(void)mount_of_path(text, path, f->fs_type, sizeof(f->fs_type), f->mount_point, sizeof(f->mount_point));
}

void stall_gather(struct stall_facts *f, pid_t engine)
{
	uint64_t now = monotonic_ns();

	if (!recorder_read_step(&f->step))
		return;
	f->elapsed_ns = now - recorder->start_ns;
	f->step_ns = f->step.since_ns && now > f->step.since_ns ? now - f->step.since_ns : 0;
	glance(engine, f->step.tid ? f->step.tid : engine, &f->engine);
	glance(engine, recorder->engine_tracer_tid ? recorder->engine_tracer_tid : engine, &f->tracer);
	memset(&f->task, 0, sizeof(f->task));
	if (f->step.pid)
		glance(f->step.pid, f->step.pid, &f->task);
	gather_mount(f);
	f->n_tasks = 0;
	f->held = atomic_load(&recorder->target_count);
	if (!f->held)
		return;
	for (size_t i = 0; i < RECORDER_TARGETS && f->n_tasks < STALL_TASKS; i++) {
		pid_t tid = atomic_load(&recorder->targets[i].tid);

		if (tid > 0)
			glance(atomic_load(&recorder->targets[i].pid), tid, &f->tasks[f->n_tasks++]);
	}
}

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
	"find the holder in /proc/locks",
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
		if (strncmp(f->fs_type, file_systems[i].type, strlen(file_systems[i].type)) == 0)
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

void step_describe(const struct recorder_step *s, char *buf, size_t size)
{
	char task[48] = "";
	const char *parts[] = { task, s->call, s->object };
	size_t used = 0;

	if (s->pid && s->comm[0])
		(void)snprintf(task, sizeof(task), "pid %d (%s)", s->pid, s->comm);
	else if (s->pid)
		(void)snprintf(task, sizeof(task), "pid %d", s->pid);
	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i][0] && used < size)
			used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? ", " : "", parts[i]);
}

void stall_sentence(const struct stall_facts *f, char *buf, size_t size)
{
	double limit = f->limit_ms / 1000.0;
	char step[640], what[96];

	step_describe(&f->step, step, sizeof(step));
	if (f->verdict == VERDICT_STALL)
		(void)snprintf(what, sizeof(what), "nothing moved for %.1f s", limit);
	else if (f->verdict == VERDICT_SEIZE)
		(void)snprintf(what, sizeof(what), "the tree was not stopped within %.1f s (--timeout)", limit);
	else
		(void)snprintf(what, sizeof(what), "not done within its deadline of %.1f s", limit);
	(void)snprintf(buf, size, "%s in stage %s%s%s", what, stage_name(f->step.stage), step[0] ? ": " : "", step);
}

struct text {
	char *buf;
	size_t len, size;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->len, t->size - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n < t->size - t->len ? (size_t)n : t->size - t->len - 1;
}

static void add_glance(struct text *t, const struct glance *g)
{
	const char *name = glance_syscall(g->syscall);

	if (g->gone) {
		add(t, "pid %d, thread %d: gone\n", g->pid, g->tid);
		return;
	}
	add(t, "pid %d, thread %d (%s): %c (%s)", g->pid, g->tid, g->name, g->state, glance_state(g->state));
	if (g->wchan[0])
		add(t, ", in %s", g->wchan);
	if (g->syscall >= 0)
		add(t, ", system call %ld%s%s%s", g->syscall, name ? " (" : "", name ? name : "", name ? ")" : "");
	add(t, "\n");
}

static void add_details(struct text *t, const struct glance *g)
{
	if (g->args[0])
		add(t, "               arguments %s\n", g->args);
	if (g->stack[0])
		add(t, "               stack %s\n", g->stack);
}

static void add_engine(struct text *t, const struct stall_facts *f)
{
	add(t, "  engine       ");
	add_glance(t, &f->engine);
	add_details(t, &f->engine);
	if (f->tracer.tid != f->engine.tid) {
		add(t, "  tracer       ");
		add_glance(t, &f->tracer);
	}
}

static void add_tasks(struct text *t, const struct stall_facts *f)
{
	if (f->task.pid) {
		add(t, "  its state    ");
		add_glance(t, &f->task);
		add_details(t, &f->task);
	}
	add(t, "  held tasks   %zu\n", f->held);
	for (size_t i = 0; i < f->n_tasks; i++) {
		add(t, "               ");
		add_glance(t, &f->tasks[i]);
	}
	if (f->held > f->n_tasks)
		add(t, "               … and %zu more\n", f->held - f->n_tasks);
}

size_t stall_compose(const struct stall_facts *f, const char *outcome, char *buf, size_t size)
{
	struct stall_cause why = stall_explain(f);
	struct text t = { buf, 0, size };
	char sentence[896];

	stall_sentence(f, sentence, sizeof(sentence));
	add(&t, "stall report: firn %s\n", f->operation);
	add(&t, "  what         %s\n", sentence);
	add(&t, "  stage        %s, %.1f s after the beginning\n", stage_name(f->step.stage),
	    (double)f->elapsed_ns / 1e9);
	if (f->step.pid)
		add(&t, "  task         pid %d (%s)\n", f->step.pid, f->step.comm[0] ? f->step.comm : f->task.name);
	if (f->step.call[0])
		add(&t, "  call         %s, for %.1f s now\n", f->step.call, (double)f->step_ns / 1e9);
	if (f->step.object[0])
		add(&t, "  object       %s\n", f->step.object);
	if (f->fs_type[0])
		add(&t, "  mount        %s on %s\n", f->fs_type, f->mount_point);
	add_engine(&t, f);
	add_tasks(&t, f);
	add(&t, "  likely cause %s\n", why.cause);
	add(&t, "  firn did     %s\n", outcome);
	add(&t, "  you can      %s\n", why.advice);
	return t.len;
}
