// SPDX-License-Identifier: LGPL-2.1-or-later
/* attributes FOLDER NAME: one small state of a process each; see the table at the end. */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void comm(void)
{
	char name[32] = "";

	MUST(prctl(PR_SET_NAME, "a) R (\nb \"c", 0, 0, 0));
	check_ready();
	prctl(PR_GET_NAME, name, 0, 0, 0);
	CHECK(!strcmp(name, "a) R (\nb \"c"), "name is %s", name);
}

static void dumpable(void)
{
	MUST(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
	check_ready();
	CHECK_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0, "dumpable");
}

static int pdeath_child(void *arg)
{
	int sig = 0;

	(void)arg;
	MUST(prctl(PR_SET_PDEATHSIG, SIGUSR2, 0, 0, 0));
	signal(SIGUSR2, SIG_IGN);
	check_wait_trigger();
	prctl(PR_GET_PDEATHSIG, &sig, 0, 0, 0);
	CHECK_EQ(sig, SIGUSR2, "parent death signal");
	return 0;
}

static void pdeathsig(void)
{
	pid_t pid = check_fork(pdeath_child, NULL);
	int sig = 0;

	sleep_ms(20);
	MUST(prctl(PR_SET_PDEATHSIG, SIGWINCH, 0, 0, 0));
	check_ready();
	prctl(PR_GET_PDEATHSIG, &sig, 0, 0, 0);
	CHECK_EQ(sig, SIGWINCH, "parent death signal of the root");
	check_child(pid);
}

static void *slack_thread(void *arg)
{
	MUST(prctl(PR_SET_TIMERSLACK, 777777, 0, 0, 0));
	*(_Atomic int *)arg = 1;
	check_wait_trigger();
	CHECK_EQ(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), 777777, "timer slack of a thread");
	return NULL;
}

static void timerslack(void)
{
	_Atomic int set = 0;
	pthread_t t;

	MUST(prctl(PR_SET_TIMERSLACK, 123456, 0, 0, 0));
	pthread_create(&t, NULL, slack_thread, (void *)&set);
	WAIT_FOR(set);
	check_ready();
	CHECK_EQ(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), 123456, "timer slack");
	pthread_join(t, NULL);
}

