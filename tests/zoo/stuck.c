// SPDX-License-Identifier: LGPL-2.1-or-later
/* stuck FOLDER KIND [PATH]: a task that waits for something that does not come, until the one who could bring it does.
 * It does its waiting call in its first thread; once that has returned it ends as every test program. */
#include "check.h"

#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <termios.h>

static int open_data(const char *path, int flags)
{
	char name[PATH_MAX];

	(void)snprintf(name, sizeof(name), "%s/data", path);
	return (int)MUST(open(name, flags | O_CLOEXEC));
}

/* Announced first, then the call: the keeper waits until the kernel has it. */
static void go(void)
{
	check_announce();
	WAIT_FOR(access("go", F_OK) == 0);
}

static void in_stat(const char *path)
{
	char name[PATH_MAX];
	struct stat st;

	(void)snprintf(name, sizeof(name), "%s/nothing", path);
	go();
	CHECK(stat(name, &st) < 0, "a file that is not there");
}

static void in_read(const char *path)
{
	char buf[16];
	int fd = open_data(path, O_RDONLY);

	go();
	CHECK_EQ(read(fd, buf, sizeof(buf)), sizeof(buf), "read");
	close(fd);
}

static void in_fault(const char *path)
{
	int fd = open_data(path, O_RDONLY);
	const volatile char *p = mmap(NULL, 65536, PROT_READ, MAP_PRIVATE, fd, 0);

	CHECK(p != MAP_FAILED, "mmap");
	close(fd);
	go();
	CHECK_EQ(p[5], 0, "a byte of the file");
}

static void *touch(void *p)
{
	*(volatile char *)p = 1;
	return NULL;
}

/* A thread faults in memory that nobody fills, until the descriptor is closed. */
static void in_userfault(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register reg = { { (uintptr_t)p, 8192 }, UFFDIO_REGISTER_MODE_MISSING, 0 };
	pthread_t t;

	if (fd < 0)
		check_skip("userfaultfd: %s", strerror(errno));
	MUST(ioctl(fd, UFFDIO_API, &api));
	MUST(ioctl(fd, UFFDIO_REGISTER, &reg));
	CHECK(pthread_create(&t, NULL, touch, p) == 0, "pthread_create");
	check_ready();
	close(fd);
	(void)pthread_join(t, NULL);
	CHECK_EQ(*p, 1, "what was written");
}

static void in_open(const char *path)
{
	check_announce();
	close((int)MUST(open(path, O_RDONLY | O_CLOEXEC)));
}

static void holds(const char *path)
{
	int fd = open_data(path, O_RDWR);

	check_ready();
	close(fd);
}

static void stands_in(const char *path)
{
	MUST(chdir(path));
	check_ready();
	MUST(chdir("/"));
}

/* The folder of the protocol lies outside of the new root: it is the working folder all the time. */
static void rooted(const char *path)
{
	MUST(chroot(path));
	make_file("ready", 0, 1);
	while (access("trigger", F_OK) < 0)
		sleep_ms(2);
	for (int i = 0; i < 64; i++)
		MUST(chdir(".."));
	MUST(chroot("."));
}

static void maps(const char *path)
{
	int fd = open_data(path, O_RDONLY);
	const char *p = mmap(NULL, 65536, PROT_READ, MAP_PRIVATE, fd, 0);

	CHECK(p != MAP_FAILED, "mmap");
	close(fd);
	check_ready();
}

static void *nothing(void *arg)
{
	(void)arg;
	return NULL;
}

/* A background task writes to its terminal: SIGTTOU stops it. */
static int background(void *arg)
{
	int tty = *(int *)arg;

	MUST(setpgid(0, 0));
	CHECK_EQ(write(tty, "x", 1), 1, "write to the terminal");
	return 0;
}

static void in_ttou(void)
{
	struct termios mode;
	char name[64];
	int master = (int)MUST(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)), tty, status;
	pid_t pid;

	MUST(unlockpt(master));
	MUST(ptsname_r(master, name, sizeof(name)));
	tty = (int)MUST(open(name, O_RDWR | O_CLOEXEC));
	MUST(tcgetattr(tty, &mode));
	mode.c_lflag |= TOSTOP;
	MUST(tcsetattr(tty, TCSANOW, &mode));
	pid = check_fork(background, &tty);
	MUST(waitpid(pid, &status, WUNTRACED));
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU, "status %#x", (unsigned)status);
	check_ready();
	MUST(tcsetpgrp(tty, pid));
	MUST(kill(pid, SIGCONT));
	check_child(pid);
}

