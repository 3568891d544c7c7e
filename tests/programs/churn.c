// SPDX-License-Identifier: LGPL-2.1-or-later
/* A tree that never stands still: children fork, exec and exit, threads start and end, all the time. Each round checks
 * what it got from the one before. */
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>

static _Atomic bool stop;
static _Atomic long *rounds;

static void *short_thread(void *arg)
{
	return (void *)((intptr_t)arg * 2 + 1);
}

static void *thread_maker(void *arg)
{
	(void)arg;
	for (intptr_t i = 0; !stop; i++) {
		pthread_t t;
		void *ret = NULL;

		if (pthread_create(&t, NULL, short_thread, (void *)i)) {
			FAIL("pthread_create");
			break;
		}
		pthread_join(t, &ret);
		CHECK((intptr_t)ret == i * 2 + 1, "a thread gave %ld in round %ld", (long)(intptr_t)ret, (long)i);
		rounds[0]++;
	}
	return NULL;
}

static int forker(void *arg)
{
	long slot = (long)(intptr_t)arg;

	while (!check_triggered()) {
		pid_t pid = fork();
		int status = 0;

		if (pid == 0) {
			if (rounds[slot] % 3 == 0)
				execl("/bin/true", "true", (char *)NULL);
			_exit(rounds[slot] % 3 == 0 ? 99 : (int)(rounds[slot] % 100));
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid) {
			FAIL("fork or wait: %s", strerror(errno));
			break;
		}
		CHECK(status == (rounds[slot] % 3 == 0 ? 0 : (int)(rounds[slot] % 100) << 8), "status 0x%x in round %ld", status,
		      rounds[slot]);
		rounds[slot]++;
	}
	return 0;
}

int main(int argc, char **argv)
{
	pid_t kids[3];
	pthread_t t[2];

	check_begin(argc, argv);
	rounds = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (long i = 0; i < 3; i++)
		kids[i] = check_fork(forker, (void *)(intptr_t)(i + 1));
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, thread_maker, NULL);
	check_ready();
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 3; i++)
		check_child(kids[i]);
	return check_end();
}
