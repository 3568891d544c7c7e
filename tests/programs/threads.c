// SPDX-License-Identifier: LGPL-2.1-or-later
/* Threads: ids, thread-local storage, names, signal masks, stacks, joins afterwards (clear_child_tid), a mutex that is
 * held and waited for, a condition that is waited for. threads FOLDER [COUNT] */
#include "check.h"

#include <pthread.h>

#define MAX_THREADS 512

struct worker {
	pthread_t thread;
	pid_t tid;
	int index;
};

static struct worker workers[MAX_THREADS];
static __thread int tls_value;
static __thread char tls_block[3000];
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER, gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static _Atomic int prepared, passed;

static void *work(void *arg)
{
	struct worker *w = arg;
	char name[32], now[32];
	sigset_t mask, got;
	char stack_data[5000];

	w->tid = (pid_t)syscall(SYS_gettid);
	tls_value = 1000 + w->index;
	pattern_fill(tls_block, sizeof(tls_block), (uint32_t)w->index);
	pattern_fill(stack_data, sizeof(stack_data), 100 + (uint32_t)w->index);
	snprintf(name, sizeof(name), "worker %d)(", w->index);
	pthread_setname_np(pthread_self(), name);
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN + w->index % 30);
	sigaddset(&mask, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	prepared++;
	switch (w->index % 3) {
	case 0:
		check_wait_trigger();
		break;
	case 1:
		pthread_mutex_lock(&held);
		passed++;
		pthread_mutex_unlock(&held);
		break;
	case 2:
		pthread_mutex_lock(&gate_lock);
		while (!gate_open)
			pthread_cond_wait(&gate, &gate_lock);
		pthread_mutex_unlock(&gate_lock);
		break;
	}
	CHECK_EQ(syscall(SYS_gettid), w->tid, "tid");
	CHECK_EQ(tls_value, 1000 + w->index, "thread-local value");
	CHECK_PATTERN(tls_block, sizeof(tls_block), (uint32_t)w->index, "thread-local block");
	CHECK_PATTERN(stack_data, sizeof(stack_data), 100 + (uint32_t)w->index, "stack");
	pthread_getname_np(pthread_self(), now, sizeof(now));
	CHECK(!strcmp(now, name), "name is %s", now);
	pthread_sigmask(SIG_SETMASK, NULL, &got);
	for (int s = 1; s <= SIGRTMAX; s++)
		CHECK(sigismember(&got, s) == sigismember(&mask, s), "signal %d in the mask of thread %d", s, w->index);
	return w;
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[2]) : 16;

	if (n > MAX_THREADS)
		n = MAX_THREADS;
	check_begin(argc, argv);
	pthread_mutex_lock(&held);
	for (int i = 0; i < n; i++) {
		workers[i].index = i;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			DIE("pthread_create");
	}
	WAIT_FOR(prepared == n);
	check_ready();
	CHECK_EQ(passed, 0, "threads through a held mutex");
	pthread_mutex_unlock(&held);
	pthread_mutex_lock(&gate_lock);
	gate_open = true;
	pthread_cond_broadcast(&gate);
	pthread_mutex_unlock(&gate_lock);
	for (int i = 0; i < n; i++) {
		void *ret = NULL;

		CHECK_EQ(pthread_join(workers[i].thread, &ret), 0, "pthread_join");
		CHECK(ret == &workers[i], "result of thread %d", i);
	}
	return check_end();
}
