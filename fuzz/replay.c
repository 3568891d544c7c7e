/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"

/*
 * Runs a fuzz target without a fuzzer: each sample of a folder as it is, cut short, and with single bytes changed.
 * Each input is a heap block of exactly its size, so that the sanitizers see a read beyond it.
 */

#define VARIANTS 400 /* of each sort and sample, spread evenly */

static void run_one(const uint8_t *data, size_t size)
{
	AUTOFREE uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		abort();
	if (size)
		memcpy(exact, data, size);
	(void)LLVMFuzzerTestOneInput(exact, size);
}

static void run_variants(uint8_t *data, size_t size)
{
	static const uint8_t values[] = { '\0', '\n', ' ', '-', '9', 0xff, ')', '\\' };
	size_t step = size / VARIANTS + 1;

	run_one(data, size);
	for (size_t i = 0; i < size; i += step) {
		uint8_t old = data[i];

		run_one(data, i);
		data[i] = values[i / step % ARRAY_SIZE(values)];
		run_one(data, size);
		data[i] = (uint8_t)(old ^ (1 << (i % 8)));
		run_one(data, size);
		data[i] = old;
	}
}

static int run_file(int dir, const char *name)
{
	AUTOCLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	AUTOFREE uint8_t *data = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	if (!S_ISREG(st.st_mode))
		return 0;
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		return -1;
	n = read(fd, data, (size_t)st.st_size);
	if (n != st.st_size)
		return -1;
	run_variants(data, (size_t)n);
	return 1;
}

int main(int argc, char **argv)
{
	AUTOCLOSEDIR DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
	const struct dirent *entry;
	int samples = 0;

	if (!dir) {
		(void)fprintf(stderr, "usage: %s FOLDER-OF-SAMPLES\n", argv[0]);
		return 2;
	}
	while ((entry = readdir(dir))) {
		int r = run_file(dirfd(dir), entry->d_name);

		if (r < 0) {
			perror(entry->d_name);
			return 1;
		}
		samples += r;
	}
	printf("%d samples\n", samples);
	return samples ? 0 : 1;
}
