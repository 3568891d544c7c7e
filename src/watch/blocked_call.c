/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/blocked_call.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/procfs.h"
#include "kernel/syscalls.h"
#include "watch/bounded.h"

#define MEMORY_MS 200

/* What is told of an argument; of the last ones of a call nothing. */
enum argument { ARG_NUMBER, ARG_FD, ARG_PATH, ARG_FLOCK, ARG_FCNTL, ARG_PID, ARG_POLL, ARG_EPOLL };

/* Those that say more than their sort. */
static const struct {
	long nr;
	size_t index;
	enum argument what;
} special[] = {
	{ SYS_flock, 1, ARG_FLOCK },	  { SYS_fcntl, 1, ARG_FCNTL },	     { SYS_wait4, 0, ARG_PID },
	{ SYS_waitid, 1, ARG_PID },	  { SYS_poll, 0, ARG_POLL },	     { SYS_ppoll, 0, ARG_POLL },
	{ SYS_epoll_wait, 0, ARG_EPOLL }, { SYS_epoll_pwait, 0, ARG_EPOLL },
};

static enum argument argument_of(long nr, size_t i)
{
	for (size_t row = 0; row < ARRAY_SIZE(special); row++)
		if (special[row].nr == nr && special[row].index == i)
			return special[row].what;
	switch ((enum syscall_argument)syscall_arguments(nr)[i]) {
	case SYSCALL_ARG_FD:
	case SYSCALL_ARG_DIR:
		return ARG_FD;
	case SYSCALL_ARG_PATH:
		return ARG_PATH;
	default:
		return ARG_NUMBER;
	}
}

/* How many arguments are told: up to the last that says something. */
static size_t arguments_told(long nr)
{
	size_t n = strlen(syscall_arguments(nr));

	while (n && argument_of(nr, n - 1) == ARG_NUMBER)
		n--;
	return n;
}

/* Bytes of the task's memory, fetched by bounded_run(). */
struct fetch {
	pid_t pid;
	unsigned long at;
	ssize_t got;
	char bytes[512];
};

static void fetch_memory(void *arg)
{
	struct fetch *f = arg;
	size_t first = 4096 - f->at % 4096, len = first < sizeof(f->bytes) ? first : sizeof(f->bytes);
	struct iovec local = { f->bytes, len }, remote = { (void *)f->at, len }; /* NOLINT: an address over there */

	f->got = process_vm_readv(f->pid, &local, 1, &remote, 1, 0);
	if (f->got != (ssize_t)len || len == sizeof(f->bytes))
		return;
	local = (struct iovec){ f->bytes + len, sizeof(f->bytes) - len };
	remote = (struct iovec){ (void *)(f->at + len), sizeof(f->bytes) - len }; /* NOLINT */
	if (process_vm_readv(f->pid, &local, 1, &remote, 1, 0) > 0)
		f->got = sizeof(f->bytes);
}

/* Up to 512 bytes at @at into the arena; NULL when they cannot be read. */
static struct fetch *fetch(pid_t pid, unsigned long at, struct arena *a)
{
	struct fetch *f = bounded_memory(sizeof(*f)), *copy = NULL;

	if (!f)
		return NULL;
	f->pid = pid;
	f->at = at;
	f->got = -1;
	if (bounded_run(fetch_memory, f, MEMORY_MS) && f->got > 0)
		copy = arena_memdup(a, f, sizeof(*f));
	(void)munmap(f, sizeof(*f));
	if (copy)
		copy->bytes[sizeof(copy->bytes) - 1] = '\0';
	return copy;
}

struct look {
	const struct glance *g;
	const struct open_file *files;
	size_t n_files;
	const struct crowd *crowd;
	struct arena *a;
	const char *call, *object, *cause, *advice;
};

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

static void add_call(struct look *l, const char *comma, const char *what)
{
	l->call = or_empty(arena_printf(l->a, "%s%s%s", l->call, comma, or_empty(what)));
}

static void add_object(struct look *l, const char *what)
{
	l->object = or_empty(arena_printf(l->a, "%s%s%s", l->object, l->object[0] ? "\n" : "", or_empty(what)));
}

/* Who else has the same pipe, FIFO or socket: by the text of the links, which no file system is asked for. */
static void add_other_holders(struct look *l, const struct open_file *f)
{
	unsigned found = 0;

	for (size_t i = 0; i < l->crowd->n && found < 4; i++) {
		const struct person *p = &l->crowd->people[i];
		AUTOCLOSE int dirfd = p->pid == l->g->pid ? -1 : procfs_open(p->pid);
		size_t n = 0;
		int *fds;

		if (dirfd < 0 || read_proc_fds(dirfd, l->a, &fds, &n))
			continue;
		for (size_t k = 0; k < n; k++) {
			char name[32], *path;

			(void)snprintf(name, sizeof(name), "fd/%d", fds[k]);
			if (read_proc_link(dirfd, name, l->a, &path) || strcmp(path, f->path) != 0)
				continue;
			add_object(l, arena_printf(l->a, "%s is also open in pid %d (%s), fd %d, state %c", f->path,
						   p->pid, p->name, fds[k], p->state));
			found++;
			break;
		}
	}
	if (!found)
		add_object(l, arena_printf(l->a, "nobody else has %s open", f->path));
}

