/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hostile entries of unix sockets, IP sockets, memory files and terminals: refused with a sentence, never a crash. */
/* clang-format off: cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "kinds/registry.h"
#include "kinds/table.h"
#include "kinds/unix_socket.h"
#include "memfd.pb-c.h"
#include "tty.pb-c.h"

struct bench {
	struct error error;
	struct options options;
	struct operation op;
	SkOptsEntry opts;
	FownEntry fown;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->op.error = &b->error;
	b->op.options = &b->options;
	b->op.images.fd = -1;
	sk_opts_entry__init(&b->opts);
	fown_entry__init(&b->fown);
	assert_int_equal(table_create(&b->op), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	files_undo(&b->op);
	arena_release(&b->op.arena);
	free(b);
	return 0;
}

static struct file *add_unix(struct bench *b, uint32_t ino, uint32_t peer, uint32_t type, uint32_t state)
{
	struct file *f = files_add(&b->op, &kind_unix_socket, NULL);
	UnixSkEntry *m = arena_alloc(&b->op.arena, sizeof(*m));

	unix_sk_entry__init(m);
	m->id = f->id;
	m->ino = ino;
	m->peer = peer;
	m->type = type;
	m->state = state;
	m->opts = &b->opts;
	m->fown = &b->fown;
	f->entry->usk = m;
	return f;
}

static void set_name(struct file *f, const char *name, size_t len)
{
	f->entry->usk->name.data = (uint8_t *)name;
	f->entry->usk->name.len = len;
}

static void expect(struct bench *b, int r, int number)
{
	assert_int_equal(r, -number);
	if (number == 0)
		return;
	assert_int_equal(b->error.number, number);
	assert_true(strlen(b->error.sentence) > 0);
	memset(&b->error, 0, sizeof(b->error));
}

static void test_unix_decode(void **state)
{
	struct bench *b = *state;
	struct file *f = add_unix(b, 5, 6, SOCK_STREAM, TCP_ESTABLISHED);
	UnixSkEntry *m = f->entry->usk;
	char longname[200] = "/x";

	m->type = 3;
	expect(b, unix_decode(&b->op, f), EINVAL);
	m->type = SOCK_STREAM;
	m->state = 4;
	expect(b, unix_decode(&b->op, f), EINVAL);
	m->state = TCP_ESTABLISHED;
	set_name(f, longname, sizeof(longname));
	expect(b, unix_decode(&b->op, f), EINVAL);
	set_name(f, "relative", 9);
	expect(b, unix_decode(&b->op, f), EINVAL);
	m->name_dir = (char *)"not/absolute";
	expect(b, unix_decode(&b->op, f), EINVAL);
	set_name(f, NULL, 0);
	m->uflags = 0x40;
	expect(b, unix_decode(&b->op, f), EOPNOTSUPP);
	m->uflags = 0;
	m->has_shutdown = true;
	m->shutdown = (SkShutdown)77;
	expect(b, unix_decode(&b->op, f), EINVAL);
	m->has_shutdown = false;
	m->backlog = UINT32_MAX;
	expect(b, unix_decode(&b->op, f), EINVAL);
	m->backlog = 0;
	b->opts.so_rcv_tmo_usec = 1000000;
	expect(b, unix_decode(&b->op, f), EINVAL);
	b->opts.so_rcv_tmo_usec = 0;
	f->entry->usk = NULL;
	expect(b, unix_decode(&b->op, f), EINVAL);
}

static void test_unix_peers(void **state)
{
	struct bench *b = *state;
	struct file *f = add_unix(b, 5, 6, SOCK_STREAM, TCP_ESTABLISHED);

	/* The peer is nowhere. */
	expect(b, unix_decode(&b->op, f), 0);
	expect(b, unix_create(&b->op, f), EINVAL);
}

static void test_unix_types_differ(void **state)
{
	struct bench *b = *state;
	struct file *f = add_unix(b, 5, 6, SOCK_STREAM, TCP_ESTABLISHED), *g = add_unix(b, 6, 5, SOCK_DGRAM, TCP_ESTABLISHED);

	expect(b, unix_decode(&b->op, f), 0);
	expect(b, unix_decode(&b->op, g), 0);
	expect(b, unix_create(&b->op, f), EINVAL);
}

