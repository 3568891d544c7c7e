/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/glance.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/procfs.h"
#include "kernel/syscalls.h"

/* Longer paths are cut in reports. */
#define PATH_SIZE 512

/* Reads one file of /proc/PID/task/TID into @buf, NUL-terminated; -1 when that is not possible. */
static ssize_t read_file(pid_t pid, pid_t tid, const char *name, char *buf, size_t size)
{
	char path[80];
	AUTOCLOSE int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, name);
	buf[0] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, buf, size - 1);
	buf[n > 0 ? n : 0] = '\0';
	return n;
}

/* Copies a word of foreign text: its task chose it, a terminal will show it. */
static void copy_word(char *dst, size_t size, const char *src, size_t len)
{
	size_t n = len < size - 1 ? len : size - 1;

	for (size_t i = 0; i < n; i++)
		dst[i] = ((unsigned char)src[i] < ' ' || src[i] == 0x7f) ? '?' : src[i];
	dst[n] = '\0';
}

/* A symbolic link of /proc/PID/task/TID: the kernel prints the path, no file system is asked. */
static bool read_link(pid_t pid, pid_t tid, const char *name, char *buf, size_t size)
{
	char path[80], target[PATH_SIZE];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, name);
	n = readlink(path, target, sizeof(target));
	if (n <= 0)
		return false;
	copy_word(buf, size, target, (size_t)n);
	return true;
}

static const char *field(const char *status, const char *key)
{
	const char *at = strncmp(status, key, strlen(key)) == 0 ? status : NULL;

	for (const char *line = status; !at && (line = strchr(line, '\n'));)
		if (strncmp(++line, key, strlen(key)) == 0)
			at = line;
	if (!at)
		return NULL;
	at += strlen(key);
	return at + strspn(at, " \t");
}

static void parse_status(const char *text, struct glance *g)
{
	const char *at = field(text, "Name:");

	if (at)
		copy_word(g->name, sizeof(g->name), at, strcspn(at, "\n"));
	at = field(text, "State:");
	if (at && *at)
		g->state = *at;
	at = field(text, "PPid:");
	if (at)
		g->ppid = atoi(at);
	at = field(text, "TracerPid:");
	if (at)
		g->tracer = atoi(at);
}

/* One argument, a descriptor with what it is. */
static void describe_argument(const struct glance *g, enum syscall_argument sort, uint64_t value, char *buf,
			      size_t size)
{
	char name[40], path[PATH_SIZE];
	size_t len;

	if (sort == SYSCALL_ARG_PATH) {
		(void)snprintf(buf, size, "path at %#" PRIx64, value);
		return;
	}
	len = syscall_format_argument(sort, value, buf, size);
	if ((sort != SYSCALL_ARG_FD && sort != SYSCALL_ARG_DIR) || (int)value < 0)
		return;
	(void)snprintf(name, sizeof(name), "fd/%d", (int)value);
	if (read_link(g->pid, g->tid, name, path, sizeof(path)))
		(void)snprintf(buf + len, size - len, " → %s", path);
}

static void describe_arguments(struct glance *g)
{
	const char *sorts = syscall_arguments(g->syscall);
	char one[PATH_SIZE + 32];
	size_t used = 0;

	for (int i = 0; sorts[i] && used < sizeof(g->arguments); i++) {
		describe_argument(g, (enum syscall_argument)sorts[i], g->args[i], one, sizeof(one));
		used += (size_t)snprintf(g->arguments + used, sizeof(g->arguments) - used, "%s%s", i ? ", " : "", one);
	}
}

int glance_descriptor(const struct glance *g)
{
	const char *sorts = g->syscall < 0 ? "" : syscall_arguments(g->syscall);

	for (int i = 0; sorts[i]; i++)
		if ((sorts[i] == SYSCALL_ARG_FD || sorts[i] == SYSCALL_ARG_DIR) && (int)g->args[i] >= 0)
			return (int)g->args[i];
	return -1;
}

/* Lines are "[<0>] request_wait_answer+0x13b/0x220 [fuse]"; the names are kept, innermost first. */
static void parse_stack(const char *text, struct glance *g)
{
	size_t used = 0;

	for (const char *line = text; *line;) {
		const char *name = strstr(line, "] "), *end = strchr(line, '\n');
		size_t len;
		int n;

		if (!end)
			break;
		if (name && name < end) {
			name += 2;
			len = strcspn(name, "+ \n");
			n = snprintf(g->stack + used, sizeof(g->stack) - used, "%s%.*s", used ? " ← " : "", (int)len,
				     name);
			if (n < 0 || (size_t)n >= sizeof(g->stack) - used) {
				g->stack[used] = '\0';
				return;
			}
			used += (size_t)n;
		}
		line = end + 1;
	}
}

void glance_status(pid_t pid, pid_t tid, struct glance *ret)
{
	char buf[4096];

	memset(ret, 0, sizeof(*ret));
	ret->pid = pid;
	ret->tid = tid;
	ret->state = '?';
	ret->syscall = -1;
	if (read_file(pid, tid, "status", buf, sizeof(buf)) <= 0) {
		ret->gone = true;
		return;
	}
	parse_status(buf, ret);
	if (read_file(pid, tid, "wchan", buf, sizeof(buf)) > 0 && strcmp(buf, "0") != 0)
		copy_word(ret->wchan, sizeof(ret->wchan), buf, strlen(buf));
}

void glance(pid_t pid, pid_t tid, struct glance *ret)
{
	struct proc_syscall call;
	char buf[4096];
	ssize_t n;

	glance_status(pid, tid, ret);
	if (ret->gone)
		return;
	n = read_file(pid, tid, "syscall", buf, sizeof(buf));
	if (n > 0 && parse_proc_syscall(buf, (size_t)n, &call) == 0 && call.nr >= 0) {
		ret->syscall = call.nr;
		memcpy(ret->args, call.args, sizeof(ret->args));
		describe_arguments(ret);
	}
	if (read_file(pid, tid, "stack", buf, sizeof(buf)) > 0)
		parse_stack(buf, ret);
}

bool glance_ready(pid_t pid, pid_t tid, uint64_t *ret)
{
	char buf[4096];
	const char *state;

	if (read_file(pid, tid, "status", buf, sizeof(buf)) <= 0)
		return false;
	state = field(buf, "State:");
	if (!state || *state != 'R' || read_file(pid, tid, "schedstat", buf, sizeof(buf)) <= 0)
		return false;
	*ret = strtoull(buf, NULL, 10);
	return true;
}

const char *glance_state(char state)
{
	switch (state) {
	case 'R':
		return "running";
	case 'S':
		return "sleeping";
	case 'D':
		return "uninterruptible sleep";
	case 'T':
		return "stopped";
	case 't':
		return "held by its tracer";
	case 'Z':
		return "zombie";
	case 'X':
		return "dead";
	case 'I':
		return "idle";
	default:
		return "unknown state";
	}
}
