/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What becomes of the tasks of a tracer that dies (kernel/ptrace.c, exit_ptrace()): each is let go as if by PTRACE_DETACH.
 * It runs on with the registers that it has, unless it was stopped by a signal before the tracer came: then it goes back to
 * state T. With PTRACE_O_EXITKILL it dies. Registers and memory stay as the tracer left them: a task that was made to
 * run foreign code goes on in that, and only code that ends by itself brings the task back. From outside that shows in
 * one way: the instruction pointer lies in memory that no file is behind.
 */
#include "watch/rescue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/print.h"
#include "kernel/procfs.h"
#include "kernel/system.h"
#include "watch/bounded.h"
#include "watch/glance.h"
#include "watch/patience.h"

#define TERM_MS 1000
#define KILL_MS 5000
#define PROVE_MS 3000
#define MAPS_MS 300
#define MAPS_SIZE (1u << 20)

enum fate { FATE_FREE, FATE_ENDED, FATE_HELD, FATE_STOPPED, FATE_FROZEN, FATE_STILL, FATE_FOREIGN, FATE_SILENT };

static const char *const fate_words[] = {
	[FATE_FREE] = "free",
	[FATE_ENDED] = "ENDED: it is no longer there",
	[FATE_HELD] = "STILL TRACED",
	[FATE_STOPPED] = "STILL STOPPED",
	[FATE_FROZEN] = "FROZEN",
	[FATE_SILENT] = "NOT KNOWN: its files in /proc do not answer",
	[FATE_STILL] = "let go, but it has not run since",
	[FATE_FOREIGN] = "DAMAGED? it runs code that no file is behind: the checkpointer's, or made by itself",
};

struct captive {
	pid_t pid, tid;
	struct person process;
	char state;		 /* while it was held */
	bool was_stopped;	 /* in state T before the checkpointer began */
	unsigned long long runs; /* times it had got a processor, while it was held */
	bool continued;		 /* it got SIGCONT */
	enum fate fate;
	struct glance now;
	unsigned long long runs_now;
};

struct captives {
	struct captive *list;
	size_t n;
};

void aims_of_arguments(char *const *argv, struct aims *ret)
{
	*ret = (struct aims){ 0 };
	for (size_t i = 0; argv[i]; i++) {
		const char *tree = NULL;

		if ((strcmp(argv[i], "-t") == 0 || strcmp(argv[i], "--tree") == 0) && argv[i + 1])
			tree = argv[i + 1];
		else if (strncmp(argv[i], "--tree=", 7) == 0)
			tree = argv[i] + 7;
		else if (strncmp(argv[i], "-t", 2) == 0)
			tree = argv[i] + 2;
		if (tree && atoi(tree) > 1 && ret->n < RESCUE_TREES)
			ret->trees[ret->n++] = atoi(tree);
		if (strcmp(argv[i], "--freeze-cgroup") == 0 && argv[i + 1])
			ret->freezer = argv[i + 1];
		else if (strncmp(argv[i], "--freeze-cgroup=", 16) == 0)
			ret->freezer = argv[i] + 16;
	}
}

static bool is_below(const struct crowd *c, const struct person *p, const pid_t *roots, size_t n)
{
	for (unsigned depth = 0; p && depth < 256; depth++) {
		for (size_t i = 0; i < n; i++)
			if (p->pid == roots[i])
				return true;
		p = crowd_find(c, p->ppid);
	}
	return false;
}

void rescue_freezers(const struct crowd *c, const struct aims *aims, struct freezers *ret)
{
	ret->n = 0;
	if (aims->freezer)
		freezers_of_folder(aims->freezer, ret);
	for (size_t i = 0; i < c->n; i++)
		if (c->people[i].held || (!c->people[i].ours && is_below(c, &c->people[i], aims->trees, aims->n)))
			freezers_of_task(c->people[i].pid, ret);
}

