// SPDX-License-Identifier: LGPL-2.1-or-later
/* mem_late FOLDER MODE: what comes to memory after its content: guard regions, seals, droppable memory, names, and locks of
 * what is mapped later. */
#include "check.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define PAGE 4096ul
#define GUARD_INSTALL 102
#define GUARD_REMOVE 103

static sigjmp_buf jump;

static void fault(int sig)
{
	siglongjmp(jump, sig);
}

static bool faults(volatile char *p)
{
	if (sigsetjmp(jump, 1))
		return true;
	(void)*p;
	return false;
}

static char *map(size_t pages, int flags, int fd)
{
	char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	if (p == MAP_FAILED)
		check_skip("mmap: %s", strerror(errno));
	return p;
}

/* The VmFlags of the area at @p have @flag. */
static bool has_flag(const void *p, const char *flag)
{
	char *text = slurp("/proc/self/smaps"), *line;
	unsigned long s, e;
	bool here = false, ret = false;

	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (sscanf(line, "%lx-%lx ", &s, &e) == 2)
			here = s <= (unsigned long)p && (unsigned long)p < e;
		else if (here && !strncmp(line, "VmFlags: ", 9))
			ret = strstr(line, flag) != NULL;
	}
	free(text);
	return ret;
}

static void guard(void)
{
	char *anon = map(16, MAP_PRIVATE, -1), *shared = map(16, MAP_SHARED, -1), *file,
	     *stack = map(64, MAP_PRIVATE, -1);
	int fd;

	make_file("data", 16 * PAGE, 3);
	fd = (int)MUST(open("data", O_RDWR));
	file = map(16, MAP_PRIVATE, fd);
	pattern_fill(anon, 16 * PAGE, 1);
	pattern_fill(shared, 16 * PAGE, 2);
	pattern_fill(stack, 64 * PAGE, 4);
	if (madvise(anon + 4 * PAGE, 2 * PAGE, GUARD_INSTALL))
		check_skip("MADV_GUARD_INSTALL: %s", strerror(errno));
	MUST(madvise(anon + 15 * PAGE, PAGE, GUARD_INSTALL));
	MUST(madvise(stack, PAGE, GUARD_INSTALL));
	/* guards in shared and in file memory are Linux 6.15 */
	bool more = !madvise(shared + 2 * PAGE, 3 * PAGE, GUARD_INSTALL) && !madvise(file + PAGE, PAGE, GUARD_INSTALL);
	check_ready();
	signal(SIGSEGV, fault);
	CHECK_PATTERN(anon, 4 * PAGE, 1, "before the guards");
	CHECK(faults(anon + 4 * PAGE) && faults(anon + 5 * PAGE) && faults(anon + 15 * PAGE), "guards");
	CHECK(!faults(anon + 6 * PAGE) && !faults(anon + 14 * PAGE), "around the guards");
	CHECK(faults(stack) && !faults(stack + PAGE), "the guard below");
	if (more) {
		CHECK(!faults(shared + PAGE) && faults(shared + 2 * PAGE) && faults(shared + 4 * PAGE) &&
			      !faults(shared + 5 * PAGE),
		      "guards in shared memory");
		CHECK(!faults(file) && faults(file + PAGE) && !faults(file + 2 * PAGE), "guards in a file");
	}
	MUST(madvise(anon + 4 * PAGE, PAGE, GUARD_REMOVE));
	CHECK(!faults(anon + 4 * PAGE) && anon[4 * PAGE] == 0, "a removed guard");
}

static void guard_locked(void)
{
	char *p = map(16, MAP_PRIVATE, -1);

	pattern_fill(p, 16 * PAGE, 1);
	if (madvise(p, PAGE, GUARD_INSTALL))
		check_skip("MADV_GUARD_INSTALL: %s", strerror(errno));
	(void)mlock(p, 16 * PAGE); /* fails at the guard, and locks */
	if (!has_flag(p, " lo"))
		check_skip("guards cannot be locked here");
	check_ready();
	signal(SIGSEGV, fault);
	CHECK(faults(p) && !faults(p + PAGE), "the guard");
	CHECK(has_flag(p, " lo"), "it is not locked");
}

