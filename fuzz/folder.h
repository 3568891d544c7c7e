/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "image/image.h"
#include "kernel/features.h"
#include "kinds/kind.h"
#include "memory/memory.h"
#include "tree/tree.h"

/*
 * A folder of images out of one input: "NAME\n", the length (4 bytes), the content, and again. Of a pages file the content is
 * its size alone (8 bytes): it is a hole. fuzz/make-folder.py makes such inputs. The folder lies in memory (/dev/shm), one for
 * each process.
 */

#define FOLDER_FILES 64
#define PAGES_MAX (1ull << 32)

static char folder_path[64];

static void folder_remove(void)
{
	DIR *dir = opendir(folder_path);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
}

static void folder_end(void)
{
	folder_remove();
	(void)rmdir(folder_path);
}

static void folder_put(int dir, const char *name, const uint8_t *data, size_t size)
{
	AUTOCLOSE int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t pages = 0;

	PROMISED(fd >= 0);
	if (strncmp(name, "pages-", 6) == 0) {
		memcpy(&pages, data, size < sizeof(pages) ? size : sizeof(pages));
		PROMISED(ftruncate(fd, (off_t)(pages % PAGES_MAX)) == 0);
		return;
	}
	PROMISED(write(fd, data, size) == (ssize_t)size);
}

/* "core-1.img", nothing that leads out of the folder. */
static bool good_name(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-.", p[i]) || p[i] == '\0')
			return false;
	return len > 4 && len < 40 && p[0] != '.';
}

/* False: not even one file. */
static bool folder_make(const uint8_t *data, size_t size)
{
	size_t n = 0;
	int dir;

	if (!folder_path[0]) {
		strcpy(folder_path, "/dev/shm/firn-fuzz-XXXXXX");
		PROMISED(mkdtemp(folder_path));
		(void)atexit(folder_end);
	}
	folder_remove();
	dir = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	PROMISED(dir >= 0);
	while (n < FOLDER_FILES && size > 0) {
		const uint8_t *newline = memchr(data, '\n', size);
		char name[40] = "";
		uint32_t len;

		if (!newline || size - (size_t)(newline - data) < 5 || !good_name(data, (size_t)(newline - data)))
			break;
		memcpy(name, data, (size_t)(newline - data));
		memcpy(&len, newline + 1, sizeof(len));
		size -= (size_t)(newline - data) + 5;
		data = newline + 5;
		if (len > size)
			len = (uint32_t)size;
		folder_put(dir, name, data, len);
		data += len;
		size -= len;
		n++;
	}
	close(dir);
	return n > 0;
}

/* Runs @read on the folder: as far as a restore goes before it makes anything. What is raised has a sentence. */
static int folder_read(const uint8_t *data, size_t size, int (*read)(struct operation *op))
{
	static struct features features;
	static bool probed;
	struct error error = { 0 };
	struct options options = { .images_path = folder_path, .status_fd = -1, .file_locks = true, .link_remap = true };
	struct operation op = {
		.error = &error, .options = &options, .features = &features, .images = { .fd = -1 }, .next_pages_id = 1
	};
	int r;

	if (!probed)
		PROMISED(features_probe(&features, &error) == 0);
	probed = true;
	if (!folder_make(data, size))
		return 0;
	r = image_dir_open(&op.images, folder_path, &error);
	if (r == 0)
		r = read(&op);
	PROMISED(r <= 0 && (r == 0 || error_is_set(&error)));
	touch_string(error.sentence);
	files_release(&op);
	memory_release(&op);
	image_dir_close(&op.images);
	arena_release(&op.arena);
	return r;
}
