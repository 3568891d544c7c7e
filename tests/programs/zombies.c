// SPDX-License-Identifier: LGPL-2.1-or-later
/* Children that have ended but were not waited for keep their pid and status; a zombie's child goes to the root. */
#include "check.h"

#include <sys/prctl.h>

static bool is_zombie(pid_t pid)
{
	char path[64];
	char *line, *p;
	bool ret;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	line = slurp(path);
	p = strrchr(line, ')');
	ret = p && p[2] == 'Z';
	free(line);
	return ret;
}

static pid_t end_with(int code, int sig)
{
	pid_t pid = (pid_t)MUST(fork());

	if (pid == 0) {
		if (sig)
			raise(sig);
		_exit(code);
	}
	WAIT_FOR(is_zombie(pid));
	return pid;
}

int main(int argc, char **argv)
{
	pid_t seven, killed, aborted, own_session;
	siginfo_t si = { 0 };
	int status;

	check_begin(argc, argv);
	MUST(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
	seven = end_with(7, 0);
	killed = end_with(0, SIGKILL);
	aborted = end_with(0, SIGTERM);
	own_session = (pid_t)MUST(fork());
	if (own_session == 0) {
		setsid();
		_exit(9);
	}
	WAIT_FOR(is_zombie(own_session));
	check_ready();
	CHECK(is_zombie(seven), "the child is no zombie");
	CHECK_EQ(waitid(P_PID, (id_t)seven, &si, WEXITED | WNOWAIT), 0, "waitid");
	CHECK_EQ(si.si_code, CLD_EXITED, "si_code");
	CHECK_EQ(si.si_status, 7, "si_status");
	CHECK_EQ(si.si_uid, getuid(), "si_uid");
	CHECK(waitpid(seven, &status, 0) == seven && WIFEXITED(status) && WEXITSTATUS(status) == 7, "status 0x%x", status);
	CHECK(waitpid(killed, &status, 0) == killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status 0x%x",
	      status);
	CHECK(waitpid(aborted, &status, 0) == aborted && WTERMSIG(status) == SIGTERM, "status 0x%x", status);
	CHECK(getsid(own_session) == own_session, "session of the zombie: %d", getsid(own_session));
	CHECK(waitpid(own_session, &status, 0) == own_session && WEXITSTATUS(status) == 9, "status 0x%x", status);
	return check_end();
}
