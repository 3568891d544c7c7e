// SPDX-License-Identifier: LGPL-2.1-or-later
/* not_carried FOLDER KIND…: one object of each kind, which an engine may refuse; the program must be as before then. */
#include "check.h"

#include <asm/ldt.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static pid_t helper; /* a child that ends with another signal than SIGCHLD */

static int tcp_pair(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), c = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
	socklen_t len = sizeof(a);

	MUST(bind(l, (struct sockaddr *)&a, sizeof(a)));
	MUST(listen(l, 1));
	MUST(getsockname(l, (struct sockaddr *)&a, &len));
	MUST(connect(c, (struct sockaddr *)&a, sizeof(a)));
	return (int)MUST(accept(l, NULL, NULL));
}

/* A socket with an eBPF program that lets everything through; the program's own descriptor is closed. */
static int ebpf_filter(int family)
{
	struct bpf_insn code[] = { { .code = 0xb7 /* r0 = */, .imm = 0xffff }, { .code = 0x95 /* exit */ } };
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insns = (uintptr_t)code, .insn_cnt = 2,
				.license = (uintptr_t)"x" };
	int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)), fd = socket(family, SOCK_DGRAM, 0);

	if (program < 0)
		return -1;
	MUST(setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &program, sizeof(program)));
	close(program);
	return fd;
}

static int netns_socket(void)
{
	int here = (int)MUST(open("/proc/self/ns/net", O_RDONLY)), fd;

	if (unshare(CLONE_NEWNET))
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	MUST(setns(here, CLONE_NEWNET));
	close(here);
	return fd;
}

static void *open_own_comm(void *ret)
{
	*(int *)ret = open("/proc/thread-self/comm", O_RDONLY);
	return NULL;
}
static char *queue; /* to be removed at the end */

static int set_up(const char *kind)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (!strcmp(kind, "epoll"))
		return epoll_create1(0);
	if (!strcmp(kind, "timerfd"))
		return timerfd_create(CLOCK_MONOTONIC, 0);
	if (!strcmp(kind, "signalfd"))
		return signalfd(-1, &set, 0);
	if (!strcmp(kind, "tcp"))
		return tcp_pair();
	if (!strcmp(kind, "ebpf_filter"))
		return ebpf_filter(AF_INET);
	if (!strcmp(kind, "ebpf_filter_unix"))
		return ebpf_filter(AF_UNIX);
	if (!strcmp(kind, "netns_socket"))
		return netns_socket();
	if (!strcmp(kind, "alg"))
		return socket(AF_ALG, SOCK_SEQPACKET, 0);
	if (!strcmp(kind, "other_pidfd"))
		return (int)syscall(SYS_pidfd_open, 1, 0);
	if (!strcmp(kind, "userfaultfd"))
		return (int)syscall(SYS_userfaultfd, O_NONBLOCK);
	if (!strcmp(kind, "io_uring")) {
		char params[120] = "";

		return (int)syscall(SYS_io_uring_setup, 4, params);
	}
	if (!strcmp(kind, "perf")) {
		struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(attr), .config = PERF_COUNT_SW_TASK_CLOCK };

		return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	}
	if (!strcmp(kind, "flock")) {
		int fd = (int)MUST(open("locked", O_RDWR | O_CREAT, 0600));

		MUST(flock(fd, LOCK_EX));
		return fd;
	}
	if (!strcmp(kind, "posix_lock")) {
		struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 100 };
		int fd = (int)MUST(open("locked", O_RDWR | O_CREAT, 0600));

		MUST(fcntl(fd, F_SETLK, &l));
		return fd;
	}
	if (!strcmp(kind, "sysv_shm")) {
		int id = (int)MUST(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
		void *p = shmat(id, NULL, 0);

		MUST(shmctl(id, IPC_RMID, NULL));
		return p == (void *)-1 ? -1 : 0;
	}
	if (!strcmp(kind, "seccomp")) {
		struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		struct sock_fprog prog = { 1, &allow };

		MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
	}
	if (!strcmp(kind, "other_proc"))
		return open("/proc/1/status", O_RDONLY);
	if (!strcmp(kind, "namespace")) {
		int fd;

		/* a namespace that nothing but the descriptor keeps, of which the task is no member */
		int own = (int)MUST(open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC));

		MUST(unshare(CLONE_NEWUTS));
		fd = open("/proc/self/ns/uts", O_RDONLY);
		MUST(setns(own, CLONE_NEWUTS));
		close(own);
		return fd;
	}
	if (!strcmp(kind, "secretmem"))
		return (int)syscall(447 /* memfd_secret, Linux 5.14 */, 0);
	if (!strcmp(kind, "tun"))
		return open("/dev/net/tun", O_RDWR);
	if (!strcmp(kind, "uring_ring")) {
		char params[120] = "";
		int fd = (int)syscall(SYS_io_uring_setup, 4, params);

		if (fd >= 0 && mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
			return -1;
		close(fd);
		return fd < 0 ? -1 : 0;
	}
	if (!strcmp(kind, "dead_thread")) {
		pthread_t t;
		int fd = -1;

		pthread_create(&t, NULL, open_own_comm, &fd);
		pthread_join(t, NULL);
		return fd;
	}
	if (!strcmp(kind, "ldt")) {
		struct user_desc d = { .entry_number = 0, .base_addr = 0x1000, .limit = 10, .seg_32bit = 1, .useable = 1 };

		return (int)syscall(SYS_modify_ldt, 1, &d, sizeof(d));
	}
	if (!strcmp(kind, "mdwe"))
		return prctl(65 /* PR_SET_MDWE, Linux 6.3 */, 1, 0, 0, 0);
	if (!strcmp(kind, "tsc"))
		return prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
	if (!strcmp(kind, "dispatch")) {
		static char selector; /* SYSCALL_DISPATCH_FILTER_ALLOW */

		return prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH, Linux 5.11 */, 1, 0, 0, &selector);
	}
	if (!strcmp(kind, "exit_signal")) {
		pid_t pid = (pid_t)MUST(syscall(SYS_clone, SIGUSR1, 0, 0, 0, 0));

		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		helper = pid;
		return 0;
	}
	if (!strcmp(kind, "mqueue")) {
		int fd = (int)syscall(SYS_mq_open, "firn-test-queue", O_RDWR | O_CREAT, 0600, NULL);

		syscall(SYS_mq_unlink, "firn-test-queue");
		return fd;
	}
	if (!strcmp(kind, "mq_notify")) {
		struct sigevent ev = { .sigev_notify = SIGEV_NONE };
		char name[64];
		int fd;

		snprintf(name, sizeof(name), "firn-test-%d", getpid());
		fd = (int)syscall(SYS_mq_open, name, O_WRONLY | O_CREAT, 0600, NULL);
		queue = strdup(name);
		return fd < 0 ? fd : (int)syscall(SYS_mq_notify, fd, &ev);
	}
	if (!strcmp(kind, "none"))
		return 0;
	DIE("no such kind");
}

int main(int argc, char **argv)
{
	check_begin(argc, argv);
	for (int i = 2; i < argc; i++)
		if (set_up(argv[i]) < 0)
			check_skip("%s: %s", argv[i], strerror(errno));
	check_ready();
	if (helper) {
		(void)signal(SIGUSR1, SIG_IGN); /* which it sends at its end */
		kill(helper, SIGKILL);
		CHECK_EQ(waitpid(helper, NULL, __WALL), helper, "wait for the child");
	}
	if (queue)
		syscall(SYS_mq_unlink, queue);
	return check_end();
}
