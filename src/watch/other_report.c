/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/other_report.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/print.h"
#include "kernel/procfs.h"
#include "watch/blocked_call.h"
#include "watch/bounded.h"
#include "watch/stall.h"

#define LOOK_MS 300
#define THREADS_MAX 16
#define FILES_MAX 64
#define HELD_MAX 64

static void line(FILE *out, const char *head, const char *text)
{
	fputs(head, out);
	put_text(out, text, false);
	fputc('\n', out);
}

/* Several lines of text, each below the same head. */
static void lines(FILE *out, const char *head, char *text)
{
	for (char *rest = text, *one; (one = strsep(&rest, "\n"));)
		if (*one)
			line(out, head, one);
}

/* The cause as the stall report of firn's own engine would tell it. */
static void put_cause(const struct glance *g, const struct open_file *files, size_t n, FILE *out)
{
	AUTOFREE struct stall_facts *facts = calloc(1, sizeof(*facts));
	const struct open_file *f = open_file_find(files, n, glance_descriptor(g));
	struct stall_cause why;

	if (!facts || g->state == 'R' || g->state == 'T' || g->state == 't')
		return;
	facts->engine = *g;
	facts->verdict = VERDICT_STALL;
	if (f && f->fs_type)
		(void)snprintf(facts->object.fs_type, sizeof(facts->object.fs_type), "%s", f->fs_type);
	why = stall_explain(facts);
	if (strncmp(why.cause, "unknown", 7) == 0)
		return;
	line(out, "    likely cause ", why.cause);
	line(out, "    you can      ", why.advice);
}

static void put_thread(pid_t pid, pid_t tid, const struct open_file *files, size_t n, const struct crowd *c, FILE *out)
{
	struct blocked_call call;
	struct arena a = { 0 };
	struct glance g;
	bool whole;

	whole = bounded_glance(pid, tid, LOOK_MS, &g);
	if (g.gone)
		return;
	(void)fprintf(out, "    thread %d  %c (%s)", tid, g.state, glance_state(g.state));
	if (g.wchan[0])
		(void)fprintf(out, ", in %s", g.wchan);
	if (g.tracer)
		(void)fprintf(out, ", traced by %d", g.tracer);
	fputs(whole ? "\n" : "; its system call and stack do not answer\n", out);
	blocked_call_look(&g, files, n, c, &a, &call);
	if (call.call[0])
		line(out, "    call         ", call.call);
	if (g.stack[0])
		line(out, "    stack        ", g.stack);
	lines(out, "    object       ", arena_strdup(&a, call.object));
	if (call.cause) {
		line(out, "    likely cause ", call.cause);
		line(out, "    you can      ", call.advice);
	} else {
		put_cause(&g, files, n, out);
	}
	arena_release(&a);
}

static void put_person(const struct person *p, const struct crowd *c, FILE *out)
{
	AUTOCLOSE int dirfd = procfs_open(p->pid);
	struct open_file *files = NULL;
	size_t n_files = 0, n = 0, i;
	struct arena a = { 0 };
	pid_t *tids;

	(void)fprintf(out, "  pid %d (", p->pid);
	put_text(out, p->name, false);
	(void)fprintf(out, "), child of %d\n", p->ppid);
	if (dirfd >= 0 && open_files_look(p->pid, &a, &files, &n_files))
		n_files = 0;
	if (dirfd >= 0 && read_proc_tasks(dirfd, &a, &tids, &n))
		n = 0;
	for (i = 0; i < n && i < THREADS_MAX; i++)
		put_thread(p->pid, tids[i], files, n_files, c, out);
	if (i < n)
		(void)fprintf(out, "    … and %zu more threads\n", n - i);
	for (i = 0; i < n_files && i < FILES_MAX; i++) {
		const char *text = open_file_describe(&files[i], &a);

		line(out, "    open         ", text ? text : "");
	}
	if (i < n_files)
		(void)fprintf(out, "    … and %zu more open files\n", n_files - i);
	arena_release(&a);
}

/* A child stands below its parent. */
static void put_tree(const struct crowd *c, const struct person *parent, FILE *out)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct person *p = &c->people[i], *up = crowd_find(c, p->ppid);

		if (!p->ours || (up && up->ours ? up : NULL) != parent)
			continue;
		put_person(p, c, out);
		if (p->depth < 64)
			put_tree(c, p, out);
	}
}

static void put_held(const struct crowd *c, const struct aims *aims, FILE *out)
{
	AUTOFREE struct freezers *frozen = calloc(1, sizeof(*frozen));
	size_t held = 0;

	for (size_t i = 0; i < c->n; i++)
		held += c->people[i].held;
	(void)fprintf(out, "  holds        %zu task%s\n", held, plural(held));
	held = 0;
	for (size_t i = 0; i < c->n && held < HELD_MAX; i++) {
		const struct person *p = &c->people[i];

		if (!p->held)
			continue;
		held++;
		(void)fprintf(out, "               pid %d (", p->pid);
		put_text(out, p->name, false);
		(void)fprintf(out, "), %c (%s), traced by %d\n", p->state, glance_state(p->state), p->tracer);
	}
	if (!frozen)
		return;
	rescue_freezers(c, aims, frozen);
	for (size_t i = 0; i < frozen->n; i++) {
		(void)fprintf(out, "               control group (%s) ", frozen->list[i].state);
		line(out, "", frozen->list[i].path);
	}
}

void other_report(const struct crowd *c, const struct aims *aims, const char *what, FILE *out)
{
	line(out, "watch report: ", what);
	put_tree(c, NULL, out);
	put_held(c, aims, out);
}
