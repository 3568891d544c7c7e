// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libfirn-faults.so, preloaded into firn: notes every call that can fail and, when it is told so, lets one of them fail
 * once, as the kernel would. Nothing of firn knows of it. Without FIRN_FAULTS in the environment it does nothing.
 */
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>

#define DEPTH 16
#define FRAME_MAX (1 << 17) /* words; more is no frame */
#define EXPORT __attribute__((visibility("default")))

enum call {
#define X(name, failed, error) CALL_##name,
#include "calls.h"
#undef X
};

static struct faults *faults;
static uintptr_t program_begin, program_end;

static int find_program(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;

		if (info->dlpi_phdr[i].p_type == PT_LOAD && end > program_end)
			program_end = end;
	}
	program_begin = info->dlpi_addr;
	return 1; /* the first is the program */
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

static struct fault_site *site_of(uint64_t id, enum call call, const uint64_t *frames)
{
	for (size_t i = 0; i < FAULTS_SITES; i++) {
		struct fault_site *s = &faults->sites[(id + i) % FAULTS_SITES];
		uint64_t free_slot = 0;

		if (atomic_compare_exchange_strong(&s->id, &free_slot, id)) {
			s->call = call;
			memcpy(s->frames, frames, sizeof(s->frames));
			return s;
		}
		if (free_slot == id)
			return s;
	}
	faults->full = 1;
	return NULL;
}

/*
 * The return addresses inside the program, along the frame pointers, which it is built with; the libraries are not: a
 * chain that does not go upwards on the stack ends. Gives a number that tells one way from another.
 */
static uint64_t way_here(enum call call, uint64_t *frames)
{
	uintptr_t *frame = __builtin_frame_address(0), *next;
	uint64_t id = mix(1, call);
	int found = 0;

	for (int depth = 0; depth < DEPTH && found < FAULTS_FRAMES; depth++, frame = next) {
		if (frame[1] >= program_begin && frame[1] < program_end) {
			frames[found] = frame[1] - program_begin;
			id = mix(id, frames[found++]);
		}
		next = (uintptr_t *)frame[0];
		if (next <= frame || (uintptr_t)next & 7 || next - frame > FRAME_MAX)
			break;
	}
	return id;
}

/* Notes the call. True: it is the one to fail, errno is set. */
static bool fails(enum call call, int error, long first)
{
	uint64_t frames[FAULTS_FRAMES] = { 0 }, id;
	struct fault_site *s;

	/* Waking somebody by a futex cannot fail, and a wait that does is one that was woken. */
	if (!faults || (call == CALL_syscall && first == SYS_futex))
		return false;
	id = way_here(call, frames);
	if (!frames[0])
		return false;
	faults->calls++;
	s = site_of(id, call, frames);
	if (!s || atomic_fetch_add(&s->count, 1) + 1 != faults->wanted_nth || faults->wanted != id)
		return false;
	faults->hit = 1;
	errno = error;
	return true;
}

#define PARAMETERS long a, long b, long c, long d, long e, long f, long g
#define ARGUMENTS a, b, c, d, e, f, g
typedef long function(PARAMETERS);

/* The C library's own names: to look these up, dlsym() would allocate. */
long __libc_malloc(PARAMETERS);
long __libc_calloc(PARAMETERS);
long __libc_realloc(PARAMETERS);

static function *next_of(enum call call, const char *name)
{
	switch (call) {
	case CALL_malloc:
		return __libc_malloc;
	case CALL_calloc:
		return __libc_calloc;
	case CALL_realloc:
		return __libc_realloc;
	default:
		return (function *)dlsym(RTLD_NEXT, name);
	}
}

#define X(name, failed, error)                                                  \
	EXPORT long name(PARAMETERS);                                           \
	EXPORT long name(PARAMETERS)                                            \
	{                                                                       \
		static function *next;                                          \
                                                                                \
		if (!next)                                                      \
			next = next_of(CALL_##name, #name);                     \
		return fails(CALL_##name, error, a) ? failed : next(ARGUMENTS); \
	}
#include "calls.h"
#undef X

char *getenv(const char *name); /* <stdlib.h> would declare malloc() too */

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FIRN_FAULTS");
	long fd, map;

	if (!path)
		return;
	dl_iterate_phdr(find_program, NULL);
	fd = open64((long)path, O_RDWR | O_CLOEXEC, 0, 0, 0, 0, 0);
	if (fd < 0)
		return;
	map = mmap64(0, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0, 0);
	if (map != -1)
		faults = (struct faults *)map;
}
