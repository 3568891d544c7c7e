/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree/tree.h"

#include <errno.h>
#include <string.h>

#include "kernel/procfs.h"

const struct descriptor *task_descriptor(const struct task *t, int number)
{
	size_t low = 0, high = t->n_descriptors;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->descriptors[mid].number == number)
			return &t->descriptors[mid];
		if (t->descriptors[mid].number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

struct task *tree_find(const struct tree *t, pid_t pid)
{
	for (size_t i = 0; i < t->n_tasks; i++)
		if (t->tasks[i]->pid == pid)
			return t->tasks[i];
	return NULL;
}

/* Grows an array of the arena by one; capacity doubles, so that it is a power of two. */
static bool grow(struct arena *a, void **items, size_t n, size_t size)
{
	if (n != 0 && (n & (n - 1)) != 0)
		return true;
	void *p = arena_grow(a, *items, n, n ? n * 2 : 1, size);
	if (!p)
		return false;
	*items = p;
	return true;
}

struct task *tree_add_task(struct operation *op, pid_t pid)
{
	struct task *t = arena_alloc(&op->arena, sizeof(*t));

	if (!t || !grow(&op->arena, (void **)&op->tree.tasks, op->tree.n_tasks, sizeof(t)))
		return NULL;
	t->pid = pid;
	t->proc_fd = t->pidfd = -1;
	t->mm_owner = t->files_owner = t->fs_owner = t->sighand_owner = t;
	op->tree.tasks[op->tree.n_tasks++] = t;
	return t;
}

struct thread *task_add_thread(struct operation *op, struct task *t, pid_t tid)
{
	struct thread *old = t->threads, *th;

	if (!grow(&op->arena, (void **)&t->threads, t->n_threads, sizeof(*th)))
		return NULL;
	if (old != t->threads)
		for (size_t i = 0; i < t->n_threads; i++)
			t->threads[i].task = t;
	th = &t->threads[t->n_threads++];
	memset(th, 0, sizeof(*th));
	th->task = t;
	th->tid = tid;
	th->proc_fd = -1;
	th->puppet = (struct puppet){ .pid = t->pid, .tid = tid };
	memcpy(th->puppet.comm, t->comm, sizeof(t->comm));
	op->tree.n_threads++;
	return th;
}

int tree_order(struct operation *op)
{
	struct tree *tree = &op->tree;
	struct task **ordered = arena_array(&op->arena, tree->n_tasks, sizeof(*ordered));
	size_t n = 0;

	if (!ordered)
		return error_raise(op->error, ENOMEM, "no memory for the tree's order");
	ordered[n++] = tree->tasks[0];
	/* Breadth first: each task found pulls in its children. */
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 1; j < tree->n_tasks; j++) {
			struct task *t = tree->tasks[j];

			if (t->ppid != ordered[i]->pid || t->parent || t == ordered[i])
				continue;
			t->parent = ordered[i];
			ordered[n++] = t;
		}
	}
	if (n < tree->n_tasks) {
		for (size_t j = 1; j < tree->n_tasks; j++)
			if (!tree->tasks[j]->parent)
				return error_raise(op->error, EINVAL, "pid %d (%s): its parent %d is not in the tree",
						   tree->tasks[j]->pid, tree->tasks[j]->comm, tree->tasks[j]->ppid);
		return error_raise(op->error, EINVAL, "the tree's tasks descend from each other");
	}
	tree->tasks = ordered;
	return 0;
}