/* Four chains: each child makes the next one and ends. The root reaps them all. */
static void fork_storm(void)
{
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	for (int i = 0; i < 4; i++) {
		if (MUST(fork()) != 0)
			continue;
		while (!check_triggered())
			if (fork() > 0)
				break;
		_exit(0);
	}
	check_announce();
	while (wait(NULL) > 0)
		;
}

static void thread_storm(void)
{
	check_announce();
	while (!check_triggered()) {
		pthread_t t[8];

		for (int i = 0; i < 8; i++)
			CHECK(pthread_create(&t[i], NULL, nothing, NULL) == 0, "pthread_create");
		for (int i = 0; i < 8; i++)
			(void)pthread_join(t[i], NULL);
	}
}

static void exit_storm(void)
{
	check_announce();
	while (!check_triggered()) {
		for (int i = 0; i < 8; i++)
			if (MUST(fork()) == 0)
				_exit(0);
		while (wait(NULL) > 0)
			;
	}
}

/* Every page of the address space is taken, by areas that cost nothing. */
static void full(void)
{
	make_file("ready.tmp", 1, 1);
	for (size_t size = (size_t)1 << 46; size >= 4096; size /= 2)
		while (mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED)
			;
	MUST(rename("ready.tmp", "ready"));
	check_wait_trigger();
}

static _Atomic int came;

static void count(int sig)
{
	(void)sig;
	came++;
}

static void *wait_for_trigger(void *arg)
{
	check_wait_trigger();
	return arg;
}

/* With so many threads that a signal meets the process while it is asked. */
static void signalled(void)
{
	struct sigaction sa = { .sa_handler = count, .sa_flags = SA_RESTART };
	pthread_t t[200];

	MUST(sigaction(SIGUSR1, &sa, NULL));
	for (int i = 0; i < 200; i++)
		CHECK(pthread_create(&t[i], NULL, wait_for_trigger, NULL) == 0, "pthread_create");
	check_ready();
	for (int i = 0; i < 200; i++)
		(void)pthread_join(t[i], NULL);
	CHECK_EQ(came, 1, "signals that came");
}

static void breakpoint(void)
{
	static int watched;
	struct perf_event_attr attr = { .type = PERF_TYPE_BREAKPOINT,
					.size = sizeof(attr),
					.bp_type = HW_BREAKPOINT_W,
					.bp_addr = (uintptr_t)&watched,
					.bp_len = HW_BREAKPOINT_LEN_4,
					.exclude_kernel = 1 };

	if (syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC) < 0)
		check_skip("perf_event_open: %s", strerror(errno));
	check_ready();
}

static void watches(const char *path)
{
	int fd = (int)MUST(inotify_init1(IN_CLOEXEC));

	MUST(inotify_add_watch(fd, path, IN_CREATE));
	check_ready();
	close(fd);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "", *path = argc > 3 ? argv[3] : "";

	check_begin(argc, argv);
	if (!strcmp(kind, "stat"))
		in_stat(path);
	else if (!strcmp(kind, "read"))
		in_read(path);
	else if (!strcmp(kind, "fault"))
		in_fault(path);
	else if (!strcmp(kind, "userfault"))
		in_userfault();
	else if (!strcmp(kind, "open"))
		in_open(path);
	else if (!strcmp(kind, "holds"))
		holds(path);
	else if (!strcmp(kind, "cwd"))
		stands_in(path);
	else if (!strcmp(kind, "root"))
		rooted(path);
	else if (!strcmp(kind, "maps"))
		maps(path);
	else if (!strcmp(kind, "ttou"))
		in_ttou();
	else if (!strcmp(kind, "forks"))
		fork_storm();
	else if (!strcmp(kind, "thread starts"))
		thread_storm();
	else if (!strcmp(kind, "exits"))
		exit_storm();
	else if (!strcmp(kind, "full"))
		full();
	else if (!strcmp(kind, "signalled"))
		signalled();
	else if (!strcmp(kind, "breakpoint"))
		breakpoint();
	else if (!strcmp(kind, "watches"))
		watches(path);
	else
		DIE("no such kind");
	return check_end();
}
