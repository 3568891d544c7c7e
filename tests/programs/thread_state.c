// SPDX-License-Identifier: LGPL-2.1-or-later
/* What the kernel keeps for a thread's library: clear_child_tid (a raw clone waits for it), the robust list (a mutex
 * whose holder ends is handed on), rseq (the area stays registered and is kept up to date). */
#include "check.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

static pthread_mutex_t *robust;
static _Atomic int holding;
static void *robust_before[2];
static uint32_t *rseq_area;

/* glibc 2.35 and later registers an area in the thread's control block. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

static void *holder(void *arg)
{
	void *now;
	size_t len;

	(void)arg;
	pthread_mutex_lock(robust);
	MUST(syscall(SYS_get_robust_list, 0, &robust_before[1], &len));
	holding = 1;
	check_wait_trigger();
	MUST(syscall(SYS_get_robust_list, 0, &now, &len));
	CHECK(now == robust_before[1], "robust list of a thread: %p instead of %p", now, robust_before[1]);
	return NULL; /* ends with the mutex held */
}

static uint32_t raw_tid = 1;
static char raw_stack[65536] __attribute__((aligned(16)));

static int raw_thread(void *arg)
{
	(void)arg;
	/* no library state of its own: only system calls */
	for (;;) {
		struct timespec t = { 0, 1000000 };

		if (syscall(SYS_access, "trigger", F_OK) == 0)
			break;
		syscall(SYS_nanosleep, &t, NULL);
	}
	syscall(SYS_exit, 0);
	return 0;
}

int main(int argc, char **argv)
{
	pthread_mutexattr_t attr;
	pthread_t t;
	size_t len;
	void *now;

	check_begin(argc, argv);
	robust = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(robust, &attr);
	MUST(syscall(SYS_get_robust_list, 0, &robust_before[0], &len));
	pthread_create(&t, NULL, holder, NULL);
	WAIT_FOR(holding);
	MUST(clone(raw_thread, raw_stack + sizeof(raw_stack),
		   CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID,
		   NULL, NULL, NULL, &raw_tid));
	if (&__rseq_size && __rseq_size)
		rseq_area = (uint32_t *)((char *)__builtin_thread_pointer() + __rseq_offset);
	check_ready();
	MUST(syscall(SYS_get_robust_list, 0, &now, &len));
	CHECK(now == robust_before[0], "robust list of the leader");
	CHECK_EQ(pthread_mutex_lock(robust), EOWNERDEAD, "lock after the holder's end");
	pthread_mutex_consistent(robust);
	pthread_mutex_unlock(robust);
	pthread_join(t, NULL);
	for (int i = 0; i < 5000 && __atomic_load_n(&raw_tid, __ATOMIC_SEQ_CST); i++) {
		struct timespec ms = { 0, 1000000 };

		syscall(SYS_futex, &raw_tid, FUTEX_WAIT, 1, &ms, NULL, 0);
	}
	CHECK_EQ(raw_tid, 0, "clear_child_tid");
	if (rseq_area) {
		cpu_set_t all, onto;

		sched_getaffinity(0, sizeof(all), &all);
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (!CPU_ISSET(cpu, &all))
				continue;
			CPU_ZERO(&onto);
			CPU_SET(cpu, &onto);
			MUST(sched_setaffinity(0, sizeof(onto), &onto));
			/* cpu_id is the second word of struct rseq; the kernel keeps it when it is registered */
			CHECK_EQ(*(volatile uint32_t *)(rseq_area + 1), cpu, "rseq's cpu_id");
		}
	}
	return check_end();
}
