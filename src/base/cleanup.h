/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Cleanup attributes for the three things a function holds: memory, descriptors, directory streams. */

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define AUTOFREE __attribute__((cleanup(cleanup_free)))
#define AUTOCLOSE __attribute__((cleanup(cleanup_close)))
#define AUTOCLOSEDIR __attribute__((cleanup(cleanup_closedir)))

/* Hands a descriptor or pointer on to a new owner: TAKE_FD(fd) returns it and leaves -1, TAKE_PTR leaves NULL. */
#define TAKE_FD(fd)             \
	({                      \
		int taken = (fd); \
		(fd) = -1;      \
		taken;          \
	})
#define TAKE_PTR(p)                     \
	({                              \
		typeof(p) taken_ = (p); \
		(p) = NULL;             \
		taken_;                 \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
