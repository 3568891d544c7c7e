// SPDX-License-Identifier: LGPL-2.1-or-later
/* hard_states FOLDER KIND: states in which a task is hard to stop, to ask or to rebuild. */
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>

static _Atomic int handled;

static void handle(int sig)
{
	(void)sig;
	handled++;
}

/* Every signal blocked, ignored or caught: none is left that firn could use unnoticed. */
static void signals(const char *how)
{
	struct sigaction sa = { .sa_handler = strcmp(how, "ignored") ? handle : SIG_IGN, .sa_flags = SA_RESTART }, now;
	sigset_t all, mask;

	sigfillset(&all);
	if (!strcmp(how, "blocked"))
		MUST(sigprocmask(SIG_SETMASK, &all, NULL));
	else
		for (int s = 1; s <= SIGRTMAX; s++)
			(void)sigaction(s, &sa, NULL);
	check_ready();
	MUST(sigprocmask(SIG_SETMASK, NULL, &mask));
	for (int s = 1; s <= SIGRTMAX; s++) {
		if (s == SIGKILL || s == SIGSTOP || (s > SIGSYS && s < SIGRTMIN))
			continue;
		CHECK_EQ(sigismember(&mask, s), !strcmp(how, "blocked"), "a signal in the mask");
		MUST(sigaction(s, NULL, &now));
		CHECK(!strcmp(how, "blocked") || now.sa_handler == sa.sa_handler, "the action of signal %d", s);
	}
	CHECK_EQ(handled, 0, "signals that came");
}

/* The limit is so low that nothing more can be had: address space, descriptors, file size, … */
static void limit(int what, rlim_t value)
{
	struct rlimit want = { value, value }, now;

	/* a rename needs no descriptor */
	make_file("ready.tmp", 1, 1);
	MUST(setrlimit((__rlimit_resource_t)what, &want));
	MUST(rename("ready.tmp", "ready"));
	check_wait_trigger();
	MUST(getrlimit((__rlimit_resource_t)what, &now));
	CHECK(now.rlim_cur == want.rlim_cur && now.rlim_max == want.rlim_max, "the limit is %llu, %llu",
	      (unsigned long long)now.rlim_cur, (unsigned long long)now.rlim_max);
	/* for the result */
	if (what == RLIMIT_NOFILE)
		close(0);
}

static rlim_t address_space_now(void)
{
	char *text = slurp("/proc/self/statm");

	return strtoull(text, NULL, 10) * 4096;
}

/* The parent of a vfork waits in a state that no tracer gets it out of. */
static void vforked(void)
{
	pid_t pid = vfork();
	int status;

	if (pid == 0) {
		check_announce();
		check_wait_trigger();
		_exit(7);
	}
	MUST(waitpid(pid, &status, 0));
	CHECK_EQ(status, 7 << 8, "status of the child");
}

static int wait_for_end(void *arg)
{
	(void)arg;
	check_wait_trigger();
	return 0;
}

static void tracer(void)
{
	pid_t pid = check_fork(wait_for_end, NULL);

	MUST(ptrace(PTRACE_SEIZE, pid, 0, 0));
	check_ready();
	check_child(pid);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "";

	check_begin(argc, argv);
	if (!strcmp(kind, "blocked") || !strcmp(kind, "ignored") || !strcmp(kind, "caught"))
		signals(kind);
	else if (!strcmp(kind, "as"))
		limit(RLIMIT_AS, address_space_now() + 64 * 1024);
	else if (!strcmp(kind, "data"))
		limit(RLIMIT_DATA, 0);
	else if (!strcmp(kind, "stack"))
		limit(RLIMIT_STACK, 4096);
	else if (!strcmp(kind, "nofile"))
		limit(RLIMIT_NOFILE, 3);
	else if (!strcmp(kind, "nproc"))
		limit(RLIMIT_NPROC, 1);
	else if (!strcmp(kind, "sigpending"))
		limit(RLIMIT_SIGPENDING, 0);
	else if (!strcmp(kind, "memlock"))
		limit(RLIMIT_MEMLOCK, 0);
	else if (!strcmp(kind, "vfork"))
		vforked();
	else if (!strcmp(kind, "tracer"))
		tracer();
	else
		DIE("no such kind");
	return check_end();
}
