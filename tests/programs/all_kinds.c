// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One of each kind of object at once. Each time the file "check" appears everything is verified and put back into the state of
 * before, and "check" is removed: so it can be dumped and restored as often as one likes, and never grows.
 */
#include "check.h"

#include <asm/termbits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#define MEMORY (1u << 20)
#define RINGS 777u

static int file, deleted, path, folder, null, locked;
static int pipe_ends[2], fifo, event, poller, signals, timer, memory_file;
static int stream[2], datagram[2], listener, tcp, master, slave;
static unsigned char *private_memory, *shared_memory, *mapped, *segment, *memory_map;
static timer_t posix_timer;
static pid_t child, zombie, stopped;
static volatile unsigned *rings;		/* shared with the child: asked and answered */
static pthread_t thread;
static volatile unsigned asked, answered;
static __thread unsigned own;
static volatile sig_atomic_t caught;

static void on_signal(int signo)
{
	caught = signo;
}

/* ---- tasks ---- */

static void *thread_main(void *arg)
{
	own = (unsigned)(uintptr_t)arg;
	for (;;) {
		if (asked != answered) {
			own++;
			answered = own - (unsigned)(uintptr_t)arg;
		}
		sleep_ms(1);
	}
	return NULL;
}

static int child_main(void *arg)
{
	(void)arg;
	MUST(setsid());
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		if (rings[0] != rings[1])
			rings[1] = rings[0];
		sleep_ms(1);
	}
	return 0;
}

static void make_tasks(void)
{
	siginfo_t si;

	rings = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	rings[0] = rings[1] = RINGS;
	child = check_fork(child_main, NULL);
	zombie = fork();
	if (zombie == 0)
		_exit(7);
	MUST(waitid(P_PID, (id_t)zombie, &si, WEXITED | WNOWAIT));
	stopped = fork();
	if (stopped == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	MUST(kill(stopped, SIGSTOP));
	MUST(waitid(P_PID, (id_t)stopped, &si, WSTOPPED));
	if (pthread_create(&thread, NULL, thread_main, (void *)1000))
		DIE("pthread_create");
}

static void check_tasks(void)
{
	siginfo_t si = { 0 };
	char *state, name[64];
	int tries = 0;

	rings[0]++;
	asked++;
	while ((rings[1] != rings[0] || answered != asked) && ++tries < 5000)
		sleep_ms(1);
	CHECK_EQ(rings[1], rings[0], "the child's answer");
	CHECK_EQ(answered, asked, "the thread's answer");
	rings[0] = rings[1] = RINGS;
	CHECK_EQ(getsid(child), child, "session of the child");
	CHECK(waitid(P_PID, (id_t)zombie, &si, WEXITED | WNOWAIT | WNOHANG) == 0 && si.si_pid == zombie && si.si_status == 7,
	      "the zombie: pid %d, status %d", si.si_pid, si.si_status);
	snprintf(name, sizeof(name), "/proc/%d/status", stopped);
	state = proc_line(name, "State:");
	CHECK(state && strchr(state, 'T'), "the stopped child is %s", state ? state : "gone");
	free(state);
}

/* ---- files, pipes ---- */

static void make_files(void)
{
	make_file("file", 5000, 1);
	file = (int)MUST(open("file", O_RDWR | O_APPEND));
	make_file("deleted", 9000, 2);
	deleted = (int)MUST(open("deleted", O_RDWR));
	MUST(unlink("deleted"));
	MUST(lseek(deleted, 123, SEEK_SET));
	path = (int)MUST(open("file", O_PATH));
	folder = (int)MUST(open(".", O_RDONLY | O_DIRECTORY));
	null = (int)MUST(open("/dev/null", O_WRONLY | O_CLOEXEC));
	make_file("locked", 10, 3);
	locked = (int)MUST(open("locked", O_RDWR));
	MUST(flock(locked, LOCK_EX));
	MUST(pipe2(pipe_ends, O_NONBLOCK));
	MUST(write(pipe_ends[1], "in the pipe", 11));
	MUST(mkfifo("fifo", 0600));
	fifo = (int)MUST(open("fifo", O_RDWR | O_NONBLOCK));
	MUST(write(fifo, "in the fifo", 11));
	MUST(lseek(file, 4321, SEEK_SET));
}

static void check_queue(int from, int to, const char *what)
{
	char buf[64] = "";
	ssize_t n = read(from, buf, sizeof(buf));

	CHECK(n == (ssize_t)strlen(what) && !memcmp(buf, what, strlen(what)), "\"%s\" instead of \"%s\"", buf, what);
	CHECK_EQ(write(to, what, strlen(what)), (ssize_t)strlen(what), what);
}

static void check_files(void)
{
	struct stat a, b;
	char buf[9000];
	int again;

	CHECK_EQ(lseek(file, 0, SEEK_CUR), 4321, "position of the file");
	CHECK(fcntl(file, F_GETFL) & O_APPEND, "flags of the file");
	CHECK(pread(file, buf, 5000, 0) == 5000, "read of the file");
	CHECK_PATTERN(buf, 5000, 1, "the file");
	CHECK_EQ(lseek(deleted, 0, SEEK_CUR), 123, "position of the deleted file");
	CHECK(pread(deleted, buf, 9000, 0) == 9000, "read of the deleted file");
	CHECK_PATTERN(buf, 9000, 2, "the deleted file");
	CHECK(!fstat(deleted, &a) && a.st_nlink == 0, "the deleted file has a name");
	CHECK(!fstat(path, &a) && !stat("file", &b) && a.st_ino == b.st_ino, "the O_PATH descriptor");
	CHECK(!fstat(folder, &a) && S_ISDIR(a.st_mode), "the folder");
	CHECK_EQ(write(null, "x", 1), 1, "/dev/null");
	CHECK_EQ(fcntl(null, F_GETFD), FD_CLOEXEC, "close-on-exec");
	again = open("locked", O_RDWR);
	CHECK(again >= 0 && flock(again, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the lock is gone");
	close(again);
	check_queue(pipe_ends[0], pipe_ends[1], "in the pipe");
	check_queue(fifo, fifo, "in the fifo");
}

/* ---- events ---- */

static void watch(int fd, uint64_t data)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = data };

	MUST(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e));
}

