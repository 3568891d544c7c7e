// SPDX-License-Identifier: LGPL-2.1-or-later
/* signals FOLDER actions|pending|altstack|handler: signal actions with flags and masks, queued signals with their
 * siginfo (of the process and of one thread), alternate stacks, and being inside a handler, on an alternate stack. */
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>

struct kernel_sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static void one(int sig)
{
	(void)sig;
}

static void two(int sig, siginfo_t *si, void *c)
{
	(void)sig;
	(void)si;
	(void)c;
}

static void actions(void)
{
	struct kernel_sigaction before[65], after[65];

	for (int s = 1; s <= 64; s++) {
		struct sigaction sa = { 0 };

		if (s == SIGKILL || s == SIGSTOP || s == 32 || s == 33)
			continue;
		if (s % 4 == 0)
			sa.sa_handler = SIG_IGN;
		else if (s % 4 == 1)
			sa.sa_handler = SIG_DFL;
		else if (s % 4 == 2)
			sa.sa_handler = one;
		else
			sa.sa_sigaction = two;
		sa.sa_flags = (s % 4 == 3 ? SA_SIGINFO : 0) | (s % 3 ? SA_RESTART : 0) | (s % 5 ? 0 : SA_ONSTACK) |
			      (s % 7 ? 0 : SA_NODEFER) | (s == SIGCHLD ? SA_NOCLDSTOP | SA_NOCLDWAIT : 0);
		sigemptyset(&sa.sa_mask);
		sigaddset(&sa.sa_mask, s % 31 + 1);
		sigaddset(&sa.sa_mask, 64);
		MUST(sigaction(s, &sa, NULL));
	}
	for (int s = 1; s <= 64; s++)
		MUST(syscall(SYS_rt_sigaction, s, NULL, &before[s], 8));
	check_ready();
	for (int s = 1; s <= 64; s++) {
		MUST(syscall(SYS_rt_sigaction, s, NULL, &after[s], 8));
		CHECK(!memcmp(&before[s], &after[s], sizeof(before[s])),
		      "signal %d: handler %p flags %lx mask %lx instead of %p %lx %lx", s, (void *)after[s].handler,
		      after[s].flags, after[s].mask, (void *)before[s].handler, before[s].flags, before[s].mask);
	}
}

static pthread_t other;
static _Atomic pid_t other_tid;

static void expect(int sig, int code, int value, const sigset_t *set)
{
	struct timespec none = { 0, 0 };
	siginfo_t si = { 0 };
	/* not the library's call: that one turns SI_TKILL into SI_USER */
	int got = (int)syscall(SYS_rt_sigtimedwait, set, &si, &none, 8);

	CHECK_EQ(got, sig, "signal");
	CHECK_EQ(si.si_code, code, "si_code");
	CHECK_EQ(si.si_value.sival_int, value, "si_value");
	CHECK_EQ(si.si_pid, getpid(), "si_pid");
	CHECK_EQ(si.si_uid, getuid(), "si_uid");
}

static void fill(siginfo_t *si, int sig, int value)
{
	memset(si, 0, sizeof(*si));
	si->si_signo = sig;
	si->si_code = SI_QUEUE;
	si->si_pid = getpid();
	si->si_uid = getuid();
	si->si_value.sival_int = value;
}

static void *other_thread(void *arg)
{
	sigset_t set;

	(void)arg;
	other_tid = (pid_t)syscall(SYS_gettid);
	check_wait_trigger();
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 5);
	expect(SIGRTMIN + 5, SI_QUEUE, 50, &set);
	expect(SIGRTMIN + 5, SI_QUEUE, 51, &set);
	return NULL;
}

