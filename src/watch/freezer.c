/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/freezer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "kernel/procfs.h"

static bool read_word(const char *folder, const char *name, char *ret, size_t size)
{
	char path[600];
	AUTOCLOSE int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	n = fd < 0 ? -1 : read(fd, ret, size - 1);
	ret[n > 0 ? n : 0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	return n > 0;
}

bool freezers_contain(const struct freezers *f, const char *path)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->list[i].path, path) == 0)
			return true;
	return false;
}

/* A folder that somebody names may be anything: only in a control group's is anything read or written. */
static bool is_group(const char *path)
{
	struct statfs st;

	return statfs(path, &st) == 0 && (st.f_type == CGROUP_SUPER_MAGIC || st.f_type == CGROUP2_SUPER_MAGIC);
}

void freezers_of_folder(const char *path, struct freezers *f)
{
	char word[64];
	struct freezer new = { 0 };

	if (f->n == FREEZERS_MAX || strlen(path) >= sizeof(new.path) || freezers_contain(f, path) || !is_group(path))
		return;
	/* A group below a frozen one says FROZEN too: what it was told itself stands in self_freezing. */
	if (read_word(path, "freezer.state", word, sizeof(word)) && strcmp(word, "THAWED") != 0) {
		(void)snprintf(new.state, sizeof(new.state), "%.15s", word);
		if (read_word(path, "freezer.self_freezing", word, sizeof(word)) && strcmp(word, "1") != 0)
			return;
	} else if (read_word(path, "cgroup.freeze", word, sizeof(word)) && strcmp(word, "1") == 0) {
		new.v2 = true;
		(void)snprintf(new.state, sizeof(new.state), "frozen");
	} else {
		return;
	}
	(void)snprintf(new.path, sizeof(new.path), "%s", path);
	f->list[f->n++] = new;
}

/* The group and all above it, up to the mount. */
static void look_upwards(const char *mount, const char *group, struct freezers *f)
{
	char path[512];
	size_t top = strlen(mount);

	if (snprintf(path, sizeof(path), "%s%s", mount, strcmp(group, "/") == 0 ? "" : group) >= (int)sizeof(path))
		return;
	for (char *slash; strlen(path) > top && (slash = strrchr(path, '/')); *slash = '\0')
		freezers_of_folder(path, f);
}

static bool is_freezer(const struct proc_mount *m)
{
	return strcmp(m->fstype, "cgroup2") == 0 ||
	       (strcmp(m->fstype, "cgroup") == 0 && strstr(m->super_options, "freezer"));
}

/* Lines of /proc/PID/cgroup are "7:freezer:/group" and "0::/group", man 7 cgroups. */
void freezers_of_task(pid_t pid, struct freezers *f)
{
	AUTOCLOSE int dirfd = procfs_open(pid), self = procfs_open(getpid());
	AUTOFREE char *text = NULL;
	struct arena a = { 0 };
	struct proc_mount *mounts;
	size_t len, n;

	if (dirfd < 0 || self < 0 || procfs_read(dirfd, "cgroup", 65536, &text, &len) ||
	    read_proc_mountinfo(self, &a, &mounts, &n)) {
		arena_release(&a);
		return;
	}
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
		char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
		bool v2 = strncmp(line, "0::", 3) == 0;

		if (!group || (!v2 && !strstr(controllers, "freezer")))
			continue;
		for (size_t i = 0; i < n; i++)
			if (is_freezer(&mounts[i]) && v2 == (strcmp(mounts[i].fstype, "cgroup2") == 0))
				look_upwards(mounts[i].mountpoint, group + 1, f);
	}
	arena_release(&a);
}

int freezer_thaw(const struct freezer *f)
{
	char path[600];
	const char *word = f->v2 ? "0" : "THAWED";
	AUTOCLOSE int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", f->path, f->v2 ? "cgroup.freeze" : "freezer.state");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, word, strlen(word)) < 0)
		return -errno;
	return 0;
}
