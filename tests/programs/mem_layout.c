// SPDX-License-Identifier: LGPL-2.1-or-later
/* mem_layout FOLDER [onfault]: every sort of area, and then: the list of areas with addresses, protections and flags is the same as before, the vdso
 * works at its old place, the heap and the stack grow, a grow-down area grows, protections bite, code that was written
 * at run time runs, content under PROT_NONE is there. */
#include "check.h"

#include <setjmp.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#define PAGE 4096ul

static sigjmp_buf jump;
static char before[1 << 20], after[1 << 20];

static void fault(int sig)
{
	siglongjmp(jump, sig);
}

/* Areas as "range perms flags" lines. Neighbours with the same attributes are joined by the kernel when it can: that is
 * no difference to the program, so they are joined here too. */
static void list_areas(char *out, size_t size)
{
	char *text = slurp("/proc/self/smaps"), *line = strtok(text, "\n");
	unsigned long start = 0, end = 0, s, e;
	char perms[8] = "", p[8], flags[256] = "", path[512] = "", f[512];
	size_t n = 0;
	bool any = false, open = false;
	unsigned long off = 0, o;
	char cur_path[512] = "", cur_perms[8] = "", cur_flags[256] = "";
	unsigned long cur_s = 0, cur_e = 0, cur_o = 0;

	out[0] = 0;
	for (; ; line = strtok(NULL, "\n")) {
		if (line && sscanf(line, "%lx-%lx %7s %lx %*s %*s%511[^\n]", &s, &e, p, &o, (f[0] = 0, f)) >= 4) {
			start = s, end = e, off = o;
			memcpy(perms, p, sizeof(p));
			snprintf(path, sizeof(path), "%s", f);
			open = true;
			continue;
		}
		if (line && open && !strncmp(line, "VmFlags: ", 9)) {
			/* sd (soft-dirty) and ac (counted as committed memory) change without the program's doing */
			flags[0] = 0;
			for (char *w = line + 9; w[0] && w[1]; w += 3) {
				if (*w > ' ' && strncmp(w, "sd", 2) && strncmp(w, "ac", 2))
					strncat(flags, (char[4]){ w[0], w[1], ' ', 0 }, sizeof(flags) - strlen(flags) - 1);
			}
			open = false;
			if (any && start == cur_e && !strcmp(perms, cur_perms) && !strcmp(flags, cur_flags) &&
			    !strcmp(path, cur_path) && (!strchr(path, '/') || off == cur_o + (cur_e - cur_s))) {
				cur_e = end;
				continue;
			}
		} else if (line) {
			continue;
		}
		if (any && !strstr(cur_path, "[heap]") && !strstr(cur_path, "[stack]"))
			n += (size_t)snprintf(out + n, size - n, "%lx-%lx %s %s %s\n", cur_s, cur_e, cur_perms, cur_flags,
					      cur_path);
		if (!line)
			break;
		any = true;
		cur_s = start, cur_e = end, cur_o = off;
		memcpy(cur_perms, perms, sizeof(perms));
		memcpy(cur_flags, flags, sizeof(flags));
		memcpy(cur_path, path, sizeof(path));
	}
	free(text);
}