static void test_unix_same_inode(void **state)
{
	struct bench *b = *state;
	struct file *f = add_unix(b, 5, 0, SOCK_STREAM, TCP_CLOSE), *g = add_unix(b, 5, 0, SOCK_STREAM, TCP_CLOSE);

	expect(b, unix_decode(&b->op, f), 0);
	expect(b, unix_decode(&b->op, g), 0);
	expect(b, unix_create(&b->op, f), EINVAL);
}

static void test_unix_circle(void **state)
{
	struct bench *b = *state;
	static const char *const names[] = { "\0firn-unit-1", "\0firn-unit-2", "\0firn-unit-3" };
	struct file *f[3];

	for (uint32_t i = 0; i < 3; i++) {
		f[i] = add_unix(b, 10 + i, 10 + (i + 1) % 3, SOCK_DGRAM, TCP_ESTABLISHED);
		set_name(f[i], names[i], 12);
		expect(b, unix_decode(&b->op, f[i]), 0);
	}
	expect(b, unix_create(&b->op, f[0]), 0);
	expect(b, unix_finish(&b->op, f[0]), EINVAL);
}

static void test_unix_pair(void **state)
{
	struct bench *b = *state;
	struct file *f = add_unix(b, 5, 6, SOCK_SEQPACKET, TCP_ESTABLISHED), *g = add_unix(b, 6, 5, SOCK_SEQPACKET, TCP_ESTABLISHED);
	char buf[4];

	b->opts.so_sndbuf = b->opts.so_rcvbuf = 8192;
	expect(b, unix_decode(&b->op, f), 0);
	expect(b, unix_decode(&b->op, g), 0);
	expect(b, unix_create(&b->op, f), 0);
	expect(b, unix_create(&b->op, g), 0);
	expect(b, unix_finish(&b->op, f), 0);
	assert_int_equal(send(f->fd, "abc", 3, 0), 3);
	assert_int_equal(recv(g->fd, buf, sizeof(buf), 0), 3);
}

static void test_inet(void **state)
{
	struct bench *b = *state;
	struct file *f = files_add(&b->op, &kind_inet_socket, NULL);
	InetSkEntry m = INET_SK_ENTRY__INIT;
	const struct options none = { 0 };
	uint32_t address[4] = { 0 };

	m.id = f->id;
	m.opts = &b->opts;
	m.fown = &b->fown;
	m.family = AF_INET6;
	m.type = SOCK_STREAM;
	m.proto = IPPROTO_TCP;
	m.state = TCP_LISTEN;
	m.src_addr = address;
	m.n_src_addr = 1;
	f->entry->isk = &m;
	expect(b, kind_inet_socket.decode(&b->op, f), EINVAL);
	m.n_src_addr = 4;
	m.src_port = 70000;
	expect(b, kind_inet_socket.decode(&b->op, f), EINVAL);
	m.src_port = 0;
	/* Without --tcp-established. */
	m.state = TCP_ESTABLISHED;
	b->op.options = &none;
	expect(b, kind_inet_socket.decode(&b->op, f), EOPNOTSUPP);
	m.state = 4000;
	expect(b, kind_inet_socket.decode(&b->op, f), EOPNOTSUPP);
	m.state = TCP_LISTEN;
	b->opts.so_bound_dev = (char *)"a-name-that-is-too-long-for-a-device";
	expect(b, kind_inet_socket.decode(&b->op, f), EINVAL);
	b->opts.so_bound_dev = NULL;
	expect(b, kind_inet_socket.decode(&b->op, f), 0);
}

static void test_no_inode(void **state)
{
	struct bench *b = *state;
	struct file *f = files_add(&b->op, &kind_memfd, NULL), *g = files_add(&b->op, &kind_tty, NULL);
	MemfdFileEntry m = MEMFD_FILE_ENTRY__INIT;
	TtyFileEntry t = TTY_FILE_ENTRY__INIT;

	m.id = f->id;
	m.fown = &b->fown;
	m.inode_id = 3;
	f->entry->memfd = &m;
	expect(b, kind_memfd.decode(&b->op, f), EINVAL);
	t.id = g->id;
	t.fown = &b->fown;
	t.tty_info_id = 9;
	g->entry->tty = &t;
	expect(b, kind_tty.decode(&b->op, g), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_unix_decode, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unix_peers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unix_types_differ, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unix_same_inode, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unix_circle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unix_pair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_inode, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