static void pending(void)
{
	struct timespec none = { 0, 0 };
	sigset_t set, now;
	siginfo_t si;

	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&other, NULL, other_thread, NULL);
	WAIT_FOR(other_tid);
	for (int i = 0; i < 5; i++)
		MUST(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ .sival_int = 30 + i }));
	MUST(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = 10 }));
	MUST(kill(getpid(), SIGUSR1));
	MUST(kill(getpid(), SIGTERM));
	fill(&si, SIGRTMIN + 5, 50);
	MUST(syscall(SYS_rt_tgsigqueueinfo, getpid(), other_tid, SIGRTMIN + 5, &si));
	fill(&si, SIGRTMIN + 5, 51);
	MUST(syscall(SYS_rt_tgsigqueueinfo, getpid(), other_tid, SIGRTMIN + 5, &si));
	MUST(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2));
	check_ready();
	pthread_join(other, NULL);
	sigpending(&now);
	CHECK(sigismember(&now, SIGUSR1) && sigismember(&now, SIGUSR2) && sigismember(&now, SIGTERM), "pending signals");
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	sigaddset(&set, SIGRTMIN + 3);
	expect(SIGRTMIN + 1, SI_QUEUE, 10, &set);
	for (int i = 0; i < 5; i++)
		expect(SIGRTMIN + 3, SI_QUEUE, 30 + i, &set);
	sigfillset(&set);
	expect(SIGUSR1, SI_USER, 0, (sigemptyset(&set), sigaddset(&set, SIGUSR1), &set));
	expect(SIGUSR2, SI_TKILL, 0, (sigemptyset(&set), sigaddset(&set, SIGUSR2), &set));
	expect(SIGTERM, SI_USER, 0, (sigemptyset(&set), sigaddset(&set, SIGTERM), &set));
	sigfillset(&set);
	CHECK(sigtimedwait(&set, &si, &none) == -1 && errno == EAGAIN, "a signal too many: %d", si.si_signo);
}

static char *altstack;
static volatile int on_altstack, done_inside;

static void inside(int sig, siginfo_t *si, void *context)
{
	volatile char here[2000];
	stack_t ss;

	(void)context;
	memset((void *)here, 7, sizeof(here));
	on_altstack = (char *)here > altstack && (char *)here < altstack + 65536;
	check_announce();
	check_wait_trigger();
	sigaltstack(NULL, &ss);
	CHECK(ss.ss_flags & SS_ONSTACK, "no longer on the alternate stack");
	CHECK_EQ(sig, SIGUSR1, "signal of the handler");
	CHECK_EQ(si->si_value.sival_int, 321, "si_value in the handler");
	CHECK_EQ(here[1000], 7, "the handler's frame");
	done_inside = 1;
}

static void *thread_with_altstack(void *arg)
{
	stack_t ss = { .ss_sp = arg, .ss_size = 32768 }, now = { 0 };

	MUST(sigaltstack(&ss, NULL));
	other_tid = 1;
	check_wait_trigger();
	MUST(sigaltstack(NULL, &now));
	CHECK(now.ss_sp == ss.ss_sp && now.ss_size == ss.ss_size && now.ss_flags == 0, "the thread's alternate stack");
	return NULL;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "actions";
	stack_t ss = { 0 }, now = { 0 };

	check_begin(argc, argv);
	altstack = mmap(NULL, 131072, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ss.ss_sp = altstack;
	ss.ss_size = 65536;
	if (!strcmp(kind, "actions")) {
		actions();
	} else if (!strcmp(kind, "pending")) {
		pending();
	} else if (!strcmp(kind, "altstack")) {
		MUST(sigaltstack(&ss, NULL));
		pthread_create(&other, NULL, thread_with_altstack, altstack + 65536);
		WAIT_FOR(other_tid);
		check_ready();
		MUST(sigaltstack(NULL, &now));
		CHECK(now.ss_sp == ss.ss_sp && now.ss_size == ss.ss_size && now.ss_flags == 0, "alternate stack");
		pthread_join(other, NULL);
	} else if (!strcmp(kind, "handler")) {
		struct sigaction sa = { .sa_sigaction = inside, .sa_flags = SA_SIGINFO | SA_ONSTACK };
		volatile double sum = 1.5;
		sigset_t mask;

		MUST(sigaltstack(&ss, NULL));
		sigaction(SIGUSR1, &sa, NULL);
		MUST(sigqueue(getpid(), SIGUSR1, (union sigval){ .sival_int = 321 }));
		CHECK(on_altstack, "the handler did not run on the alternate stack");
		CHECK(done_inside, "the handler did not run to its end");
		CHECK(sum * 2 == 3.0, "a local of the interrupted function");
		pthread_sigmask(SIG_SETMASK, NULL, &mask);
		CHECK(!sigismember(&mask, SIGUSR1), "the handler's mask stayed");
		MUST(sigaltstack(NULL, &now));
		CHECK(now.ss_flags == 0 && now.ss_sp == altstack, "alternate stack after the handler");
	}
	return check_end();
}
