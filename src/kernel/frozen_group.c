/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/frozen_group.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/procfs_internal.h"

#define CGROUP_TEXT 16384

/* Is @word one of the comma-separated words between @list and @end? */
static bool has_word(const char *list, const char *end, const char *word)
{
	size_t len = strlen(word);

	while (list < end) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		const char *stop = comma ? comma : end;

		if ((size_t)(stop - list) == len && memcmp(list, word, len) == 0)
			return true;
		list = stop + 1;
	}
	return false;
}

/* Lines "0::/path" for version 2, "4:freezer,devices:/path" for version 1. */
const char *parse_proc_cgroup(const char *text, size_t len, const char *controller, struct arena *a)
{
	const char *end = text + len;

	for (const char *line = text, *stop; line < end; line = stop + 1) {
		const char *first, *second;

		stop = memchr(line, '\n', (size_t)(end - line));
		if (!stop)
			stop = end;
		first = memchr(line, ':', (size_t)(stop - line));
		second = first ? memchr(first + 1, ':', (size_t)(stop - first - 1)) : NULL;
		if (!second || second + 1 >= stop || second[1] != '/')
			continue;
		if (controller ? has_word(first + 1, second, controller) : second == first + 1)
			return arena_printf(a, "%.*s", (int)(stop - second - 1), second + 1);
	}
	return NULL;
}

/* The folder of a group below the mount of its hierarchy. */
static const struct proc_mount *folder_of(const struct group_mounts *mounts, const char *controller, const char *group,
					  char *ret, size_t size)
{
	for (size_t i = 0; i < mounts->n; i++) {
		const struct proc_mount *m = &mounts->mounts[i];
		size_t root = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);

		if (strcmp(m->fstype, controller ? "cgroup" : "cgroup2") != 0 ||
		    (controller &&
		     !has_word(m->super_options, m->super_options + strlen(m->super_options), controller)))
			continue;
		if (strncmp(group, m->root, root) != 0 || (group[root] != '/' && group[root] != '\0'))
			continue;
		if ((size_t)snprintf(ret, size, "%s%s", m->mountpoint, group + root) < size)
			return m;
	}
	return NULL;
}

/* Does the file in that folder begin with @value? */
static bool begins_with(const char *folder, const char *file, const char *value)
{
	AUTOCLOSE int fd = -1;
	char path[4352], buf[16] = "";

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, file) >= sizeof(path))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, buf, sizeof(buf) - 1) > 0 && strncmp(buf, value, strlen(value)) == 0;
}

/* The group itself or one above it. @folder becomes the one that is frozen. */
static bool frozen_upwards(char *folder, size_t mountpoint)
{
	while (strlen(folder) >= mountpoint && strchr(folder, '/')) {
		if (begins_with(folder, "cgroup.freeze", "1"))
			return true;
		*strrchr(folder, '/') = '\0';
	}
	return false;
}

int frozen_group_of(int proc_fd, struct group_mounts *mounts, struct arena *a, char *ret, size_t size)
{
	char text[CGROUP_TEXT];
	long n = procfs_read_record(proc_fd, "cgroup", text, sizeof(text));
	const char *v2 = n > 0 ? parse_proc_cgroup(text, (size_t)n, NULL, a) : NULL;
	const char *v1 = n > 0 ? parse_proc_cgroup(text, (size_t)n, "freezer", a) : NULL;
	const struct proc_mount *m;

	/* The topmost group cannot be frozen: mostly nothing more has to be read. */
	if (n < 0 || ((!v2 || !v2[1]) && (!v1 || !v1[1])))
		return n < 0 ? (int)n : 0;
	if (!mounts->mounts) {
		AUTOCLOSE int self = procfs_open(getpid());
		int r = self < 0 ? self : read_proc_mountinfo(self, a, &mounts->mounts, &mounts->n);

		if (r < 0)
			return r;
	}
	m = v2 ? folder_of(mounts, NULL, v2, ret, size) : NULL;
	if (m && frozen_upwards(ret, strlen(m->mountpoint)))
		return 1;
	return v1 && v1[1] && folder_of(mounts, "freezer", v1, ret, size) &&
	       (begins_with(ret, "freezer.state", "FROZEN") || begins_with(ret, "freezer.state", "FREEZING"));
}
