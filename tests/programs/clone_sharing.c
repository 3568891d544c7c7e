// SPDX-License-Identifier: LGPL-2.1-or-later
/* clone_sharing FOLDER files|fs|vm|sighand|all: two processes share a descriptor table, a working folder and umask, an
 * address space, signal handlers; what one changes after the restore the other sees. */
#include "check.h"

#include <sched.h>
#include <sys/mman.h>

static volatile int shared_value = 1, child_done, child_may_go;
static int flags;
static char stack[65536] __attribute__((aligned(16)));

static void handler(int sig)
{
	(void)sig;
}

static int child(void *arg)
{
	(void)arg;
	check_wait_trigger();
	if (flags & CLONE_FILES)
		MUST(dup2(1, 100));
	if (flags & CLONE_FS) {
		MUST(chdir("sub"));
		umask(031);
	}
	if (flags & CLONE_VM)
		shared_value = 42;
	if (flags & CLONE_SIGHAND) {
		struct sigaction sa = { .sa_handler = handler };

		sigaction(SIGUSR2, &sa, NULL);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { 0 };
	char *cwd;
	pid_t pid;

	check_begin(argc, argv);
	if (argc < 3)
		DIE("which?");
	if (!strcmp(argv[2], "files"))
		flags = CLONE_FILES;
	else if (!strcmp(argv[2], "fs"))
		flags = CLONE_FS;
	else if (!strcmp(argv[2], "vm"))
		flags = CLONE_VM;
	else if (!strcmp(argv[2], "sighand"))
		flags = CLONE_VM | CLONE_SIGHAND;
	else if (!strcmp(argv[2], "all"))
		flags = CLONE_VM | CLONE_SIGHAND | CLONE_FS | CLONE_FILES;
	MUST(mkdir("sub", 0755));
	umask(022);
	MUST(dup2(1, 50));
	pid = (pid_t)MUST(clone(child, stack + sizeof(stack), flags | SIGCHLD, NULL));
	check_ready();
	check_child(pid);
	CHECK_EQ(fcntl(100, F_GETFD) >= 0, !!(flags & CLONE_FILES), "the descriptor that the child made is here");
	CHECK(fcntl(50, F_GETFD) >= 0, "descriptor 50 is gone");
	cwd = getcwd(NULL, 0);
	CHECK_EQ(!strcmp(cwd + strlen(check_dir), "/sub"), !!(flags & CLONE_FS), "the child's chdir is seen");
	CHECK_EQ(umask(0), flags & CLONE_FS ? 031 : 022, "umask");
	CHECK_EQ(shared_value, flags & CLONE_VM ? 42 : 1, "the child's write is seen");
	sigaction(SIGUSR2, NULL, &sa);
	CHECK_EQ(sa.sa_handler == handler, !!(flags & CLONE_SIGHAND), "the child's handler is seen");
	return check_end();
}