static void thp_disable(void)
{
	MUST(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	check_ready();
	CHECK_EQ(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 1, "THP disable");
}

static void persona(void)
{
	MUST(personality(ADDR_NO_RANDOMIZE | SHORT_INODE));
	check_ready();
	CHECK_EQ(personality(0xffffffff), ADDR_NO_RANDOMIZE | SHORT_INODE, "personality");
}

#define IOPRIO(class, level) ((class) << 13 | (level))
static void ioprio(void)
{
	MUST(syscall(SYS_ioprio_set, 1, 0, IOPRIO(2, 6)));
	check_ready();
	CHECK_EQ(syscall(SYS_ioprio_get, 1, 0), IOPRIO(2, 6), "I/O priority");
}

static void oom(void)
{
	int fd = (int)MUST(open("/proc/self/oom_score_adj", O_WRONLY));

	MUST(write(fd, "321", 3));
	close(fd);
	check_ready();
	CHECK_EQ(atoi(slurp("/proc/self/oom_score_adj")), 321, "oom_score_adj");
}

static void reaper(void)
{
	int value = 0;

	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	check_ready();
	prctl(PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0);
	CHECK_EQ(value, 1, "child sub-reaper");
}

static void *sched_thread(void *arg)
{
	struct sched_param p = { 0 };

	MUST(sched_setscheduler(0, SCHED_IDLE, &p));
	MUST(setpriority(PRIO_PROCESS, 0, 11));
	*(_Atomic int *)arg = 1;
	check_wait_trigger();
	CHECK_EQ(sched_getscheduler(0), SCHED_IDLE, "policy of a thread");
	CHECK_EQ(getpriority(PRIO_PROCESS, 0), 11, "nice of a thread");
	return NULL;
}

static void sched(void)
{
	struct sched_param p = { 0 };
	_Atomic int set = 0;
	pthread_t t;

	pthread_create(&t, NULL, sched_thread, (void *)&set);
	WAIT_FOR(set);
	MUST(setpriority(PRIO_PROCESS, 0, 7));
	MUST(sched_setscheduler(0, SCHED_BATCH, &p));
	check_ready();
	CHECK_EQ(sched_getscheduler(0), SCHED_BATCH, "policy");
	CHECK_EQ(getpriority(PRIO_PROCESS, 0), 7, "nice");
	pthread_join(t, NULL);
}

static void fifo(void)
{
	struct sched_param p = { .sched_priority = 3 };

	if (sched_setscheduler(0, SCHED_FIFO, &p))
		check_skip("SCHED_FIFO: %s", strerror(errno));
	check_ready();
	CHECK_EQ(sched_getscheduler(0), SCHED_FIFO, "policy");
	CHECK(!sched_getparam(0, &p) && p.sched_priority == 3, "real-time priority %d", p.sched_priority);
}

static void negative_nice(void)
{
	MUST(setpriority(PRIO_PROCESS, 0, -5));
	check_ready();
	CHECK_EQ(getpriority(PRIO_PROCESS, 0), -5, "nice");
}

static void rlimits(void)
{
	struct rlimit before[16], now;

	for (int i = 0; i < 16; i++) {
		MUST(getrlimit(i, &before[i]));
		if (i == RLIMIT_CPU || i == RLIMIT_AS || i == RLIMIT_STACK || i == RLIMIT_NPROC)
			continue;
		/* lower both, soft below hard */
		before[i].rlim_max = i == RLIMIT_NOFILE ? 2000 : before[i].rlim_max == RLIM_INFINITY ? 1ul << (30 + i) :
											       before[i].rlim_max;
		before[i].rlim_cur = before[i].rlim_max / 2;
		if (i == RLIMIT_RTTIME)
			before[i].rlim_cur = RLIM_INFINITY, before[i].rlim_max = RLIM_INFINITY;
		if (setrlimit(i, &before[i]))
			getrlimit(i, &before[i]);
	}
	check_ready();
	for (int i = 0; i < 16; i++) {
		MUST(getrlimit(i, &now));
		CHECK(now.rlim_cur == before[i].rlim_cur && now.rlim_max == before[i].rlim_max,
		      "limit %d: %ld/%ld instead of %ld/%ld", i, (long)now.rlim_cur, (long)now.rlim_max,
		      (long)before[i].rlim_cur, (long)before[i].rlim_max);
	}
}

static void fs_place(void)
{
	MUST(mkdir("deep", 0755));
	MUST(chdir("deep"));
	umask(057);
	check_ready();
	CHECK(!strcmp(strrchr(getcwd(NULL, 0), '/'), "/deep"), "cwd is %s", getcwd(NULL, 0));
	CHECK_EQ(umask(0), 057, "umask");
}

static void cwd_deleted(void)
{
	char *cwd;

	MUST(mkdir("gone", 0755));
	MUST(chdir("gone"));
	MUST(rmdir("../gone"));
	check_ready();
	errno = 0;
	cwd = getcwd(NULL, 0);
	CHECK(!cwd && errno == ENOENT, "cwd is %s", cwd);
	CHECK(open("x", O_CREAT | O_WRONLY, 0600) == -1, "a file can be made in a removed folder");
}

static void chrooted(void)
{
	struct stat st;
	char *cwd;

	MUST(mkdir("new", 0755));
	MUST(mkdir("new/inner", 0755));
	make_file("new/marker", 10, 1);
	/* the protocol's files are reached through a folder inside */
	MUST(chroot("new"));
	MUST(chdir("/inner"));
	strcpy(check_dir, "/");
	check_ready();
	CHECK(!stat("/marker", &st) && st.st_size == 10, "the root is another");
	CHECK(stat("/etc", &st), "the root is the machine's");
	cwd = getcwd(NULL, 0);
	CHECK(cwd && !strcmp(cwd, "/inner"), "cwd is %s", cwd);
}

static void cpus(void)
{
	cpu_set_t one, now;
	int cpu = sched_getcpu();

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	MUST(sched_setaffinity(0, sizeof(one), &one));
	check_ready();
	CPU_ZERO(&now);
	MUST(sched_getaffinity(0, sizeof(now), &now));
	CHECK(CPU_EQUAL(&now, &one), "it may run on %d CPUs", CPU_COUNT(&now));
}

static void coredump_filter(void)
{
	FILE *f = fopen("/proc/self/coredump_filter", "w");
	char *text;

	fputs("0x7", f);
	fclose(f);
	check_ready();
	text = slurp("/proc/self/coredump_filter");
	CHECK_EQ(strtol(text, NULL, 16), 7, "the core dump filter");
}

static void *tsc_thread(void *arg)
{
	int state = 0;

	MUST(prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
	*(_Atomic int *)arg = 1;
	/* A wait that reads no clock: the vdso's would read the counter. */
	while (!check_triggered()) {
		struct timespec t = { 0, 1000000 };

		syscall(SYS_nanosleep, &t, NULL);
	}
	MUST(prctl(PR_GET_TSC, &state));
	CHECK_EQ(state, PR_TSC_SIGSEGV, "the time stamp counter of a thread");
	MUST(prctl(PR_SET_TSC, PR_TSC_ENABLE));
	return NULL;
}

/* One thread may not read it, the other may. */
static void tsc(void)
{
	_Atomic int set = 0;
	int state = 0;
	pthread_t t;

	pthread_create(&t, NULL, tsc_thread, (void *)&set);
	WAIT_FOR(set);
	check_ready();
	MUST(prctl(PR_GET_TSC, &state));
	CHECK_EQ(state, PR_TSC_ENABLE, "the time stamp counter");
	pthread_join(t, NULL);
}

static void mdwe(void)
{
	void *p;

	if (prctl(65 /* PR_SET_MDWE, Linux 6.3 */, 1, 0, 0, 0))
		check_skip("PR_SET_MDWE: %s", strerror(errno));
	check_ready();
	CHECK_EQ(prctl(66, 0, 0, 0, 0), 1, "PR_GET_MDWE");
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p == MAP_FAILED && errno == EACCES, "memory that is written and run");
}

static void memory_merge(void)
{
	if (prctl(67 /* PR_SET_MEMORY_MERGE, Linux 6.4 */, 1, 0, 0, 0))
		check_skip("PR_SET_MEMORY_MERGE: %s", strerror(errno));
	check_ready();
	CHECK_EQ(prctl(68, 0, 0, 0, 0), 1, "PR_GET_MEMORY_MERGE");
}

static void *mce_thread(void *arg)
{
	MUST(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0));
	*(_Atomic int *)arg = 1;
	check_wait_trigger();
	CHECK_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_LATE, "PR_MCE_KILL_GET of a thread");
	return NULL;
}

