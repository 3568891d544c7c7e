// SPDX-License-Identifier: LGPL-2.1-or-later
/* seccomp FOLDER MODE: filters and strict mode; see the table at the end. */
#include "check.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define SKIP_UNLESS(value, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (n))
#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static void no_new_privs(void)
{
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static int install(struct sock_filter *code, size_t n, unsigned long flags)
{
	struct sock_fprog prog = { (unsigned short)n, code };

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

/* One more filter: @nr fails with @error. */
static int deny(long nr, int error, unsigned long flags)
{
	struct sock_filter code[] = {
		LOAD(nr),
		SKIP_UNLESS((unsigned)nr, 1),
		RETURN(SECCOMP_RET_ERRNO | (unsigned)error),
		RETURN(SECCOMP_RET_ALLOW),
	};

	return install(code, LEN(code), flags);
}

static void check_denied(long nr, int error, const char *what)
{
	long r;

	errno = 0;
	r = syscall(nr, -1, -1, -1);
	CHECK(r == -1 && errno == error, "%s: %s instead of %s", what, r == -1 ? strerror(errno) : "success",
	      strerror(error));
}

static void check_status(int mode, int filters, int nnp)
{
	CHECK_EQ(atoi(proc_line("/proc/thread-self/status", "Seccomp:")), mode, "seccomp mode");
	CHECK_EQ(atoi(proc_line("/proc/thread-self/status", "Seccomp_filters:")), filters, "number of filters");
	CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), nnp, "no_new_privs");
}

static void one_filter(void)
{
	no_new_privs();
	MUST(deny(SYS_getpriority, EBADSLT, 0));
	check_ready();
	check_denied(SYS_getpriority, EBADSLT, "getpriority");
	check_status(2, 1, 1);
}

/* Without no_new_privs, as CAP_SYS_ADMIN allows. */
static void privileged(void)
{
	MUST(deny(SYS_getpriority, EBADSLT, 0));
	check_ready();
	check_denied(SYS_getpriority, EBADSLT, "getpriority");
	check_status(2, 1, 0);
}

