// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Threads that check themselves all the time: registers (general, x87, SSE, AVX) in user space and across system calls,
 * memory that they keep rewriting, signal masks, signals that must arrive exactly once. Whatever happens to the engine
 * that dumps it, this program must not notice. selfcheck FOLDER [PAGES [tree]]; writes the number of rounds to
 * FOLDER/rounds. As a tree it has a child besides, which it talks to, TCP and unix sockets, and timers.
 */
#include "check.h"

#include <cpuid.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define SPINNERS 2
#define SLEEPERS 4

static _Atomic bool stop;
static _Atomic unsigned long rounds;
static _Atomic long sent, arrived;
static bool have_avx;
static size_t pages = 64;

/* Loads every register that the ABI lets us, spins or sleeps, and compares. Gives 0, or the number of what differed. */
static long registers_survive(uint64_t seed, bool sleep_too)
{
	uint64_t in[16], out[16];
	uint8_t vec_in[16][32], vec_out[16][32];
	struct timespec ts = { 0, 200000 };
	long double st_in = 1.0L + (long double)seed, st_out = 0;
	uint32_t mxcsr_in = 0x1f80 | (uint32_t)(seed & 3) << 13, mxcsr_out = 0, mxcsr_default = 0x1f80;

	for (int i = 0; i < 16; i++) {
		in[i] = seed * 0x9e3779b97f4a7c15ull + (uint64_t)i * 0x123456789abcdefull;
		memset(vec_in[i], (int)(seed + (uint64_t)i * 17), 32);
	}
	memset(vec_out, 0, sizeof(vec_out));
	memset(out, 0, sizeof(out));
	if (have_avx) {
		asm volatile("vmovdqu %0, %%ymm0\n vmovdqu %1, %%ymm1\n vmovdqu %2, %%ymm2\n vmovdqu %3, %%ymm3\n"
			     "vmovdqu %4, %%ymm8\n vmovdqu %5, %%ymm15\n"
			     "fldt %6\n ldmxcsr %7\n" ::"m"(vec_in[0]),
			     "m"(vec_in[1]), "m"(vec_in[2]), "m"(vec_in[3]), "m"(vec_in[8]), "m"(vec_in[15]), "m"(st_in),
			     "m"(mxcsr_in)
			     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm8", "xmm15", "st(7)");
	} else {
		asm volatile("movdqu %0, %%xmm0\n movdqu %1, %%xmm1\n movdqu %2, %%xmm2\n movdqu %3, %%xmm3\n"
			     "movdqu %4, %%xmm8\n movdqu %5, %%xmm15\n"
			     "fldt %6\n ldmxcsr %7\n" ::"m"(vec_in[0]),
			     "m"(vec_in[1]), "m"(vec_in[2]), "m"(vec_in[3]), "m"(vec_in[8]), "m"(vec_in[15]), "m"(st_in),
			     "m"(mxcsr_in)
			     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm8", "xmm15", "st(7)");
	}
	if (sleep_too) {
		register uint64_t r8 asm("r8") = in[8], r9 asm("r9") = in[9], r10 asm("r10") = in[10],
				  r12 asm("r12") = in[12], r13 asm("r13") = in[13], r14 asm("r14") = in[14],
				  r15 asm("r15") = in[15];
		uint64_t rax = SYS_nanosleep, rbx = in[3], rdx = in[2];

		asm volatile("syscall"
			     : "+a"(rax), "+b"(rbx), "+d"(rdx), "+r"(r8), "+r"(r9), "+r"(r10), "+r"(r12), "+r"(r13),
			       "+r"(r14), "+r"(r15)
			     : "D"(&ts), "S"(0)
			     : "rcx", "r11", "memory");
		out[8] = r8, out[9] = r9, out[10] = r10, out[12] = r12, out[13] = r13, out[14] = r14, out[15] = r15;
		out[3] = rbx, out[2] = rdx;
		out[0] = in[0];
		if (rax && rax != (uint64_t)-EINTR)
			return 100;
		in[1] = out[1] = in[6] = out[6] = in[7] = out[7] = in[11] = out[11] = 0;
	} else {
		register uint64_t r8 asm("r8") = in[8], r9 asm("r9") = in[9], r10 asm("r10") = in[10],
				  r11 asm("r11") = in[11], r12 asm("r12") = in[12], r13 asm("r13") = in[13],
				  r14 asm("r14") = in[14], r15 asm("r15") = in[15];
		uint64_t rax = in[0], rbx = in[3], rcx = 20000, rdx = in[2], rsi = in[6], rdi = in[7];

		asm volatile("1: dec %%rcx\n jnz 1b"
			     : "+a"(rax), "+b"(rbx), "+c"(rcx), "+d"(rdx), "+S"(rsi), "+D"(rdi), "+r"(r8), "+r"(r9),
			       "+r"(r10), "+r"(r11), "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15)::"memory");
		out[0] = rax, out[1] = in[1], out[2] = rdx, out[3] = rbx, out[6] = rsi, out[7] = rdi;
		out[8] = r8, out[9] = r9, out[10] = r10, out[11] = r11;
		out[12] = r12, out[13] = r13, out[14] = r14, out[15] = r15;
		if (rcx)
			return 101;
	}
	if (have_avx)
		asm volatile("vmovdqu %%ymm0, %0\n vmovdqu %%ymm1, %1\n vmovdqu %%ymm2, %2\n vmovdqu %%ymm3, %3\n"
			     "vmovdqu %%ymm8, %4\n vmovdqu %%ymm15, %5\n"
			     "fstpt %6\n stmxcsr %7\n ldmxcsr %8"
			     : "=m"(vec_out[0]), "=m"(vec_out[1]), "=m"(vec_out[2]), "=m"(vec_out[3]), "=m"(vec_out[8]),
			       "=m"(vec_out[15]), "=m"(st_out), "=m"(mxcsr_out)
			     : "m"(mxcsr_default));
	else
		asm volatile("movdqu %%xmm0, %0\n movdqu %%xmm1, %1\n movdqu %%xmm2, %2\n movdqu %%xmm3, %3\n"
			     "movdqu %%xmm8, %4\n movdqu %%xmm15, %5\n"
			     "fstpt %6\n stmxcsr %7\n ldmxcsr %8"
			     : "=m"(vec_out[0]), "=m"(vec_out[1]), "=m"(vec_out[2]), "=m"(vec_out[3]), "=m"(vec_out[8]),
			       "=m"(vec_out[15]), "=m"(st_out), "=m"(mxcsr_out)
			     : "m"(mxcsr_default));
	for (int i = 0; i < 16; i++) {
		if (i != 4 && i != 5 && in[i] != out[i])
			return 1 + i;
	}
	for (int i = 0; i < 16; i++) {
		if ((i < 4 || i == 8 || i == 15) && memcmp(vec_in[i], vec_out[i], have_avx ? 32 : 16))
			return 20 + i;
	}
	if (st_in != st_out)
		return 40;
	if ((mxcsr_in & ~0x3fu) != (mxcsr_out & ~0x3fu))
		return 41;
	return 0;
}

static void check_mask(const sigset_t *want)
{
	sigset_t now;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	for (int s = 1; s < SIGRTMAX; s++) {
		if (sigismember(&now, s) != sigismember(want, s)) {
			FAIL("signal %d in the mask: %d", s, sigismember(&now, s));
			stop = true;
			return;
		}
	}
}

static void set_mask(sigset_t *mask, int index)
{
	pthread_sigmask(SIG_SETMASK, NULL, mask);
	sigaddset(mask, SIGRTMIN + 4 + index);
	sigaddset(mask, SIGRTMIN + 1);
	pthread_sigmask(SIG_SETMASK, mask, NULL);
}

static void *spin(void *arg)
{
	int index = (int)(intptr_t)arg;
	uint64_t seed = (uint64_t)index;
	sigset_t mask;

	set_mask(&mask, index);
	while (!stop) {
		long r = registers_survive(seed++, index >= SPINNERS);

		if (r) {
			FAIL("thread %d: register set differs, number %ld", index, r);
			stop = true;
		}
		check_mask(&mask);
		rounds++;
	}
	return NULL;
}

/* Rewrites its pages with the round's pattern and checks them one round later. */
static void *remember(void *arg)
{
	char *area = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t round = 0;
	size_t bad;

	(void)arg;
	if (area == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
	pattern_fill(area, 64 * 4096, round);
	for (size_t i = 64; i < pages; i++)
		area[i * 4096] = (char)i;
	while (!stop) {
		size_t start = round % 60 * 4096;

		if (!pattern_check(area, 64 * 4096, round, &bad)) {
			FAIL("memory differs at %zu in round %u", bad, round);
			stop = true;
		}
		round++;
		pattern_fill(area, 64 * 4096, round);
		for (size_t i = 64; i < pages; i += 97) {
			if (area[i * 4096] != (char)i) {
				FAIL("page %zu differs", i);
				stop = true;
			}
		}
		(void)start;
		rounds++;
	}
	return NULL;
}

static void count_signal(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	(void)context;
	if (si->si_value.sival_int != 4711)
		stop = true;
	arrived++;
}

/* Queues real-time signals to the process; each must arrive once. */
static void *queue_signals(void *arg)
{
	sigset_t mask;

	(void)arg;
	set_mask(&mask, 20);
	while (!stop) {
		union sigval v = { .sival_int = 4711 };

		if (sigqueue(getpid(), SIGRTMIN, v) == 0)
			sent++;
		sleep_ms(1);
		check_mask(&mask);
		for (int i = 0; sent - arrived > 0 && i < 5000; i++)
			sleep_ms(1);
		if (sent != arrived) {
			FAIL("%ld signals sent, %ld arrived", sent, arrived);
			stop = true;
		}
		rounds++;
	}
	return NULL;
}

/* ---- the tree: a child, sockets and timers ---- */

static int tcp[2], unix_pair[2], to_child[2], from_child[2];

static void tcp_connect(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int listener = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));

	MUST(bind(listener, (struct sockaddr *)&a, len));
	MUST(listen(listener, 1));
	MUST(getsockname(listener, (struct sockaddr *)&a, &len));
	tcp[0] = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
	MUST(connect(tcp[0], (struct sockaddr *)&a, len));
	tcp[1] = (int)MUST(accept(listener, NULL, NULL));
	close(listener);
}

static void child_begin(void)
{
	uint64_t number;

	MUST(pipe(to_child));
	MUST(pipe(from_child));
	if (MUST(fork()))
		return;
	close(to_child[1]);
	while (read(to_child[0], &number, sizeof(number)) == sizeof(number)) {
		number = registers_survive(number, false) ? 0 : number + 1;
		if (write(from_child[1], &number, sizeof(number)) != sizeof(number))
			_exit(2);
	}
	_exit(0);
}

/* @number goes in at @in and comes out at @out as @want. */
static void pass(int in, int out, uint64_t number, uint64_t want, const char *what)
{
	uint64_t got = 0;

	if (write(in, &number, sizeof(number)) != sizeof(number) || read(out, &got, sizeof(got)) != sizeof(got) || got != want) {
		FAIL("%s: %llu instead of %llu (%s)", what, (unsigned long long)got, (unsigned long long)want, strerror(errno));
		stop = true;
	}
}

static void *talk(void *arg)
{
	(void)arg;
	for (uint64_t n = 1; !stop; n++) {
		pass(tcp[n & 1], tcp[!(n & 1)], n, n, "TCP");
		pass(unix_pair[n & 1], unix_pair[!(n & 1)], n, n, "unix socket");
		pass(to_child[1], from_child[0], n, n + 1, "the child");
		rounds++;
	}
	close(to_child[1]);
	return NULL;
}

/* A timer that says too many ticks for the time that has passed is as wrong as one that stands still. */
static void *tick(void *arg)
{
	struct itimerspec every = { .it_interval.tv_nsec = 2000000, .it_value.tv_nsec = 2000000 };
	int fd = (int)MUST(timerfd_create(CLOCK_MONOTONIC, 0));
	struct timespec begin, now;
	uint64_t ticks = 0, n;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	MUST(timerfd_settime(fd, 0, &every, NULL));
	while (!stop) {
		if (read(fd, &n, sizeof(n)) != sizeof(n)) {
			FAIL("timerfd: %s", strerror(errno));
			break;
		}
		ticks += n;
		clock_gettime(CLOCK_MONOTONIC, &now);
		n = (uint64_t)((now.tv_sec - begin.tv_sec) * 500 + (now.tv_nsec - begin.tv_nsec) / 2000000);
		if (ticks > n + 1) {
			FAIL("%llu ticks in the time of %llu", (unsigned long long)ticks, (unsigned long long)n);
			break;
		}
		rounds++;
	}
	stop = true;
	return NULL;
}

static _Atomic long timer_ticks;

static void count_tick(int sig)
{
	(void)sig;
	timer_ticks++;
}

/* Sleeps on; the handler's signal goes to whatever thread has it unblocked. */
static void *await_ticks(void *arg)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2 };
	struct itimerspec every = { .it_interval.tv_nsec = 3000000, .it_value.tv_nsec = 3000000 };
	timer_t timer;

	(void)arg;
	signal(SIGRTMIN + 2, count_tick);
	MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
	MUST(timer_settime(timer, 0, &every, NULL));
	while (!stop) {
		long before = timer_ticks;

		for (int i = 0; !stop && timer_ticks == before; i++) {
			if (i == 10000) {
				FAIL("the timer stands still");
				stop = true;
			}
			sleep_ms(1);
		}
		rounds++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[SPINNERS + SLEEPERS + 5];
	bool tree = argc > 3 && !strcmp(argv[3], "tree");
	struct sigaction sa = { .sa_sigaction = count_signal, .sa_flags = SA_SIGINFO | SA_RESTART };
	unsigned a, b, c, d;
	char text[64];
	sigset_t block;
	int n = 0;

	check_begin(argc, argv);
	if (argc > 2)
		pages = (size_t)atol(argv[2]) + 64;
	have_avx = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_AVX) && (c & bit_OSXSAVE);
	if (tree) {
		tcp_connect();
		MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, unix_pair));
		child_begin();
	}
	sigaction(SIGRTMIN, &sa, NULL);
	/* the signal goes to this thread alone: the others keep it blocked */
	sigemptyset(&block);
	sigaddset(&block, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &block, NULL);
	for (int i = 0; i < SPINNERS + SLEEPERS; i++)
		pthread_create(&t[n++], NULL, spin, (void *)(intptr_t)i);
	pthread_create(&t[n++], NULL, remember, NULL);
	pthread_create(&t[n++], NULL, queue_signals, NULL);
	if (tree) {
		pthread_create(&t[n++], NULL, talk, NULL);
		pthread_create(&t[n++], NULL, tick, NULL);
		pthread_create(&t[n++], NULL, await_ticks, NULL);
	}
	pthread_sigmask(SIG_UNBLOCK, &block, NULL);
	check_announce();
	while (!check_triggered() && !stop) {
		int fd;

		sleep_ms(20);
		/* the pulse: the harness sees whether it still goes round */
		snprintf(text, sizeof(text), "%lu\n", rounds);
		fd = open("rounds", O_WRONLY | O_CREAT, 0644);
		if (fd >= 0 && write(fd, text, strlen(text)) < 0)
			FAIL("rounds: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
	}
	stop = true;
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	if (tree && waitpid(-1, &n, 0) > 0)
		CHECK_EQ(n, 0, "how the child ended");
	return check_end();
}
