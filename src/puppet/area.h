/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/arena.h"
#include "puppet/puppet.h"

/*
 * The area of a puppet: one page with the stub, then the scratch memory. One for each address space.
 *
 * In a dump it is mapped into the target through the gate and unmapped at the end; in a restore every puppet is born
 * with it at the island's address.
 *
 * Tracer thread; 0 or -errno, raised. Calls wait for the task's next stop, which a cancelled operation ends.
 */
#define AREA_SCRATCH (256u * 1024)
#define AREA_SIZE (4096u + AREA_SCRATCH)

/* Where the gate lies in a target: the end of its vdso. */
struct gate {
	uint64_t address;
	int mem_fd;                     /* /proc/PID/mem, owned */
	bool written;
	bool busy;                      /* a call was cut short: the task may still be in it */
};

/* Finds room for the gate in the vdso at [start, end). -EOPNOTSUPP raised when there is none. */
int gate_open(struct gate *g, struct puppet *p, uint64_t vdso_start, uint64_t vdso_end, struct error *e);
/* Makes one call. The task's own registers and mask are back when it returns. */
int gate_call(struct gate *g, struct puppet *p, long nr, const uint64_t args[6], int64_t *ret, struct error *e);
/* Wipes the gate off the vdso. Best effort. */
void gate_close(struct gate *g);

/* dump: maps the area into the address space of @p. The area is allocated in @a. */
int area_map(struct gate *g, struct puppet *p, struct arena *a, struct error *e);
int area_unmap(struct gate *g, struct puppet *p, struct error *e);
/* restore: writes the stub at @address of the engine's own memory, from where puppets inherit it. */
int area_make_island(uint64_t address, struct error *e);

/*
 * The signal with which @p parks: ignored by its process, not blocked and not pending in the thread, so that nobody
 * can miss one. 0 when there is none. Masks as in /proc/PID/status.
 */
int park_signal_choose(uint64_t caught, uint64_t ignored, uint64_t blocked, uint64_t pending);
