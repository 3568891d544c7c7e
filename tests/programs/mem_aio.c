// SPDX-License-Identifier: LGPL-2.1-or-later
/* mem_aio FOLDER idle|events|wrapped|forked: AIO contexts (io_setup). idle: two, a small and a large one, one of three taken away
 * before. events: completed requests wait in the ring, some were taken. wrapped: so many that the ring begins anew.
 * forked: a child that inherited the ring without its context. */
#include "check.h"

#include <linux/aio_abi.h>
#include <sys/eventfd.h>

struct ring {
	unsigned id, nr, head, tail, magic, compat, incompat, header;
};

static aio_context_t setup(unsigned n)
{
	aio_context_t ctx = 0;

	if (syscall(SYS_io_setup, n, &ctx) < 0)
		check_skip("io_setup: %s", strerror(errno));
	return ctx;
}

static char content[4096];
static int file;

static void submit(aio_context_t ctx, uint64_t data)
{
	struct iocb cb = { .aio_fildes = (uint32_t)file, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_data = data };
	struct iocb *p = &cb;

	cb.aio_buf = (uint64_t)(uintptr_t)content;
	cb.aio_nbytes = 10 + data % 100;
	MUST(syscall(SYS_io_submit, ctx, 1, &p));
}

static int take(aio_context_t ctx, uint64_t first, int n)
{
	struct io_event e;
	struct timespec ts = { 5, 0 };
	int i;

	for (i = 0; i < n; i++) {
		if (syscall(SYS_io_getevents, ctx, 1, 1, &e, &ts) != 1)
			break;
		CHECK_EQ(e.data, first + (uint64_t)i, "data of an event");
		CHECK_EQ(e.res, 10 + (int)((first + (uint64_t)i) % 100), "result of an event");
	}
	return i;
}

static int left(aio_context_t ctx)
{
	struct timespec ts = { 0, 0 };
	struct io_event e[4];

	return (int)syscall(SYS_io_getevents, ctx, 0, 4, e, &ts);
}

static void works(aio_context_t ctx)
{
	for (int i = 0; i < 300; i++) {
		submit(ctx, (uint64_t)i);
		CHECK_EQ(take(ctx, (uint64_t)i, 1), 1, "a request after");
	}
	CHECK_EQ(left(ctx), 0, "events that nobody asked for");
}

static int child_main(void *arg)
{
	CHECK(left(*(aio_context_t *)arg) == -1 && errno == EINVAL, "the child has the context");
	check_wait_trigger();
	CHECK(left(*(aio_context_t *)arg) == -1 && errno == EINVAL, "the child has the context");
	return 0;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "idle";
	aio_context_t a, b, gone;
	struct ring before;
	pid_t child = 0;
	unsigned room;

	check_begin(argc, argv);
	make_file("data", 4096, 3);
	file = (int)MUST(open("data", O_RDONLY));
	gone = setup(8);
	a = setup(4);
	b = setup(2000);
	MUST(syscall(SYS_io_destroy, gone));
	room = ((struct ring *)a)->nr;
	if (!strcmp(kind, "events") || !strcmp(kind, "wrapped")) {
		unsigned n = *kind == 'w' ? room - 3 : 20;

		for (unsigned i = 0; i < n; i++) {
			submit(a, i);
			CHECK_EQ(take(a, i, 1), 1, "a request before");
		}
		for (unsigned i = 0; i < 9; i++)
			submit(a, 1000 + i);
		submit(b, 5);
	}
	if (!strcmp(kind, "forked"))
		child = check_fork(child_main, &a);
	before = *(struct ring *)a;
	check_ready();
	CHECK_EQ(((struct ring *)a)->nr, room, "room of the ring");
	CHECK_EQ(((struct ring *)a)->head, before.head, "head");
	CHECK_EQ(((struct ring *)a)->tail, before.tail, "tail");
	CHECK_EQ(((struct ring *)a)->magic, 0xa10a10a1u, "magic");
	if (!strcmp(kind, "events") || !strcmp(kind, "wrapped")) {
		CHECK_EQ(take(a, 1000, 9), 9, "events that waited");
		CHECK_EQ(take(b, 5, 1), 1, "the event of the other");
	}
	works(a);
	works(b);
	CHECK(left(gone) == -1 && errno == EINVAL, "the context that was destroyed is there");
	CHECK_EQ(syscall(SYS_io_destroy, a), 0, "io_destroy");
	CHECK_EQ(syscall(SYS_io_destroy, b), 0, "io_destroy");
	if (child)
		check_child(child);
	return check_end();
}
