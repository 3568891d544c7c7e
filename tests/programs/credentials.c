// SPDX-License-Identifier: LGPL-2.1-or-later
/* credentials FOLDER user|root: ids, groups, capabilities, securebits, no_new_privs, keepcaps. "root" sets up what needs
 * privileges: different real, effective and saved ids, groups, a small bounding set, ambient capabilities; a second
 * thread with capabilities of its own. */
#include "check.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

static const char *const lines[] = { "Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:",
				     "NoNewPrivs:" };
#define N (sizeof(lines) / sizeof(*lines))

static _Atomic int prepared;

struct creds {
	char *line[N];
	int securebits, keepcaps;
};

static void take(struct creds *c)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%ld/status", syscall(SYS_gettid));
	for (size_t i = 0; i < N; i++)
		c->line[i] = proc_line(path, lines[i]);
	c->securebits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	c->keepcaps = prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0);
}

static void compare(const struct creds *a, const struct creds *b, const char *who)
{
	for (size_t i = 0; i < N; i++)
		CHECK(!strcmp(a->line[i], b->line[i]), "%s %s%s instead of%s", who, lines[i], b->line[i], a->line[i]);
	CHECK_EQ(b->securebits, a->securebits, "securebits");
	CHECK_EQ(b->keepcaps, a->keepcaps, "keepcaps");
}

static void set_caps(uint64_t permitted, uint64_t effective, uint64_t inheritable)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32) },
	};

	MUST(syscall(SYS_capset, &h, d));
}

static void *thread(void *arg)
{
	struct creds a, b;

	if (arg)
		set_caps(1 << CAP_KILL | 1 << CAP_CHOWN, 1 << CAP_CHOWN, 0);
	take(&a);
	prepared = 1;
	check_wait_trigger();
	take(&b);
	compare(&a, &b, "thread");
	return NULL;
}

static _Atomic int n_prepared;

/* Each thread is another user: the raw calls change the calling thread alone. */
static void *different(void *arg)
{
	gid_t n = (gid_t)(long)arg, groups[] = { 7000 + n, 8000 + n };
	struct creds a, b;

	MUST(syscall(SYS_setgroups, n, groups));
	MUST(syscall(SYS_setresgid, 100 + n, 200 + n, 300 + n));
	if (n == 1) { /* all capabilities stay, some are ambient */
		MUST(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0));
		MUST(syscall(SYS_setresuid, 1001, 2001, 3001));
		set_caps(1 << CAP_KILL | 1 << CAP_NET_RAW, 1 << CAP_NET_RAW, 1 << CAP_KILL);
		MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
	} else {
		prctl(PR_CAPBSET_DROP, CAP_SYS_TIME, 0, 0, 0);
		MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		MUST(syscall(SYS_setresuid, 1000 + n, 1000 + n, 1000 + n));
		MUST(syscall(SYS_setfsuid, 1000 + n) >= 0 ? 0 : -1);
	}
	take(&a);
	n_prepared++;
	check_wait_trigger();
	take(&b);
	compare(&a, &b, n == 1 ? "first thread" : "second thread");
	return NULL;
}

static int threads_differ(void)
{
	pthread_t t[2];
	struct creds a, b;

	MUST(chmod(".", 0777));
	for (long i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, different, (void *)(i + 1));
	WAIT_FOR(n_prepared == 2);
	MUST(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
	take(&a);
	check_ready();
	take(&b);
	compare(&a, &b, "process");
	CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0, "no_new_privs of the first thread");
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	return check_end();
}

int main(int argc, char **argv)
{
	bool root = argc > 2 && !strcmp(argv[2], "root");
	struct creds a, b;
	pthread_t t;

	check_begin(argc, argv);
	if (argc > 2 && !strcmp(argv[2], "threads"))
		return threads_differ();
	if (root) {
		gid_t groups[] = { 5, 100, 65000, 1 << 20 };

		MUST(chmod(".", 0777));
		for (int cap = 0; cap <= 40; cap++) {
			if (cap % 3 == 0)
				prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
		}
		MUST(setgroups(4, groups));
		MUST(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED));
		MUST(syscall(SYS_setresgid, 10, 20, 30));
		MUST(syscall(SYS_setresuid, 1000, 2000, 3000));
		setfsgid(20);
		set_caps(1ull << CAP_KILL | 1ull << CAP_CHOWN | 1ull << CAP_NET_RAW | 1ull << CAP_SETPCAP,
			 1ull << CAP_KILL | 1ull << CAP_CHOWN | 1ull << CAP_SETPCAP, 1ull << CAP_KILL | 1ull << CAP_NET_RAW);
		MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
	}
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
	pthread_create(&t, NULL, thread, (void *)root);
	WAIT_FOR(prepared);
	take(&a);
	check_ready();
	take(&b);
	compare(&a, &b, "process");
	pthread_join(t, NULL);
	return check_end();
}