static void *area(size_t pages, int prot, int flags)
{
	void *p = mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (p == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
	return p;
}

static unsigned deep(unsigned n)
{
	volatile char frame[4096];

	frame[n % 4096] = (char)n;
	return n ? deep(n - 1) + (unsigned)frame[n % 4096] : 0;
}

static bool faults(volatile char *p, bool write)
{
	if (sigsetjmp(jump, 1))
		return true;
	if (write)
		*p = 1;
	else
		(void)*p;
	return false;
}

int main(int argc, char **argv)
{
	static const int advices[] = { MADV_DONTFORK, MADV_DONTDUMP, MADV_WIPEONFORK, MADV_SEQUENTIAL, MADV_RANDOM,
				       MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_MERGEABLE };
	struct sigaction sa = { .sa_handler = fault };
	char *none, *read_only, *write_only, *code, *down, *advised[8], *heap, *locked, *onfault, *guard;
	unsigned long vdso = getauxval(AT_SYSINFO_EHDR);
	struct timespec ts = { 0 };
	int (*function)(void);
	void *brk_before, *brk_after;

	check_begin(argc, argv);
	setvbuf(stderr, NULL, _IONBF, 0);
	none = area(4, PROT_READ | PROT_WRITE, 0);
	pattern_fill(none, 4 * PAGE, 1);
	MUST(mprotect(none, 4 * PAGE, PROT_NONE));
	guard = area(4, PROT_NONE, 0);
	read_only = area(4, PROT_READ | PROT_WRITE, 0);
	pattern_fill(read_only, 4 * PAGE, 2);
	MUST(mprotect(read_only, 4 * PAGE, PROT_READ));
	write_only = area(2, PROT_WRITE, 0);
	pattern_fill(write_only, 2 * PAGE, 3);
	code = area(1, PROT_READ | PROT_WRITE, 0);
	memcpy(code, "\xb8\x2a\x00\x00\x00\xc3", 6); /* mov $42, %eax; ret */
	MUST(mprotect(code, PAGE, PROT_READ | PROT_EXEC));
	for (int i = 0; i < 8; i++) {
		area(1, PROT_NONE, 0);
		advised[i] = area(16, PROT_READ | PROT_WRITE, 0);
		pattern_fill(advised[i], 16 * PAGE, 10 + (uint32_t)i);
		if (madvise(advised[i], 16 * PAGE, advices[i]) && errno != EINVAL)
			DIE("madvise %d: %s", advices[i], strerror(errno));
	}
	area(1, PROT_NONE, 0);
	locked = area(4, PROT_READ | PROT_WRITE, 0);
	pattern_fill(locked, 4 * PAGE, 30);
	MUST(mlock(locked, 4 * PAGE));
	area(1, PROT_NONE, 0);
	onfault = area(4, PROT_READ | PROT_WRITE, 0);
	if (argc > 2)
		MUST(mlock2(onfault, 4 * PAGE, MLOCK_ONFAULT));
	onfault[0] = 1;
	area(1, PROT_NONE, 0);
	/* room below for the grow-down area, with the kernel's gap to its neighbour */
	down = area(600, PROT_NONE, 0);
	MUST(munmap(down, 600 * PAGE));
	down = mmap(down + 590 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
	if (down == MAP_FAILED)
		DIE("grow-down: %s", strerror(errno));
	down[0] = 11;
	heap = sbrk(64 * (intptr_t)PAGE);
	pattern_fill(heap, 64 * PAGE, 40);
	check_announce();
	list_areas(before, sizeof(before));
	brk_before = sbrk(0);
	check_wait_trigger();
	brk_after = sbrk(0);
	list_areas(after, sizeof(after));

	if (strcmp(before, after)) {
		char *b = before, *a = after;

		while (*b && *a) {
			size_t lb = strcspn(b, "\n"), la = strcspn(a, "\n");

			if (lb != la || memcmp(a, b, la)) {
				FAIL("areas differ: %.*s now %.*s", (int)lb, b, (int)la, a);
				break;
			}
			b += lb + (b[lb] != 0);
			a += la + (a[la] != 0);
		}
		fprintf(stderr, "before:\n%s\nafter:\n%s\n", before, after);
		CHECK(*b || *a, "areas differ at the end");
	}
	CHECK(getauxval(AT_SYSINFO_EHDR) == vdso && !memcmp((void *)vdso, "\177ELF", 4), "the vdso is elsewhere");
	CHECK(!clock_gettime(CLOCK_MONOTONIC, &ts) && ts.tv_sec + ts.tv_nsec > 0, "clock_gettime");
	sigaction(SIGSEGV, &sa, NULL);
	CHECK(faults(none, false), "PROT_NONE can be read");
	CHECK(faults(guard, false), "an empty PROT_NONE area can be read");
	CHECK(faults(read_only, true), "PROT_READ can be written");
	CHECK(faults(code, true), "code can be written");
	MUST(mprotect(none, 4 * PAGE, PROT_READ));
	CHECK_PATTERN(none, 4 * PAGE, 1, "content under PROT_NONE");
	CHECK_PATTERN(read_only, 4 * PAGE, 2, "read-only content");
	CHECK(!faults(write_only + 2 * PAGE - 1, true), "write-only cannot be written");
	MUST(mprotect(write_only, 2 * PAGE, PROT_READ));
	CHECK_PATTERN(write_only, 2 * PAGE - 1, 3, "write-only content");
	memcpy(&function, &code, sizeof(function));
	CHECK_EQ(function(), 42, "code written at run time");
	for (int i = 0; i < 8; i++)
		CHECK_PATTERN(advised[i], 16 * PAGE, 10 + (uint32_t)i, "content of an advised area");
	CHECK_PATTERN(locked, 4 * PAGE, 30, "locked content");
	CHECK(munlock(locked, 4 * PAGE) == 0, "munlock");
	CHECK_EQ(down[0], 11, "grow-down content");
	CHECK(!faults(down - 8, true), "the grow-down area does not grow");
	CHECK(brk_after == brk_before, "the break moved from %p to %p", brk_before, brk_after);
	CHECK_PATTERN(heap, 64 * PAGE, 40, "heap");
	heap = sbrk(32 * (intptr_t)PAGE);
	CHECK(heap != (void *)-1 && !faults(heap + 31 * PAGE, true), "the heap does not grow");
	deep(500);
	return check_end();
}
