/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `firn explain`: the rules of a dump, run over the living tree, all refusals collected. It is an engine under the front
 * like a dump, for what it reads may hang just so.
 */
#include "dump/explain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/print.h"
#include "dump/precheck.h"
#include "kernel/features.h"
#include "kernel/limits.h"
#include "tree/tree.h"
#include "watch/progress.h"
#include "watch/recorder.h"
#include "watch/worker.h"

#define ATTEMPTS 20

/*
 * How long a tree stands still: what was looked at here is looked at again while it does; the rest is what stopping, asking
 * and copying took on the machine of docs/benchmarks.md.
 */
#define FROZEN_TREE_NS 4000000ull
#define FROZEN_TASK_NS 900000ull
#define FROZEN_THREAD_NS 150000ull
#define FROZEN_FILE_NS 10000ull
#define FROZEN_MIB_NS 850000ull

struct explanation {
	struct operation op;
	struct refusals found;
	struct look look;
	struct error incomplete; /* why not everything could be looked at; not set when it was */
};

static uint64_t frozen_ns(const struct look *l)
{
	return FROZEN_TREE_NS + l->look_ns + l->tasks * FROZEN_TASK_NS + l->threads * FROZEN_THREAD_NS +
	       l->files * FROZEN_FILE_NS + (l->page_bytes >> 20) * FROZEN_MIB_NS;
}

/* ---- text ---- */

static void print_text(const struct explanation *x, FILE *out)
{
	const struct task *root = x->op.tree.n_tasks ? x->op.tree.tasks[0] : NULL;
	char bytes[32], frozen[32];
	size_t i = 0;

	(void)fprintf(out, "pid %d (", x->op.options->tree);
	put_text(out, root ? root->comm : "?", false);
	(void)fprintf(out, "): %zu task%s, %zu thread%s, %zu open file%s\n", x->look.tasks, plural(x->look.tasks),
		      x->look.threads, plural(x->look.threads), x->look.files, plural(x->look.files));
	for (const struct refusal *r = x->found.first; r; r = r->next) {
		(void)fprintf(out, "\n%3zu. ", ++i);
		put_text(out, r->object[0] ? r->object : r->reason, false);
		if (r->object[0]) {
			(void)fputs("\n     ", out);
			put_text(out, r->reason, false);
		}
		if (r->hint[0]) {
			(void)fputs("\n     Help: ", out);
			put_text(out, r->hint, false);
		}
		(void)fputc('\n', out);
	}
	if (error_is_set(&x->incomplete)) {
		(void)fputs("\nNot everything could be looked at: ", out);
		put_text(out, x->incomplete.sentence, false);
		(void)fputc('\n', out);
	}
	format_bytes(x->look.page_bytes, bytes, sizeof(bytes));
	format_time(frozen_ns(&x->look), frozen, sizeof(frozen));
	(void)fprintf(out, "\nA dump would write about %s of pages; the tree would stand still for about %s.\n", bytes,
		      frozen);
	if (x->found.n)
		(void)fprintf(out, "It would be refused: %zu thing%s cannot be carried with these options.\n",
			      x->found.n, plural(x->found.n));
	else
		(void)fputs("Nothing that can be seen from outside would be refused.\n", out);
}

/* ---- JSON ---- */

static void print_json(const struct explanation *x, FILE *out)
{
	const struct task *root = x->op.tree.n_tasks ? x->op.tree.tasks[0] : NULL;

	(void)fprintf(out, "{\n  \"pid\": %d,\n  ", x->op.options->tree);
	put_json_string(out, "comm", root ? root->comm : NULL, ",\n");
	(void)fprintf(out, "  \"ok\": %s,\n", x->found.n || error_is_set(&x->incomplete) ? "false" : "true");
	(void)fprintf(out, "  \"tasks\": %zu,\n  \"threads\": %zu,\n  \"files\": %zu,\n", x->look.tasks,
		      x->look.threads, x->look.files);
	(void)fprintf(out, "  \"page_bytes\": %" PRIu64 ",\n  \"frozen_us\": %" PRIu64 ",\n  ", x->look.page_bytes,
		      frozen_ns(&x->look) / 1000);
	put_json_string(out, "incomplete", error_is_set(&x->incomplete) ? x->incomplete.sentence : NULL, ",\n");
	(void)fputs("  \"refused\": [", out);
	for (const struct refusal *r = x->found.first; r; r = r->next) {
		(void)fprintf(out, "%s\n    {\"pid\": %d, ", r == x->found.first ? "" : ",", r->pid);
		put_json_string(out, "object", r->object, ", ");
		put_json_string(out, "reason", r->reason, ", ");
		put_json_string(out, "hint", r->hint[0] ? r->hint : NULL, ", ");
		put_json_string(out, "option", r->option, "}");
	}
	(void)fprintf(out, "%s]\n}\n", x->found.n ? "\n  " : "");
}

/* ---- the worker's job ---- */

static int answer(const struct explanation *x)
{
	int fd = dup(recorder->answer_fd);
	FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (!out) {
		if (fd >= 0)
			close(fd);
		return error_raise_call(&recorder->error, errno, "fdopen", "the answer");
	}
	if (x->op.options->json)
		print_json(x, out);
	else
		print_text(x, out);
	recorder->refused = x->found.n;
	if (fclose(out) != 0)
		return error_raise_call(&recorder->error, errno, "write", "the answer");
	return 0;
}

static bool may_come_right(int r)
{
	return r < 0 && r != -ECANCELED && r != -ENOMEM && r != -EMFILE && r != -EPERM && r != -EACCES;
}

/* A task that ends under the look spoils it: the next look has another tree. */
static int look_until_whole(struct explanation *x, const struct options *o, const struct features *features)
{
	struct error e = { 0 };
	int r = 0;

	for (int i = 0; i < ATTEMPTS; i++) {
		e = (struct error){ 0 };
		x->found = (struct refusals){ 0 };
		x->look = (struct look){ 0 };
		x->op = (struct operation){
			.error = &e, .refusals = &x->found, .options = o, .features = features, .images = { .fd = -1 }
		};
		r = precheck_look(&x->op, true, &x->look);
		if (!may_come_right(r) || i == ATTEMPTS - 1)
			break;
		log_info(0, "explain: looked at in vain: %s", e.sentence);
		precheck_end(&x->op);
		arena_release(&x->op.arena);
		recorder_moved(0);
	}
	x->op.error = NULL;
	if (r < 0)
		x->incomplete = e;
	return r;
}

struct job {
	const struct options *options;
	const struct features *features;
};

static int explain(void *arg)
{
	const struct job *j = arg;
	struct explanation x = { 0 };
	int r = look_until_whole(&x, j->options, j->features);

	/* Something is known, if not everything; but nothing refused and not all seen is no "yes". */
	if (r == 0 || (x.found.n && may_come_right(r)))
		return answer(&x);
	recorder->error = x.incomplete;
	return r;
}

int explain_engine(const struct options *o, void *arg)
{
	struct operation op = { .error = &recorder->error, .options = o, .images = { .fd = -1 } };
	struct features features;
	struct job job = { o, &features };
	int r;

	(void)arg;
	limits_raise_descriptors();
	r = features_probe(&features, op.error);
	if (r == 0)
		r = tree_check_root(&op);
	if (r == 0) {
		recorder_stage(STAGE_COLLECT);
		r = worker_call(explain, &job, op.error);
	}
	return r;
}
