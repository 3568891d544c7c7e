/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/procfs_internal.h"

/* Opening, whole files, directories, links and files that hold one number or the auxiliary vector. */

static int open_directory(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int procfs_open(pid_t pid)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/%d", pid);
	return open_directory(path);
}

int procfs_open_thread(pid_t pid, pid_t tid)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, tid);
	return open_directory(path);
}

static long read_some(int fd, char *buf, size_t size)
{
	ssize_t n;

	do
		n = read(fd, buf, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

long procfs_read_record(int dirfd, const char *name, char *buf, size_t size)
{
	AUTOCLOSE int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	long n;

	if (fd < 0)
		return -errno;
	n = read_some(fd, buf, size);
	return n == (long)size ? -EFBIG : n;
}

/* Doubles the buffer; the NUL at the end has its byte beside @room. */
static int grow_buffer(char **buf, size_t *room, size_t limit)
{
	size_t larger = *room * 2;
	char *p;

	if (*room > limit)
		return -EFBIG;
	if (larger > limit)
		larger = limit + 1; /* one more than allowed, to tell "just fits" from "too large" */
	p = realloc(*buf, larger + 1);
	if (!p)
		return -ENOMEM;
	*buf = p;
	*room = larger;
	return 0;
}

int procfs_read(int dirfd, const char *name, size_t limit, char **ret_text, size_t *ret_len)
{
	AUTOCLOSE int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	AUTOFREE char *buf = NULL;
	size_t room = 8192, len = 0;
	long n;
	int r;

	if (fd < 0)
		return -errno;
	buf = malloc(room + 1);
	if (!buf)
		return -ENOMEM;
	for (;;) {
		n = read_some(fd, buf + len, room - len);
		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len == room) {
			r = grow_buffer(&buf, &room, limit);
			if (r < 0)
				return r;
		}
	}
	if (len > limit)
		return -EFBIG;
	buf[len] = '\0';
	*ret_text = TAKE_PTR(buf);
	*ret_len = len;
	return 0;
}

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

struct numbers {
	int *v;
	size_t n, room;
	bool ascending;
};

static int numbers_add(struct numbers *list, struct arena *a, int value)
{
	size_t room;
	int *v;

	if (list->n == list->room) {
		room = list->room ? list->room * 2 : 64;
		v = arena_grow(a, list->v, list->n, room, sizeof(*v));
		if (!v)
			return -ENOMEM;
		list->v = v;
		list->room = room;
	}
	if (list->n && list->v[list->n - 1] >= value)
		list->ascending = false;
	list->v[list->n++] = value;
	return 0;
}

/* The names in one buffer of getdents64 that are numbers. */
static int add_entries(struct numbers *list, struct arena *a, const char *buf, size_t len)
{
	const struct dirent64 *d;
	struct text name;
	int value, r;

	for (size_t at = 0; at < len; at += d->d_reclen) {
		d = (const struct dirent64 *)(const void *)(buf + at);
		name = text_of(d->d_name, strlen(d->d_name));
		if (!text_int(&name, 10, &value) || !text_empty(&name) || value < 0)
			continue; /* "." and ".." */
		r = numbers_add(list, a, value);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_numbers_dir(int dirfd, const char *name, struct arena *a, struct numbers *list)
{
	AUTOCLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_Alignas(struct dirent64) char buf[16384];
	ssize_t n;
	int r;

	if (fd < 0)
		return -errno;
	list->ascending = true;
	for (;;) {
		n = getdents64(fd, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		r = add_entries(list, a, buf, (size_t)n);
		if (r < 0)
			return r;
	}
}

int read_proc_fds(int dirfd, struct arena *a, int **ret, size_t *ret_n)
{
	struct numbers list = { 0 };
	int r = read_numbers_dir(dirfd, "fd", a, &list);

	if (r < 0)
		return r;
	if (!list.ascending)
		qsort(list.v, list.n, sizeof(*list.v), compare_ints);
	*ret = list.v;
	*ret_n = list.n;
	return 0;
}

int read_proc_tasks(int dirfd, struct arena *a, pid_t **ret, size_t *ret_n)
{
	struct numbers list = { 0 };
	int r = read_numbers_dir(dirfd, "task", a, &list);

	if (r < 0)
		return r;
	if (list.n == 0)
		return -ESRCH;
	*ret = list.v;
	*ret_n = list.n;
	return 0;
}

static int add_children(struct numbers *list, struct arena *a, const char *buf, size_t len)
{
	struct text t = text_of(buf, len);
	int pid, r;

	for (;;) {
		text_blanks(&t);
		if (text_empty(&t) || *t.p == '\n')
			return 0;
		if (!text_int(&t, 10, &pid) || pid < 0)
			return -EINVAL;
		if (pid == 0)
			continue; /* a child in a pid namespace that this /proc does not show */
		r = numbers_add(list, a, pid);
		if (r < 0)
			return r;
	}
}

int read_proc_children(pid_t pid, const pid_t *tids, size_t n_tids, struct arena *a, pid_t **ret, size_t *ret_n)
{
	struct numbers list = { 0 };
	size_t gone = 0;
	char name[64];
	int r;

	for (size_t i = 0; i < n_tids; i++) {
		AUTOFREE char *buf = NULL;
		size_t len;

		(void)snprintf(name, sizeof(name), "/proc/%d/task/%d/children", pid, tids[i]);
		r = procfs_read(AT_FDCWD, name, 16UL << 20, &buf, &len);
		if (r == -ENOENT || r == -ESRCH) {
			gone++;
			continue;
		}
		if (r < 0)
			return r;
		r = add_children(&list, a, buf, len);
		if (r < 0)
			return r;
	}
	if (n_tids && gone == n_tids) {
		(void)snprintf(name, sizeof(name), "/proc/%d/task/%d", pid, tids[0]);
		return access(name, F_OK) == 0 && access("/proc/thread-self/children", F_OK) < 0 ? -EOPNOTSUPP : -ESRCH;
	}
	*ret = list.v;
	*ret_n = list.n;
	return 0;
}

int read_proc_link(int dirfd, const char *name, struct arena *a, char **ret)
{
	/* d_path() in the kernel works in one page: what does not fit gives -ENAMETOOLONG there. */
	char buf[4097];
	ssize_t n = readlinkat(dirfd, name, buf, sizeof(buf));
	char *p;

	if (n < 0)
		return -errno;
	if ((size_t)n == sizeof(buf))
		return -ENAMETOOLONG;
	p = arena_alloc(a, (size_t)n + 1);
	if (!p)
		return -ENOMEM;
	memcpy(p, buf, (size_t)n);
	*ret = p;
	return 0;
}

int read_proc_number(int dirfd, const char *name, int base, long long *ret)
{
	char buf[64];
	long n = procfs_read_record(dirfd, name, buf, sizeof(buf));
	struct text t;
	int64_t value;

	if (n < 0)
		return (int)n;
	t = text_of(buf, (size_t)n);
	if (!text_signed(&t, (unsigned)base, &value))
		return -EINVAL;
	(void)text_char(&t, '\n');
	if (!text_empty(&t))
		return -EINVAL;
	*ret = value;
	return 0;
}

int parse_proc_auxv(const char *text, size_t len, struct arena *a, uint64_t **ret, size_t *ret_n)
{
	size_t n = 0;
	uint64_t pair[2], *v;

	for (; len; n += 2) {
		if (len / sizeof(pair) <= n / 2)
			return -EINVAL; /* the end is missing */
		memcpy(pair, text + n * sizeof(uint64_t), sizeof(pair));
		if (pair[0] == 0) {
			n += 2;
			break;
		}
	}
	v = arena_memdup(a, text, n * sizeof(*v));
	if (!v)
		return -ENOMEM;
	*ret = v;
	*ret_n = n;
	return 0;
}

int read_proc_auxv(int dirfd, struct arena *a, uint64_t **ret, size_t *ret_n)
{
	char buf[PROCFS_RECORD_SIZE];
	long n = procfs_read_record(dirfd, "auxv", buf, sizeof(buf));

	return n < 0 ? (int)n : parse_proc_auxv(buf, (size_t)n, a, ret, ret_n);
}

/* Types are small numbers; the first value is the address of the vdso or of its entry, which is not 0. */
bool parse_proc_auxv_32bit(const char *text, size_t len)
{
	uint32_t words[2];

	if (len < sizeof(words))
		return false;
	memcpy(words, text, sizeof(words));
	return words[0] != 0 && words[1] != 0;
}

bool read_proc_auxv_32bit(int dirfd)
{
	char buf[PROCFS_RECORD_SIZE];
	long n = procfs_read_record(dirfd, "auxv", buf, sizeof(buf));

	return n > 0 && parse_proc_auxv_32bit(buf, (size_t)n);
}

int read_proc_wchan(int dirfd, char *ret, size_t size)
{
	long n = procfs_read_record(dirfd, "wchan", ret, size);

	if (n < 0)
		return (int)n;
	ret[n] = '\0';
	return 0;
}
