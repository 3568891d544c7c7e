// SPDX-License-Identifier: LGPL-2.1-or-later
/* leader_exits FOLDER MODE: the first thread has ended, the others go on. */
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

static char state_of(pid_t pid)
{
	char path[64], *text, *p;
	char ret;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	text = slurp(path);
	p = strrchr(text, ')');
	ret = p ? p[2] : '?';
	free(text);
	return ret;
}

static char *name_of(pid_t pid)
{
	char path[64], *text;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	text = slurp(path);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

struct shared {
	_Atomic int ready, go;
	pid_t tids[2];
};
static struct shared *shared;
static char *memory;
static int fd;

static void check_process(void)
{
	char name[16];

	CHECK_EQ(state_of(getpid()), 'Z', "state of the first thread");
	CHECK(!strcmp(name_of(getpid()), "ended first"), "name of the first thread is %s", name_of(getpid()));
	prctl(PR_GET_NAME, name, 0, 0, 0);
	CHECK(!strcmp(name, "goes on"), "name of the thread is %s", name);
	CHECK_PATTERN(memory, 64 * 4096, 5, "memory");
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 17, "position");
	CHECK_EQ(getpgid(0), getpgid(getpid()), "group");
}

static void *other(void *arg)
{
	sigset_t set;

	(void)arg;
	prctl(PR_SET_NAME, "other", 0, 0, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	WAIT_FOR(state_of(getpid()) == 'Z');
	shared->tids[1] = (pid_t)syscall(SYS_gettid);
	shared->ready++;
	check_wait_trigger();
	CHECK_EQ(syscall(SYS_gettid), shared->tids[1], "tid of the second thread");
	pthread_sigmask(0, NULL, &set);
	CHECK(sigismember(&set, SIGUSR2) && !sigismember(&set, SIGUSR1), "mask of the second thread");
	return NULL;
}

static volatile sig_atomic_t alarms;
static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static pthread_t second;

static void begin(void)
{
	memory = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pattern_fill(memory, 64 * 4096, 5);
	fd = (int)MUST(open("file", O_RDWR | O_CREAT, 0600));
	MUST(write(fd, "seventeen letters", 17));
	pthread_create(&second, NULL, other, NULL);
	prctl(PR_SET_NAME, "ended first", 0, 0, 0);
}

static void *main_thread(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "goes on", 0, 0, 0);
	signal(SIGALRM, on_alarm);
	WAIT_FOR(state_of(getpid()) == 'Z' && shared->ready);
	alarm(1000);
	check_ready();
	check_process();
	CHECK(alarm(0) > 0, "the alarm");
	kill(getpid(), SIGALRM);
	WAIT_FOR(alarms);
	pthread_join(second, NULL);
	exit(check_end());
}

/* The last thread ends alone, too: the process has its exit status (that of the first thread before Linux 5.17). */
static void *child_thread(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "goes on", 0, 0, 0);
	WAIT_FOR(state_of(getpid()) == 'Z');
	shared->tids[0] = (pid_t)syscall(SYS_gettid);
	shared->ready++;
	check_wait_trigger();
	CHECK_EQ(syscall(SYS_gettid), shared->tids[0], "tid of the thread");
	check_process();
	pthread_join(second, NULL);
	syscall(SYS_exit, 9);
	return NULL;
}

static void child(bool stop)
{
	pid_t pid = (pid_t)MUST(fork());
	pthread_t t;
	int status;

	if (pid == 0) {
		begin();
		pthread_create(&t, NULL, child_thread, NULL);
		syscall(SYS_exit, 5);
	}
	WAIT_FOR(shared->ready == 2);
	if (stop) {
		MUST(kill(pid, SIGSTOP));
		WAIT_FOR(state_of(shared->tids[0]) == 'T' && state_of(shared->tids[1]) == 'T');
	}
	check_ready();
	if (stop) {
		CHECK_EQ(state_of(pid), 'Z', "state of its first thread");
		CHECK(state_of(shared->tids[0]) == 'T' && state_of(shared->tids[1]) == 'T', "states of its threads");
		CHECK(waitpid(pid, &status, WUNTRACED | WNOHANG) == pid && WIFSTOPPED(status), "it is not stopped for its parent");
		MUST(kill(pid, SIGCONT));
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid, "the child");
	CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == 5), "its status %#x", status);
}

int main(int argc, char **argv)
{
	pthread_t t;

	check_begin(argc, argv);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argc > 2 && strcmp(argv[2], "root")) {
		child(!strcmp(argv[2], "stopped"));
		return check_end();
	}
	begin();
	pthread_create(&t, NULL, main_thread, NULL);
	pthread_exit(NULL);
}
