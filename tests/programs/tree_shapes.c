// SPDX-License-Identifier: LGPL-2.1-or-later
/* A tree three levels deep and four wide: ids, parents, groups and sessions stay; children are still waited for. */
#include "check.h"

#include <sys/mman.h>

#define WIDTH 4

struct place {
	int depth;
	pid_t parent;
};

static _Atomic int *made;

static int node(void *arg)
{
	struct place *place = arg;
	pid_t self = getpid(), group = getpgrp(), session = getsid(0);
	pid_t kids[WIDTH];
	int n = place->depth < 3 ? WIDTH - place->depth : 0;

	for (int i = 0; i < n; i++) {
		struct place below = { place->depth + 1, self };

		kids[i] = check_fork(node, &below);
	}
	++*made;
	if (place->depth == 0) {
		WAIT_FOR(*made == 1 + 4 + 4 * 3 + 4 * 3 * 2);
		check_announce();
	}
	check_wait_trigger();
	CHECK_EQ(getpid(), self, "pid");
	CHECK_EQ(syscall(SYS_gettid), self, "tid");
	CHECK_EQ(getpgrp(), group, "process group");
	CHECK_EQ(getsid(0), session, "session");
	if (place->depth)
		CHECK_EQ(getppid(), place->parent, "parent");
	for (int i = 0; i < n; i++)
		check_child(kids[i]);
	CHECK_EQ(waitpid(-1, NULL, 0), -1, "a further child");
	return 0;
}

int main(int argc, char **argv)
{
	struct place root = { 0, 0 };

	check_begin(argc, argv);
	made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	node(&root);
	return check_end();
}
