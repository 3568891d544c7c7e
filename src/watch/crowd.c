/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/crowd.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/procfs.h"
#include "watch/bounded.h"

#define PULSE_MS 1000

/* Any thread may be the traced one: a seize goes thread by thread. */
static pid_t tracer_of(int dirfd, pid_t pid, struct arena *a)
{
	struct proc_status status;
	pid_t *tids, tracer = 0;
	size_t n;

	if (read_proc_status(dirfd, a, &status) == 0 && status.tracer)
		return status.tracer;
	if (read_proc_tasks(dirfd, a, &tids, &n))
		return 0;
	for (size_t i = 1; i < n && !tracer; i++) {
		AUTOCLOSE int fd = procfs_open_thread(pid, tids[i]);

		if (fd >= 0 && read_proc_status(fd, a, &status) == 0)
			tracer = status.tracer;
	}
	return tracer;
}

static bool look_at(pid_t pid, struct arena *a, struct person *ret)
{
	AUTOCLOSE int dirfd = procfs_open(pid);
	struct proc_stat stat;

	if (dirfd < 0 || read_proc_stat(dirfd, &stat))
		return false;
	/* Kernel threads (PF_KTHREAD), and what this process has left behind itself. */
	if ((stat.flags & 0x00200000) || (stat.ppid == getpid() && strcmp(stat.comm, BOUNDED_NAME) == 0))
		return false;
	*ret = (struct person){ .pid = pid,
				.ppid = stat.ppid,
				.state = stat.state,
				.start_time = stat.start_time,
				.tracer = tracer_of(dirfd, pid, a) };
	(void)snprintf(ret->name, sizeof(ret->name), "%s", stat.comm);
	return true;
}

static int by_pid(const void *a, const void *b)
{
	const struct person *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

struct person *crowd_find(const struct crowd *c, pid_t pid)
{
	struct person key = { .pid = pid };

	return c->n ? bsearch(&key, c->people, c->n, sizeof(key), by_pid) : NULL;
}

/* A parent may have a higher number than its child: pass over all until nothing changes. */
static void mark_tree(struct crowd *c, pid_t root, bool below)
{
	struct person *top = crowd_find(c, root);

	if (top && !below)
		top->ours = true;
	for (bool changed = true; changed;) {
		changed = false;
		for (size_t i = 0; i < c->n; i++) {
			struct person *p = &c->people[i], *parent = crowd_find(c, p->ppid);

			if (p->ours || !parent || p->pid == root || (!parent->ours && parent->pid != root))
				continue;
			p->ours = changed = true;
			p->depth = parent->ours ? parent->depth + 1 : 0;
		}
	}
}

/* The tracer is named by its thread where that is not the first: it is looked for below /proc all the same. */
static void mark_held(struct crowd *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct person *p = &c->people[i], *tracer = p->tracer ? crowd_find(c, p->tracer) : NULL;
		AUTOCLOSE int fd = -1;
		struct proc_status status;
		struct arena a = { 0 };

		if (p->tracer && !tracer && (fd = procfs_open(p->tracer)) >= 0 &&
		    read_proc_status(fd, &a, &status) == 0)
			tracer = crowd_find(c, status.tgid);
		arena_release(&a);
		p->held = tracer && tracer->ours;
	}
}

int crowd_look(pid_t root, bool below, struct arena *a, struct crowd *ret)
{
	AUTOCLOSEDIR DIR *proc = opendir("/proc");
	size_t room = 0;

	*ret = (struct crowd){ 0 };
	if (!proc)
		return -errno;
	for (struct dirent *d; (d = readdir(proc));) {
		struct person p;

		if (!isdigit((unsigned char)d->d_name[0]) || !look_at((pid_t)atoi(d->d_name), a, &p))
			continue;
		if (ret->n == room) {
			ret->people = arena_grow(a, ret->people, room, room ? 2 * room : 256, sizeof(p));
			room = room ? 2 * room : 256;
			if (!ret->people)
				return -ENOMEM;
		}
		ret->people[ret->n++] = p;
	}
	if (ret->n)
		qsort(ret->people, ret->n, sizeof(*ret->people), by_pid);
	mark_tree(ret, root, below);
	mark_held(ret);
	return 0;
}

static uint64_t processor_time(int dirfd, pid_t pid, struct arena *a)
{
	uint64_t sum = 0;
	pid_t *tids;
	size_t n;

	if (read_proc_tasks(dirfd, a, &tids, &n))
		return 0;
	for (size_t i = 0; i < n; i++) {
		AUTOCLOSE int fd = procfs_open_thread(pid, tids[i]);
		AUTOFREE char *text = NULL;
		size_t len;

		if (fd >= 0 && procfs_read(fd, "schedstat", 4096, &text, &len) == 0)
			sum += strtoull(text, NULL, 10);
	}
	return sum;
}

static uint64_t bytes_moved(int dirfd, struct arena *a)
{
	AUTOFREE char *text = NULL;
	const char *read_at, *write_at;
	uint64_t sum = 0;
	size_t len, n;
	int *fds;

	if (procfs_read(dirfd, "io", 4096, &text, &len) == 0) {
		read_at = strstr(text, "rchar: ");
		write_at = strstr(text, "wchar: ");
		sum = (read_at ? strtoull(read_at + 7, NULL, 10) : 0) +
		      (write_at ? strtoull(write_at + 7, NULL, 10) : 0);
	}
	/* splice() and copy_file_range() count nowhere, but the position of what they write to moves. */
	if (read_proc_fds(dirfd, a, &fds, &n))
		return sum;
	for (size_t i = 0; i < n && i < 1024; i++) {
		struct proc_fdinfo info;

		if (read_proc_fdinfo(dirfd, fds[i], a, &info) == 0)
			sum += info.pos * (uint64_t)(i + 1);
	}
	return sum;
}

struct pulse_job {
	const struct crowd *crowd;
	struct pulse pulse;
};

/* /proc/PID/io and the fdinfo of some descriptors wait for locks that a stuck task may have. */
static void take_pulse(void *arg)
{
	struct pulse_job *job = arg;
	const struct crowd *c = job->crowd;
	struct pulse *ret = &job->pulse;

	for (size_t i = 0; i < c->n; i++) {
		const struct person *p = &c->people[i];
		struct arena a = { 0 };
		AUTOCLOSE int dirfd = p->ours ? procfs_open(p->pid) : -1;

		if (dirfd < 0)
			continue;
		ret->cpu_ns += processor_time(dirfd, p->pid, &a);
		ret->io += bytes_moved(dirfd, &a);
		ret->people = ret->people * 31 + (uint64_t)p->pid + p->start_time;
		arena_release(&a);
	}
}

bool crowd_pulse(const struct crowd *c, struct pulse *ret)
{
	struct pulse_job *job = bounded_memory(sizeof(*job));
	bool whole;

	if (!job)
		return false;
	job->crowd = c;
	whole = bounded_run(take_pulse, job, PULSE_MS);
	if (whole)
		*ret = job->pulse;
	(void)munmap(job, sizeof(*job));
	return whole;
}