static void add_file_object(struct look *l, const struct open_file *f)
{
	add_object(l, open_file_describe(f, l->a));
	if (f->path[0] == '/' && f->fs_type)
		add_object(l,
			   arena_printf(l->a, "on %s, source %s, mounted at %s%s", f->fs_type, f->fs_source,
					f->mount_point, f->remote ? ": its server may be what does not answer" : ""));
	if (strncmp(f->path, "pipe:", 5) == 0 || strncmp(l->g->wchan, "pipe_", 5) == 0 ||
	    strstr(l->g->stack, "pipe_read") || strstr(l->g->stack, "pipe_write"))
		add_other_holders(l, f);
}

static void add_fd(struct look *l, const char *comma, int fd)
{
	const struct open_file *f = open_file_find(l->files, l->n_files, fd);

	if (fd == AT_FDCWD) {
		add_call(l, comma, "AT_FDCWD");
		return;
	}
	add_call(l, comma, arena_printf(l->a, "%d%s%s", fd, f ? " → " : "", f ? f->path : ""));
	if (f)
		add_file_object(l, f);
}

/* The mount of a path in the task's namespace: the longest mount point that it begins with. */
static void add_path_mount(struct look *l, const char *path)
{
	AUTOCLOSE int dirfd = procfs_open(l->g->pid);
	const struct proc_mount *best = NULL;
	struct proc_mount *mounts;
	size_t n = 0;

	if (path[0] != '/' || dirfd < 0 || read_proc_mountinfo(dirfd, l->a, &mounts, &n))
		return;
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(mounts[i].mountpoint);

		if (len == 1)
			len = 0;
		if (strncmp(path, mounts[i].mountpoint, len) != 0 || (path[len] && path[len] != '/'))
			continue;
		if (!best || strlen(mounts[i].mountpoint) >= strlen(best->mountpoint))
			best = &mounts[i];
	}
	if (best)
		add_object(l, arena_printf(l->a, "%s lies on %s, source %s, mounted at %s%s", path, best->fstype,
					   best->source, best->mountpoint,
					   fs_type_is_remote(best->fstype) ? ": its server may be what does not answer"
									   : ""));
}

static void add_path(struct look *l, const char *comma, unsigned long at)
{
	struct fetch *f = fetch(l->g->pid, at, l->a);

	add_call(l, comma, f ? arena_printf(l->a, "\"%s\"", f->bytes) : arena_printf(l->a, "%#lx", at));
	if (!f || !f->bytes[0])
		return;
	add_path_mount(l, f->bytes);
	if (strcmp(l->g->wchan, "wait_for_partner") == 0 || strstr(l->g->stack, "fifo_open"))
		add_object(l, arena_printf(l->a, "%s is a FIFO whose other end nobody has opened", f->bytes));
}

static void add_poll(struct look *l, const char *comma, unsigned long at, unsigned long n)
{
	struct fetch *f = n ? fetch(l->g->pid, at, l->a) : NULL;
	struct pollfd p;

	add_call(l, comma, arena_printf(l->a, "%lu descriptor%s", n, n == 1 ? "" : "s"));
	for (unsigned long i = 0; f && i < n && i < 8 && (ssize_t)((i + 1) * sizeof(p)) <= f->got; i++) {
		const struct open_file *file;

		memcpy(&p, f->bytes + i * sizeof(p), sizeof(p));
		file = open_file_find(l->files, l->n_files, p.fd);
		if (file)
			add_file_object(l, file);
	}
}

static void add_epoll(struct look *l, const char *comma, int fd)
{
	const struct open_file *f = open_file_find(l->files, l->n_files, fd);
	struct proc_epoll_target *targets;
	size_t n = 0;

	add_call(l, comma, arena_printf(l->a, "%d", fd));
	if (!f || parse_fdinfo_epoll(f->rest, l->a, &targets, &n))
		return;
	for (size_t i = 0; i < n && i < 8; i++) {
		const struct open_file *file = open_file_find(l->files, l->n_files, targets[i].tfd);

		if (file)
			add_object(l, open_file_describe(file, l->a));
	}
}

