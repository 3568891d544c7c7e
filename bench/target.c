// SPDX-License-Identifier: LGPL-2.1-or-later
/* target FOLDER memory MIB | threads N | processes N | descriptors N: what the benchmark dumps and restores. Follows the
 * protocol of tests/programs/README.md. */
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

static _Atomic bool stop;
static _Atomic long started;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void *wait_thread(void *arg)
{
	(void)arg;
	started++;
	pthread_mutex_lock(&lock);
	while (!stop)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void memory(size_t mib)
{
	char *p = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
	for (size_t i = 0; i < mib << 20; i += 4096)
		memcpy(p + i, &i, sizeof(i)), p[i + 100] = 1;
	check_ready();
	for (size_t i = 0; i < mib << 20; i += 4096)
		CHECK(!memcmp(p + i, &i, sizeof(i)) && p[i + 100] == 1, "page %zu", i / 4096);
}

static void threads(long n)
{
	pthread_t *t = calloc((size_t)n, sizeof(*t));
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (long i = 0; i < n; i++) {
		if (pthread_create(&t[i], &attr, wait_thread, NULL))
			DIE("pthread_create: thread %ld", i);
	}
	WAIT_FOR(started == n);
	check_ready();
	pthread_mutex_lock(&lock);
	stop = true;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
	for (long i = 0; i < n; i++)
		pthread_join(t[i], NULL);
}

/* Blocked until the pipe is closed: no polling that would disturb the measurement. */
static int wait_pipe[2];
static int wait_child(void *arg)
{
	char c;

	(void)arg;
	close(wait_pipe[1]);
	return (int)read(wait_pipe[0], &c, 1);
}

static void processes(long n)
{
	pid_t *kids = calloc((size_t)n, sizeof(*kids));

	MUST(pipe(wait_pipe));
	for (long i = 0; i < n - 1; i++)
		kids[i] = check_fork(wait_child, NULL);
	check_ready();
	close(wait_pipe[1]);
	for (long i = 0; i < n - 1; i++)
		check_child(kids[i]);
}

static void descriptors(long n)
{
	struct rlimit rl;
	int *fds = calloc((size_t)n, sizeof(*fds));

	MUST(getrlimit(RLIMIT_NOFILE, &rl));
	rl.rlim_cur = rl.rlim_max;
	MUST(setrlimit(RLIMIT_NOFILE, &rl));
	make_file("data", 100000, 1);
	for (long i = 0; i < n; i++) {
		fds[i] = (int)MUST(open("data", O_RDWR));
		MUST(lseek(fds[i], i, SEEK_SET));
	}
	check_ready();
	for (long i = 0; i < n; i++)
		CHECK_EQ(lseek(fds[i], 0, SEEK_CUR), i, "position");
}

int main(int argc, char **argv)
{
	long n = argc > 3 ? atol(argv[3]) : 1;

	check_begin(argc, argv);
	if (argc < 3)
		DIE("which?");
	if (!strcmp(argv[2], "memory"))
		memory((size_t)n);
	else if (!strcmp(argv[2], "threads"))
		threads(n);
	else if (!strcmp(argv[2], "processes"))
		processes(n);
	else
		descriptors(n);
	return check_end();
}