static void mce_kill(void)
{
	_Atomic int set = 0;
	pthread_t t;

	if (prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0))
		check_skip("PR_MCE_KILL: %s", strerror(errno));
	pthread_create(&t, NULL, mce_thread, (void *)&set);
	WAIT_FOR(set);
	check_ready();
	CHECK_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY, "PR_MCE_KILL_GET");
	pthread_join(t, NULL);
}

static void speculation(void)
{
	int before[3], changed = 0;

	for (int i = 0; i < 3; i++) {
		/* the third is off unless it is enabled */
		if (!prctl(PR_SET_SPECULATION_CTRL, i, i == 2 ? PR_SPEC_ENABLE : PR_SPEC_DISABLE, 0, 0))
			changed++;
		before[i] = prctl(PR_GET_SPECULATION_CTRL, i, 0, 0, 0);
	}
	if (!changed)
		check_skip("PR_SET_SPECULATION_CTRL: %s", strerror(errno));
	check_ready();
	for (int i = 0; i < 3; i++)
		CHECK_EQ(prctl(PR_GET_SPECULATION_CTRL, i, 0, 0, 0), before[i], "PR_GET_SPECULATION_CTRL");
}

struct scheduling {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static void deadline(void)
{
	struct scheduling want = { .size = sizeof(want), .policy = 6, .flags = 1 | 2, .runtime = 2000000, .deadline = 9000000,
				   .period = 20000000 }, now = { 0 };

	if (syscall(SYS_sched_setattr, 0, &want, 0))
		check_skip("SCHED_DEADLINE: %s", strerror(errno));
	check_ready();
	MUST(syscall(SYS_sched_getattr, 0, &now, sizeof(now), 0));
	CHECK_EQ(now.policy, 6, "policy");
	CHECK_EQ(now.flags, 3, "flags");
	CHECK(now.runtime == want.runtime && now.deadline == want.deadline && now.period == want.period,
	      "runtime %llu, deadline %llu, period %llu", (unsigned long long)now.runtime, (unsigned long long)now.deadline,
	      (unsigned long long)now.period);
}

static void slice(void)
{
	struct scheduling want = { .size = sizeof(want), .runtime = 700000, .nice = 3 }, now = { 0 };

	MUST(syscall(SYS_sched_setattr, 0, &want, 0));
	MUST(syscall(SYS_sched_getattr, 0, &now, sizeof(now), 0));
	if (now.runtime != want.runtime)
		check_skip("no slices");
	check_ready();
	MUST(syscall(SYS_sched_getattr, 0, &now, sizeof(now), 0));
	CHECK_EQ(now.runtime, want.runtime, "slice");
	CHECK_EQ(now.nice, 3, "nice");
}

static void autogroup(void)
{
	FILE *f = fopen("/proc/self/autogroup", "r+");

	if (!f)
		check_skip("autogroup: %s", strerror(errno));
	fputs("7", f);
	if (fclose(f))
		check_skip("autogroup: %s", strerror(errno));
	check_ready();
	CHECK(strstr(slurp("/proc/self/autogroup"), " nice 7"), "autogroup is %s", slurp("/proc/self/autogroup"));
}

/* The front of a detached restore ends at once: that must not be the end of the root. */
static void pdeath_deadly(void)
{
	MUST(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
	check_ready();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*test)(void);
	} table[] = {
		{ "comm", comm }, { "dumpable", dumpable }, { "pdeathsig", pdeathsig }, { "timerslack", timerslack },
		{ "thp_disable", thp_disable }, { "personality", persona }, { "ioprio", ioprio },
		{ "oom_score_adj", oom }, { "subreaper", reaper }, { "sched", sched }, { "fifo", fifo },
		{ "negative_nice", negative_nice }, { "rlimits", rlimits }, { "fs", fs_place },
		{ "cwd_deleted", cwd_deleted }, { "chroot", chrooted }, { "cpus", cpus },
		{ "coredump_filter", coredump_filter }, { "pdeath_deadly", pdeath_deadly },
		{ "tsc", tsc }, { "mdwe", mdwe }, { "memory_merge", memory_merge }, { "mce_kill", mce_kill },
		{ "speculation", speculation }, { "autogroup", autogroup },
		{ "deadline", deadline }, { "slice", slice },
	};

	check_begin(argc, argv);
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		if (argc > 2 && !strcmp(argv[2], table[i].name)) {
			table[i].test();
			return check_end();
		}
	}
	DIE("no such attribute");
}
