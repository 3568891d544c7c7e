/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stall report for people. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/print.h"
#include "kernel/syscalls.h"
#include "watch/stall.h"

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
	if (!g->pid) {
		add(t, "not seen\n");
		return;
	}
	if (g->gone) {
		add(t, "pid %d, thread %d: gone\n", g->pid, g->tid);
		return;
	}
	add(t, "pid %d, thread %d (%s): %c (%s)", g->pid, g->tid, g->name, g->state, glance_state(g->state));
	if (g->wchan[0])
		add(t, ", in %s", g->wchan);
	if (g->syscall >= 0)
		add(t, ", system call %ld (%s)", g->syscall, syscall_name(g->syscall));
	add(t, "\n");
}

static void add_details(struct text *t, const struct glance *g)
{
	if (g->arguments[0])
		add(t, "               arguments %s\n", g->arguments);
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

static void add_servers(struct text *t, const struct stall_object *o)
{
	if (!o->fuse)
		return;
	add(t, "  server       FUSE connection %u", o->dev_minor);
	if (o->waiting >= 0)
		add(t, ", %ld request%s without an answer", o->waiting, plural((size_t)o->waiting));
	if (!o->n_servers)
		add(t, ": no process has it");
	add(t, "\n");
	for (size_t i = 0; i < o->n_servers; i++) {
		const struct glance *g = &o->servers[i];

		add(t, "               %spid %d (%s): %c (%s)\n", o->servers_sure ? "" : "perhaps ", g->pid, g->name,
		    g->state, glance_state(g->state));
	}
}

static void add_object(struct text *t, const struct stall_facts *f)
{
	const struct stall_object *o = &f->object;

	if (f->step.object[0])
		add(t, "  object       %s\n", f->step.object);
	/* Where the step does not say it. */
	if (o->pid && !strstr(f->step.object, o->path))
		add(t, "  file         fd %d of pid %d → %s\n", o->fd, o->pid, o->path);
	if (o->mounted)
		add(t, "  mount        %s on %s from %s, device %u:%u\n", o->fs_type, o->mount_point, o->source,
		    o->dev_major, o->dev_minor);
	add_servers(t, o);
	for (size_t i = 0; i < o->n_holders; i++) {
		const struct stall_holder *holder = &o->holders[i];

		add(t, "  %-12s %s %s, held by ", i ? "" : "lock", stall_lock_name(holder->sort),
		    holder->breaking	      ? "that is to be given up"
		    : holder->type == F_WRLCK ? "for writing"
					      : "for reading");
		if (holder->pid > 0)
			add(t, "pid %d (%s)\n", holder->pid, holder->name);
		else
			add(t, "a process that is not known\n");
	}
}

size_t stall_compose(const struct stall_facts *f, const char *outcome, char *buf, size_t size)
{
	struct stall_cause why = stall_explain(f);
	struct text t = { buf, 0, size };
	char sentence[896], advice[512];

	stall_sentence(f, sentence, sizeof(sentence));
	stall_advice(f, advice, sizeof(advice));
	add(&t, "stall report: firn %s\n", f->operation);
	add(&t, "  what         %s\n", sentence);
	add(&t, "  stage        %s, %.1f s after the beginning\n", stage_name(f->step.stage),
	    (double)f->elapsed_ns / 1e9);
	if (f->step.pid)
		add(&t, "  task         pid %d (%s)\n", f->step.pid, f->step.comm[0] ? f->step.comm : f->task.name);
	if (f->step.call[0])
		add(&t, "  call         %s, for %.1f s now\n", f->step.call, (double)f->step_ns / 1e9);
	add_object(&t, f);
	add_engine(&t, f);
	add_tasks(&t, f);
	if (f->unfinished[0])
		add(&t, "  not seen     %s: no answer in time\n", f->unfinished);
	add(&t, "  likely cause %s\n", why.cause);
	add(&t, "  firn did     %s\n", outcome);
	add(&t, "  you can      %s\n", advice);
	return t.len;
}
