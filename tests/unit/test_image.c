/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/internal.h"
#include "inventory.pb-c.h"
#include "pagemap.pb-c.h"
#include "pipe-data.pb-c.h"
#include "pstree.pb-c.h"
#include "stats.pb-c.h"

struct folder {
	char path[64];
	struct image_dir dir;
	struct error error;
	struct arena arena;
};

static int setup(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/firn-unit-image-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir.fd = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct folder *f = *state;
	char command[128];

	image_dir_close(&f->dir);
	arena_release(&f->arena);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", f->path);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void put(struct folder *f, const char *name, const void *data, size_t len)
{
	char path[512];
	FILE *out;

	(void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(data, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
}

static size_t get(struct folder *f, const char *name, uint8_t *buf, size_t room)
{
	char path[512];
	FILE *in;
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
	in = fopen(path, "r");
	assert_non_null(in);
	len = fread(buf, 1, room, in);
	assert_int_equal(fclose(in), 0);
	return len;
}

static bool there(struct folder *f, const char *name)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
	return access(path, F_OK) == 0;
}

/* Two tasks, one with data after its message, one pages file; 8 files in all with manifest and inventory. */
static void write_tree(struct folder *f)
{
	PstreeEntry p = PSTREE_ENTRY__INIT;
	PipeDataEntry pipe = PIPE_DATA_ENTRY__INIT;
	uint32_t threads[2] = { 7, 8 };
	struct image_writer w;
	int fd;

	assert_int_equal(image_writer_open(&w, &f->dir, IMAGE_PSTREE, 0, &f->error), 0);
	p.pid = 7;
	p.threads = threads;
	p.n_threads = 2;
	assert_int_equal(image_write(&w, &p.base, &f->error), 0);
	p.pid = 9;
	p.ppid = 7;
	assert_int_equal(image_write(&w, &p.base, &f->error), 0);
	assert_int_equal(image_writer_close(&w, &f->error), 0);

	assert_int_equal(image_writer_open(&w, &f->dir, IMAGE_PIPES_DATA, 0, &f->error), 0);
	pipe.pipe_id = 3;
	pipe.bytes = 5;
	assert_int_equal(image_write(&w, &pipe.base, &f->error), 0);
	assert_int_equal(image_write_raw(&w, "hello", 5, &f->error), 0);
	assert_int_equal(image_writer_close(&w, &f->error), 0);

	assert_int_equal(image_pages_create(&f->dir, 1, &fd, &f->error), 0);
	assert_int_equal(ftruncate(fd, 8192), 0);
	assert_int_equal(image_pages_finish(&f->dir, 1, fd, 8192, &f->error), 0);
}

static void commit(struct folder *f)
{
	InventoryEntry inventory = INVENTORY_ENTRY__INIT;

	inventory.img_version = IMAGE_VERSION;
	assert_int_equal(image_dir_commit(&f->dir, &inventory.base, &f->error), 0);
	image_dir_close(&f->dir);
}

static void make(struct folder *f)
{
	assert_int_equal(image_dir_create(&f->dir, f->path, &f->error), 0);
	write_tree(f);
	commit(f);
}

/* Reads all that write_tree() wrote; 0 or the first error. Never succeeds with other content. */
static int read_tree(struct folder *f)
{
	ProtobufCMessage *m;
	struct image_reader r;
	const uint8_t *raw;
	uint64_t size;
	int result, fd;

	f->error = (struct error){ 0 };
	result = image_dir_open(&f->dir, f->path, &f->error);
	if (result < 0)
		return result;
	result = image_reader_open(&r, &f->dir, IMAGE_INVENTORY, 0, false, &f->arena, &f->error);
	if (result == 0)
		result = image_read(&r, &inventory_entry__descriptor, &m, &f->error);
	if (result >= 0)
		result = image_reader_open(&r, &f->dir, IMAGE_PSTREE, 0, false, &f->arena, &f->error);
	if (result >= 0)
		result = image_read(&r, &pstree_entry__descriptor, &m, &f->error);
	if (result == 1 && (((PstreeEntry *)m)->pid != 7 || ((PstreeEntry *)m)->n_threads != 2))
		result = -EDOM;
	if (result == 1)
		result = image_read(&r, &pstree_entry__descriptor, &m, &f->error);
	if (result == 1 && ((PstreeEntry *)m)->ppid != 7)
		result = -EDOM;
	if (result == 1)
		result = image_read(&r, &pstree_entry__descriptor, &m, &f->error);
	if (result == 0)
		result = image_reader_open(&r, &f->dir, IMAGE_PIPES_DATA, 0, false, &f->arena, &f->error);
	if (result == 0)
		result = image_read(&r, &pipe_data_entry__descriptor, &m, &f->error);
	if (result == 1)
		result = image_read_raw(&r, ((PipeDataEntry *)m)->bytes, &raw, &f->error);
	if (result == 0 && memcmp(raw, "hello", 5) != 0)
		result = -EDOM;
	if (result == 0)
		result = image_pages_open(&f->dir, 1, &fd, &size, &f->error);
	if (result == 0) {
		assert_int_equal(size, 8192);
		close(fd);
	}
	image_dir_close(&f->dir);
	return result;
}

static void round_trip(void **state)
{
	struct folder *f = *state;
	struct image_reader r;

	make(f);
	assert_false(error_is_set(&f->error));
	assert_false(there(f, "inventory.img.part"));
	assert_int_equal(read_tree(f), 0);
	assert_int_equal(image_dir_open(&f->dir, f->path, &f->error), 0);
	assert_int_equal(image_reader_open(&r, &f->dir, IMAGE_TTY_INFO, 0, true, &f->arena, &f->error), -ENOENT);
	assert_false(error_is_set(&f->error));
	assert_int_equal(image_reader_open(&r, &f->dir, IMAGE_TTY_INFO, 0, false, &f->arena, &f->error), -EBADMSG);
	assert_non_null(strstr(f->error.sentence, "tty-info.img: the file is missing"));
}

static void layout(void **state)
{
	struct folder *f = *state;
	uint8_t buf[256];

	make(f);
	/* The inventory has its own magic alone, all others the common one first. */
	assert_true(get(f, "inventory.img", buf, sizeof(buf)) > 8);
	assert_memory_equal(buf, "\x16\x31\x31\x58\x02\x00\x00\x00", 8);
	assert_true(get(f, "pstree.img", buf, sizeof(buf)) > 12);
	assert_memory_equal(buf, "\x19\x43\x56\x54\x30\x30\x27\x50", 8);
}

static void names(void **state)
{
	static const struct {
		enum image_type type;
		uint64_t id;
		const char *name;
	} cases[] = {
		{ IMAGE_CORE, 126, "core-126.img" },
		{ IMAGE_INVENTORY, 0, "inventory.img" },
		{ IMAGE_GHOST_FILE, 0x1f, "ghost-file-1f.img" },
		{ IMAGE_PAGEMAP_SHMEM, UINT64_MAX, "pagemap-shmem-18446744073709551615.img" },
		{ IMAGE_PAGES, 1, "pages-1.img" },
		{ IMAGE_TMPFS, 12, "tmpfs-12.tar.gz.img" },
		{ IMAGE_TMPFS_DEV, 12, "tmpfs-dev-12.tar.gz.img" },
		{ IMAGE_STATS, IMAGE_STATS_DUMP, "stats-dump" },
		{ IMAGE_STATS, IMAGE_STATS_RESTORE, "stats-restore" },
	};
	static const char *const users[] = { "core-.img",
					     "core-07.img",
					     "core-7.img~",
					     "core-7",
					     "core-x.img",
					     "files.img.bak",
					     "stats-",
					     "stats-x",
					     "pages-18446744073709551616.img",
					     "ghost-file-1F.img",
					     "",
					     "dump.log",
					     "pages-1.img/..",
					     "inventory.img.part" };
	char buf[IMAGE_NAME_SIZE];
	enum image_type type;
	uint64_t id;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(image_name(cases[i].type, cases[i].id, buf, sizeof(buf)), 0);
		assert_string_equal(buf, cases[i].name);
		assert_true(image_name_parse(buf, &type, &id));
		assert_int_equal(type, cases[i].type);
		assert_int_equal(id, cases[i].id);
	}
	/* Every type of the enum has a row in the table. */
	for (unsigned t = 0; t < IMAGE_TYPE_COUNT; t++) {
		assert_int_equal(image_name((enum image_type)t, 1, buf, sizeof(buf)), 0);
		assert_true(image_name_parse(buf, &type, &id));
		assert_int_equal(type, t);
	}
	for (size_t i = 0; i < ARRAY_SIZE(users); i++)
		assert_false(image_name_parse(users[i], &type, &id));
	assert_int_equal(image_name(IMAGE_CORE, 126, buf, 8), -EINVAL);
	assert_int_equal(image_name(IMAGE_TYPE_COUNT, 0, buf, sizeof(buf)), -EINVAL);
	assert_int_equal(image_name(IMAGE_STATS, 2, buf, sizeof(buf)), -EINVAL);
}

static void checksum(void **state)
{
	uint8_t buf[333];

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c_table(0, "123456789", 9), 0xe3069283);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 37 + 11);
	for (size_t i = 0; i < sizeof(buf); i++) {
		assert_int_equal(crc32c(0, buf, i), crc32c_table(0, buf, i));
		assert_int_equal(crc32c(crc32c(0, buf, i), buf + i, sizeof(buf) - i), crc32c(0, buf, sizeof(buf)));
	}
}

