// SPDX-License-Identifier: LGPL-2.1-or-later
/* Children re-parented to a sub-reaper inside the tree: they stay its children, and later orphans go to it too. */
#include "check.h"

#include <sys/mman.h>
#include <sys/prctl.h>

static _Atomic pid_t *ids;

static int late_child(void *arg)
{
	(void)arg;
	check_wait_trigger();
	if (fork() == 0) {
		WAIT_FOR(getppid() == ids[0]);
		ids[2] = getpid();
		_exit(4);
	}
	return 0;
}

static int middle(void *arg)
{
	(void)arg;
	if (fork() == 0) {
		WAIT_FOR(getppid() == ids[0]);
		ids[1] = getpid();
		check_wait_trigger();
		CHECK_EQ(getppid(), ids[0], "parent of the re-parented child");
		_exit(3);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int status, value = 0;
	pid_t late;

	check_begin(argc, argv);
	ids = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ids[0] = getpid();
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	check_child(check_fork(middle, NULL));
	late = check_fork(late_child, NULL);
	WAIT_FOR(ids[1]);
	check_ready();
	MUST(prctl(PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0));
	CHECK_EQ(value, 1, "child sub-reaper");
	CHECK(waitpid(ids[1], &status, 0) == ids[1] && WEXITSTATUS(status) == 3, "re-parented child: status 0x%x", status);
	check_child(late);
	WAIT_FOR(ids[2]);
	CHECK(waitpid(ids[2], &status, 0) == ids[2] && WEXITSTATUS(status) == 4, "later orphan: status 0x%x", status);
	return check_end();
}