static bool times_run(pid_t pid, pid_t tid, unsigned long long *ret)
{
	AUTOCLOSE int dirfd = procfs_open_thread(pid, tid);
	AUTOFREE char *text = NULL;
	size_t len;

	return dirfd >= 0 && procfs_read(dirfd, "schedstat", 4096, &text, &len) == 0 &&
	       sscanf(text, "%*u %*u %llu", ret) == 1;
}

/* Every thread that the watched tree traces. */
static int find_captives(const struct crowd *c, const struct before *before, struct arena *a, struct captives *ret)
{
	size_t room = 0;

	*ret = (struct captives){ 0 };
	for (size_t i = 0; i < c->n; i++) {
		const struct person *p = &c->people[i];
		AUTOCLOSE int dirfd = p->held ? procfs_open(p->pid) : -1;
		pid_t *tids;
		size_t n = 0;

		if (dirfd < 0 || read_proc_tasks(dirfd, a, &tids, &n))
			continue;
		for (size_t k = 0; k < n; k++) {
			struct captive new = { .pid = p->pid, .tid = tids[k], .process = *p, .fate = FATE_HELD };
			struct glance g;

			glance_status(p->pid, tids[k], &g);
			if (g.gone || !g.tracer)
				continue;
			new.state = g.state;
			(void)times_run(p->pid, tids[k], &new.runs);
			for (size_t s = 0; s < before->n_stopped; s++)
				new.was_stopped |= before->stopped[s].pid == p->pid &&
						   before->stopped[s].start_time == p->start_time;
			if (ret->n == room) {
				ret->list = arena_grow(a, ret->list, room, room ? 2 * room : 64, sizeof(new));
				room = room ? 2 * room : 64;
			}
			if (!ret->list)
				return -ENOMEM;
			ret->list[ret->n++] = new;
		}
	}
	return 0;
}

/* ---- ending the checkpointer ---- */

struct doomed {
	pid_t pid;
	int pidfd;
	const char *name;
};

/* A number may have been given to another process since the look: the start time tells. */
static int open_same(const struct person *p)
{
	int pidfd = sys_pidfd_open(p->pid, 0);
	AUTOCLOSE int dirfd = procfs_open(p->pid);
	struct proc_stat stat;

	if (pidfd >= 0 && (dirfd < 0 || read_proc_stat(dirfd, &stat) || stat.start_time != p->start_time)) {
		close(pidfd);
		return -1;
	}
	return pidfd;
}

static struct doomed *find_doomed(const struct crowd *c, struct arena *a, size_t *ret_n)
{
	struct doomed *list = arena_array(a, c->n ? c->n : 1, sizeof(*list));
	pid_t *held = arena_array(a, c->n ? c->n : 1, sizeof(*held));
	size_t n_held = 0;

	*ret_n = 0;
	if (!list || !held)
		return NULL;
	for (size_t i = 0; i < c->n; i++)
		if (c->people[i].held)
			held[n_held++] = c->people[i].pid;
	for (size_t i = 0; i < c->n; i++) {
		const struct person *p = &c->people[i];
		int pidfd;

		if (!p->ours || is_below(c, p, held, n_held))
			continue;
		pidfd = open_same(p);
		if (pidfd >= 0)
			list[(*ret_n)++] = (struct doomed){ p->pid, pidfd, p->name };
	}
	return list;
}

/* How many have not ended within @ms. */
static size_t await_end(const struct doomed *list, size_t n, unsigned ms)
{
	struct patience left = patience_begin(ms);
	size_t alive;

	do {
		alive = 0;
		for (size_t i = 0; i < n; i++) {
			struct pollfd p = { .fd = list[i].pidfd, .events = POLLIN };

			if (poll(&p, 1, alive ? 0 : PATIENCE_PAUSE_MS) != 1)
				alive++;
		}
	} while (alive && !patience_is_over(&left));
	return alive;
}

static void signal_all(const struct doomed *list, size_t n, int signo)
{
	for (size_t i = 0; i < n; i++)
		(void)sys_pidfd_send_signal(list[i].pidfd, signo, NULL);
}