static const char *const sample_files[] = { "inventory.img", "pstree.img", "pipes-data.img", "pages-1.img",
					    "firn.manifest" };

/* Whatever byte a file of the checkpoint ends at, the folder is refused: with the manifest when it is opened, and
 * without one no later than when the image is read, except where the cut leaves whole entries. */
static void truncated(void **state)
{
	struct folder *f = *state;
	uint8_t buf[16384];

	make(f);
	for (size_t i = 0; i < ARRAY_SIZE(sample_files); i++) {
		size_t len = get(f, sample_files[i], buf, sizeof(buf));

		for (size_t cut = 0; cut<len; cut += len> 4096 ? 1023 : 1) {
			put(f, sample_files[i], buf, cut);
			assert_int_equal(read_tree(f), -EBADMSG);
			assert_true(error_is_set(&f->error));
		}
		put(f, sample_files[i], buf, len);
		assert_int_equal(read_tree(f), 0);
	}
}

static void flipped(void **state)
{
	struct folder *f = *state;
	uint8_t buf[16384];

	make(f);
	for (size_t i = 0; i < ARRAY_SIZE(sample_files); i++) {
		size_t len = get(f, sample_files[i], buf, sizeof(buf));

		if (strcmp(sample_files[i], "pages-1.img") == 0)
			continue;
		for (size_t bit = 0; bit < len * 8; bit++) {
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
			put(f, sample_files[i], buf, len);
			assert_int_equal(read_tree(f), -EBADMSG);
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		put(f, sample_files[i], buf, len);
	}
	/* Without a manifest, as CRIU leaves it, damage may go unnoticed here but must never crash. */
	assert_int_equal(unlinkat(AT_FDCWD, f->path, 0) < 0, 1);
	{
		char path[128];

		(void)snprintf(path, sizeof(path), "%s/firn.manifest", f->path);
		assert_int_equal(unlink(path), 0);
	}
	for (size_t i = 0; i < 3; i++) {
		size_t len = get(f, sample_files[i], buf, sizeof(buf));

		for (size_t bit = 0; bit < len * 8; bit++) {
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
			put(f, sample_files[i], buf, len);
			(void)read_tree(f);
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (size_t cut = 0; cut < len; cut++) {
			put(f, sample_files[i], buf, cut);
			(void)read_tree(f);
		}
		put(f, sample_files[i], buf, len);
	}
	assert_int_equal(read_tree(f), 0);
}

static int read_first(struct folder *f, const ProtobufCMessageDescriptor *desc, enum image_type type, const void *body,
		      size_t len)
{
	uint8_t buf[512] = { 0 };
	char name[IMAGE_NAME_SIZE];
	ProtobufCMessage *m;
	struct image_reader r;
	uint32_t magic = MAGIC_COMMON;
	int result;

	memcpy(buf, &magic, 4);
	memcpy(buf + 4, &image_kind_of(type)->magic, 4);
	memcpy(buf + 8, body, len);
	assert_int_equal(image_name(type, 1, name, sizeof(name)), 0);
	put(f, "inventory.img", "x", 1);
	put(f, name, buf, len + 8);
	f->error = (struct error){ 0 };
	assert_int_equal(image_dir_open(&f->dir, f->path, &f->error), 0);
	result = image_reader_open(&r, &f->dir, type, 1, false, &f->arena, &f->error);
	if (result == 0)
		result = image_read(&r, desc, &m, &f->error);
	image_dir_close(&f->dir);
	return result;
}

static void huge_counts(void **state)
{
	struct folder *f = *state;
	/* an entry of 2^31 and of 2^32-1 bytes; a field of 2^31 bytes within a short entry; a packed run likewise */
	static const uint8_t long_entry[] = { 0, 0, 0, 0x80, 8, 1 };
	static const uint8_t longest_entry[] = { 0xff, 0xff, 0xff, 0xff, 8, 1 };
	static const uint8_t long_field[] = { 7, 0, 0, 0, 0x2a, 0x80, 0x80, 0x80, 0x80, 0x08, 1 };
	static const uint8_t endless_varint[] = { 12,	0,    0,    0,	  8,	0xff, 0xff, 0xff,
						  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	static const uint8_t empty_entry[] = { 0, 0, 0, 0 };

	assert_int_equal(read_first(f, &pstree_entry__descriptor, IMAGE_PSTREE, long_entry, sizeof(long_entry)),
			 -EBADMSG);
	assert_non_null(
		strstr(f->error.sentence, "pstree.img: entry 0 at byte 8: says 2147483648 bytes, the file has 2 more"));
	assert_int_equal(read_first(f, &pstree_entry__descriptor, IMAGE_PSTREE, longest_entry, sizeof(longest_entry)),
			 -EBADMSG);
	assert_int_equal(read_first(f, &pstree_entry__descriptor, IMAGE_PSTREE, long_field, sizeof(long_field)),
			 -EBADMSG);
	assert_int_equal(read_first(f, &pstree_entry__descriptor, IMAGE_PSTREE, endless_varint, sizeof(endless_varint)),
			 -EBADMSG);
	/* required fields are missing */
	assert_int_equal(read_first(f, &pstree_entry__descriptor, IMAGE_PSTREE, empty_entry, sizeof(empty_entry)),
			 -EBADMSG);
	assert_non_null(strstr(f->error.sentence, "not a valid PstreeEntry"));
}

static void leash(void **state)
{
	/* 64 KiB of empty submessages: MmEntry.vmas, each an honest 88 bytes of struct but refused for its required fields */
	struct folder *f = *state;
	size_t len = 65536;
	AUTOFREE uint8_t *buf = malloc(len);
	ProtobufCMessage *m = NULL;

	for (size_t i = 0; i < len; i += 2) {
		buf[i] = 0x72;
		buf[i + 1] = 0;
	}
	assert_int_equal(image_unpack(image_descriptor(IMAGE_MM), buf, len, &f->arena, &m), -EBADMSG);
	assert_null(m);
	assert_true(f->arena.used < 64 * 1024 + len * 192 + 4096);
}

static int parse(const char *text, const char **why)
{
	struct image_manifest *m = manifest_new();
	int r = manifest_parse(m, text, strlen(text), why);

	manifest_free(m);
	return r;
}

/* @lines with the right first and last line around them. */
static int parse_lines(const char *lines, const char **why)
{
	char text[2048];
	int len = snprintf(text, sizeof(text), "firn images 1\n%s", lines);

	(void)snprintf(text + len, sizeof(text) - (size_t)len, "end %08x\n", crc32c(0, text, (size_t)len));
	return parse(text, why);
}

static void manifest_attacks(void **state)
{
	static const char *const bad[] = {
		"00000000 1 ../x\n",
		"00000000 1 /etc/passwd\n",
		"00000000 1 .\n",
		"00000000 1 ..\n",
		"00000000 1 a/b\n",
		"00000000 1 \n",
		"00000000 1 a\tb\n",
		"00000000 1 a b\n",
		"00000000 1 \x1b[2J\n",
		"00000000 1 firn.manifest\n",
		"00000000 9223372036854775808 a\n",
		"00000000 99999999999999999999999 a\n",
		"00000000  a\n",
		"00000000 -1 a\n",
		"0000000 1 a\n",
		"0000000G 1 a\n",
		"000000001 1 a\n",
		"- 1 a\n- 1 a\n",
		"-1 a\n",
		"\n",
		"- 1 a\n\n",
		"- 9223372036854775807 a\n- 9223372036854775807 b\n- 2 c\n",
		"nonsense\n",
		"-",
		"end 00000000\n",
	};
	char long_name[400] = "- 1 ";
	const char *why;

	(void)state;
	assert_int_equal(parse_lines("", &why), 0);
	assert_int_equal(parse_lines("- 0 pages-1.img\n0123abcd 18 core-1.img\n", &why), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		why = NULL;
		assert_int_equal(parse_lines(bad[i], &why), -EBADMSG);
		assert_non_null(why);
	}
	memset(long_name + 4, 'a', 256);
	strcpy(long_name + 260, "\n");
	assert_int_equal(parse_lines(long_name, &why), -EBADMSG);
	assert_int_equal(parse("", &why), -EBADMSG);
	assert_int_equal(parse("firn images 2\n", &why), -EBADMSG);
	assert_string_equal(why, "another format version than 1");
	assert_int_equal(parse("firn images 1\n", &why), -EBADMSG);
	assert_string_equal(why, "no last line");
}

/* A folder whose manifest is well-formed but names what it should not. */
static void manifest_escape(void **state)
{
	struct folder *f = *state;
	char text[256];
	int len;

	make(f);
	len = snprintf(text, sizeof(text), "firn images 1\n00000000 1 ../../etc/passwd\n");
	len += snprintf(text + len, sizeof(text) - (size_t)len, "end %08x\n", crc32c(0, text, (size_t)len));
	put(f, "firn.manifest", text, (size_t)len);
	assert_int_equal(read_tree(f), -EBADMSG);
	assert_non_null(strstr(f->error.sentence, "a name that is not a plain file name"));
}

static void unlisted_and_special(void **state)
{
	struct folder *f = *state;
	char path[128];
	struct image_reader r;

	make(f);
	put(f, "files.img", "x", 1);
	assert_int_equal(image_dir_open(&f->dir, f->path, &f->error), 0);
	assert_int_equal(image_reader_open(&r, &f->dir, IMAGE_FILES, 0, true, &f->arena, &f->error), -EBADMSG);
	assert_non_null(strstr(f->error.sentence, "not part of the checkpoint"));
	image_dir_close(&f->dir);

	(void)snprintf(path, sizeof(path), "%s/pstree.img", f->path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(read_tree(f), -EBADMSG);
	assert_non_null(strstr(f->error.sentence, "symbolic link"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(read_tree(f), -EBADMSG);
	assert_non_null(strstr(f->error.sentence, "not a regular file"));
}

static void folders(void **state)
{
	struct folder *f = *state;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/none", f->path);
	assert_int_equal(image_dir_create(&f->dir, path, &f->error), -ENOENT);
	assert_non_null(strstr(f->error.sentence, "/none: open: No such file or directory"));
	f->error = (struct error){ 0 };
	put(f, "none", "x", 1);
	assert_int_equal(image_dir_create(&f->dir, path, &f->error), -ENOTDIR);
	f->error = (struct error){ 0 };
	assert_int_equal(image_dir_open(&f->dir, f->path, &f->error), -EBADMSG);
	assert_non_null(strstr(f->error.sentence, "no inventory.img: not a complete checkpoint"));
}

static void create(struct folder *f)
{
	image_dir_close(&f->dir);
	assert_int_equal(image_dir_create(&f->dir, f->path, &f->error), 0);
}

static void replaces_older(void **state)
{
	struct folder *f = *state;
	struct image_dir second = { .fd = -1 };

	make(f);
	put(f, "core-99.img", "x", 1);
	put(f, "dump.log", "x", 1);
	put(f, "notes.img", "x", 1);
	put(f, "stats-dump", "x", 1);
	create(f);
	assert_int_equal(image_dir_create(&second, f->path, &f->error), -EBUSY);
	f->error = (struct error){ 0 };
	write_tree(f);
	assert_int_equal(image_dir_bytes(&f->dir) > 8192, 1);
	assert_true(there(f, SUBFOLDER_NAME "/pages-1.img"));
	assert_true(there(f, "inventory.img") && there(f, "core-99.img"));
	assert_false(image_dir_replaced(&f->dir));
	/* One that fails leaves the older one. */
	image_dir_abandon(&f->dir);
	image_dir_close(&f->dir);
	assert_false(there(f, SUBFOLDER_NAME));
	assert_int_equal(read_tree(f), 0);
	create(f);
	write_tree(f);
	commit(f);
	assert_int_equal(read_tree(f), 0);
	assert_true(there(f, "inventory.img"));
	assert_false(there(f, "core-99.img"));
	assert_false(there(f, SUBFOLDER_NAME));
	assert_true(there(f, "dump.log") && there(f, "notes.img") && there(f, "stats-dump"));
}

/* The engine is killed: nothing is removed. */
static void aborted(void **state)
{
	struct folder *f = *state;

	make(f);
	create(f);
	write_tree(f);
	image_dir_close(&f->dir);
	assert_true(there(f, SUBFOLDER_NAME "/pstree.img"));
	assert_int_equal(read_tree(f), 0);
	/* The next dump removes what it left. */
	create(f);
	assert_false(there(f, SUBFOLDER_NAME "/pstree.img"));
	write_tree(f);
	commit(f);
	assert_false(there(f, SUBFOLDER_NAME));
	assert_int_equal(read_tree(f), 0);
}

static void move(struct folder *f, const char *name, const char *to)
{
	char from_path[512], to_path[512];

	(void)snprintf(from_path, sizeof(from_path), "%s/%s", f->path, name);
	(void)snprintf(to_path, sizeof(to_path), "%s/%s", f->path, to);
	assert_int_equal(rename(from_path, to_path), 0);
}

/* Killed at each step of the move: the new checkpoint is read, whatever files of the older one still lie there, and the
 * next dump moves it up. */
static void ended_while_moving(void **state)
{
	static const char *const names[] = { "pages-1.img", "pstree.img", "pipes-data.img", "firn.manifest",
					     "inventory.img" };
	struct folder *f = *state;
	char path[256];

	for (size_t moved = 0; moved < ARRAY_SIZE(names); moved++) {
		make(f);
		(void)snprintf(path, sizeof(path), "%s/" SUBFOLDER_NAME, f->path);
		assert_int_equal(mkdir(path, 0700), 0);
		for (size_t i = moved; i < ARRAY_SIZE(names); i++) {
			(void)snprintf(path, sizeof(path), SUBFOLDER_NAME "/%s", names[i]);
			move(f, names[i], path);
			/* of the older one */
			if (i + 1 < ARRAY_SIZE(names))
				put(f, names[i], "older", 5);
		}
		put(f, "pagemap-shmem-5.img", "older", 5);
		assert_int_equal(read_tree(f), 0);
		create(f);
		write_tree(f);
		assert_true(there(f, "inventory.img"));
		image_dir_abandon(&f->dir);
		image_dir_close(&f->dir);
		assert_false(there(f, SUBFOLDER_NAME));
		assert_int_equal(read_tree(f), 0);
	}
	/* A complete one beside a complete older one was not to replace it yet. */
	make(f);
	create(f);
	write_tree(f);
	put(f, SUBFOLDER_NAME "/inventory.img", "x", 1);
	image_dir_close(&f->dir);
	assert_int_equal(read_tree(f), 0);
	/* Without a manifest it is nothing. */
	(void)snprintf(path, sizeof(path), "%s/inventory.img", f->path);
	assert_int_equal(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/firn.manifest", f->path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(read_tree(f), -EBADMSG);
}

static void hostile_subfolder(void **state)
{
	struct folder *f = *state;
	char path[256], elsewhere[256];

	make(f);
	(void)snprintf(path, sizeof(path), "%s/" SUBFOLDER_NAME, f->path);
	(void)snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", f->path);
	assert_int_equal(mkdir(elsewhere, 0700), 0);
	put(f, "elsewhere/core-1.img", "x", 1);
	assert_int_equal(symlink("elsewhere", path), 0);
	create(f);
	assert_true(there(f, "elsewhere/core-1.img"));
	image_dir_abandon(&f->dir);
	/* A FIFO is no folder either. */
	assert_int_equal(mkfifo(path, 0600), 0);
	create(f);
	image_dir_abandon(&f->dir);
	image_dir_close(&f->dir);
	/* Somebody else's file in it stays, and is told. */
	assert_int_equal(mkdir(path, 0700), 0);
	put(f, SUBFOLDER_NAME "/precious", "x", 1);
	assert_int_equal(image_dir_create(&f->dir, f->path, &f->error), -ENOTEMPTY);
	assert_non_null(strstr(f->error.sentence, SUBFOLDER_NAME ": rmdir: Directory not empty"));
	assert_true(there(f, SUBFOLDER_NAME "/precious"));
	assert_int_equal(read_tree(f), 0);
	move(f, SUBFOLDER_NAME "/precious", "precious");
	/* What could not be replaced is found at once. */
	(void)snprintf(path, sizeof(path), "%s/core-3.img", f->path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(image_dir_create(&f->dir, f->path, &f->error), -EISDIR);
	assert_int_equal(read_tree(f), 0);
}

static void unfinished_pages(void **state)
{
	InventoryEntry inventory = INVENTORY_ENTRY__INIT;
	struct folder *f = *state;
	int fd;

	assert_int_equal(image_dir_create(&f->dir, f->path, &f->error), 0);
	assert_int_equal(image_pages_create(&f->dir, 4, &fd, &f->error), 0);
	assert_int_equal(image_dir_commit(&f->dir, &inventory.base, &f->error), -EINVAL);
	close(fd);
	assert_true(there(f, SUBFOLDER_NAME "/pages-4.img"));
	image_dir_abandon(&f->dir);
	assert_false(there(f, "pages-4.img"));
	assert_false(there(f, SUBFOLDER_NAME));
	assert_false(there(f, "inventory.img"));
}

static void full_disk(void **state)
{
	struct folder *f = *state;
	struct image_dir d = { .fd = -1, .path = "/some/folder" };

	f->dir = (struct image_dir){ .fd = -1 };
	assert_int_equal(image_pages_raise(&d, 1, "write", 4096, ENOSPC, &f->error), -ENOSPC);
	assert_string_equal(f->error.sentence,
			    "/some/folder/pages-1.img: write of 4096 bytes: No space left on device");
	assert_non_null(strstr(f->error.hint, "full"));
}

static void stats(void **state)
{
	struct folder *f = *state;
	StatsEntry s = STATS_ENTRY__INIT;
	uint8_t buf[64];
	int fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(image_write_stats(fd, f->path, IMAGE_STATS_DUMP, &s.base, &f->error), 0);
	assert_int_equal(image_write_stats(fd, f->path, IMAGE_STATS_DUMP, &s.base, &f->error), 0);
	close(fd);
	/* Written into the images folder it is still no part of the checkpoint. */
	assert_int_equal(image_dir_create(&f->dir, f->path, &f->error), 0);
	write_tree(f);
	commit(f);
	assert_int_equal(get(f, "stats-dump", buf, sizeof(buf)), 12);
	assert_memory_equal(buf, "\x40\x59\x10\x55\x06\x33\x09\x57\x00\x00\x00\x00", 12);
	put(f, "stats-dump", "x", 1);
	assert_int_equal(read_tree(f), 0);
}

static void dirty(void **state)
{
	(void)state;
	assert_int_equal(
		image_parse_dirty("MemTotal: 1 kB\nDirty:               168 kB\nWriteback:             4 kB\n"),
		172 * 1024);
	assert_true(image_parse_dirty("Dirty: 1 kB\n") == UINT64_MAX);
	assert_true(image_parse_dirty("\nDirty: x kB\nWriteback: 0 kB\n") == UINT64_MAX);
	assert_true(image_parse_dirty("\nDirty: 99999999999999999999 kB\nWriteback: 0 kB\n") == UINT64_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(round_trip),
		TEST(layout),
		cmocka_unit_test(names),
		cmocka_unit_test(checksum),
		TEST(truncated),
		TEST(flipped),
		TEST(huge_counts),
		TEST(leash),
		cmocka_unit_test(manifest_attacks),
		TEST(manifest_escape),
		TEST(unlisted_and_special),
		TEST(folders),
		TEST(replaces_older),
		TEST(aborted),
		TEST(ended_while_moving),
		TEST(hostile_subfolder),
		TEST(unfinished_pages),
		TEST(full_disk),
		TEST(stats),
		cmocka_unit_test(dirty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
