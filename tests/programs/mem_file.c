// SPDX-License-Identifier: LGPL-2.1-or-later
/* mem_file FOLDER named|deleted|shm: private and shared mappings of a file: changed pages stay private, shared writes
 * reach the file, a mapping keeps working after its file was removed; offsets, read-only mappings, a hole behind the end. */
#include "check.h"

#include <sys/mman.h>

#define PAGE 4096ul

static void *map(const char *path, int open_flags, int prot, int flags, size_t len, off_t off)
{
	int fd = (int)MUST(open(path, open_flags));
	void *p = mmap(NULL, len, prot, flags, fd, off);

	if (p == MAP_FAILED)
		DIE("mmap %s: %s", path, strerror(errno));
	close(fd);
	return p;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "named";
	char path[256] = "file", want[16 * PAGE];
	char *priv, *shared, *ro, *late, *shared_ro;
	bool deleted = !strcmp(kind, "deleted");
	int keep;

	check_begin(argc, argv);
	if (!strcmp(kind, "shm"))
		snprintf(path, sizeof(path), "/dev/shm/firn-test-%d", getpid());
	make_file(path, 16 * PAGE, 5);
	pattern_fill(want, sizeof(want), 5);
	keep = (int)MUST(open(path, O_RDWR | O_CLOEXEC));
	priv = map(path, O_RDONLY, PROT_READ | PROT_WRITE, MAP_PRIVATE, 8 * PAGE, 0);
	shared = map(path, O_RDWR, PROT_READ | PROT_WRITE, MAP_SHARED, 8 * PAGE, 8 * PAGE);
	shared_ro = map(path, O_RDONLY, PROT_READ, MAP_SHARED, 2 * PAGE, 8 * PAGE);
	ro = map(path, O_RDONLY, PROT_READ, MAP_PRIVATE, 4 * PAGE, 4 * PAGE);
	late = map(path, O_RDWR, PROT_NONE, MAP_SHARED, 2 * PAGE, 0);
	pattern_fill(priv + 2 * PAGE, PAGE, 50);	/* private copy */
	pattern_fill(shared + PAGE, PAGE, 51);		/* reaches the file */
	if (ro[0] != want[4 * PAGE])
		DIE("the read-only mapping differs at once");
	if (deleted)
		MUST(unlink(path));
	check_ready();
	CHECK(!memcmp(priv, want, 2 * PAGE), "untouched private pages");
	CHECK_PATTERN(priv + 2 * PAGE, PAGE, 50, "changed private page");
	CHECK(!memcmp(priv + 3 * PAGE, want + 3 * PAGE, 5 * PAGE), "further private pages");
	CHECK(!memcmp(shared, want + 8 * PAGE, PAGE), "untouched shared page");
	CHECK_PATTERN(shared + PAGE, PAGE, 51, "changed shared page");
	CHECK(!memcmp(ro, want + 4 * PAGE, 4 * PAGE), "read-only mapping");
	CHECK(!memcmp(shared_ro + PAGE, shared + PAGE, PAGE), "shared read-only mapping");
	/* still one object */
	shared[3] = 99;
	CHECK_EQ(shared_ro[3], 99, "a write through the other mapping");
	{
		char c = 0;

		CHECK(pread(keep, &c, 1, 8 * PAGE + 3) == 1 && c == 99, "the write did not reach the file");
		c = 98;
		CHECK(pwrite(keep, &c, 1, 8 * PAGE + 4) == 1 && shared[4] == 98, "the file's write is not seen");
		CHECK(pread(keep, &c, 1, 2 * PAGE) == 1 && c == want[2 * PAGE], "a private page reached the file");
	}
	CHECK(!mprotect(late, 2 * PAGE, PROT_READ | PROT_WRITE), "mprotect of a shared mapping: %s", strerror(errno));
	late[0] = 97;
	if (!deleted && strcmp(kind, "shm")) {
		char c = 0;
		int fd = open(path, O_RDONLY);

		CHECK(pread(fd, &c, 1, 0) == 1 && c == 97, "write after mprotect did not reach the file");
	} else if (deleted) {
		struct stat st;

		CHECK(!fstat(keep, &st) && st.st_nlink == 0, "the removed file has %d links", (int)st.st_nlink);
		CHECK(access(path, F_OK) && errno == ENOENT, "the removed file is back");
	}
	if (!strcmp(kind, "shm"))
		unlink(path);
	return check_end();
}
