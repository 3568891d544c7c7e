/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A dump, from the first look to the last: read dump_engine() downwards. The tracer thread is this one; whatever may
 * block on foreign ground is the worker's (see watch/worker.h).
 */
#include "dump/dump.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "aspects/aspect.h"
#include "dump/images.h"
#include "dump/interview.h"
#include "dump/precheck.h"
#include "kernel/features.h"
#include "kernel/limits.h"
#include "memory/memory.h"
#include "namespaces/time.h"
#include "tree/registers.h"
#include "tree/tree.h"
#include "watch/recorder.h"
#include "watch/worker.h"

/* ---- the worker's jobs ---- */

static int prepare(void *arg)
{
	struct operation *op = arg;
	int r = precheck_tree(op);

	return r < 0 ? r : image_dir_create(&op->images, op->options->images_path, op->error);
}

static int prepare_messages(struct operation *op, struct task *t)
{
	int r = t->state == TASK_ZOMBIE ? aspects_prepare_zombie(op, t) : 0;

	for (size_t i = 0; i < t->n_threads && r == 0; i++)
		r = aspects_prepare(op, &t->threads[i]);
	if (r == 0 && t->n_threads > 0)
		t->core = t->threads[0].core;
	return r;
}

static int collect(void *arg)
{
	struct operation *op = arg;
	int r = tree_collect(op);

	if (r == 0)
		r = tree_check(op);
	if (r == 0)
		r = time_namespace_check(op);
	if (r == 0)
		r = tree_collect_sharing(op);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		r = aspects_check(op, t);
		if (r == 0)
			r = prepare_messages(op, t);
		if (r == 0)
			r = aspects_collect(op, t);
		if (r == 0 && t->state != TASK_ZOMBIE && t->mm_owner == t)
			r = memory_collect(op, t);
		recorder_moved(0);
	}
	if (r == 0)
		r = memory_check_all(op);
	return r == 0 ? images_assign_ids(op) : r;
}

static int collect_files(void *arg)
{
	struct operation *op = arg;
	int r = files_collect(op);

	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (t->state != TASK_ZOMBIE && t->mm_owner == t)
			r = memory_check(op, t);
	}
	return r;
}

static int dump_memory(void *arg)
{
	return memory_dump(arg);
}

static int write_images(void *arg)
{
	struct operation *op = arg;
	int r = images_write_tree(op);

	/* Last, since to read the queue of a connection that nobody has accepted is to take it. */
	if (r == 0)
		r = files_write(op);
	/* Every timer was read before. */
	return r == 0 ? time_namespace_dump(op) : r;
}

static int commit_images(void *arg)
{
	struct operation *op = arg;
	int r = images_commit(op);

	if (image_dir_replaced(&op->images))
		atomic_store(&recorder->images_complete, true);
	if (r == 0)
		images_write_stats(op);
	return r;
}

static int abandon_images(void *arg)
{
	struct operation *op = arg;

	image_dir_abandon(&op->images);
	return 0;
}

/* ---- the tracer thread ---- */

static int peek(struct operation *op)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		int r = 0;

		for (size_t k = 0; k < t->n_threads && r == 0; k++)
			r = registers_leave_rseq(op, &t->threads[k]);
		if (r == 0 && t->state != TASK_ZOMBIE)
			r = aspects_peek(op, t);

		if (r < 0)
			return r;
	}
	return 0;
}

static int in_stage(struct operation *op, enum stage stage, worker_fn job)
{
	recorder_stage(stage);
	return worker_call(job, op, op->error);
}

/* Everything that happens while the tree stands still. */
static int dump_frozen(struct operation *op)
{
	int r;

	recorder_stage(STAGE_SEIZE);
	r = tree_seize(op);
	if (r == 0)
		r = in_stage(op, STAGE_COLLECT, collect);
	if (r == 0) {
		recorder_stage(STAGE_PUPPET);
		r = peek(op);
	}
	if (r == 0)
		r = interview_tree(op);
	if (r == 0)
		r = in_stage(op, STAGE_FILES, collect_files);
	if (r == 0)
		r = in_stage(op, STAGE_MEMORY, dump_memory);
	if (r == 0)
		r = in_stage(op, STAGE_IMAGES, write_images);
	return r;
}

static enum tree_fate fate_asked_for(const struct options *o)
{
	if (o->leave_stopped)
		return FATE_STOP;
	return o->leave_running ? FATE_RUN : FATE_KILL;
}

/* A tree that is to be killed is killed only when the images are complete; one that runs on is let go before the
 * slow part of that, the syncing. */
static int finish(struct operation *op, uint64_t frozen_since)
{
	enum tree_fate fate = fate_asked_for(op->options);
	int r = 0;

	if (fate != FATE_KILL) {
		recorder_stage(STAGE_RELEASE);
		files_part(op, PART_RUN);
		r = tree_release(op, fate);
		recorder->frozen_ns = monotonic_ns() - frozen_since;
		if (r == 0)
			r = in_stage(op, STAGE_IMAGES, commit_images);
		return r;
	}
	recorder->frozen_ns = monotonic_ns() - frozen_since;
	r = in_stage(op, STAGE_IMAGES, commit_images);
	if (r < 0)
		return r;
	recorder_stage(STAGE_RELEASE);
	files_part(op, PART_KILLING);
	r = tree_release(op, fate);
	if (r == 0)
		files_part(op, PART_KILLED);
	return r;
}

static void roll_back(struct operation *op)
{
	struct error ignored = { 0 };

	recorder_stage(STAGE_ROLLBACK);
	files_part(op, PART_RUN);
	(void)tree_release(op, FATE_RUN);
	/* What is complete stays, whatever failed after. */
	if (op->images.manifest && !atomic_load(&recorder->images_complete))
		(void)worker_call(abandon_images, op, &ignored);
}

int dump_engine(const struct options *o, void *arg)
{
	struct operation op = { .error = &recorder->error, .options = o, .next_pages_id = 1, .images = { .fd = -1 } };
	struct features features;
	uint64_t frozen_since;
	int r;

	(void)arg;
	op.features = &features;
	limits_raise_descriptors();
	recorder_step(0, NULL, "probe", "what this kernel offers");
	r = features_probe(&features, op.error);
	if (r == 0)
		r = tree_check_root(&op);
	if (r == 0)
		r = worker_call(prepare, &op, op.error);
	if (r < 0)
		return r;
	frozen_since = monotonic_ns();
	r = dump_frozen(&op);
	if (r == 0)
		r = finish(&op, frozen_since);
	if (r < 0)
		roll_back(&op);
	recorder->wrote_bytes = r == 0 ? image_dir_bytes(&op.images) : 0;
	/* The process ends here: descriptors and memory go with it. */
	return r;
}
