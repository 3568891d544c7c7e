// SPDX-License-Identifier: LGPL-2.1-or-later
/* futexes FOLDER MODE: threads and processes that wait for each other, through every sort of futex. */
#include "check.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>

struct shared {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	uint32_t words[4];
	_Atomic int waits, got;
};
static struct shared *s;

static char state_of(pid_t tid)
{
	char path[64], *text, *p;
	char ret;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	text = slurp(path);
	p = strrchr(text, ')');
	ret = p ? p[2] : '?';
	free(text);
	return ret;
}

static bool sleeps_in_futex(pid_t tid)
{
	char path[64], *text;
	int nr;

	snprintf(path, sizeof(path), "/proc/%d/syscall", tid);
	text = slurp(path);
	nr = atoi(text);
	free(text);
	return state_of(tid) == 'S' && (nr == SYS_futex || nr == 449);
}

static _Atomic pid_t tids[4];

static void mutex(int protocol, int robust)
{
	pthread_mutexattr_t attr;
	pthread_condattr_t cond;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setprotocol(&attr, protocol);
	pthread_mutexattr_setrobust(&attr, robust);
	pthread_mutex_init(&s->mutex, &attr);
	pthread_condattr_init(&cond);
	pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&s->cond, &cond);
}

static void *locker(void *arg)
{
	tids[(long)arg] = (pid_t)syscall(SYS_gettid);
	CHECK_EQ(pthread_mutex_lock(&s->mutex), 0, "lock in a thread");
	s->got++;
	CHECK_EQ(pthread_mutex_unlock(&s->mutex), 0, "unlock in a thread");
	return NULL;
}

static int child_locker(void *arg)
{
	(void)arg;
	CHECK_EQ(pthread_mutex_lock(&s->mutex), 0, "lock in a child");
	s->got++;
	CHECK_EQ(pthread_mutex_unlock(&s->mutex), 0, "unlock in a child");
	return 0;
}

/* Held here, waited for by two threads and a child. */
static void held(void)
{
	pthread_t t[2];
	pid_t child;

	CHECK_EQ(pthread_mutex_lock(&s->mutex), 0, "lock");
	child = check_fork(child_locker, NULL);
	for (long i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, locker, (void *)i);
	WAIT_FOR(tids[0] && tids[1] && sleeps_in_futex(tids[0]) && sleeps_in_futex(tids[1]) && sleeps_in_futex(child));
	check_ready();
	CHECK_EQ(s->got, 0, "somebody got the mutex that is held");
	CHECK_EQ(pthread_mutex_unlock(&s->mutex), 0, "unlock");
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	check_child(child);
	CHECK_EQ(s->got, 3, "who got the mutex");
}

static void *cond_waiter(void *arg)
{
	tids[(long)arg] = (pid_t)syscall(SYS_gettid);
	pthread_mutex_lock(&s->mutex);
	s->waits++;
	while (!s->words[0])
		pthread_cond_wait(&s->cond, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

static void *deadline_waiter(void *arg)
{
	struct timespec until;

	tids[(long)arg] = (pid_t)syscall(SYS_gettid);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 1000;
	CHECK_EQ(syscall(SYS_futex, &s->words[1], FUTEX_WAIT_BITSET, 0, &until, NULL, 4), 0, "wait with a deadline");
	return NULL;
}

static void plain(void)
{
	pthread_t t[2];

	mutex(PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	held();
	s->got = 0;
	tids[0] = tids[1] = 0;
	pthread_create(&t[0], NULL, cond_waiter, (void *)0);
	pthread_create(&t[1], NULL, deadline_waiter, (void *)1);
	WAIT_FOR(tids[0] && tids[1] && sleeps_in_futex(tids[0]) && sleeps_in_futex(tids[1]));
	pthread_mutex_lock(&s->mutex);
	s->words[0] = 1;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->mutex);
	CHECK_EQ(syscall(SYS_futex, &s->words[1], FUTEX_WAKE_BITSET, 1, NULL, NULL, 2), 0, "woken by other bits");
	CHECK_EQ(syscall(SYS_futex, &s->words[1], FUTEX_WAKE_BITSET, 1, NULL, NULL, 4), 1, "woken by its bits");
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

static void pi(void)
{
	mutex(PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
	held();
}

static int dies_holding(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&s->mutex);
	s->waits = 1;
	check_wait_trigger();
	return 0; /* with the mutex held */
}

/* The holder ends after the restore: the kernel walks its list and hands the mutex on. */
static void robust_pi(void)
{
	pid_t child;

	mutex(PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_ROBUST);
	child = check_fork(dies_holding, NULL);
	WAIT_FOR(s->waits);
	check_ready();
	CHECK_EQ(pthread_mutex_lock(&s->mutex), EOWNERDEAD, "lock after the holder's end");
	check_child(child);
	pthread_mutex_consistent(&s->mutex);
	CHECK_EQ(pthread_mutex_unlock(&s->mutex), 0, "unlock");
}

static void *vector_waiter(void *arg)
{
	struct {
		uint64_t value, address;
		uint32_t flags, reserved;
	} v[2] = { { 0, (uintptr_t)&s->words[2], 2, 0 }, { 0, (uintptr_t)&s->words[3], 2, 0 } };

	tids[(long)arg] = (pid_t)syscall(SYS_gettid);
	s->got = (int)syscall(449 /* futex_waitv, Linux 5.16 */, v, 2, 0, NULL, 0);
	if (s->got < 0)
		s->got = -errno;
	s->waits = 1;
	return NULL;
}

static void waitv(void)
{
	pthread_t t;

	if (syscall(449, NULL, 0, 0, NULL, 0) == -1 && errno == ENOSYS)
		check_skip("no futex_waitv");
	pthread_create(&t, NULL, vector_waiter, (void *)0);
	WAIT_FOR(tids[0] && sleeps_in_futex(tids[0]));
	check_ready();
	CHECK_EQ(s->waits, 0, "it was woken");
	s->words[3] = 1;
	syscall(SYS_futex, &s->words[3], FUTEX_WAKE, 1, NULL, NULL, 0);
	pthread_join(t, NULL);
	/* Woken at the second word, or it looked at the words again and found one changed. */
	CHECK(s->got == 1 || s->got == -EAGAIN, "futex_waitv: %d", s->got);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*test)(void);
	} table[] = { { "plain", plain }, { "pi", pi }, { "robust_pi", robust_pi }, { "waitv", waitv } };

	check_begin(argc, argv);
	s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		if (argc > 2 && !strcmp(argv[2], table[i].name)) {
			table[i].test();
			return check_end();
		}
	}
	DIE("no such mode");
}