static void thaw(const struct freezers *now, const struct before *before, FILE *out)
{
	for (size_t i = 0; i < now->n; i++) {
		const struct freezer *f = &now->list[i];
		int r;

		fputs("  control group ", out);
		put_text(out, f->path, false);
		if (freezers_contain(&before->frozen, f->path)) {
			fputs(": frozen before it began, and left so\n", out);
			continue;
		}
		r = freezer_thaw(f);
		(void)fprintf(out, " (%s): %s%s\n", f->state, r ? "cannot be thawed: " : "thawed",
			      r ? strerror(-r) : "");
	}
}

static bool end_checkpointer(const struct crowd *c, const struct aims *aims, const struct before *before,
			     struct arena *a, FILE *out)
{
	AUTOFREE struct freezers *frozen = calloc(1, sizeof(*frozen));
	size_t n, alive;
	struct doomed *list = find_doomed(c, a, &n);

	if (!list || !frozen)
		return false;
	rescue_freezers(c, aims, frozen);
	signal_all(list, n, SIGTERM);
	alive = await_end(list, n, TERM_MS);
	signal_all(list, n, SIGKILL);
	/* Version 1 freezes a task that shall die as well: it dies when its group is thawed. */
	thaw(frozen, before, out);
	if (alive)
		alive = await_end(list, n, KILL_MS);
	for (size_t i = 0; i < n; i++) {
		struct pollfd p = { .fd = list[i].pidfd, .events = POLLIN };

		(void)fprintf(out, "  pid %d (", list[i].pid);
		put_text(out, list[i].name, false);
		fputs(poll(&p, 1, 0) == 1 ? "): ended\n" : "): SIGKILL does not end it\n", out);
		close(list[i].pidfd);
	}
	return alive == 0;
}

/* ---- the proof ---- */

struct maps_text {
	pid_t pid;
	size_t len;
	char text[MAPS_SIZE];
};