static void seal(void)
{
	char *p = map(8, MAP_PRIVATE, -1), *ro = map(4, MAP_PRIVATE, -1);

	pattern_fill(p, 8 * PAGE, 1);
	pattern_fill(ro, 4 * PAGE, 2);
	MUST(mprotect(ro, 4 * PAGE, PROT_READ));
	if (syscall(462 /* mseal, Linux 6.10 */, p, 4 * PAGE, 0) || syscall(462, ro, 4 * PAGE, 0))
		check_skip("mseal: %s", strerror(errno));
	check_ready();
	CHECK_PATTERN(p, 8 * PAGE, 1, "content");
	CHECK_PATTERN(ro, 4 * PAGE, 2, "content that is only read");
	CHECK(munmap(p, PAGE) && errno == EPERM, "munmap of what is sealed");
	CHECK(mprotect(ro, PAGE, PROT_READ | PROT_WRITE) && errno == EPERM, "mprotect of what is sealed");
	CHECK(madvise(ro, PAGE, MADV_DONTNEED) && errno == EPERM, "MADV_DONTNEED of what is sealed");
	CHECK(!munmap(p + 4 * PAGE, 4 * PAGE), "munmap of what is not sealed: %s", strerror(errno));
}

static void droppable(void)
{
	char *p = map(8, 0x08 /* MAP_DROPPABLE, Linux 6.11 */, -1);

	if (!has_flag(p, " dp"))
		check_skip("no MAP_DROPPABLE");
	pattern_fill(p, 8 * PAGE, 1);
	check_ready();
	CHECK(has_flag(p, " dp"), "it is droppable no more");
	/* it may be dropped, and is by a restore */
	if (p[0] || memcmp(p, p + 1, 8 * PAGE - 1) != 0)
		CHECK_PATTERN(p, 8 * PAGE, 1, "content");
	MUST(mprotect(p, PAGE, PROT_READ));
}

static void name(void)
{
	char *p = map(8, MAP_PRIVATE, -1), *shared = map(8, MAP_SHARED, -1);

	pattern_fill(p, 8 * PAGE, 1);
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 4 * PAGE, "a name of: memory"))
		check_skip("PR_SET_VMA_ANON_NAME: %s", strerror(errno));
	MUST(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, shared, 8 * PAGE, "shared"));
	check_ready();
	CHECK(strstr(slurp("/proc/self/maps"), "[anon:a name of: memory]"), "the name");
	CHECK(strstr(slurp("/proc/self/maps"), "[anon_shmem:shared]"), "the name of shared memory");
	CHECK_PATTERN(p, 8 * PAGE, 1, "content");
}

static void lock_future(int flags)
{
	const struct rlimit limit = { 64 << 20, 64 << 20 };
	unsigned char there = 0;
	char *before = map(4, MAP_PRIVATE, -1), *p;

	(void)setrlimit(RLIMIT_MEMLOCK, &limit);
	if (mlockall(flags))
		check_skip("mlockall: %s", strerror(errno));
	check_ready();
	CHECK(!has_flag(before, " lo"), "what was mapped before is locked");
	p = map(4, MAP_PRIVATE, -1);
	CHECK(has_flag(p, " lo"), "what is mapped later is not locked");
	MUST(mincore(p, PAGE, &there));
	CHECK_EQ(there & 1, !(flags & MCL_ONFAULT), "the page is there at once");
	MUST(munlockall());
}

static void future(void)
{
	lock_future(MCL_FUTURE);
}

static void future_onfault(void)
{
	lock_future(MCL_FUTURE | MCL_ONFAULT);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*test)(void);
	} table[] = {
		{ "guard", guard },
		{ "guard_locked", guard_locked },
		{ "seal", seal },
		{ "droppable", droppable },
		{ "name", name },
		{ "future", future },
		{ "future_onfault", future_onfault },
	};

	check_begin(argc, argv);
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		if (argc > 2 && !strcmp(argv[2], table[i].name)) {
			table[i].test();
			return check_end();
		}
	}
	DIE("no such mode");
}
