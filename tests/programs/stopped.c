// SPDX-License-Identifier: LGPL-2.1-or-later
/* A child that is stopped stays stopped, and goes on after SIGCONT. */
#include "check.h"

static char state_of(pid_t pid)
{
	char path[64];
	char *line, *p, ret;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	line = slurp(path);
	p = strrchr(line, ')');
	ret = p ? p[2] : '-';
	free(line);
	return ret;
}

static volatile int counter;

static int child(void *arg)
{
	(void)arg;
	counter = 5;
	raise(SIGSTOP);
	return counter == 5 ? 0 : 3;
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	check_begin(argc, argv);
	pid = check_fork(child, NULL);
	MUST(waitpid(pid, &status, WUNTRACED));
	if (!WIFSTOPPED(status))
		DIE("not stopped");
	check_ready();
	WAIT_FOR(state_of(pid) != 'R' && state_of(pid) != 'D');
	CHECK_EQ(state_of(pid), 'T', "state of the stopped child");
	MUST(kill(pid, SIGCONT));
	check_child(pid);
	return check_end();
}
