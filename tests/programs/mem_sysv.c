// SPDX-License-Identifier: LGPL-2.1-or-later
/* System V shared memory: id, key, owner, mode and content of a segment; removed, read-only, shared by two tasks, attached
 * in pieces, with huge pages. What is made here is removed at the end. */
#include "check.h"

#include <sys/mman.h>
#include <sys/shm.h>

#define PAGE 4096ul
#define PAGES 16
#define SIZE (PAGES * PAGE - 100) /* not whole pages */
#define HUGE (2ul << 20)

static int id;
static key_t key;
static struct shmid_ds before;

static char *attach(int flags)
{
	char *p = shmat(id, NULL, flags);

	if (p == (void *)-1)
		DIE("shmat: %s", strerror(errno));
	return p;
}

static char *make(key_t k, size_t size, int flags)
{
	id = (int)MUST(shmget(k, size, IPC_CREAT | IPC_EXCL | flags));
	return attach(0);
}

static void check_segment(unsigned attached)
{
	struct shmid_ds now;

	if (shmctl(id, IPC_STAT, &now)) {
		FAIL("IPC_STAT: %s", strerror(errno));
		return;
	}
	CHECK_EQ(now.shm_perm.__key, before.shm_perm.__key, "key");
	CHECK_EQ(now.shm_perm.uid, before.shm_perm.uid, "uid");
	CHECK_EQ(now.shm_perm.gid, before.shm_perm.gid, "gid");
	CHECK_EQ(now.shm_perm.cuid, before.shm_perm.cuid, "cuid");
	CHECK_EQ(now.shm_perm.cgid, before.shm_perm.cgid, "cgid");
	CHECK_EQ(now.shm_perm.mode, before.shm_perm.mode, "mode");
	CHECK_EQ(now.shm_perm.__seq, before.shm_perm.__seq, "sequence number");
	CHECK_EQ(now.shm_segsz, before.shm_segsz, "size");
	CHECK_EQ(now.shm_nattch, attached, "attachments");
}

static bool mapped(const void *p)
{
	return msync((void *)p, PAGE, MS_ASYNC) == 0;
}

static void with_key(void)
{
	char *a = make(key, SIZE, 0640), *b = attach(0);

	pattern_fill(a, 2 * PAGE, 1);
	pattern_fill(a + 8 * PAGE, PAGE, 2);
	MUST(shmctl(id, IPC_STAT, &before));
	check_ready();
	check_segment(2);
	CHECK_EQ(shmget(key, 0, 0), id, "the key's segment");
	CHECK_PATTERN(a, 2 * PAGE, 1, "start");
	CHECK_PATTERN(b + 8 * PAGE, PAGE, 2, "middle, second attachment");
	CHECK_EQ(a[4 * PAGE], 0, "untouched");
	a[4 * PAGE] = 5;
	CHECK_EQ(b[4 * PAGE], 5, "what was written beside it");
	CHECK(!shmdt(a) && !mapped(a) && mapped(b + 15 * PAGE), "shmdt");
	check_segment(1);
}

static void without_key(void)
{
	char *a = make(IPC_PRIVATE, SIZE, 0600);

	if (shmctl(id, SHM_LOCK, NULL) && errno != EPERM && errno != ENOMEM)
		DIE("SHM_LOCK: %s", strerror(errno));
	MUST(shmctl(id, IPC_STAT, &before));
	if (geteuid() == 0) { /* owner and creator may differ */
		before.shm_perm.uid = 1;
		before.shm_perm.gid = 2;
		MUST(shmctl(id, IPC_SET, &before));
		MUST(shmctl(id, IPC_STAT, &before));
	}
	pattern_fill(a, PAGES * PAGE, 3);
	check_ready();
	check_segment(1);
	CHECK_PATTERN(a, PAGES * PAGE, 3, "content, behind the end of the last page too");
}

static void removed(void)
{
	char *a = make(key, SIZE, 0600);
	struct shmid_ds ds;

	pattern_fill(a, PAGE, 4);
	MUST(shmctl(id, IPC_RMID, NULL));
	MUST(shmctl(id, IPC_STAT, &before));
	check_ready();
	check_segment(1);
	CHECK_PATTERN(a, PAGE, 4, "content");
	CHECK(!shmdt(a), "shmdt: %s", strerror(errno));
	CHECK(shmctl(id, IPC_STAT, &ds) == -1, "it outlives its last attachment");
	id = -1;
}

