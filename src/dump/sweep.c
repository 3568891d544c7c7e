/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an engine that was killed had in the tasks: the area with the stub, and the gate in the vdso's last page. The
 * tasks run on with both, and would keep them for ever. The tree is stopped once more, for as long as it takes to unmap
 * the one and wipe the other; whoever is killed meanwhile leaves the tasks running, as in any dump.
 *
 * A thread may still be on its way out of there. Then the tree is let go and stopped again.
 */
#include "dump/sweep.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

#include "puppet/area.h"
#include "puppet/stub.h"
#include "tree/tree.h"
#include "watch/recorder.h"

static bool in_tree(const struct operation *op, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct task *t = op->tree.tasks[i];

		/* Who shares the memory is not asked: a thread of another task at the same address is as good a reason. */
		for (size_t k = 0; k < t->n_threads; k++)
			if (t->threads[k].puppet.regs.rip >= start && t->threads[k].puppet.regs.rip < end)
				return true;
	}
	return false;
}

static bool has_stub(const struct task *t, uint64_t at)
{
	char text[sizeof(STUB_MAGIC)];
	struct iovec local = { text, sizeof(text) }, remote = { (void *)(uintptr_t)at, sizeof(text) };

	return process_vm_readv(t->pid, &local, 1, &remote, 1, 0) == (ssize_t)sizeof(text) &&
	       memcmp(text, STUB_MAGIC, sizeof(text)) == 0;
}

/* area_map() makes two mappings side by side that nobody else makes so. */
static bool is_area(const struct task *t, const struct proc_map *m, const struct proc_map *next)
{
	return m->end - m->start == STUB_PAGE && m->prot == (PROT_READ | PROT_EXEC) && m->inode == 0 &&
	       m->path[0] == '\0' && next->start == m->end && next->end - next->start == AREA_SCRATCH && next->shared &&
	       next->prot == (PROT_READ | PROT_WRITE) && has_stub(t, m->start);
}

static int unmap(struct operation *op, struct task *t, struct gate *g, uint64_t at)
{
	struct puppet *p = &t->threads[0].puppet;
	struct puppet_area area = { .code = at };
	int r;

	p->area = &area;
	r = area_unmap(g, p, op->error);
	p->area = NULL;
	return r;
}

static int sweep_task(struct operation *op, struct task *t, bool *ret_busy)
{
	const struct proc_map *vdso = NULL;
	struct gate g;
	int r;

	r = read_proc_maps(t->proc_fd, false, &op->arena, &t->maps, &t->n_maps);
	if (r < 0)
		return error_raise_call(op->error, -r, "read", "pid %d (%s), /proc/%d/maps", t->pid, t->comm, t->pid);
	for (size_t i = 0; i < t->n_maps; i++)
		if (strcmp(t->maps[i].path, "[vdso]") == 0)
			vdso = &t->maps[i];
	r = gate_open(&g, &t->threads[0].puppet, vdso ? vdso->start : 0, vdso ? vdso->end : 0, op->error);
	if (r == 0 && in_tree(op, g.address, vdso->end)) {
		g.busy = true;
		*ret_busy = true;
	}
	for (size_t i = 0; i + 1 < t->n_maps && r == 0 && !g.busy; i++) {
		if (!is_area(t, &t->maps[i], &t->maps[i + 1]))
			continue;
		if (in_tree(op, t->maps[i].start, t->maps[i].end))
			*ret_busy = true;
		else
			r = unmap(op, t, &g, t->maps[i].start);
	}
	gate_close(&g);
	return r;
}

static int sweep_once(struct operation *op, bool *ret_busy)
{
	int r = tree_seize(op);

	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++)
		if (op->tree.tasks[i]->n_threads > 0)
			r = sweep_task(op, op->tree.tasks[i], ret_busy);
	(void)tree_release(op, FATE_RUN);
	tree_close(op);
	arena_release(&op->arena);
	return r;
}

int dump_sweep(const struct options *o)
{
	const struct timespec pause = { 0, 1000000 };
	struct error error = { 0 };
	bool busy;
	int r;

	do {
		struct operation op = { .error = &error, .options = o, .images = { .fd = -1 } };

		busy = false;
		r = sweep_once(&op, &busy);
		if (r == 0 && busy)
			(void)nanosleep(&pause, NULL);
	} while (r == 0 && busy);
	return r;
}
