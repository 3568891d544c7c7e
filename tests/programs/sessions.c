// SPDX-License-Identifier: LGPL-2.1-or-later
/* Sessions and process groups: a child with its own session, its child in a group of its own, a sibling that joined that
 * group of another's, a group whose leader is not the parent. Argument "orphans": a group and a session whose leaders are gone. */
#include "check.h"

#include <sys/mman.h>
#include <sys/prctl.h>

static _Atomic int *steps;
static _Atomic pid_t *ids;

static void stay(pid_t sid, pid_t pgid)
{
	check_wait_trigger();
	CHECK_EQ(getsid(0), sid, "session");
	CHECK_EQ(getpgrp(), pgid, "process group");
}

static int leader(void *arg)
{
	_Atomic pid_t *group = arg;
	pid_t own, a, b;

	own = (pid_t)MUST(setsid());
	a = (pid_t)MUST(fork());
	if (a == 0) {
		MUST(setpgid(0, 0));
		*group = getpid();
		(*steps)++;
		stay(own, getpid());
		_exit(0);
	}
	b = (pid_t)MUST(fork());
	if (b == 0) {
		WAIT_FOR(*group);
		MUST(setpgid(0, *group));
		(*steps)++;
		stay(own, *group);
		_exit(0);
	}
	(*steps)++;
	stay(own, own);
	check_child(a);
	check_child(b);
	return 0;
}

/* Ends after it left a member of its group (and, with @arg, session) behind. */
static int leaving_leader(void *arg)
{
	bool session = arg;
	pid_t own = getpid(), sid, pid;

	if (session)
		setsid();
	else
		setpgid(0, 0);
	sid = getsid(0);
	pid = (pid_t)MUST(fork());
	if (pid == 0) {
		WAIT_FOR(getppid() != own);
		ids[session ? 1 : 2] = getpid();
		(*steps)++;
		stay(sid, own);
		_exit(0);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t kids[3];
	bool orphans = argc > 2 && !strcmp(argv[2], "orphans");

	check_begin(argc, argv);
	steps = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ids = (_Atomic pid_t *)(steps + 64);
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	if (orphans) {
		check_child(check_fork(leaving_leader, (void *)1));
		check_child(check_fork(leaving_leader, NULL));
		WAIT_FOR(*steps == 2);
		check_ready();
		check_child(ids[1]);
		check_child(ids[2]);
		return check_end();
	}
	kids[0] = check_fork(leader, (void *)&ids[0]);
	kids[1] = check_fork(leader, (void *)&ids[1]);
	WAIT_FOR(*steps == 6);
	check_ready();
	check_child(kids[0]);
	check_child(kids[1]);
	return check_end();
}
