/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "kernel/kernel_config.h"

/* Reading a configuration's file: its size is bounded on both sides of the packing, so that neither an endless file nor
 * one that unpacks to gigabytes takes more than CONFIG_SIZE_MAX. */

static bool begins(const uint8_t *data, size_t len, const char *magic, size_t n)
{
	return len >= n && memcmp(data, magic, n) == 0;
}

static int raise_large(const char *name, struct error *e)
{
	return error_raise(e, EFBIG, "%s: larger than a kernel configuration can be (%d MiB)", name,
			   CONFIG_SIZE_MAX >> 20);
}

static int inflate_all(const uint8_t *data, size_t len, char *out, size_t *ret_len, const char *name, struct error *e)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)data,
		       .avail_in = (uInt)len,
		       .next_out = (Bytef *)out,
		       .avail_out = CONFIG_SIZE_MAX };
	int r;

	if (inflateInit2(&z, 15 + 16) != Z_OK) /* 16: gzip's header and nothing else */
		return error_raise_call(e, ENOMEM, "inflateInit2", "%s", name);
	r = inflate(&z, Z_FINISH);
	*ret_len = CONFIG_SIZE_MAX - z.avail_out;
	(void)inflateEnd(&z);
	if (r == Z_STREAM_END)
		return 0;
	if (z.avail_out == 0)
		return raise_large(name, e);
	return error_raise(e, EBADMSG, "%s: the compressed file is damaged or cut short", name);
}

int unpack_kernel_config(const uint8_t *data, size_t len, const char *name, char **ret, size_t *ret_len,
			 struct error *e)
{
	bool packed = begins(data, len, "\x1f\x8b", 2);
	AUTOFREE char *text = NULL;
	size_t size = len;
	int r = 0;

	if (len > CONFIG_SIZE_MAX)
		return raise_large(name, e);
	if (begins(data, len,
		   "\xfd"
		   "7zXZ",
		   6) ||
	    begins(data, len, "\x28\xb5\x2f\xfd", 4)) {
		error_raise(e, EBADMSG, "%s: compressed in a way that firn does not unpack", name);
		error_hint(e, "Unpack it first: %s -dc FILE | firn check --config -", data[0] == 0xfd ? "xz" : "zstd");
		return -EBADMSG;
	}
	text = malloc(packed ? CONFIG_SIZE_MAX : len + 1);
	if (!text)
		return error_raise_call(e, ENOMEM, "malloc", "%s", name);
	if (packed)
		r = inflate_all(data, len, text, &size, name, e);
	else if (len)
		memcpy(text, data, len);
	if (r)
		return r;
	*ret = TAKE_PTR(text);
	*ret_len = size;
	return 0;
}

int read_kernel_config(int fd, const char *name, struct kernel_config *ret, struct error *e)
{
	AUTOFREE uint8_t *data = malloc(CONFIG_SIZE_MAX + 1);
	AUTOFREE char *text = NULL;
	size_t len = 0, text_size;
	ssize_t n;
	int r;

	if (!data)
		return error_raise_call(e, ENOMEM, "malloc", "%s", name);
	do {
		n = read(fd, data + len, CONFIG_SIZE_MAX + 1 - len);
		if (n < 0 && errno != EINTR)
			return error_raise_call(e, errno, "read", "%s", name);
		len += n > 0 ? (size_t)n : 0;
	} while (n != 0 && len <= CONFIG_SIZE_MAX);
	r = unpack_kernel_config(data, len, name, &text, &text_size, e);
	return r ? r : parse_kernel_config(text, text_size, name, ret, e);
}
