/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stub and the gate, in a live child: calls are made in its name, and it goes on as if nothing had been. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel/procfs.h"
#include "puppet/area.h"
#include "puppet/seize.h"
#include "puppet/stub.h"
#include "puppet/trace.h"

struct child {
	pid_t pid;
	int to, from;           /* pipes: a byte in, the same byte and one more out */
};

static struct child start_child(void)
{
	int in[2], out[2];
	struct child c;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	c.pid = fork();
	if (c.pid == 0) {
		char byte;

		close(in[1]);
		close(out[0]);
		/* An interrupted read has to be made again by the kernel, never seen as an error. */
		while (read(in[0], &byte, 1) == 1) {
			byte++;
			if (write(out[1], &byte, 1) != 1)
				_exit(1);
		}
		_exit(errno == 0 ? 0 : 2);
	}
	close(in[0]);
	close(out[1]);
	c.to = in[1];
	c.from = out[0];
	return c;
}

static void assert_answers(const struct child *c)
{
	char byte = 'a';

	assert_int_equal(write(c->to, &byte, 1), 1);
	assert_int_equal(read(c->from, &byte, 1), 1);
	assert_int_equal(byte, 'b');
}

static void end_child(struct child *c)
{
	int status;

	close(c->to);
	close(c->from);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static struct puppet seize(const struct child *c, struct error *e)
{
	struct puppet p = { .pid = c->pid, .tid = c->pid, .comm = "child" };

	assert_int_equal(seize_begin(&p, PTRACE_O_TRACESYSGOOD, e), 0);
	assert_int_equal(seize_finish(&p, e), SEIZE_STOPPED);
	return p;
}

static void open_gate(struct gate *g, struct puppet *p, struct error *e)
{
	struct arena a = { 0 };
	struct proc_map *maps;
	size_t n;
	int fd = procfs_open(p->pid), r;
	bool found = false;

	assert_true(fd >= 0);
	r = read_proc_maps(fd, false, &a, &maps, &n);
	assert_int_equal(r, 0);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(maps[i].path, "[vdso]") != 0)
			continue;
		found = true;
		r = gate_open(g, p, maps[i].start, maps[i].end, e);
		assert_string_equal(e->sentence, "");
		assert_int_equal(r, 0);
	}
	assert_true(found);
	arena_release(&a);
	close(fd);
}

static void run_batches(struct puppet *p, struct error *e)
{
	struct batch b;
	uint64_t fds, name;
	size_t pid_call, pipe_call, bad_call, dup_call;

	assert_int_equal(batch_begin(&b, p, e), 0);
	pid_call = batch_call(&b, 0, __NR_getpid);
	fds = batch_space(&b, 8);
	pipe_call = batch_call(&b, 0, __NR_pipe, fds);
	bad_call = batch_call(&b, CALL_MAY_FAIL, __NR_close, 999);
	dup_call = batch_call(&b, 0, __NR_dup, 0);
	batch_call(&b, CALL_REF(0), __NR_close, dup_call);
	assert_int_equal(puppet_run(&b, e), 0);
	assert_int_equal(batch_result(&b, pid_call), p->pid);
	assert_int_equal(batch_result(&b, pipe_call), 0);
	assert_int_equal(batch_result(&b, bad_call), -EBADF);
	assert_true(batch_result(&b, dup_call) > 2);
	int pipe_fds[2];
	memcpy(pipe_fds, batch_at(&b, fds), 8);
	batch_reset(&b);
	batch_call(&b, 0, __NR_close, (uint64_t)pipe_fds[0]);
	batch_call(&b, 0, __NR_close, (uint64_t)pipe_fds[1]);
	assert_int_equal(puppet_run(&b, e), 0);
	/* A call that must not fail ends the batch and is named. */
	batch_reset(&b);
	name = batch_string(&b, "/nowhere/at/all");
	batch_call(&b, 0, __NR_chdir, name);
	batch_call(&b, 0, __NR_exit_group, 9);
	assert_int_equal(puppet_run(&b, e), -ENOENT);
	assert_non_null(strstr(e->sentence, "chdir in the task: No such file"));
	batch_end(&b);
	memset(e, 0, sizeof(*e));
}

static void test_batch(void **state)
{
	struct child c = start_child();
	struct error e = { 0 };
	struct arena a = { 0 };
	struct gate g;

	(void)state;
	assert_answers(&c);
	for (int park = 0; park < 2; park++) {
		struct puppet p = seize(&c, &e);

		p.park_signal = park ? SIGURG : 0;
		open_gate(&g, &p, &e);
		assert_int_equal(area_map(&g, &p, &a, &e), 0);
		run_batches(&p, &e);
		assert_int_equal(area_unmap(&g, &p, &e), 0);
		gate_close(&g);
		assert_int_equal(seize_release(&p), 0);
		assert_answers(&c);
	}
	arena_release(&a);
	end_child(&c);
}

/* The engine's death in the middle: the kernel detaches, the task heals by itself. Here the tracer lets go instead. */
static void test_heals_in_gate(void **state)
{
	struct child c = start_child();
	struct error e = { 0 };
	struct gate g;
	struct puppet p = seize(&c, &e);
	struct user_regs_struct regs = p.regs;
	uint64_t all = ~0ull;
	int64_t ret;

	(void)state;
	open_gate(&g, &p, &e);
	assert_int_equal(gate_call(&g, &p, __NR_getppid, (uint64_t[6]){ 0 }, &ret, &e), 0);
	assert_int_equal(ret, getpid());
	regs.rip = g.address;
	regs.rax = __NR_getppid;
	regs.orig_rax = (unsigned long long)-1;
	assert_int_equal(TRACE(PTRACE_SETREGS, p.pid, p.tid, 0, &regs, &e), 0);
	assert_int_equal(TRACE(PTRACE_SETSIGMASK, p.pid, p.tid, 8, &all, &e), 0);
	assert_int_equal(seize_release(&p), 0);
	assert_answers(&c);
	/* Healed: the mask is the task's own again. */
	p = seize(&c, &e);
	assert_int_equal(p.sigmask, 0);
	assert_int_equal(seize_release(&p), 0);
	gate_close(&g);
	end_child(&c);
}

static void test_heals_in_stub(void **state)
{
	struct child c = start_child();
	struct error e = { 0 };
	struct arena a = { 0 };
	struct gate g;
	struct puppet p = seize(&c, &e);
	struct batch b;

	(void)state;
	p.park_signal = SIGURG;
	open_gate(&g, &p, &e);
	assert_int_equal(area_map(&g, &p, &a, &e), 0);
	assert_int_equal(batch_begin(&b, &p, &e), 0);
	for (int i = 0; i < 100; i++)
		batch_call(&b, 0, __NR_getpid);
	assert_int_equal(puppet_start(&b, &e), 0);
	int status;
	assert_int_equal(trace_wait(p.pid, p.tid, &status, &e), 0);
	assert_int_equal(seize_release(&p), 0); /* parked, and nobody puts the registers back */
	assert_answers(&c);
	p = seize(&c, &e);
	assert_int_equal(p.sigmask, 0);
	assert_int_equal(seize_release(&p), 0);
	batch_end(&b);
	arena_release(&a);
	gate_close(&g);
	end_child(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_heals_in_gate),
		cmocka_unit_test(test_heals_in_stub),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
