/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two pieces of code that run inside a target. Both are copied there by the engine, so they are
 * position-independent and reach their data relative to the instruction pointer.
 *
 * The gate makes one system call and then heals the task; it lies in the unused end of the target's vdso page.
 * The stub makes a batch of calls, parks (see puppet.h) and then heals; it lies in the area that the gate mapped.
 *
 * Healing = putting back the signal mask and every general register, then jumping to where the task was. It needs no
 * stack (Go and Java stacks have no room to spare) and changes no flag: the flags survive SYSCALL (which keeps them
 * in r11 for the way back) and MOV does not touch them. Extended registers are never touched at all. A tracer that
 * lives never lets a task run into the healing code: it puts the registers back itself.
 */

/* struct puppet_saved, see stub.h */
#define SAVED_R15 0
#define SAVED_R14 8
#define SAVED_R13 16
#define SAVED_R12 24
#define SAVED_BP 32
#define SAVED_BX 40
#define SAVED_R11 48
#define SAVED_R10 56
#define SAVED_R9 64
#define SAVED_R8 72
#define SAVED_AX 80
#define SAVED_CX 88
#define SAVED_DX 96
#define SAVED_SI 104
#define SAVED_DI 112
#define SAVED_SP 120
#define SAVED_IP 128
#define SAVED_MASK 136
#define SAVED_FLAGS 144

#define NR_RT_SIGPROCMASK 14
#define NR_TGKILL 234
#define SIG_SETMASK 2

.macro HEAL saved
	mov	$NR_RT_SIGPROCMASK, %eax
	mov	$SIG_SETMASK, %edi
	lea	\saved+SAVED_MASK(%rip), %rsi
	mov	$0, %edx
	mov	$8, %r10d
	syscall
	mov	\saved+SAVED_R15(%rip), %r15
	mov	\saved+SAVED_R14(%rip), %r14
	mov	\saved+SAVED_R13(%rip), %r13
	mov	\saved+SAVED_R12(%rip), %r12
	mov	\saved+SAVED_BP(%rip), %rbp
	mov	\saved+SAVED_BX(%rip), %rbx
	mov	\saved+SAVED_R11(%rip), %r11
	mov	\saved+SAVED_R10(%rip), %r10
	mov	\saved+SAVED_R9(%rip), %r9
	mov	\saved+SAVED_R8(%rip), %r8
	mov	\saved+SAVED_CX(%rip), %rcx
	mov	\saved+SAVED_DX(%rip), %rdx
	mov	\saved+SAVED_SI(%rip), %rsi
	mov	\saved+SAVED_DI(%rip), %rdi
	mov	\saved+SAVED_AX(%rip), %rax
	jmp	*\saved+SAVED_IP(%rip)
.endm

	.section .rodata.stub, "a", @progbits

	.globl gate_begin, gate_syscall_done, gate_saved, gate_end
	.balign 16
gate_begin:
	syscall
gate_syscall_done:
	HEAL gate_saved
	.balign 8
gate_saved:
	.fill 19, 8, 0
gate_end:

/*
 * struct stub_header, at the start of the page after the code: the stub's page is STUB_PAGE bytes long.
 * Then the calls. struct puppet_call is 72 bytes: nr, flags, args[6], ret.
 */
#define STUB_PAGE 4096
#define HEADER (stub_begin + STUB_PAGE)
#define HDR_N_CALLS 0
#define HDR_DONE 8
#define HDR_PID 16
#define HDR_TID 24
#define HDR_PARK 32
#define HDR_FLAGS_STACK 40
#define HDR_SAVED 48
#define HDR_CALLS 256

#define CALL_SIZE 72
#define CALL_NR 0
#define CALL_FLAGS 8
#define CALL_ARGS 16
#define CALL_RET 64

	.globl stub_begin, stub_entry, stub_parked, stub_end
	.balign 16
stub_begin:
	.ascii	"firn stub 1\0\0\0\0\0"
stub_entry:
	xor	%r12d, %r12d			/* index of the call */
	lea	HEADER+HDR_CALLS(%rip), %r13	/* the call */
	lea	HEADER+HDR_CALLS(%rip), %rbp	/* the first call */
1:	cmp	HEADER+HDR_N_CALLS(%rip), %r12
	jae	5f
	/* Arguments that refer to the result of an earlier call. */
	mov	CALL_FLAGS(%r13), %r14
	shr	$8, %r14
	xor	%ecx, %ecx
2:	bt	%rcx, %r14
	jnc	3f
	imul	$CALL_SIZE, CALL_ARGS(%r13,%rcx,8), %rax
	mov	CALL_RET(%rbp,%rax), %rax
	mov	%rax, CALL_ARGS(%r13,%rcx,8)
3:	inc	%ecx
	cmp	$6, %ecx
	jb	2b

	mov	CALL_NR(%r13), %rax
	mov	CALL_ARGS(%r13), %rdi
	mov	CALL_ARGS+8(%r13), %rsi
	mov	CALL_ARGS+16(%r13), %rdx
	mov	CALL_ARGS+24(%r13), %r10
	mov	CALL_ARGS+32(%r13), %r8
	mov	CALL_ARGS+40(%r13), %r9
	syscall
	mov	%rax, CALL_RET(%r13)
	cmp	$-4095, %rax
	jb	4f
	testb	$1, CALL_FLAGS(%r13)		/* CALL_MAY_FAIL */
	jz	5f
4:	inc	%r12
	add	$CALL_SIZE, %r13
	jmp	1b

	/* Park: an ignored signal stops a traced task and is nothing to an untraced one. */
5:	mov	%r12, HEADER+HDR_DONE(%rip)
	mov	$NR_TGKILL, %eax
	mov	HEADER+HDR_PID(%rip), %rdi
	mov	HEADER+HDR_TID(%rip), %rsi
	mov	HEADER+HDR_PARK(%rip), %rdx
	syscall
stub_parked:
	/* The flags need a stack for a moment: the end of the scratch area. */
	mov	HEADER+HDR_FLAGS_STACK(%rip), %rsp
	push	HEADER+HDR_SAVED+SAVED_FLAGS(%rip)
	popfq
	mov	HEADER+HDR_SAVED+SAVED_SP(%rip), %rsp
	HEAL	HEADER+HDR_SAVED
stub_end:

	.section .note.GNU-stack, "", @progbits
