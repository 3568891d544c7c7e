/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <syscall.h>

#include "base/cleanup.h"
#include "memory/vdso.h"

/* Code that is written over the beginning of a vdso's functions. Arguments and stack stay as the caller left them. */

int vdso_write_jump(uint8_t *at, uint64_t room, uint64_t from, uint64_t to)
{
	int64_t near = (int64_t)(to - (from + 5));
	int32_t rel = (int32_t)near;

	if (rel == near) {
		if (room < 5)
			return -ENOSPC;
		at[0] = 0xe9; /* jmp rel32 */
		memcpy(at + 1, &rel, sizeof(rel));
		return 0;
	}
	if (room < 14)
		return -ENOSPC;
	memcpy(at, "\xff\x25\0\0\0\0", 6); /* jmp *0(%rip): to the address that follows */
	memcpy(at + 6, &to, sizeof(to));
	return 0;
}

static const struct {
	const char *name;
	uint32_t nr;
} calls[] = {
	{ "clock_gettime", SYS_clock_gettime },
	{ "gettimeofday", SYS_gettimeofday },
	{ "time", SYS_time },
	{ "clock_getres", SYS_clock_getres },
	{ "getcpu", SYS_getcpu },
	{ "getrandom", SYS_getrandom },
};

/*
 * getrandom() of the vdso takes a state that it keeps for its caller as arguments four and five, and tells of what size
 * that is when five is ~0 (Linux 6.11). The system call knows nothing of it: -ENOSYS then, and the caller makes system
 * calls from then on.
 */
static const uint8_t no_state[] = {
	0x49, 0x83, 0xf8, 0xff,			  /* cmp $-1, %r8 */
	0x75, 0x08,				  /* jne over the next two */
	0x48, 0xc7, 0xc0, 0xda, 0xff, 0xff, 0xff, /* mov $-ENOSYS, %rax */
	0xc3,					  /* ret */
};

int vdso_write_call(uint8_t *at, uint64_t room, const char *name)
{
	uint8_t call[] = { 0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0xc3 }; /* mov $nr, %eax; syscall; ret */

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		size_t before = calls[i].nr == SYS_getrandom ? sizeof(no_state) : 0;

		if (strcmp(calls[i].name, name) != 0)
			continue;
		if (room < before + sizeof(call))
			return -ENOSPC;
		memcpy(call + 1, &calls[i].nr, sizeof(calls[i].nr));
		memcpy(at, no_state, before);
		memcpy(at + before, call, sizeof(call));
		return 0;
	}
	return -ENOSYS;
}

/* The way into an enclave of SGX is one instruction and what belongs to it: arch/x86/entry/vdso/vsgx.S. */
bool vdso_stands_alone(const char *name)
{
	return strcmp(name, "sgx_enter_enclave") == 0;
}

static bool is_call(const uint8_t *buf, size_t len, uint64_t offset)
{
	return len >= 2 && offset <= len - 2 && buf[offset] == 0x0f && buf[offset + 1] == 0x05;
}

bool vdso_at_call(const uint8_t *buf, size_t len, uint64_t offset)
{
	return is_call(buf, len, offset) || (offset >= 2 && is_call(buf, len, offset - 2));
}
