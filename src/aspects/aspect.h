/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tree/operation.h"

/*
 * An aspect is state of a task or thread that is no descriptor: signal handlers, timers, credentials, scheduling, …
 * One source file with one `const struct aspect` at its end, listed once in registry.c; the order there is the order
 * of the calls, and for a restore that order matters (credentials last). Unused verbs are NULL. All values live in the
 * messages of the image (thread->core, task->core->tc); the messages' submessages are allocated by aspects_prepare().
 */

/* Where an aspect finds its answers in a batch it shares with the others. */
struct ask {
	size_t first;                   /* index of its first call; set before ask() */
	uint64_t data;                  /* remote address of its first datum */
	size_t count;                   /* how many things it asked about in this batch */
	size_t done;                    /* … and in the batches before, when one was not enough */
};

/* What ask() returns besides 0 and -errno: more is to be asked; run the batch, call answer(), then ask() again. */
enum { ASK_MORE = 1 };

struct aspect {
	const char *name;

	/* dump: can it be carried? From t->status alone; called before anything is frozen, and again after. 0, or
	 * -EOPNOTSUPP with a sentence and a hint. Worker thread. */
	int (*check)(struct operation *op, struct thread *t);
	/* dump, from outside: /proc, ptrace-free system calls. Worker thread. */
	int (*collect_task)(struct operation *op, struct task *t);
	int (*collect_thread)(struct operation *op, struct thread *t);
	/* dump, ptrace requests (PEEKSIGINFO, GETSIGMASK, GET_RSEQ_CONFIGURATION, regsets). Tracer thread. */
	int (*peek)(struct operation *op, struct thread *t);
	/* dump, from inside: add calls to the thread's batch; read the results after it ran. Tracer thread. */
	int (*ask)(struct operation *op, struct thread *t, struct batch *b, struct ask *ask);
	int (*answer)(struct operation *op, struct thread *t, const struct batch *b, const struct ask *ask);

	/* restore: checks hostile values. Worker thread. */
	int (*decode)(struct operation *op, struct thread *t);
	/* restore: adds calls to the thread's batch (t->task->threads == t for what is the process's). Run in registry
	 * order after memory, descriptors and threads exist. Aspects may run and reset the batch when it is full. The
	 * leader comes after its threads, see aspects_apply(). */
	int (*apply)(struct operation *op, struct thread *t, struct batch *b);
	/* restore, by ptrace or from outside, after every batch. Tracer thread. */
	int (*poke)(struct operation *op, struct thread *t);
};

extern const struct aspect *const aspects[];
extern const size_t n_aspects;

/* Allocates thread->core with every required submessage (dump). The leader's gets tc, with the task's state. */
int aspects_prepare(struct operation *op, struct thread *t);
/* The same for a zombie, which has no thread: task->core with its tc. */
int aspects_prepare_zombie(struct operation *op, struct task *t);

/* dump, in this order; zombies have nothing to tell and are passed over */
int aspects_check(struct operation *op, struct task *t);         /* worker; before the freeze, and after */
int aspects_collect(struct operation *op, struct task *t);       /* worker; every thread of the task */
int aspects_peek(struct operation *op, struct task *t);          /* tracer; before the first call in the task */
int aspects_ask_thread(struct operation *op, struct thread *t);  /* tracer: one batch, runs it */
/*
 * restore. aspects_apply() gives up the privileges of the engine: what needs them (PR_SET_MM_MAP, mlock) comes first,
 * and nothing privileged after. The threads of a task come before its leader, whose dumpable flag their change of
 * credentials would reset.
 */
int aspects_decode(struct operation *op, struct task *t);        /* worker */
int aspects_apply(struct operation *op, struct thread *t);       /* tracer: one batch, run */
int aspects_poke(struct operation *op, struct thread *t);        /* tracer; after every aspects_apply() of the tree */