/* What an unforgiving sandbox allows: nearly nothing, and whoever does more is killed. */
static void kill_filter(void)
{
	static const unsigned short allowed[] = { SYS_nanosleep,
						  SYS_clock_nanosleep,
						  SYS_openat,
						  SYS_write,
						  SYS_read,
						  SYS_close,
						  SYS_exit_group,
						  SYS_fcntl,
						  SYS_newfstatat,
						  SYS_access,
						  SYS_faccessat,
						  SYS_rt_sigreturn,
						  SYS_restart_syscall,
						  SYS_brk,
						  SYS_lseek,
						  SYS_rename,
						  SYS_getpid,
						  SYS_gettid,
						  SYS_getrandom,
						  SYS_mmap,
						  SYS_munmap,
						  SYS_stat };
	struct sock_filter code[4 + 2 * LEN(allowed) + 1] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
	};
	size_t n = 4;

	for (size_t i = 0; i < LEN(allowed); i++) {
		code[n++] = (struct sock_filter)SKIP_UNLESS(allowed[i], 1);
		code[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
	no_new_privs();
	MUST(install(code, n, 0));
	check_ready();
	CHECK_EQ(atoi(proc_line("/proc/self/status", "Seccomp:")), 2, "seccomp mode");
	CHECK_EQ(atoi(proc_line("/proc/self/status", "NoNewPrivs:")), 1, "no_new_privs");
}

/* A child that was made before the filters looks at them from outside: the whole chain, byte for byte. */
#define WATCHED 5
struct snapshot {
	long n;
	struct sock_filter code[16];
	unsigned long flags;
};

static void look(pid_t pid, struct snapshot *s)
{
	int status;

	MUST(ptrace(PTRACE_SEIZE, pid, 0, 0));
	MUST(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
	MUST(waitpid(pid, &status, __WALL));
	for (unsigned long i = 0; i <= WATCHED; i++) {
		struct {
			unsigned long index, flags;
		} metadata = { i, 0 };

		s[i].n = ptrace(0x420c /* PTRACE_SECCOMP_GET_FILTER */, pid, i, s[i].code);
		if (s[i].n > 0)
			MUST(ptrace(0x420d /* PTRACE_SECCOMP_GET_METADATA */, pid, sizeof(metadata), &metadata));
		s[i].flags = metadata.flags;
	}
	MUST(ptrace(PTRACE_DETACH, pid, 0, 0));
}

static int watcher(void *arg)
{
	static struct snapshot before[WATCHED + 1], after[WATCHED + 1];
	int *pipe_ends = arg;
	char byte;

	MUST(read(pipe_ends[0], &byte, 1));
	look(getppid(), before);
	MUST(write(pipe_ends[1], "x", 1));
	check_wait_trigger();
	look(getppid(), after);
	for (int i = 0; i <= WATCHED; i++)
		CHECK(before[i].n == after[i].n && before[i].flags == after[i].flags &&
			      !memcmp(before[i].code, after[i].code, sizeof(before[i].code)),
		      "filter %d differs", i);
	CHECK_EQ(before[WATCHED - 1].n, 4, "length of the last filter");
	CHECK_EQ(before[WATCHED].n, -1, "one filter too many");
	CHECK_EQ(before[1].flags, SECCOMP_FILTER_FLAG_LOG, "flags of the second filter");
	return 0;
}

static void chain(void)
{
	int to[2], from[2], ends[2];
	char byte;
	pid_t pid;

	MUST(pipe(to));
	MUST(pipe(from));
	ends[0] = to[0];
	ends[1] = from[1];
	pid = check_fork(watcher, ends);
	MUST(deny(SYS_getpriority, EBADSLT, 0));
	MUST(deny(SYS_ioprio_get, EBADRQC, SECCOMP_FILTER_FLAG_LOG));
	MUST(deny(SYS_getpriority, EXFULL, 0));
	MUST(deny(SYS_sched_getparam, ENOANO, SECCOMP_FILTER_FLAG_LOG));
	MUST(deny(SYS_ioprio_get, EBADRQC, SECCOMP_FILTER_FLAG_LOG));
	MUST(write(to[1], "x", 1));
	MUST(read(from[0], &byte, 1));
	check_ready();
	check_denied(SYS_getpriority, EXFULL, "getpriority, twice denied");
	check_denied(SYS_ioprio_get, EBADRQC, "ioprio_get");
	check_denied(SYS_sched_getparam, ENOANO, "sched_getparam");
	check_status(2, WATCHED, 0);
	check_child(pid);
}

static _Atomic int set;
static pthread_barrier_t barrier;

/* Its filter is that of all, so that the main thread can give it another one. */
static void *with_common(void *arg)
{
	(void)arg;
	set++;
	check_wait_trigger();
	check_denied(SYS_getpriority, EBADSLT, "getpriority in a thread");
	check_status(2, 1, 1);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	check_denied(SYS_ioprio_get, EBADRQC, "ioprio_get in a thread after TSYNC");
	return NULL;
}

static void threads(void)
{
	pthread_t t[3];

	pthread_barrier_init(&barrier, NULL, 4);
	no_new_privs();
	MUST(deny(SYS_getpriority, EBADSLT, 0));
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, with_common, NULL);
	WAIT_FOR(set == 3);
	check_ready();
	check_status(2, 1, 1);
	pthread_barrier_wait(&barrier);
	CHECK_EQ(deny(SYS_ioprio_get, EBADRQC, SECCOMP_FILTER_FLAG_TSYNC), 0, "one more filter for all threads");
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

static void *free_thread(void *arg)
{
	(void)arg;
	set++;
	check_wait_trigger();
	check_status(0, 0, 0);
	CHECK_EQ(syscall(SYS_getpriority, 0, 0) > 0, 1, "getpriority in the thread without a filter");
	return NULL;
}

static void *filtered_thread(void *arg)
{
	(void)arg;
	no_new_privs();
	MUST(deny(SYS_getpriority, EBADSLT, 0));
	MUST(deny(SYS_sched_getparam, ENOANO, 0));
	set++;
	check_wait_trigger();
	check_denied(SYS_getpriority, EBADSLT, "getpriority in a thread");
	check_denied(SYS_sched_getparam, ENOANO, "sched_getparam in a thread");
	check_status(2, 2, 1);
	return NULL;
}

/* Each thread for itself: the leader has none. */
static void threads_mixed(void)
{
	pthread_t t[3];

	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, i == 1 ? free_thread : filtered_thread, NULL);
	WAIT_FOR(set == 3);
	check_ready();
	check_status(0, 0, 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

/* read, write, exit and sigreturn are all that is left. */
static pid_t strict_child(int in, int out, bool obey)
{
	pid_t pid = (pid_t)MUST(fork());
	char byte;

	if (pid > 0)
		return pid;
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	syscall(SYS_write, out, "r", 1);
	syscall(SYS_read, in, &byte, 1);
	byte++;
	syscall(SYS_write, out, &byte, 1);
	if (!obey)
		syscall(SYS_getppid);
	syscall(SYS_exit, 23);
	return 0;
}

static void strict(void)
{
	int to[2], from[2], status;
	char byte = 0;
	char path[64];
	pid_t pid;

	MUST(pipe(to));
	MUST(pipe(from));
	pid = strict_child(to[0], from[1], true);
	MUST(read(from[0], &byte, 1));
	check_ready();
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	CHECK_EQ(atoi(proc_line(path, "Seccomp:")), 1, "seccomp mode");
	MUST(write(to[1], "k", 1));
	CHECK_EQ(read(from[0], &byte, 1), 1, "an answer");
	CHECK_EQ(byte, 'l', "the answer");
	CHECK_EQ(waitpid(pid, &status, 0), pid, "its end");
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 23, "status %#x", status);
}

static void strict_killed(void)
{
	int to[2], from[2], status;
	char byte;
	pid_t pid;

	MUST(pipe(to));
	MUST(pipe(from));
	pid = strict_child(to[0], from[1], false);
	MUST(read(from[0], &byte, 1));
	check_ready();
	MUST(write(to[1], "k", 1));
	CHECK_EQ(waitpid(pid, &status, 0), pid, "its end");
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x", status);
}

/* Filters are inherited: the child has its parent's and one more. */
static int inheritor(void *arg)
{
	MUST(deny(SYS_sched_getparam, ENOANO, 0));
	*(char *)arg = 1;
	check_wait_trigger();
	check_denied(SYS_getpriority, EBADSLT, "getpriority in the child");
	check_denied(SYS_sched_getparam, ENOANO, "sched_getparam in the child");
	check_status(2, 2, 1);
	return 0;
}

static void family(void)
{
	volatile char *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	no_new_privs();
	MUST(deny(SYS_getpriority, EBADSLT, 0));
	pid = check_fork(inheritor, (void *)done);
	WAIT_FOR(*done);
	check_ready();
	check_denied(SYS_getpriority, EBADSLT, "getpriority");
	check_status(2, 1, 1);
	check_child(pid);
}

/* A signal that the filter sends (SECCOMP_RET_TRAP). */
static volatile sig_atomic_t trapped;
static void on_trap(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	trapped = info->si_syscall;
}

static void trap(void)
{
	struct sigaction act = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	struct sock_filter code[] = {
		LOAD(nr),
		SKIP_UNLESS(SYS_getpriority, 1),
		RETURN(SECCOMP_RET_TRAP | 7),
		RETURN(SECCOMP_RET_ALLOW),
	};

	MUST(sigaction(SIGSYS, &act, NULL));
	no_new_privs();
	MUST(install(code, LEN(code), 0));
	check_ready();
	syscall(SYS_getpriority, 0, 0);
	CHECK_EQ(trapped, SYS_getpriority, "the trapped call");
}

/* A supervisor answers: what it holds is no descriptor that could be made again. */
static void notify(void)
{
	struct sock_filter code[] = {
		LOAD(nr),
		SKIP_UNLESS(SYS_getpriority, 1),
		RETURN(SECCOMP_RET_USER_NOTIF),
		RETURN(SECCOMP_RET_ALLOW),
	};
	int fd;

	no_new_privs();
	fd = (int)MUST(install(code, LEN(code), SECCOMP_FILTER_FLAG_NEW_LISTENER));
	close(fd); /* it would be refused by itself */
	check_ready();
	check_denied(SYS_getpriority, ENOSYS, "getpriority");
}

/* Not a test: runs a program under a filter. */
static int execute(char **argv)
{
	MUST(deny(SYS_getpriority, EBADSLT, 0));
	execv(argv[0], argv);
	return 3;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*test)(void);
	} table[] = {
		{ "filter", one_filter }, { "privileged", privileged },
		{ "kill", kill_filter },  { "chain", chain },
		{ "threads", threads },	  { "mixed", threads_mixed },
		{ "strict", strict },	  { "strict_killed", strict_killed },
		{ "family", family },	  { "trap", trap },
		{ "notify", notify },
	};

	if (argc > 3 && !strcmp(argv[2], "exec"))
		return execute(argv + 3);
	check_begin(argc, argv);
	for (size_t i = 0; i < LEN(table); i++) {
		if (argc > 2 && !strcmp(argv[2], table[i].name)) {
			table[i].test();
			return check_end();
		}
	}
	DIE("no such mode");
}