static void make_events(void)
{
	struct itimerspec far = { { 0, 0 }, { 5000, 0 } };
	struct sigevent se = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2 };
	struct itimerval real = { { 0, 0 }, { 6000, 0 } };
	sigset_t set;

	event = (int)MUST(eventfd(41, EFD_NONBLOCK | EFD_SEMAPHORE));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	MUST(pthread_sigmask(SIG_BLOCK, &set, NULL));
	signals = (int)MUST(signalfd(-1, &set, SFD_NONBLOCK));
	MUST(raise(SIGUSR1));
	timer = (int)MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	MUST(timerfd_settime(timer, 0, &far, NULL));
	poller = (int)MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(event, 1);
	watch(timer, 2);
	(void)signal(SIGUSR2, on_signal);
	MUST(timer_create(CLOCK_MONOTONIC, &se, &posix_timer));
	MUST(timer_settime(posix_timer, 0, &far, NULL));
	MUST(setitimer(ITIMER_REAL, &real, NULL));
}

static void check_events(void)
{
	struct signalfd_siginfo si = { 0 };
	struct epoll_event e[4];
	struct itimerspec left;
	struct itimerval real;
	uint64_t n = 0;

	CHECK(read(event, &n, 8) == 8 && n == 1, "semaphore of the eventfd: %llu", (unsigned long long)n);
	CHECK_EQ(eventfd_write(event, 1), 0, "eventfd");
	CHECK(epoll_wait(poller, e, 4, 0) == 1 && e[0].data.u64 == 1, "what the epoll sees");
	CHECK(read(signals, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR1, "signal %u", si.ssi_signo);
	CHECK_EQ(raise(SIGUSR1), 0, "raise");
	CHECK(!timerfd_gettime(timer, &left) && left.it_value.tv_sec > 3000 && left.it_value.tv_sec < 5000, "time left %ld",
	      (long)left.it_value.tv_sec);
	CHECK(!timer_gettime(posix_timer, &left) && left.it_value.tv_sec > 3000 && left.it_value.tv_sec < 5000, "POSIX timer: %ld",
	      (long)left.it_value.tv_sec);
	CHECK(!getitimer(ITIMER_REAL, &real) && real.it_value.tv_sec > 4000, "interval timer: %ld", (long)real.it_value.tv_sec);
	caught = 0;
	CHECK_EQ(raise(SIGUSR2), 0, "raise");
	CHECK_EQ(caught, SIGUSR2, "the handler");
}

/* ---- sockets, terminals ---- */

static void make_sockets(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "socket" };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	unsigned number;
	struct termios2 t;
	char name[32];
	int zero = 0, one = 1, low[24];

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, stream));
	MUST(write(stream[0], "in the stream", 13));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, datagram));
	MUST(write(datagram[0], "a datagram", 10));
	listener = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	MUST(bind(listener, (struct sockaddr *)&un, sizeof(un)));
	MUST(listen(listener, 5));
	tcp = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
	/* the connections of check_connect() leave the port in TIME_WAIT */
	MUST(setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	MUST(bind(tcp, (struct sockaddr *)&in, sizeof(in)));
	MUST(listen(tcp, 5));
	/* a number that nobody else on the machine comes by between a dump and a restore: the lowest free one is given */
	for (int i = 0; i < 24; i++)
		low[i] = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
	master = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK));
	for (int i = 0; i < 24; i++)
		MUST(close(low[i]));
	MUST(ioctl(master, TIOCSPTLCK, &zero));
	MUST(ioctl(master, TIOCGPTN, &number));
	snprintf(name, sizeof(name), "/dev/pts/%u", number);
	slave = (int)MUST(open(name, O_RDWR | O_NOCTTY | O_NONBLOCK));
	MUST(ioctl(slave, TCGETS2, &t));
	t.c_lflag = 0;
	t.c_oflag = 0;
	MUST(ioctl(slave, TCSETS2, &t));
	MUST(write(slave, "printed", 7));
	MUST(write(master, "typed", 5));
}

