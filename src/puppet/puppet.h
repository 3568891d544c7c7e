/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "base/error.h"

/*
 * A puppet is a stopped task whose system calls firn makes for it: a batch of calls lies in a scratch area of the
 * target, a stub of position-independent code makes them one after the other, stores the results, and stops. A
 * hundred calls cost one stop.
 *
 * Nothing here can hurt the target when the engine dies. The stub's last deed is to put back every register and the
 * signal mask from the scratch area; it stops not by a trap but by sending itself a signal that is ignored, which the
 * kernel reports to a tracer and drops when there is none. See puppet/gate.c for the first and the last call.
 *
 * All functions are the tracer thread's. Those that wait do so under the recorder: a cancelled operation makes them
 * return -ECANCELED, raised.
 */

struct puppet {
	pid_t pid, tid;
	char comm[16];
	struct puppet_area *area;       /* shared by the threads of one mm; NULL while there is none */
	struct user_regs_struct regs;   /* as the task had them when it was stopped; what it gets back */
	uint64_t sigmask;               /* likewise */
	bool regs_known;
	int park_signal;                /* ignored by the process, neither blocked nor pending; 0: there is none */
	bool running;                   /* it may be in firn's code: started, and not known to be back */
	int stop_signal;                /* of the group stop in which it was found; 0: none */
	bool stop_again;                /* a SIGSTOP came while firn worked in it: sent again at the end */
};

/* The stub and the scratch area of one address space. */
struct puppet_area {
	uint64_t code;                  /* remote address of the stub */
	uint64_t scratch;               /* remote address; calls first, then data */
	size_t scratch_size;            /* bytes */
};

enum {
	CALL_MAY_FAIL = 1 << 0,         /* a negative result does not end the batch */
	CALL_REF_SHIFT = 8,             /* bits 8…13: argument i is the result of the earlier call args[i] */
};
#define CALL_REF(i) (1u << (CALL_REF_SHIFT + (i)))

/* As it lies in the scratch area; the stub knows the layout. */
struct puppet_call {
	int64_t nr;
	uint64_t flags;
	uint64_t args[6];
	int64_t ret;                    /* -errno as the kernel gives it */
};

/*
 * A batch is built for one puppet: data goes to remote addresses that are known at once. Typical use:
 *
 *     struct batch b;
 *     batch_begin(&b, puppet);
 *     uint64_t addr = batch_space(&b, sizeof(struct itimerval));
 *     size_t i = batch_call(&b, __NR_getitimer, 0, ITIMER_REAL, addr);
 *     r = puppet_run(&b, err);
 *     memcpy(&value, batch_at(&b, addr), sizeof(value));
 *     batch_end(&b);
 *
 * A batch may be used again after batch_reset(). When no room is left, batch_call() and batch_data() set
 * b->overflow, and puppet_run() fails with -E2BIG: loops ask batch_has_room() first and run and reset in between.
 */
struct batch {
	struct puppet *puppet;
	struct puppet_call *calls;
	size_t n_calls, max_calls;
	uint8_t *data;
	size_t data_len, data_room;
	uint64_t data_addr;             /* remote address of data[0] */
	bool overflow;
	size_t failed;                  /* after a run: index of the call that ended it, or n_calls */
	uint64_t start_ns;              /* of the last run, for the log; 0 when that is not wanted */
};

int batch_begin(struct batch *b, struct puppet *p, struct error *e);
void batch_end(struct batch *b);                       /* frees; safe on a zeroed batch */
void batch_reset(struct batch *b);
bool batch_has_room(const struct batch *b, size_t calls, size_t bytes);
/* Adds a call with up to six arguments; returns its index. */
size_t batch_add(struct batch *b, uint64_t flags, long nr, const uint64_t args[6]);
#define batch_call(b, flags, nr, ...) batch_add((b), (flags), (nr), (const uint64_t[6]){ __VA_ARGS__ })
/* Copies @len bytes into the scratch area and returns the remote address (16-byte aligned). */
uint64_t batch_data(struct batch *b, const void *src, size_t len);
uint64_t batch_string(struct batch *b, const char *s);
/* Zeroed room for a result. */
uint64_t batch_space(struct batch *b, size_t len);
/* The local copy of remote scratch data: what a call wrote there, after the run. */
void *batch_at(const struct batch *b, uint64_t remote);
static inline int64_t batch_result(const struct batch *b, size_t call)
{
	return b->calls[call].ret;
}

/* Runs the batch: start, then finish. -errno raised when a call without CALL_MAY_FAIL fails ("pid 7 (x): CALL in the
 * task: reason"), when the task dies, or when the operation is cancelled. */
int puppet_run(struct batch *b, struct error *e);
/* The two halves, so that many puppets can work at once. One batch at a time per area. */
int puppet_start(struct batch *b, struct error *e);
int puppet_finish(struct batch *b, struct error *e);

/*
 * Into code that heals the task, and back by ptrace: registers before the mask on the way in, the mask before the registers on
 * the way out, so that healing is right whatever dies or fails in between. p->running tells that the task is in there.
 */
int puppet_enter(struct puppet *p, const struct user_regs_struct *regs, uint64_t mask, struct error *e);
int puppet_give_back(struct puppet *p, struct error *e);

/*
 * One call from the SYSCALL instruction at the remote address @at; registers and mask are back afterwards. An engine
 * that dies meanwhile leaves the task in the middle of it: only for code that heals the task (the gate) or for tasks that
 * die with the engine (a restore's).
 */
int puppet_single_call(struct puppet *p, uint64_t at, long nr, const uint64_t args[6], int64_t *ret, struct error *e);