static void read_maps(void *arg)
{
	struct maps_text *m = arg;
	AUTOCLOSE int dirfd = procfs_open(m->pid);
	AUTOCLOSE int fd = dirfd < 0 ? -1 : openat(dirfd, "maps", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while (fd >= 0 && m->len < MAPS_SIZE && (n = read(fd, m->text + m->len, MAPS_SIZE - m->len)) > 0)
		m->len += (size_t)n;
}

/* Does the task stand in memory that no file is behind? */
static bool on_foreign_code(const struct glance *g, struct arena *a)
{
	uint64_t at = g->pc;
	struct maps_text *m = at ? bounded_memory(sizeof(*m)) : NULL;
	struct proc_map *maps;
	bool foreign = false, whole;
	size_t n = 0;

	if (!m)
		return false;
	m->pid = g->pid;
	whole = bounded_run(read_maps, m, MAPS_MS) && m->len < MAPS_SIZE;
	if (whole && m->len && parse_proc_maps(m->text, m->len, false, a, &maps, &n) == 0) {
		foreign = true;
		for (size_t i = 0; i < n; i++)
			if (at >= maps[i].start && at < maps[i].end)
				foreign = !maps[i].path[0] || strncmp(maps[i].path, "/memfd:", 7) == 0 ||
					  strncmp(maps[i].path, "/dev/zero", 9) == 0;
	}
	(void)munmap(m, sizeof(*m));
	return foreign;
}

static bool is_frozen(const struct glance *g)
{
	return strstr(g->stack, "freezer_trap") || strstr(g->stack, "refrigerator") || strstr(g->wchan, "freez") ||
	       strcmp(g->wchan, "get_signal") == 0;
}

static bool continue_it(const struct captive *k)
{
	int pidfd = open_same(&k->process);
	bool sent = pidfd >= 0 && sys_pidfd_send_signal(pidfd, SIGCONT, NULL) == 0;

	if (pidfd >= 0)
		close(pidfd);
	return sent;
}

static enum fate judge(struct captive *k, struct arena *a)
{
	glance_status(k->pid, k->tid, &k->now);
	/* A first thread that had ended before stays a zombie for as long as others run. */
	if (k->state == 'Z' && k->now.state == 'Z')
		return FATE_FREE;
	if (k->now.gone || k->now.state == 'Z' || k->now.state == 'X')
		return FATE_ENDED;
	if (k->now.tracer)
		return FATE_HELD;
	if (k->now.state == 'T' && k->was_stopped)
		return FATE_FREE;
	if (k->now.state == 'T') {
		k->continued = continue_it(k);
		return FATE_STOPPED;
	}
	if (!bounded_glance(k->pid, k->tid, MAPS_MS, &k->now))
		return FATE_SILENT;
	if (is_frozen(&k->now))
		return FATE_FROZEN;
	if (on_foreign_code(&k->now, a))
		return FATE_FOREIGN;
	if (k->state == 't' && times_run(k->pid, k->tid, &k->runs_now) && k->runs_now <= k->runs)
		return FATE_STILL;
	return FATE_FREE;
}

static void print_captive(const struct captive *k, FILE *out)
{
	(void)fprintf(out, "  pid %d, thread %d (", k->pid, k->tid);
	put_text(out, k->now.gone ? "?" : k->now.name, false);
	(void)fprintf(out, "): was %c (%s)", k->state, glance_state(k->state));
	if (!k->now.gone)
		(void)fprintf(out, ", is %c (%s), tracer %d, got a processor %llu times since", k->now.state,
			      glance_state(k->now.state), k->now.tracer,
			      k->runs_now > k->runs ? k->runs_now - k->runs : 0);
	(void)fprintf(out, ": %s%s%s\n", fate_words[k->fate], k->continued ? ", continued by SIGCONT" : "",
		      k->fate != FATE_FREE		  ? ""
		      : k->was_stopped			  ? ", stopped as it was before"
		      : !k->now.pc && k->now.state == 'R' ? ", it runs: on which code was not seen"
		      : k->runs_now > k->runs		  ? ""
							  : ", it was not stopped and went on to wait");
}

static bool prove(struct captives *all, FILE *out)
{
	struct patience left = patience_begin(PROVE_MS);
	uint64_t net = monotonic_ns() + 10 * PROVE_MS * 1000000ull;
	bool good;

	do {
		good = true;
		for (size_t i = 0; i < all->n; i++) {
			struct arena a = { 0 };

			if (all->list[i].fate == FATE_FREE)
				continue;
			all->list[i].fate = judge(&all->list[i], &a);
			arena_release(&a);
			good = good && all->list[i].fate == FATE_FREE;
		}
		if (!good)
			(void)poll(NULL, 0, PATIENCE_PAUSE_MS);
	} while (!good && !patience_is_over(&left) && monotonic_ns() < net);
	for (size_t i = 0; i < all->n; i++) {
		(void)times_run(all->list[i].pid, all->list[i].tid, &all->list[i].runs_now);
		print_captive(&all->list[i], out);
	}
	return good;
}

bool rescue(const struct crowd *c, const struct aims *aims, const struct before *before, struct arena *a, FILE *out)
{
	struct captives all;
	bool ended, good;

	fputs("rescue: the checkpointer is ended, and what it held is set free\n", out);
	if (find_captives(c, before, a, &all)) {
		fputs("  memory is out: nothing was done\n", out);
		return false;
	}
	ended = end_checkpointer(c, aims, before, a, out);
	if (!all.n)
		fputs("  it traced no task\n", out);
	good = prove(&all, out);
	(void)fprintf(out, "rescue: %s\n",
		      !ended ? "NOT ALL of the checkpointer could be ended"
		      : good ? "done: the checkpointer is gone, and every task that it held is free and runs"
			     : "NOT every task is well: see above");
	return ended && good;
}
