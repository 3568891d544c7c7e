/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <unistd.h>

#include "kinds/regular.h"

int ghost_chunks_plan(int fd, uint64_t size, struct arena *a, struct ghost_chunk **ret, size_t *ret_n)
{
	struct ghost_chunk *chunks = NULL;
	size_t n = 0, room = 0;
	off_t at = 0;

	while ((uint64_t)at < size) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;    /* nothing but a hole up to the end */
		if (data < 0)
			return -errno;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		if ((uint64_t)hole > size)
			hole = (off_t)size;
		if (hole <= data)
			break;
		if (n == room) {
			room = room ? room * 2 : 16;
			chunks = arena_grow(a, chunks, n, room, sizeof(*chunks));
			if (!chunks)
				return -ENOMEM;
		}
		chunks[n].off = (uint64_t)data;
		chunks[n++].len = (uint64_t)(hole - data);
		at = hole;
	}
	*ret = chunks;
	*ret_n = n;
	return 0;
}

bool ghost_chunk_is_sane(uint64_t off, uint64_t len, uint64_t last_end, uint64_t size)
{
	return len > 0 && off >= last_end && off <= size && len <= size - off;
}
