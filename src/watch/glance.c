/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/glance.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

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

static void parse_syscall(const char *text, struct glance *g)
{
	char *end;
	long nr;

	if (*text < '0' || *text > '9')
		return; /* "running", or "-1 SP PC" outside of a call */
	nr = strtol(text, &end, 10);
	g->syscall = nr;
	end += strspn(end, " ");
	copy_word(g->args, sizeof(g->args), end, strcspn(end, "\n"));
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

void glance(pid_t pid, pid_t tid, struct glance *ret)
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
	if (read_file(pid, tid, "syscall", buf, sizeof(buf)) > 0)
		parse_syscall(buf, ret);
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

/* Does @path lie at or below the mount point? Its octal escapes (\\040 for a blank) are left: such a one never matches. */
static bool lies_below(const char *path, const char *point, size_t len)
{
	if (len == 1 && point[0] == '/')
		return path[0] == '/';
	return strncmp(path, point, len) == 0 && (path[len] == '/' || path[len] == '\0' || path[len] == ' ');
}

/* Lines are "36 35 98:0 /root /mount/point rw,… shared:1 - type source options", man 5 proc. */
bool mount_of_path(const char *mountinfo, const char *path, char *ret_type, size_t type_size, char *ret_point,
		   size_t point_size)
{
	size_t best = 0;

	for (const char *line = mountinfo, *end; (end = strchr(line, '\n')); line = end + 1) {
		const char *point = line, *type = strstr(line, " - ");
		size_t len;

		for (int i = 0; i < 4 && point && point < end; i++) {
			point = strchr(point, ' ');
			point = point ? point + 1 : NULL;
		}
		if (!point || point >= end || !type || type >= end)
			continue;
		len = strcspn(point, " \n");
		/* Of two on one place the later one is on top. */
		if (len < best || !lies_below(path, point, len))
			continue;
		best = len;
		copy_word(ret_type, type_size, type + 3, strcspn(type + 3, " \n"));
		copy_word(ret_point, point_size, point, len);
	}
	return best > 0;
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

static const struct {
	long nr;
	const char *name;
} blocking_calls[] = {
	{ SYS_read, "read" },
	{ SYS_write, "write" },
	{ SYS_pread64, "pread64" },
	{ SYS_pwrite64, "pwrite64" },
	{ SYS_preadv, "preadv" },
	{ SYS_pwritev, "pwritev" },
	{ SYS_openat, "openat" },
	{ SYS_openat2, "openat2" },
	{ SYS_close, "close" },
	{ SYS_statx, "statx" },
	{ SYS_newfstatat, "fstatat" },
	{ SYS_fstat, "fstat" },
	{ SYS_fstatfs, "fstatfs" },
	{ SYS_statfs, "statfs" },
	{ SYS_fsync, "fsync" },
	{ SYS_fdatasync, "fdatasync" },
	{ SYS_syncfs, "syncfs" },
	{ SYS_renameat2, "renameat2" },
	{ SYS_unlinkat, "unlinkat" },
	{ SYS_linkat, "linkat" },
	{ SYS_mkdirat, "mkdirat" },
	{ SYS_getdents64, "getdents64" },
	{ SYS_readlinkat, "readlinkat" },
	{ SYS_fcntl, "fcntl" },
	{ SYS_flock, "flock" },
	{ SYS_ioctl, "ioctl" },
	{ SYS_vfork, "vfork" },
	{ SYS_clone, "clone" },
	{ SYS_clone3, "clone3" },
	{ SYS_execve, "execve" },
	{ SYS_futex, "futex" },
	{ SYS_wait4, "wait4" },
	{ SYS_waitid, "waitid" },
	{ SYS_ptrace, "ptrace" },
	{ SYS_ppoll, "ppoll" },
	{ SYS_recvmsg, "recvmsg" },
	{ SYS_sendmsg, "sendmsg" },
	{ SYS_connect, "connect" },
	{ SYS_process_vm_readv, "process_vm_readv" },
	{ SYS_process_vm_writev, "process_vm_writev" },
	{ SYS_splice, "splice" },
	{ SYS_tee, "tee" },
	{ SYS_vmsplice, "vmsplice" },
	{ SYS_mmap, "mmap" },
	{ SYS_munmap, "munmap" },
	{ SYS_clock_nanosleep, "clock_nanosleep" },
	{ SYS_pidfd_getfd, "pidfd_getfd" },
	{ SYS_fallocate, "fallocate" },
};

const char *glance_syscall(long nr)
{
	for (size_t i = 0; i < ARRAY_SIZE(blocking_calls); i++)
		if (blocking_calls[i].nr == nr)
			return blocking_calls[i].name;
	return NULL;
}
