/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads the checkpoint of CRIU in tests/images, writes it again byte for byte, shows it, and damages it. */
/* cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/show.h"
#include "ghost-file.pb-c.h"
#include "image/internal.h"
#include "pagemap.pb-c.h"
#include "pipe-data.pb-c.h"
#include "sk-packet.pb-c.h"

#define SAMPLE TEST_IMAGES "/criu-4.1"

struct sample {
	char copy[64];
	char names[64][IMAGE_NAME_SIZE];
	size_t n;
};

static void path_of(char path[256], const char *folder, const char *name)
{
	(void)snprintf(path, 256, "%s/%s", folder, name);
}

static size_t read_file(const char *folder, const char *name, uint8_t *buf, size_t room)
{
	char path[256];
	size_t len;
	FILE *f;

	path_of(path, folder, name);
	f = fopen(path, "r");
	assert_non_null(f);
	len = fread(buf, 1, room, f);
	assert_int_equal(fclose(f), 0);
	return len;
}

static void write_file(const char *folder, const char *name, const uint8_t *buf, size_t len)
{
	char path[256];
	FILE *f;

	path_of(path, folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(buf, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	struct sample *s = calloc(1, sizeof(*s));
	const struct dirent *entry;
	DIR *dir = opendir(SAMPLE);

	strcpy(s->copy, "/tmp/firn-unit-sample-XXXXXX");
	assert_non_null(mkdtemp(s->copy));
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			strcpy(s->names[s->n++], entry->d_name);
	closedir(dir);
	assert_int_equal(s->n, 31);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct sample *s = *state;
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf '%s'", s->copy);
	assert_int_equal(system(command), 0);
	free(s);
	return 0;
}

static void copy_all(struct sample *s)
{
	uint8_t *buf = malloc(1 << 20);

	for (size_t i = 0; i < s->n; i++)
		write_file(s->copy, s->names[i], buf, read_file(SAMPLE, s->names[i], buf, 1 << 20));
	free(buf);
}

static size_t tail_of(enum image_type t, const ProtobufCMessage *m, const struct image_reader *r)
{
	if (t == IMAGE_PIPES_DATA)
		return ((const PipeDataEntry *)m)->bytes;
	if (t == IMAGE_SK_QUEUES)
		return ((const SkPacketEntry *)m)->length;
	if (t == IMAGE_GHOST_FILE)
		return r->len - r->pos;
	return 0;
}

/* Every entry read and packed again. */
static void rewrite(struct image_dir *from, struct image_dir *to, enum image_type t, uint64_t id, struct arena *a)
{
	const ProtobufCMessageDescriptor *desc = image_descriptor(t);
	struct error e = { 0 };
	struct image_writer w;
	struct image_reader r;
	ProtobufCMessage *m;
	const uint8_t *raw;
	size_t tail;
	int result;

	assert_int_equal(image_reader_open(&r, from, t, id, false, a, &e), 0);
	assert_int_equal(image_writer_open(&w, to, t, id, &e), 0);
	while ((result = image_read(&r, desc, &m, &e)) == 1) {
		assert_int_equal(image_write(&w, m, &e), 0);
		tail = tail_of(t, m, &r);
		assert_int_equal(image_read_raw(&r, tail, &raw, &e), 0);
		assert_int_equal(image_write_raw(&w, raw, tail, &e), 0);
		if (t == IMAGE_PAGEMAP || t == IMAGE_PAGEMAP_SHMEM)
			desc = &pagemap_entry__descriptor;
	}
	assert_int_equal(result, 0);
	assert_int_equal(image_writer_close(&w, &e), 0);
}

static void rewrites_identically(void **state)
{
	static uint8_t was[1 << 18], is[1 << 18];
	struct image_dir from, to;
	struct sample *s = *state;
	char written[256];
	struct error e = { 0 };
	struct arena a = { 0 };
	enum image_type type;
	uint64_t id;

	assert_int_equal(image_dir_open(&from, SAMPLE, &e), 0);
	assert_int_equal(image_dir_create(&to, s->copy, &e), 0);
	path_of(written, s->copy, SUBFOLDER_NAME);
	for (size_t i = 0; i < s->n; i++) {
		size_t len = read_file(SAMPLE, s->names[i], was, sizeof(was));

		assert_true(image_name_parse(s->names[i], &type, &id));
		if (type == IMAGE_PAGES)
			continue;
		rewrite(&from, &to, type, id, &a);
		assert_int_equal(read_file(written, s->names[i], is, sizeof(is)), len);
		assert_memory_equal(was, is, len);
	}
	image_dir_close(&from);
	image_dir_close(&to);
	arena_release(&a);
}

