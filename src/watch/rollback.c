/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/rollback.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "watch/glance.h"
#include "watch/patience.h"
#include "watch/recorder.h"

/* The kernel tells nobody when a task is no longer traced; it is looked at this often until it is so. */
#define LOOK_AGAIN_NS 2000000L

static void pause_briefly(void)
{
	struct timespec ts = { 0, LOOK_AGAIN_NS };

	(void)nanosleep(&ts, NULL);
}

static void look_at_all(pid_t engine, struct rollback_proof *p)
{
	pid_t tracer = recorder->engine_tracer_tid;

	memset(p, 0, sizeof(*p));
	for (size_t i = 0; i < RECORDER_TARGETS && p->checked < atomic_load(&recorder->target_slots); i++) {
		pid_t tid = abs(atomic_load(&recorder->targets[i].tid));
		struct glance g;

		if (!tid)
			continue;
		glance_status(atomic_load(&recorder->targets[i].pid), tid, &g);
		p->checked++;
		if (g.gone) {
			p->gone++;
		} else if (g.tracer && (g.tracer == engine || g.tracer == tracer)) {
			p->held++;
			p->held_pid = g.pid;
			p->held_tid = g.tid;
			p->held_state = g.state;
		}
	}
}

void rollback_prove(pid_t engine, int timeout_ms, struct rollback_proof *ret)
{
	struct patience patience = patience_begin((unsigned)timeout_ms);

	for (;;) {
		look_at_all(engine, ret);
		if (!ret->held || patience_is_over(&patience))
			return;
		pause_briefly();
	}
}

static bool is_kept(pid_t pid, const pid_t *keep, size_t n_keep)
{
	for (size_t i = 0; i < n_keep; i++)
		if (keep[i] == pid)
			return true;
	return false;
}

static ssize_t read_children(char *buf, size_t size)
{
	char path[64];
	AUTOCLOSE int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, size - 1);
	buf[n > 0 ? n : 0] = '\0';
	return n;
}

bool rollback_have_children(void)
{
	char buf[64];

	return read_children(buf, sizeof(buf)) != 0;
}

/* Kills every child that is not kept; returns how many there were. */
static size_t kill_children(const pid_t *keep, size_t n_keep, bool known_only)
{
	char buf[4096];
	size_t found = 0;

	(void)read_children(buf, sizeof(buf));
	for (char *at = buf, *end; *at; at = end) {
		pid_t pid = (pid_t)strtol(at, &end, 10);

		if (end == at)
			break;
		/* A number that the end of the buffer cut in two is met whole in the next round. */
		if (*end != ' ' || is_kept(pid, keep, n_keep) || (known_only && !recorder_target_known(pid)))
			continue;
		found++;
		kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, WNOHANG | __WALL);
	}
	return found;
}

size_t rollback_end_restored(const pid_t *keep, size_t n_keep, bool known_only, int timeout_ms)
{
	struct patience patience = patience_begin((unsigned)timeout_ms);
	size_t left;

	/* The children of a killed task become ours only when it is gone: until a round finds none. */
	while ((left = kill_children(keep, n_keep, known_only)) > 0 && !patience_is_over(&patience))
		pause_briefly();
	return left;
}

bool rollback_await_guard(int timeout_ms)
{
	struct patience patience = patience_begin((unsigned)timeout_ms);
	pid_t guard = atomic_load(&recorder->guard);

	while (guard > 0 && waitpid(guard, NULL, WNOHANG | __WALL) == 0) {
		if (patience_is_over(&patience))
			return false;
		pause_briefly();
	}
	return true;
}

void rollback_remove_segments(void)
{
	for (size_t i = 0; i < RECORDER_SEGMENTS; i++) {
		int id = atomic_exchange(&recorder->segments[i], 0) - 1;

		if (id >= 0)
			(void)shmctl(id, IPC_RMID, NULL);
	}
}

static bool have_names(void)
{
	for (size_t i = 0; i < RECORDER_NAMES; i++)
		if (recorder->names[i][0])
			return true;
	return false;
}

/*
 * A dump's folder of unfinished images, with its files. The lock of the folder around it ended with the engine; whoever has
 * it now has made this one its own (image/replace.c).
 */
static void remove_folder(const char *path)
{
	AUTOCLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), around = -1;
	AUTOCLOSEDIR DIR *dir = NULL;
	const struct dirent *entry;

	around = fd < 0 ? -1 : openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (around < 0 || flock(around, LOCK_EX | LOCK_NB) < 0)
		return;
	dir = fdopendir(fd);
	if (!dir)
		return;
	(void)TAKE_FD(fd);
	while ((entry = readdir(dir)) != NULL)
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	(void)rmdir(path);
}

static void remove_name(const char *path)
{
	if (unlink(path) < 0 && rmdir(path) < 0 && errno == ENOTEMPTY)
		remove_folder(path);
}

void rollback_remove_names(int timeout_ms)
{
	struct patience patience = patience_begin((unsigned)timeout_ms);
	pid_t pid = have_names() ? fork() : -1;

	if (pid == 0) {
		for (size_t i = 0; i < RECORDER_NAMES; i++)
			if (recorder->names[i][0])
				remove_name(recorder->names[i]);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, NULL, WNOHANG) == 0) {
		if (patience_is_over(&patience)) {
			(void)kill(pid, SIGKILL);
			return;
		}
		pause_briefly();
	}
}
