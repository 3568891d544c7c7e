// SPDX-License-Identifier: LGPL-2.1-or-later
/* with_vdso FILE PROGRAM [ARGUMENT…]: executes PROGRAM so that its C library finds FILE, another vdso, where the kernel's
 * would be. In front of it lie four pages of zeros, as the data of a vdso (vvar). Prints the address. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define DATA (4 * PAGE)

#define MUST(call)                                                                      \
	({                                                                              \
		long must_ = (long)(call);                                              \
		if (must_ == -1) {                                                      \
			fprintf(stderr, "with_vdso: %s: %s\n", #call, strerror(errno)); \
			_exit(3);                                                       \
		}                                                                       \
		must_;                                                                  \
	})

static uint8_t code[16 * PAGE];

static int wait_stop(pid_t pid)
{
	int status = 0;

	MUST(waitpid(pid, &status, __WALL));
	if (!WIFSTOPPED(status)) {
		fprintf(stderr, "with_vdso: the program ended: %#x\n", (unsigned)status);
		_exit(3);
	}
	return status;
}

/* One system call in the program, made from where it stands. */
static long call_in(pid_t pid, long nr, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
	struct user_regs_struct old, regs;
	long word;

	MUST(ptrace(PTRACE_GETREGS, pid, 0, &old));
	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, pid, old.rip, 0);
	MUST(ptrace(PTRACE_POKETEXT, pid, old.rip, (word & ~0xffffl) | 0x050f));
	regs = old;
	regs.orig_rax = (unsigned long)-1;
	regs.rax = (unsigned long)nr;
	regs.rdi = a, regs.rsi = b, regs.rdx = c, regs.r10 = d, regs.r8 = (unsigned long)-1, regs.r9 = 0;
	MUST(ptrace(PTRACE_SETREGS, pid, 0, &regs));
	MUST(ptrace(PTRACE_SINGLESTEP, pid, 0, 0));
	wait_stop(pid);
	MUST(ptrace(PTRACE_GETREGS, pid, 0, &regs));
	MUST(ptrace(PTRACE_POKETEXT, pid, old.rip, word));
	old.orig_rax = (unsigned long)-1;
	MUST(ptrace(PTRACE_SETREGS, pid, 0, &old));
	return (long)regs.rax;
}

/* The stack at the entry: argc, argv, NULL, environment, NULL, pairs of the auxiliary vector. */
static void tell_program(pid_t pid, unsigned long address)
{
	struct user_regs_struct regs;
	unsigned long at, value;
	int nulls = 0;

	MUST(ptrace(PTRACE_GETREGS, pid, 0, &regs));
	for (at = regs.rsp + 8; nulls < 2; at += 8) {
		errno = 0;
		value = (unsigned long)ptrace(PTRACE_PEEKDATA, pid, at, 0);
		nulls += value == 0;
	}
	for (;; at += 16) {
		value = (unsigned long)ptrace(PTRACE_PEEKDATA, pid, at, 0);
		if (value == AT_NULL)
			_exit(3);
		if (value == AT_SYSINFO_EHDR)
			break;
	}
	MUST(ptrace(PTRACE_POKEDATA, pid, at + 8, address));
}

static void trace(pid_t pid, size_t size, int ready)
{
	struct iovec local = { code, size }, remote;
	unsigned long base;
	int status;

	MUST(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACEEXEC));
	MUST(write(ready, "x", 1));
	/* The program may still be told of its child's end. */
	while ((status = wait_stop(pid)) >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8))
		MUST(ptrace(PTRACE_CONT, pid, 0, WSTOPSIG(status)));
	/* exec() still has to return: that sets a register. */
	MUST(ptrace(PTRACE_SYSCALL, pid, 0, 0));
	wait_stop(pid);
	base = (unsigned long)call_in(pid, SYS_mmap, 0, DATA + size, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS);
	remote = (struct iovec){ (void *)(base + DATA), size };
	MUST(process_vm_writev(pid, &local, 1, &remote, 1, 0));
	MUST(call_in(pid, SYS_mprotect, base, DATA, PROT_READ, 0));
	MUST(call_in(pid, SYS_mprotect, base + DATA, size, PROT_READ | PROT_EXEC, 0));
	tell_program(pid, base + DATA);
	printf("%lx\n", base + DATA);
	fflush(stdout);
	MUST(ptrace(PTRACE_DETACH, pid, 0, 0));
}

int main(int argc, char **argv)
{
	pid_t pid = getpid();
	int fd, ready[2];
	ssize_t n;
	char c;

	if (argc < 3)
		return 2;
	fd = (int)MUST(open(argv[1], O_RDONLY | O_CLOEXEC));
	n = MUST(read(fd, code, sizeof(code)));
	MUST(pipe2(ready, O_CLOEXEC));
	/* Nobody's child that the program could wait for. */
	if (MUST(fork()) == 0) {
		if (MUST(fork()) == 0)
			trace(pid, ((size_t)n + PAGE - 1) & ~(PAGE - 1), ready[1]);
		_exit(0);
	}
	MUST(wait(NULL));
	if (MUST(read(ready[0], &c, 1)) == 1)
		execvp(argv[2], argv + 2);
	fprintf(stderr, "with_vdso: %s: %s\n", argv[2], strerror(errno));
	return 3;
}
