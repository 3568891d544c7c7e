/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A checkpointer that gets stuck: stops the threads of a task (PTRACE_SEIZE, PTRACE_INTERRUPT), opens an image that stays
 * empty, and waits for ever. For firn watch.
 *
 * usage: seize_and_wait PID IMAGE HOW FILE    HOW: fifo (opens it), flock, lockf, wait (for the task)
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void seize(pid_t tid)
{
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0) ||
	    waitpid(tid, NULL, __WALL) != tid) {
		perror("ptrace");
		exit(1);
	}
}

static void seize_all(const char *pid)
{
	char path[64];
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%s/task", pid);
	dir = opendir(path);
	for (struct dirent *d; dir && (d = readdir(dir));)
		if (d->d_name[0] != '.')
			seize(atoi(d->d_name));
}

static int wait_for_ever(const char *how, const char *file)
{
	struct flock lock = { .l_type = F_WRLCK };
	int fd = -1;

	if (strcmp(how, "wait") == 0)
		return waitpid(-1, NULL, __WALL);
	if (strcmp(how, "fifo") == 0)
		return open(file, O_RDONLY);
	fd = open(file, O_RDWR);
	return strcmp(how, "flock") == 0 ? flock(fd, LOCK_EX) : fcntl(fd, F_SETLKW, &lock);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	seize_all(argv[1]);
	if (open(argv[2], O_WRONLY | O_CREAT, 0600) < 0)
		return 1;
	return wait_for_ever(argv[3], argv[4]) < 0;
}