static void check_connect(int domain, const struct sockaddr *a, socklen_t len, int to)
{
	int c = socket(domain, SOCK_STREAM, 0), s;

	CHECK(c >= 0 && connect(c, a, len) == 0, "connect: %s", strerror(errno));
	s = accept(to, NULL, NULL);
	CHECK(s >= 0, "accept: %s", strerror(errno));
	close(s);
	close(c);
}

static void wait_for_input(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	CHECK_EQ(poll(&p, 1, 5000), 1, "nothing to read");
}

static void check_sockets(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "socket" };
	struct sockaddr_in in = { 0 };
	socklen_t len = sizeof(in);

	check_queue(stream[1], stream[0], "in the stream");
	check_queue(datagram[1], datagram[0], "a datagram");
	check_connect(AF_UNIX, (struct sockaddr *)&un, sizeof(un), listener);
	CHECK_EQ(getsockname(tcp, (struct sockaddr *)&in, &len), 0, "getsockname");
	check_connect(AF_INET, (struct sockaddr *)&in, len, tcp);
	wait_for_input(master);
	check_queue(master, slave, "printed");
	wait_for_input(slave);
	check_queue(slave, master, "typed");
	wait_for_input(master);
	wait_for_input(slave);
}

/* ---- memory ---- */

static void make_memory(void)
{
	int fd = (int)MUST(open("mapped", O_RDWR | O_CREAT, 0600)), id;

	private_memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared_memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(ftruncate(fd, MEMORY));
	mapped = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(close(fd));
	id = (int)MUST(shmget(IPC_PRIVATE, MEMORY, IPC_CREAT | 0600));
	segment = shmat(id, NULL, 0);
	MUST(shmctl(id, IPC_RMID, NULL));
	memory_file = (int)MUST(memfd_create("all kinds", MFD_ALLOW_SEALING));
	MUST(ftruncate(memory_file, MEMORY));
	memory_map = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memory_file, 0);
	pattern_fill(private_memory, MEMORY, 11);
	pattern_fill(shared_memory, MEMORY, 12);
	pattern_fill(mapped, MEMORY, 13);
	pattern_fill(segment, MEMORY, 14);
	pattern_fill(memory_map, MEMORY, 15);
	MUST(fcntl(memory_file, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
}

static void check_memory(void)
{
	CHECK_PATTERN(private_memory, MEMORY, 11, "private memory");
	CHECK_PATTERN(shared_memory, MEMORY, 12, "shared memory");
	CHECK_PATTERN(mapped, MEMORY, 13, "a mapped file");
	CHECK_PATTERN(segment, MEMORY, 14, "a System V segment");
	CHECK_PATTERN(memory_map, MEMORY, 15, "a memory file");
	CHECK_EQ(fcntl(memory_file, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK, "seals");
}

static void check_everything(void)
{
	check_tasks();
	check_files();
	check_events();
	check_sockets();
	check_memory();
}

int main(int argc, char **argv)
{
	check_begin(argc, argv);
	make_memory();
	make_files();
	make_sockets();
	make_tasks();
	make_events();
	check_everything();
	check_announce();
	while (!check_triggered()) {
		if (access("check", F_OK) == 0) {
			check_everything();
			MUST(rename("check", "checked"));
			MUST(unlink("checked"));
		}
		sleep_ms(1);
	}
	check_everything();
	kill(child, SIGKILL);
	kill(stopped, SIGKILL);
	return check_end();
}