static void shows(void **state)
{
	static struct show s;
	struct error e = { 0 };
	char *text = NULL;
	size_t len;
	FILE *out;

	(void)state;
	assert_int_equal(show_load(&s, SAMPLE, &e), 0);
	assert_int_equal(s.n_tasks, 3);
	assert_int_equal(s.n_threads, 3);
	assert_int_equal(s.order[0]->state, SHOW_RUNNING);
	assert_int_equal(s.order[1]->state, SHOW_ZOMBIE);
	assert_int_equal(s.order[2]->state, SHOW_STOPPED);
	assert_int_equal(s.order[2]->depth, 1);
	assert_string_equal(s.order[0]->argv[0], "/tmp/img/sample");
	assert_string_equal(s.order[0]->exe, "/tmp/img/sample");
	assert_int_equal(s.order[0]->n_fds, 11);
	assert_int_equal(s.order[0]->present, 69632);
	assert_int_equal(s.shmem_present, 12288);
	out = open_memstream(&text, &len);
	show_print_text(&s, out);
	show_print_json(&s, out);
	assert_int_equal(fclose(out), 0);
	assert_non_null(strstr(text, "fd 10   /tmp/firn-sample-ghost (deleted), read write, at 12\n"));
	assert_non_null(strstr(text, "zombie, exit code 3\n"));
	free(text);
	show_release(&s);
}

static void show_anything(const char *folder)
{
	static struct show s;
	struct error e = { 0 };
	char *text = NULL;
	size_t len;
	FILE *out;
	int r = show_load(&s, folder, &e);

	assert_int_equal(r < 0, error_is_set(&e));
	if (r == 0) {
		out = open_memstream(&text, &len);
		show_print_text(&s, out);
		show_print_json(&s, out);
		assert_int_equal(fclose(out), 0);
		free(text);
	}
	show_release(&s);
}

/* Some hundred damages of each file: a sentence or another picture, never a crash (run under ASan). */
static void damaged(void **state)
{
	static uint8_t buf[1 << 18];
	struct sample *s = *state;
	enum image_type type;
	uint64_t id;

	copy_all(s);
	show_anything(s->copy);
	for (size_t i = 0; i < s->n; i++) {
		size_t len = read_file(SAMPLE, s->names[i], buf, sizeof(buf));

		assert_true(image_name_parse(s->names[i], &type, &id));
		if (type == IMAGE_PAGES || type == IMAGE_STATS)
			continue;
		for (size_t at = 0; at < len; at += 1 + len / 60) {
			uint8_t old = buf[at];

			write_file(s->copy, s->names[i], buf, at);
			show_anything(s->copy);
			buf[at] = at % 3 == 0 ? 0xff : (uint8_t)(old ^ (1 << at % 8));
			write_file(s->copy, s->names[i], buf, len);
			show_anything(s->copy);
			buf[at] = old;
		}
		write_file(s->copy, s->names[i], buf, len);
	}
	show_anything(s->copy);
}

static void escapes(void **state)
{
	static const struct {
		const char *text, *plain, *json;
	} cases[] = {
		{ "plain", "plain", "plain" },
		{ "\x1b[31m\n", "\\x1b[31m\\x0a", "\\u001b[31m\\u000a" },
		{ "a\"b\\c", "a\"b\\c", "a\\\"b\\\\c" },
		{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\xb2", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\xb2",
		  "\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\xb2" },
		{ "\xff\xc3", "\\xff\\xc3", "\\ufffd\\ufffd" },
		{ "\xc2\x9b", "\\x9b", "\\u009b" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", "\\ufffd\\ufffd\\ufffd" },
		{ "\xe2\x82", "\\xe2\\x82", "\\ufffd\\ufffd" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char buf[128] = "";
		FILE *out = fmemopen(buf, sizeof(buf), "w");

		put_text(out, cases[i].text, false);
		(void)fclose(out);
		assert_string_equal(buf, cases[i].plain);
		memset(buf, 0, sizeof(buf));
		out = fmemopen(buf, sizeof(buf), "w");
		put_text(out, cases[i].text, true);
		(void)fclose(out);
		assert_string_equal(buf, cases[i].json);
	}
}

/* A process tree that runs in a circle, two tasks of one pid, a chain deeper than a stack would bear. */
static void hostile_trees(void **state)
{
	PstreeEntry p = PSTREE_ENTRY__INIT;
	struct sample *s = *state;
	struct error e = { 0 };
	struct image_dir d;
	struct image_writer w;

	for (unsigned round = 0; round < 3; round++) {
		static struct show show;
		char path[256];

		copy_all(s);
		path_of(path, s->copy, "pstree.img");
		assert_int_equal(unlink(path), 0);
		d = (struct image_dir){ .fd = open(s->copy, O_RDONLY | O_DIRECTORY),
					.path = s->copy,
					.manifest = manifest_new() };
		d.manifest->writing = true;
		assert_int_equal(image_writer_open(&w, &d, IMAGE_PSTREE, 0, &e), 0);
		for (unsigned i = 1; i <= (round == 2 ? 200000 : 2); i++) {
			p.pid = round == 1 ? 5 : i;
			p.ppid = round == 0 ? 3 - i : round == 1 ? 0 : i - 1;
			assert_int_equal(image_write(&w, &p.base, &e), 0);
		}
		assert_int_equal(image_writer_close(&w, &e), 0);
		image_dir_close(&d);
		assert_int_equal(show_load(&show, s->copy, &e), -EBADMSG);
		assert_non_null(strstr(e.sentence, round == 0 ? "circle" : round == 1 ? "two tasks" : "core-1.img"));
		show_release(&show);
		e = (struct error){ 0 };
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rewrites_identically), TEST(shows), TEST(damaged), cmocka_unit_test(escapes), TEST(hostile_trees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