/* Children and tracees, when it waits for one (@id > 0) or for any. */
static void add_awaited(struct look *l, const char *comma, int id)
{
	unsigned found = 0, running = 0, others = 0;

	add_call(l, comma, arena_printf(l->a, "%d", id));
	for (size_t i = 0; i < l->crowd->n && found < 8; i++) {
		const struct person *p = &l->crowd->people[i];
		bool tracee = p->tracer && (p->tracer == l->g->pid || p->tracer == l->g->tid);

		if ((p->ppid != l->g->pid && !tracee) || (id > 0 && p->pid != id))
			continue;
		add_object(l, arena_printf(l->a, "%s: pid %d (%s), %c (%s)", tracee ? "tracee" : "child", p->pid,
					   p->name, p->state, glance_state(p->state)));
		found++;
		if (tracee && strchr("RSD", p->state))
			running++;
		else
			others++;
	}
	if (running && !others) {
		l->cause = "it waits for a tracee to stop, and that one runs: a stop that it counts on does not come. "
			   "CRIU sets a "
			   "hardware breakpoint there, which some virtual machines do not have";
		l->advice = "for CRIU: set CRIU_FAULT=130 in its environment, then it steps instead";
	}
	if (!found)
		add_object(l, "no process that is its child or its tracee: a thread of a tracee, or nobody");
}

static void add_flock(struct look *l, const char *comma, unsigned long op)
{
	static const char *const words[] = { "0", "LOCK_SH", "LOCK_EX", "3", "LOCK_NB", "5", "6", "7", "LOCK_UN" };
	unsigned long plain = op & ~(unsigned long)LOCK_NB;

	add_call(l, comma, plain < ARRAY_SIZE(words) ? words[plain] : arena_printf(l->a, "%#lx", op));
}

static void add_fcntl(struct look *l, const char *comma, unsigned long command)
{
	const char *word = command == F_SETLKW	     ? "F_SETLKW"
			   : command == F_OFD_SETLKW ? "F_OFD_SETLKW"
			   : command == F_SETLEASE   ? "F_SETLEASE"
						     : arena_printf(l->a, "%lu", command);

	add_call(l, comma, word);
}

/*
 * Does it wait for a lock? Lines of /proc/locks: "3: FLOCK  ADVISORY  WRITE 123 08:01:77 0 EOF", and below that, with
 * "->" behind the number, those that wait for it. man 5 proc_locks.
 */
static void add_lock(struct look *l)
{
	char line[256], sort[16], kind[16], type[16], file[64], holder_line[512] = "";
	FILE *f = fopen("/proc/locks", "re");
	int pid, at;

	while (f && fgets(line, sizeof(line), f)) {
		const char *arrow = strstr(line, "-> ");
		const char *fields = arrow ? arrow + 3 : strchr(line, ':');
		const struct person *p;

		if (!fields ||
		    sscanf(fields + !arrow, " %15s %15s %15s %d %63s%n", sort, kind, type, &pid, file, &at) < 5)
			continue;
		p = crowd_find(l->crowd, pid);
		if (!arrow)
			(void)snprintf(holder_line, sizeof(holder_line),
				       "%s lock for %s on file %s, held by pid %d (%s%s%c)", sort, type, file, pid,
				       p ? p->name : "not to be seen from here", p ? "), state " : "",
				       p ? p->state : ')');
		else if (pid == l->g->pid)
			add_object(l, arena_printf(l->a, "waits for a %s lock: %s", type, holder_line));
	}
	if (f)
		(void)fclose(f);
}

static void add_argument(struct look *l, enum argument what, size_t i)
{
	const char *comma = i ? ", " : "";
	unsigned long value = l->g->args[i];

	switch (what) {
	case ARG_FD:
		add_fd(l, comma, (int)value);
		break;
	case ARG_PATH:
		add_path(l, comma, value);
		break;
	case ARG_FLOCK:
		add_flock(l, comma, value);
		break;
	case ARG_FCNTL:
		add_fcntl(l, comma, value);
		break;
	case ARG_PID:
		add_awaited(l, comma, (int)value);
		break;
	case ARG_POLL:
		add_poll(l, comma, value, l->g->args[i + 1]);
		break;
	case ARG_EPOLL:
		add_epoll(l, comma, (int)value);
		break;
	case ARG_NUMBER:
		add_call(l, comma, arena_printf(l->a, "%#lx", value));
		break;
	}
}

static void look_at_call(struct look *l)
{
	long nr = l->g->syscall;

	add_call(l, "", syscall_name(nr));
	add_call(l, "", "(");
	for (size_t i = 0; i < arguments_told(nr); i++)
		add_argument(l, argument_of(nr, i), i);
	add_call(l, "", ")");
	if (l->g->syscall == SYS_futex)
		add_object(l, "waits for another thread of this process, or for one that shares memory with it");
	if (l->g->syscall == SYS_flock || l->g->syscall == SYS_fcntl)
		add_lock(l);
}

void blocked_call_look(const struct glance *g, const struct open_file *files, size_t n_files, const struct crowd *c,
		       struct arena *a, struct blocked_call *ret)
{
	struct look l = { .g = g, .files = files, .n_files = n_files, .crowd = c, .a = a, .call = "", .object = "" };

	if (g->syscall >= 0)
		look_at_call(&l);
	ret->call = l.call;
	ret->object = l.object;
	ret->cause = l.cause;
	ret->advice = l.advice;
}