static void readonly(void)
{
	char *a = make(key, SIZE, 0700), *r = attach(SHM_RDONLY), *x = attach(SHM_RDONLY | SHM_EXEC);

	pattern_fill(a, PAGE, 5);
	MUST(mprotect(x + PAGE, PAGE, PROT_NONE));
	MUST(shmctl(id, IPC_STAT, &before));
	check_ready();
	check_segment(5); /* mprotect() made three of one */
	CHECK_PATTERN(r, PAGE, 5, "content");
	CHECK(mprotect(r, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES, "read-only became writable");
	CHECK(mprotect(a, PAGE, PROT_READ) == 0 && mprotect(a, PAGE, PROT_READ | PROT_WRITE) == 0, "writable is not");
	a[0] ^= 1;
	CHECK(a[0] == r[0] && a[0] == x[0], "no longer one segment");
	CHECK(!shmdt(x) && !mapped(x) && !mapped(x + PAGE) && !mapped(x + 2 * PAGE), "shmdt of three pieces");
}

static char *shared;

static int child(void *arg)
{
	char *own = attach(0);

	(void)arg;
	own[9 * PAGE] = 9;
	check_wait_trigger();
	CHECK_PATTERN(own, PAGE, 6, "the child's own attachment");
	CHECK_PATTERN(shared, PAGE, 6, "the inherited one");
	own[10 * PAGE] = 10;
	return 0;
}

static void two(void)
{
	pid_t pid;

	shared = make(key, SIZE, 0600);
	pattern_fill(shared, PAGE, 6);
	pid = check_fork(child, NULL);
	WAIT_FOR(*(volatile char *)(shared + 9 * PAGE) == 9);
	MUST(shmctl(id, IPC_STAT, &before));
	check_ready();
	check_child(pid);
	check_segment(1);
	CHECK_EQ(shared[10 * PAGE], 10, "what the child wrote");
	CHECK_EQ(shared[9 * PAGE], 9, "what the child wrote before");
}

static void partial(void)
{
	char *a = make(key, SIZE, 0600), *all = attach(0), *gap, *moved;

	for (uint32_t i = 0; i < PAGES; i++)
		pattern_fill(a + i * PAGE, PAGE, 20 + i);
	MUST(munmap(a + 4 * PAGE, 4 * PAGE));
	gap = mmap(a + 5 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	moved = mremap(a + 14 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a + 6 * PAGE);
	if (gap == MAP_FAILED || moved == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
	MUST(mprotect(a + 10 * PAGE, PAGE, PROT_READ));
	MUST(munmap(a + 15 * PAGE, PAGE));
	pattern_fill(gap, PAGE, 7);
	MUST(shmctl(id, IPC_STAT, &before));
	check_ready();
	check_segment(1 + 5);
	for (uint32_t i = 0; i < PAGES; i++) {
		CHECK_PATTERN(all + i * PAGE, PAGE, 20 + i, "the whole attachment");
		CHECK_EQ(mapped(a + i * PAGE), i < 4 || i == 5 || i == 6 || (i > 7 && i < 14), "mapped");
		if (i < 4 || (i > 7 && i < 14))
			CHECK_PATTERN(a + i * PAGE, PAGE, 20 + i, "a piece");
	}
	CHECK_PATTERN(moved, PAGE, 34, "the moved piece");
	CHECK_PATTERN(gap, PAGE, 7, "what lies in the gap");
	all[10 * PAGE] ^= 1;
	CHECK(all[10 * PAGE] == a[10 * PAGE], "no longer one segment");
	CHECK(!shmdt(a), "shmdt: %s", strerror(errno));
	CHECK(!mapped(a) && !mapped(a + 9 * PAGE) && !mapped(a + 10 * PAGE) && !mapped(a + 13 * PAGE), "shmdt left pieces");
	CHECK(mapped(gap) && mapped(all), "shmdt took too much");
}

/* Two segments: what happens to one when the other cannot come back. */
static void pair(void)
{
	char *a = make(IPC_PRIVATE, PAGE, 0600), *b;
	int first = id;

	b = make(key, SIZE, 0600);
	pattern_fill(a, PAGE, 50);
	pattern_fill(b, PAGE, 51);
	MUST(shmctl(id, IPC_STAT, &before));
	check_ready();
	check_segment(1);
	CHECK_PATTERN(a, PAGE, 50, "the first");
	CHECK_PATTERN(b, PAGE, 51, "the second");
	CHECK(!shmctl(first, IPC_RMID, NULL), "IPC_RMID: %s", strerror(errno));
}

static void huge(void)
{
	char *a;

	id = shmget(IPC_PRIVATE, 2 * HUGE - 5, IPC_CREAT | SHM_HUGETLB | 0600);
	a = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (a == (void *)-1) {
		if (id >= 0)
			shmctl(id, IPC_RMID, NULL);
		check_skip("no huge pages: %s", strerror(errno));
	}
	pattern_fill(a, HUGE, 8);
	MUST(munmap(a + HUGE, HUGE));
	MUST(shmctl(id, IPC_STAT, &before));
	check_ready();
	check_segment(1);
	CHECK_PATTERN(a, HUGE, 8, "content");
	CHECK(!mapped(a + HUGE), "the second half came back");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} all[] = { { "key", with_key }, { "private", without_key }, { "removed", removed }, { "readonly", readonly },
		    { "two", two },      { "partial", partial }, { "pair", pair },	 { "huge", huge } };

	check_begin(argc, argv);
	key = (key_t)(0x66000000 | getpid());
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (argc > 2 && !strcmp(argv[2], all[i].name)) {
			all[i].run();
			if (id >= 0)
				CHECK(!shmctl(id, IPC_RMID, NULL), "IPC_RMID: %s", strerror(errno));
			return check_end();
		}
	}
	DIE("no such case");
}
