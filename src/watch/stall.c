/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The facts of a stall report: who is looked at, and in which order. What may not answer comes last. */
#include "watch/stall.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "watch/patience.h"

struct stall_facts *stall_new(void)
{
	void *p = mmap(NULL, sizeof(struct stall_facts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void stall_free(struct stall_facts *f)
{
	if (f)
		(void)munmap(f, sizeof(*f));
}

void stall_gather(struct stall_facts *f)
{
	uint64_t now = monotonic_ns();

	if (!recorder_read_step(&f->step))
		return;
	f->elapsed_ns = now - recorder->start_ns;
	f->step_ns = f->step.since_ns && now > f->step.since_ns ? now - f->step.since_ns : 0;
	f->held = atomic_load(&recorder->target_count);
}

/* What follows is about to be looked at. */
__attribute__((format(printf, 2, 3))) static void look_at(struct stall_facts *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(f->unfinished, sizeof(f->unfinished), fmt, ap);
	va_end(ap);
}

static void look_at_thread(struct stall_facts *f, const char *who, pid_t pid, pid_t tid, struct glance *ret)
{
	look_at(f, "system call and stack of %s (pid %d, thread %d)", who, pid, tid);
	glance(pid, tid, ret);
}

/* The object of the step: "fd 5 → /x" of the task, else a path in it, else what the engine's or the task's call is
 * about. */
static void look_at_object(struct stall_facts *f)
{
	const struct glance *callers[] = { &f->engine, &f->task };
	const char *path = strchr(f->step.object, '/');
	char name[sizeof(f->object.path)];
	int fd;

	look_at(f, "the object");
	if (f->step.pid && sscanf(f->step.object, "fd %d", &fd) == 1 && stall_object_of_fd(f->step.pid, fd, &f->object))
		return;
	if (path) {
		/* It may be the beginning of a longer text, which then belongs to no other mount. */
		(void)snprintf(name, sizeof(name), "%s", path);
		if (stall_object_of_path(name, &f->object))
			return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(callers); i++) {
		fd = callers[i]->pid && !callers[i]->gone ? glance_descriptor(callers[i]) : -1;
		if (fd >= 0 && stall_object_of_fd(callers[i]->pid, fd, &f->object))
			return;
	}
	memset(&f->object, 0, sizeof(f->object));
}

/* Does the thread wait for a lock of its descriptor's file? */
static bool waits_for_lock(const struct glance *g)
{
	return g->pid && (g->syscall == SYS_flock || (g->syscall == SYS_fcntl && strstr(g->wchan, "lock")) ||
			  strstr(g->stack, "break_lease"));
}

/* A lock that is waited for, of the engine's call or of the task's, comes before the object of the step. */
static void look_at_lock(struct stall_facts *f)
{
	const struct glance *callers[] = { &f->engine, &f->task };
	struct stall_object locked;

	for (size_t i = 0; i < ARRAY_SIZE(callers); i++) {
		int fd = glance_descriptor(callers[i]);

		if (!waits_for_lock(callers[i]))
			continue;
		look_at(f, "who has the lock");
		/* An open() that breaks a lease has a path, not a descriptor of that file. */
		if (!strstr(callers[i]->stack, "break_lease") && stall_object_of_fd(callers[i]->pid, fd, &locked))
			f->object = locked;
		stall_find_holders(&f->object);
		return;
	}
}

static void look_at_held(struct stall_facts *f)
{
	for (size_t i = 0; f->held && i < RECORDER_TARGETS && f->n_tasks < STALL_TASKS; i++) {
		pid_t tid = atomic_load(&recorder->targets[i].tid);

		if (tid <= 0)
			continue;
		look_at_thread(f, "a held task", atomic_load(&recorder->targets[i].pid), tid, &f->tasks[f->n_tasks]);
		f->n_tasks++;
	}
}

static void look(struct stall_facts *f, pid_t engine)
{
	pid_t tracer = recorder->engine_tracer_tid ? recorder->engine_tracer_tid : engine;

	look_at_thread(f, "the engine", engine, f->step.tid ? f->step.tid : engine, &f->engine);
	look_at_thread(f, "the engine", engine, tracer, &f->tracer);
	if (f->step.pid) {
		/* The thread that the engine waits for, when the step names one. */
		const char *thread = strstr(f->step.object, "thread ");
		int tid = 0;

		if (!thread || sscanf(thread, "thread %d", &tid) != 1)
			tid = f->step.pid;
		look_at_thread(f, "the task", f->step.pid, tid, &f->task);
		if (f->task.gone)
			look_at_thread(f, "the task", f->step.pid, f->step.pid, &f->task);
	}
	look_at_object(f);
	look_at_lock(f);
	look_at_held(f);
	if (f->object.fuse) {
		look_at(f, "all processes, for the server of FUSE connection %u", f->object.dev_minor);
		stall_find_servers(&f->object);
	}
	f->unfinished[0] = '\0';
}

/* It holds nothing of the caller's: when it is left behind, no pipe may stay open for it. */
static _Noreturn void looker(struct stall_facts *f, pid_t engine)
{
	(void)close_range(0, ~0u, 0);
	(void)prctl(PR_SET_NAME, "firn-look");
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	look(f, engine);
	_exit(0);
}

void stall_look(struct stall_facts *f, pid_t engine, int timeout_ms)
{
	struct patience patience = patience_begin((unsigned)timeout_ms);
	struct pollfd p = { .fd = -1, .events = POLLIN };
	bool ended = false;
	pid_t pid;

	look_at(f, "everything");
	pid = fork();
	if (pid == 0)
		looker(f, engine);
	if (pid < 0)
		return;
	p.fd = pidfd_open(pid, 0);
	while (p.fd >= 0 && !ended && !patience_is_over(&patience))
		ended = poll(&p, 1, PATIENCE_PAUSE_MS) == 1;
	if (!ended)
		(void)kill(pid, SIGKILL);
	/* In uninterruptible sleep it does not end: then it is init's when the front has ended. */
	(void)waitpid(pid, NULL, ended ? 0 : WNOHANG);
	if (p.fd >= 0)
		close(p.fd);
}
