/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A restore, from the first look to the last: read restore_engine() downwards. The tracer thread is this one; whatever
 * may block on foreign ground is the worker's (see watch/worker.h), or a puppet's, which is waited for.
 */
#include "restore/restore.h"

#include <errno.h>

#include "aspects/aspect.h"
#include "kernel/features.h"
#include "kernel/limits.h"
#include "kinds/epoll.h"
#include "kinds/tty.h"
#include "memory/memory.h"
#include "namespaces/time.h"
#include "puppet/area.h"
#include "restore/finish.h"
#include "restore/grow.h"
#include "restore/pidfile.h"
#include "restore/read.h"
#include "watch/recorder.h"
#include "watch/worker.h"

/* ---- the worker's jobs ---- */

/* What a decoder finds damaged it calls EINVAL. For the caller that is what a wrong checksum is. */
static int damage(int r)
{
	return r == -EINVAL ? -EBADMSG : r;
}

static int read_images(void *arg)
{
	struct operation *op = arg;
	int r = image_dir_open(&op->images, op->options->images_path, op->error);

	if (r == 0)
		r = images_read_tree(op);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++)
		r = aspects_decode(op, op->tree.tasks[i]);
	if (r == 0)
		r = files_read(op);
	if (r == 0)
		r = memory_read(op);
	r = damage(r);
	if (r == 0)
		r = grow_check_pids(op);
	if (r == 0)
		r = memory_find_island(op, AREA_SIZE, &op->island);
	return r;
}

static int create_objects(void *arg)
{
	struct operation *op = arg;
	int r = time_namespace_create(op);

	if (r == 0)
		r = files_create(op);
	if (r == 0)
		r = memory_create_shared(op);
	return r == 0 ? files_connect(op) : r;
}

static int finish_objects(void *arg)
{
	return files_finish(arg);
}

static int let_objects_go(void *arg)
{
	return files_go(arg);
}

static int settle_objects(void *arg)
{
	return files_settle(arg);
}

static int undo_objects(void *arg)
{
	files_undo(arg);
	memory_undo(arg);
	return 0;
}

/* ---- the tracer thread ---- */

static int in_stage(struct operation *op, enum stage stage, worker_fn job)
{
	recorder_stage(stage);
	return worker_call(job, op, op->error);
}

static int place_files(struct operation *op, struct channel *c)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		struct task *t = op->tree.tasks[i];
		int r = 0;

		if (t->state == TASK_ZOMBIE)
			continue;
		if (t->files_owner == t)
			r = descriptors_place(op, c, t);
		if (r == 0 && t->fs_owner == t)
			r = fs_place(op, c, t);
		if (r == 0 && t->mm_owner == t)
			r = memory_seal(op, c, t);
		if (r < 0)
			return r;
	}
	return 0;
}

static int apply_aspects(struct operation *op)
{
	/* Children before parents: what a parent becomes must not hinder what is still to be done below it. */
	for (size_t i = op->tree.n_tasks; i-- > 0;) {
		struct task *t = op->tree.tasks[i];

		for (size_t k = t->n_threads; k-- > 0;) {
			int r = aspects_apply(op, &t->threads[k]);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int appear_objects(void *arg)
{
	return files_appear(arg);
}

/* What stands for a task: those that live are there by now, the dead live once more for the moment. */
static int make_appear(struct operation *op)
{
	int r = grow_dead(op);

	if (r == 0)
		r = worker_call(appear_objects, op, op->error);
	return r == 0 ? bury_dead(op) : r;
}

static int restore_state(struct operation *op, struct channel *c)
{
	int r;

	recorder_stage(STAGE_STATE);
	r = grow_threads(op);
	if (r == 0)
		r = grow_zombies(op);
	if (r == 0)
		r = make_appear(op);
	if (r == 0)
		r = place_files(op, c);
	if (r == 0)
		r = worker_call(finish_objects, op, op->error);
	if (r == 0)
		r = ttys_attach(op, c);
	if (r == 0)
		r = epolls_attach(op, c);
	if (r == 0)
		r = apply_aspects(op);
	if (r == 0)
		r = finish_tree(op, c);
	return r == 0 ? worker_call(settle_objects, op, op->error) : r;
}

static int restore_tree(struct operation *op, struct channel *c)
{
	int r;

	recorder_stage(STAGE_TREE);
	r = channel_open(op, c);
	if (r == 0)
		r = grow_tree(op, c);
	if (r < 0)
		return r;
	recorder_stage(STAGE_MEMORY);
	r = memory_restore(op, c);
	return r == 0 ? restore_state(op, c) : r;
}

static void roll_back(struct operation *op)
{
	struct error ignored = { 0 };

	recorder_stage(STAGE_ROLLBACK);
	grow_kill(op);
	(void)worker_call(undo_objects, op, &ignored);
}

/* A zombie-to-be had a thread to live in, which is gone; so is a first thread that ended. */
static size_t count_threads(const struct operation *op)
{
	size_t n = 0;

	for (size_t i = 0; i < op->tree.n_tasks; i++)
		if (op->tree.tasks[i]->state != TASK_ZOMBIE)
			n += op->tree.tasks[i]->n_threads - has_exited_leader(op->tree.tasks[i]);
	return n;
}

struct last_words {
	struct operation *op;
	struct pidfile *pidfile;
};

static int write_pid(void *arg)
{
	struct last_words *w = arg;

	return pidfile_write(w->pidfile, w->op->tree.tasks[0]->pid, w->op->error);
}

/* Done, or undone. */
static int restore_everything(struct operation *op, struct channel *channel, struct pidfile *pidfile)
{
	struct last_words words = { op, pidfile };
	int r = in_stage(op, STAGE_OBJECTS, create_objects);

	if (r == 0)
		r = restore_tree(op, channel);
	/* Not between the unlocking of connections and the release: that moment is as short as can be. */
	if (r == 0)
		r = worker_call(write_pid, &words, op->error);
	if (r == 0)
		r = in_stage(op, STAGE_RELEASE, let_objects_go);
	if (r < 0)
		roll_back(op);
	return r;
}

int restore_engine(const struct options *o, void *arg)
{
	struct operation op = { .error = &recorder->error, .options = o, .images = { .fd = -1 } };
	struct channel channel = { .engine = -1, .number = -1 };
	struct features features;
	struct pidfile pidfile;
	int r;

	(void)arg;
	op.features = &features;
	limits_raise_descriptors();
	r = pidfile_open(&pidfile, o, op.error);
	if (r == 0)
		r = features_probe(&features, op.error);
	if (r == 0)
		r = in_stage(&op, STAGE_IMAGES, read_images);
	if (r == 0)
		r = restore_everything(&op, &channel, &pidfile);
	pidfile_close(&pidfile, r < 0);
	if (r < 0)
		return r;
	atomic_store(&recorder->tasks, op.tree.n_tasks);
	atomic_store(&recorder->threads, count_threads(&op));
	atomic_store(&recorder->restore_released, true);
	return release_tree(&op);
}
