// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_many FOLDER [COUNT]: thousands of descriptors: files at different positions, and pipes. */
#include "check.h"

#include <sys/resource.h>

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[2]) : 900;
	struct rlimit rl;
	int *fds;

	check_begin(argc, argv);
	MUST(getrlimit(RLIMIT_NOFILE, &rl));
	rl.rlim_cur = rl.rlim_max;
	MUST(setrlimit(RLIMIT_NOFILE, &rl));
	if ((rlim_t)n + 20 > rl.rlim_max)
		check_skip("the limit is %ld descriptors", (long)rl.rlim_max);
	make_file("data", 100000, 1);
	fds = calloc((size_t)n, sizeof(int));
	for (int i = 0; i < n; i++) {
		if (i % 4 == 3) {
			int p[2];

			MUST(pipe(p));
			MUST(write(p[1], &i, sizeof(i)));
			fds[i] = p[0];
			fds[i - 1] = p[1];
			continue;
		}
		if (i % 4 == 2)
			continue;
		fds[i] = (int)MUST(open("data", O_RDWR));
		MUST(lseek(fds[i], i, SEEK_SET));
	}
	check_ready();
	for (int i = 0; i < n; i++) {
		int v = -1;

		if (i % 4 == 3)
			CHECK(read(fds[i], &v, sizeof(v)) == sizeof(v) && v == i, "pipe %d holds %d", i, v);
		else if (i % 4 != 2)
			CHECK_EQ(lseek(fds[i], 0, SEEK_CUR), i, "position");
	}
	return check_end();
}
